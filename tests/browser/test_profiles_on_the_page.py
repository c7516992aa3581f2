"""The two packaged profiles, as a person meets them in the sandbox."""

from __future__ import annotations

import json

import pytest

from tests.browser.chat import IMAGES, SAVED, plug, said, say, shot
from tests.browser.chromium import Tab
from tests.sandbox.sandbox_process import ALMANAC, ANN, CONCIERGE, QUILL, Sandbox

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SLOW = 30
PHONE = (390, 640)
MOST = 120_000


async def test_concierge_asks_for_the_date_and_waits_for_it(tab: Tab, board: Sandbox) -> None:
    await plug(tab, f"{CONCIERGE}/{ANN}")
    await say(tab, "book a table for two")
    await tab.until(said("For which date?"), SLOW)
    await say(tab, "12 March")
    await tab.until(said("“book a table for two, 12 March”"), SLOW)
    assert not await tab.run(said("for today"))
    assert len(await board.texts(f"{CONCIERGE}/{ANN}", CONCIERGE)) == 2
    await tab.look(*PHONE, dark=False, phone=True)
    await tab.run("document.querySelector('#messages').lastElementChild.scrollIntoView(false)")
    assert await tab.run("document.documentElement.scrollWidth") <= PHONE[0]
    await shot(tab, (IMAGES if SAVED else board.folder) / "profile-partner.png", MOST)


async def test_almanac_looks_for_a_source_before_anybody_sees_its_answer(
    tab: Tab, board: Sandbox
) -> None:
    await plug(tab, f"{QUILL}/{ANN}")
    await say(tab, "write buy oranges to shopping.md")
    await tab.until(said("Made shopping.md"), SLOW)
    await plug(tab, f"{ALMANAC}/{ANN}")
    await say(tab, "tell me about oranges")
    await tab.until(said("shopping.md:1: buy oranges"), SLOW)
    await tab.until(said("Source: notes__search_files"))
    assert not await tab.run(said("From memory"))
    assert len(await board.texts(f"{ALMANAC}/{ANN}", ALMANAC)) == 1
    asked = "[...document.querySelectorAll('#timeline li[data-kind=model]')]"
    words = json.dumps("Reflect on your last answer")
    await tab.run(f"{asked}.forEach((each) => each.querySelector('summary')?.click())")
    await tab.until(f"{asked}.some((each) => each.textContent.includes({words}))")
