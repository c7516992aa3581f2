from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Tab, chromium, found
from tests.sandbox.sandbox_process import Sandbox, sandbox, without_tools


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    program = found()
    if program is None:
        pytest.skip("there is no Chromium: install chromium, or set CHROMIUM to its path")
    async with chromium(program, tmp_path / "profile") as browser:
        yield browser


@pytest.fixture
async def board(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """A sandbox in a folder of its own; with the demo's tools if the parameter is "tools"."""
    folder = tmp_path / "sandbox"
    folder.mkdir()
    if getattr(request, "param", "") != "tools":
        without_tools(folder)
    async with sandbox(folder) as one:
        yield one


@pytest.fixture
async def tab(browser: Browser, board: Sandbox) -> AsyncIterator[Tab]:
    """The page on a desk, loaded; at the end it must have had nothing to complain of."""
    tab = await browser.tab()
    await tab.look(1440, 900, dark=False)
    await tab.go(board.url)
    await tab.until("document.querySelectorAll('.line').length >= 7")
    yield tab
    assert tab.complaints == []
