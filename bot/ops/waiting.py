"""Waiting for the first of several ends, and ending what is no longer waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

AGAIN_SECONDS = 0.5


async def first(*ends: asyncio.Event | asyncio.Future[Any]) -> None:
    """Return once one of the events is set or one of the tasks has ended."""
    waits = [asyncio.create_task(e.wait()) for e in ends if isinstance(e, asyncio.Event)]
    tasks = [end for end in ends if not isinstance(end, asyncio.Event)]
    try:
        await asyncio.wait({*waits, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ended(waits)


async def ended(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return once they are gone.

    The store's library loses a cancellation that comes while it connects: it is said again then.
    """
    while going := [task for task in tasks if not task.done()]:
        for task in going:
            task.cancel()
        await asyncio.wait(going, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
