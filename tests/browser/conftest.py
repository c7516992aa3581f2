from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.chromium import Browser, Tab, chromium, found
from tests.sandbox.sandbox_process import Sandbox, sandbox, without_tools


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One for all tests of a module: each tab is of somebody who was never here before."""
    program = found()
    if program is None:
        pytest.skip("there is no Chromium: install chromium, or set CHROMIUM to its path")
    async with chromium(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_board(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    """The demo with its tools, for all tests of a module that leave its processes alone."""
    async with sandbox(tmp_path_factory.mktemp("sandbox")) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def own_board(tmp_path: Path) -> AsyncIterator[Sandbox]:
    """A sandbox for one test, which may kill it."""
    async with sandbox(without_tools(tmp_path)) as one:
        yield one


@pytest.fixture
def board(request: pytest.FixtureRequest) -> Sandbox:
    """The shared sandbox, or by the parameter "own_board" one that the test may kill."""
    one: Sandbox = request.getfixturevalue(getattr(request, "param", "shared_board"))
    return one


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser, board: Sandbox) -> AsyncIterator[Tab]:
    """The page on a desk, loaded; at the end it must have had nothing to complain of."""
    async with browser.tab() as tab:
        await tab.look(1440, 900, dark=False)
        await tab.go(board.url)
        await tab.until("document.querySelectorAll('.line').length >= 7")
        yield tab
        await board.post("/page/trouble", clear=True)  # and the model's usual pace
        assert tab.complaints == []
