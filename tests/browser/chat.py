"""What people do on the page, and what they see there: for tests in a browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.browser.chromium import DRAWN, Tab
from tests.sandbox.sandbox_process import ROOT

IMAGES = ROOT / "docs" / "images"
SAVED = bool(os.environ.get("SAVE_SCREENSHOTS"))
"""Whether pictures are kept for the documentation (`make screenshots`)."""


def line(room: str) -> str:
    """The selector of a chat on the board."""
    return f'.line[data-line="{room}"]'


def said(text: str, where: str = ".message:not(.mine)") -> str:
    """Whether a bubble shows a text, as JavaScript."""
    return (
        f"[...document.querySelectorAll('#messages {where}')]"
        f".some((each) => each.textContent.includes({json.dumps(text)}))"
    )


async def say(tab: Tab, text: str) -> None:
    """Write something into the open chat."""
    await tab.click("#write")
    await tab.type(text)
    await tab.key("Enter", 13)
    await tab.until(said(text, ".message.mine"))


async def plug(tab: Tab, room: str) -> None:
    """Open a chat."""
    await tab.click(line(room))
    await tab.until(f"document.querySelector('{line(room)}').ariaCurrent === 'true'")


async def shot(tab: Tab, path: Path, most: int = 300_000) -> None:
    """A picture of what is seen, of at most so many bytes, once all is drawn."""
    await tab.run(DRAWN)
    assert 5_000 < await tab.picture(path) < most
