"""From a line's inbox to its conversations: each update decoded, and handed on once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from bot.conversations.queue import ConversationQueues, Decode
from bot.errors import FencedOut
from bot.messages import Decoded, Fence, Ignored
from bot.ops.logging import Counters
from bot.store.inbox import InboxEntry, Update, UpdateInbox

log = structlog.get_logger("inbox")

PAGE = 200
UNREADABLE = "unreadable"
NOT_ADDRESSED = "not addressed"


@dataclass(slots=True, repr=False)
class InboxReader:
    """Gives each entry to the conversations once, in the inbox's order."""

    fence: Fence
    inbox: UpdateInbox
    queues: ConversationQueues
    decode: Decode
    counters: Counters
    _newest: str = field(default="", init=False)
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def accept(self, updates: Sequence[Update]) -> None:
        """Store updates and let them run; raises StoreUnavailable.

        Where others have written in between, or an earlier attempt has, the inbox is read instead.
        """
        wanted = [update for update in updates if not self._is_ignored(update)]
        if not wanted:
            return
        found = await self.inbox.accept(self.fence.line, wanted, self.fence)
        if found.before == self._newest and not self._reading.locked():
            await self._hand_on(found.entries)
        else:
            await self.read_pending()

    async def read_pending(self) -> int:
        """Hand on what is in the inbox and was not handed on yet; how many entries that were."""
        count = 0
        async with self._reading:
            while page := await self.inbox.pending(self.fence.line, self._newest, PAGE):
                await self._hand_on(page)
                count += len(page)
        return count

    async def _hand_on(self, entries: Sequence[InboxEntry]) -> None:
        if not entries:
            return
        self._newest = entries[-1].id
        decoded = [(entry, self._decode_safely(entry.raw)) for entry in entries]
        self.queues.offer([(e, event) for e, event in decoded if not isinstance(event, Ignored)])
        ignored = [(e, event.rule) for e, event in decoded if isinstance(event, Ignored)]
        try:
            await self._settle_ignored(ignored)
        except FencedOut:
            self.queues.lost.set()

    async def _settle_ignored(self, ignored: Sequence[tuple[InboxEntry, str]]) -> None:
        """Leave nothing in the inbox that no conversation will ever take."""
        by_rule = [entry.id for entry, rule in ignored if rule != UNREADABLE]
        if by_rule:
            await self.inbox.settle(self.fence, by_rule)
        for entry, rule in ignored:
            if rule == UNREADABLE:
                self.counters.add("dead_letters")
                await self.inbox.dead_letter(self.fence, entry.id, "it cannot be read")

    def _is_ignored(self, update: Update) -> bool:
        """Whether a rule ignores the update; such updates are counted, not stored."""
        event = self._decode_safely(update.raw)
        if not isinstance(event, Ignored) or event.rule == UNREADABLE:
            return False
        self.counters.add(f"ignored:{event.rule}")
        return True

    def _decode_safely(self, raw: bytes) -> Decoded:
        """What the update means; one that breaks the decoder goes to the dead letters."""
        try:
            event = self.decode(raw)
        except Exception:
            log.exception("update.unreadable", line=self.fence.line)
            return Ignored(UNREADABLE)
        return event if getattr(event, "addressed", True) else Ignored(NOT_ADDRESSED)
