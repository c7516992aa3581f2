"""Ends the tests of drafts whose authors have lost the right to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from bot.access.current_roles import IN_TELEGRAM
from registry.draft import Draft
from registry.draft_edits import Drafts
from registry.errors import RegistryError
from registry.snapshot import Snapshot

log = structlog.get_logger("drafts")
PAUSE_S = 1.0


async def end_lost_tests(drafts: Drafts, may_test: Callable[[int], bool]) -> None:
    """End each test whose author may not write agents at some moment, in its document; for ever.

    A role that is given back begins no test again. `may_test` takes a number in Telegram.
    """
    lost, changed = dict[str, Draft](), asyncio.Event()

    def look(snapshot: Snapshot) -> None:
        for entry in snapshot.on_test.values():
            author = entry.value.by
            number = author.removeprefix(IN_TELEGRAM)
            if number == author or not may_test(int(number)):
                lost[entry.value.id] = entry.value
                changed.set()

    end = drafts.catalog.subscribe(look)
    try:
        look(drafts.catalog.snapshot())
        while True:
            await changed.wait()
            changed.clear()
            for id, draft in [*lost.items()]:
                try:
                    await drafts.end_test(draft)
                except RegistryError as error:
                    log.warning("test.not_ended", draft=id, error=str(error))
                    changed.set()
                    await asyncio.sleep(PAUSE_S)
                else:
                    if lost.get(id) is draft:
                        del lost[id]
    finally:
        end()
