"""An admin who makes an agent by thumb, on the sandbox's page; pictures for the documentation."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.chat import IMAGES, SAVED, plug, said, say, shot
from tests.browser.chromium import Browser, Tab
from tests.sandbox.sandbox_process import ANN, OPERATOR, Sandbox

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE, DESK = (390, 844), (1280, 800)
SLOW, MOST = 60, 300_000


@pytest_asyncio.fixture(loop_scope="module")
async def tab(browser: Browser, board: Sandbox) -> AsyncIterator[Tab]:
    async with browser.tab() as tab:
        await tab.look(*DESK, dark=False)
        await tab.go(board.url)
        await tab.until("document.querySelectorAll('.line').length >= 7")
        yield tab
        assert tab.complaints == []


MENU = "[...document.querySelectorAll('#messages .message:not(.mine) .buttons')].at(-1)"
KEYS = f"[...({MENU}?.querySelectorAll('.key') ?? [])]"


def has(button: str) -> str:
    """Whether the newest menu has a button that begins with these words, as JavaScript."""
    return f"{KEYS}.some((key) => key.textContent.startsWith({json.dumps(button)}))"


async def tap(tab: Tab, button: str, then: str) -> None:
    """Tap a button of the newest menu, and wait for what is then seen."""
    await tab.until(has(button), SLOW)
    await tab.hit(f"{KEYS}.find((key) => key.textContent.startsWith({json.dumps(button)}))")
    await tab.until(then, SLOW)


async def keep(tab: Tab, board: Sandbox, name: str) -> None:
    """A picture on a telephone, where all must fit."""
    await tab.look(*PHONE, dark=False, phone=True)
    await tab.run("document.querySelector('#toasts').hidden = true")
    await tab.run("document.querySelector('#messages').lastElementChild.scrollIntoView(false)")
    assert await tab.run("document.documentElement.scrollWidth") <= PHONE[0]
    await shot(tab, (IMAGES if SAVED else board.folder) / f"admin-{name}.png", MOST)
    await tab.run("document.querySelector('#toasts').hidden = false")
    await tab.look(*DESK, dark=False)


async def test_an_agent_is_made_tried_published_and_taken_back_on_a_phone(
    tab: Tab, board: Sandbox
) -> None:
    await plug(tab, f"{OPERATOR}/{ANN}")
    await say(tab, "/newagent Map Librarian")
    await tab.until(said("1 of 7: Who is it?"), SLOW)
    await say(tab, "You are a librarian who knows old maps.")
    await tab.until(said("2 of 7: What is its main job?"), SLOW)
    await keep(tab, board, "new-agent")
    await tap(tab, "That is enough", has("– notes"))
    await tap(tab, "– notes", has("✓ notes"))
    await tap(tab, "Tools", has("? mcp:notes:"))
    await keep(tab, board, "tools")
    await tap(tab, "Test", said("answers you in this chat now"))
    await say(tab, "12 * 12")
    await tab.until(said("Draft of Map Librarian, not published"), SLOW)
    await keep(tab, board, "test")
    await tap(tab, "Publish", said("Version 1,"))
    await tap(tab, "Edit", said("Your draft of Map Librarian"))
    await tap(tab, "Instructions", said("Send the new text."))
    await say(tab, "You are a librarian who knows old maps and sea charts.")
    await tab.until(said("and sea charts"), SLOW)
    await keep(tab, board, "draft")
    await tap(tab, "Publish", said("Version 2,"))
    await keep(tab, board, "card")
    await tap(tab, "History", has("Version 1"))
    await tap(tab, "Version 1", has("Go back to version 1"))
    await keep(tab, board, "version")
    await tap(tab, "Go back to version 1", said("Version 3,"))
