"""Whether a loop stays free while an attack is under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK = 0.005


@asynccontextmanager
async def calm(seconds: float) -> AsyncIterator[None]:
    """Fails where the loop works longer than this in one go; in seconds of the processor alone."""
    worst, going = 0.0, True

    async def look() -> None:
        nonlocal worst
        seen = time.thread_time()
        while going:
            await asyncio.sleep(TICK)
            seen, before = time.thread_time(), seen
            worst = max(worst, seen - before)

    watching = asyncio.create_task(look())
    try:
        yield
    finally:
        going = False
        await watching
    assert worst < seconds, f"the loop was busy for {worst:.2f} s"
