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


@pytest_asyncio.fixture(loop_scope="module")
async def board(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """A sandbox in a folder of its own; with the demo's tools if the parameter is "tools"."""
    folder = tmp_path / "sandbox"
    folder.mkdir()
    if getattr(request, "param", "") != "tools":
        without_tools(folder)
    async with sandbox(folder) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser, board: Sandbox) -> AsyncIterator[Tab]:
    """The page on a desk, loaded; at the end it must have had nothing to complain of."""
    async with browser.tab() as tab:
        await tab.look(1440, 900, dark=False)
        await tab.go(board.url)
        await tab.until("document.querySelectorAll('.line').length >= 7")
        yield tab
        assert tab.complaints == []
