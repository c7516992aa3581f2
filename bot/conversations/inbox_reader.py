"""From a line's inbox to its lanes: what its owner has just accepted, and what others put there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from bot.conversations.queue import ConversationQueues, Decode
from bot.errors import FencedOut
from bot.messages import Decoded, Fence, Ignored
from bot.ops.counters import Counters
from bot.store.inbox import InboxEntry, Update, UpdateInbox

log = structlog.get_logger("feed")

PAGE = 200
UNREADABLE = "unreadable"


class InboxReader:
    """Gives each entry to the lanes once, in the inbox's order."""

    def __init__(
        self,
        fence: Fence,
        inbox: UpdateInbox,
        lanes: ConversationQueues,
        decode: Decode,
        counters: Counters,
    ) -> None:
        self._fence = fence
        self._inbox = inbox
        self._lanes = lanes
        self._decode = decode
        self._counters = counters
        self._newest = ""
        self._reading = asyncio.Lock()

    async def accept(self, updates: Sequence[Update]) -> None:
        """Store updates and let them run; raises StoreUnavailable.

        Where others have written in between, or an earlier try has, the inbox is read instead.
        """
        wanted = [update for update in updates if not self._left_alone(update)]
        if not wanted:
            return
        found = await self._inbox.accept(self._fence.line, wanted, self._fence)
        if found.before == self._newest and not self._reading.locked():
            await self._take(found.entries)
        else:
            await self.look()

    async def look(self) -> int:
        """Read what is in the inbox and not in the lanes yet; how many entries that were."""
        count = 0
        async with self._reading:
            while page := await self._inbox.pending(self._fence.line, self._newest, PAGE):
                await self._take(page)
                count += len(page)
        return count

    async def _take(self, entries: Sequence[InboxEntry]) -> None:
        if not entries:
            return
        self._newest = entries[-1].id
        known = [(entry, self._decoded(entry.raw)) for entry in entries]
        self._lanes.offer([(e, event) for e, event in known if not isinstance(event, Ignored)])
        ignored = [(e, event.rule) for e, event in known if isinstance(event, Ignored)]
        try:
            await self._set_aside(ignored)
        except FencedOut:
            self._lanes.lost.set()

    async def _set_aside(self, ignored: list[tuple[InboxEntry, str]]) -> None:
        """Nothing stays in the inbox that no lane will ever take."""
        alone = [entry.id for entry, rule in ignored if rule != UNREADABLE]
        if alone:
            await self._inbox.settle(self._fence, alone)
        for entry, rule in ignored:
            if rule == UNREADABLE:
                self._counters.add("dead_letters")
                await self._inbox.dead_letter(self._fence, entry.id, "it cannot be read")

    def _left_alone(self, update: Update) -> bool:
        """Whether a rule leaves the update alone; such updates are counted, not stored."""
        event = self._decoded(update.raw)
        if not isinstance(event, Ignored) or event.rule == UNREADABLE:
            return False
        self._counters.add(f"ignored:{event.rule}")
        return True

    def _decoded(self, raw: bytes) -> Decoded:
        """What the update says to us; one that breaks the reading goes to the dead letters."""
        try:
            event = self._decode(raw)
        except Exception:
            log.exception("update.unreadable", line=self._fence.line)
            return Ignored(UNREADABLE)
        return Ignored("not addressed") if not getattr(event, "addressed", True) else event
