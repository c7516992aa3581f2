"""The sending half of a channel, the same on every wire: the outbox in order, with receipts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from bot.errors import ChannelRevoked, FencedOut, StoreError
from bot.hosting.transport import Ownership
from bot.messages import Clock, OutboxItem
from bot.ops.logging import Counters
from bot.ops.redaction import Secrets
from bot.ops.tasks import backoff, cancel_and_wait
from bot.store.outbox import Outbox

log = structlog.get_logger("channel")

REMEMBERED = 4096
MAX_ATTEMPTS = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of a part: the message that shows it, or that its chat takes none of ours."""

    chat: int
    message: int | None = None
    undeliverable: bool = False


@dataclass(slots=True, repr=False)
class ChannelServices:
    """What the channels of a host share; nothing that is in `secrets` may be sent."""

    outbox: Outbox
    clock: Clock
    counters: Counters
    secrets: Secrets


@dataclass(slots=True)
class _ChatQueue:
    items: deque[OutboxItem] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class OutboxChannel(ABC):
    """Sends the outbox of one line: each chat's parts one by one, each with its receipt.

    A subclass sends one part, and says by `revoked` that the credential is no longer valid.
    """

    def __init__(self, owned: Ownership, services: ChannelServices) -> None:
        self._owned, self._fence = owned, owned.fence
        self._services, self._outbox, self._clock = services, services.outbox, services.clock
        self._chats: dict[int, _ChatQueue] = {}
        self._closed = False
        self._queued: set[str] = set()
        self._done: dict[str, None] = {}
        self._unsent_of: Counter[str] = Counter()
        self._all_sent: dict[str, asyncio.Event] = {}
        self.revoked: asyncio.Future[ChannelRevoked] = asyncio.get_running_loop().create_future()

    @abstractmethod
    async def send(self, item: OutboxItem) -> SendResult:
        """Send one part until it is sent, or until it is plain that it never can be."""

    async def deliver(self, items: Sequence[OutboxItem]) -> None:
        """Queue parts that are in the outbox; an empty list means: look there for new ones."""
        for item in items or await self._outbox.unsent(self._fence.line):
            self._enqueue(replace(item, maybe_sent=False))

    async def recover(self) -> int:
        """Queue what an earlier owner left; only the head of each chat can have been sent."""
        found, heads = await self._outbox.unsent(self._fence.line), set()
        for item in found:
            chat = item.part.chat
            self._enqueue(replace(item, maybe_sent=item.maybe_sent and chat not in heads))
            heads.add(chat)
        return len(found)

    async def wait_until_sent(self, entry: str) -> None:
        """Return once no part of this turn is left to send."""
        if self._unsent_of[entry] > 0:
            await self._all_sent.setdefault(entry, asyncio.Event()).wait()

    async def drain(self, seconds: float) -> None:
        """Give what is queued some time to go out; the rest stays in the outbox."""
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """Stop sending, for good: what is handed over later is the next owner's to send."""
        self._closed = True
        await cancel_and_wait(self._tasks())

    def is_sending_to(self, chat: int) -> bool:
        """Whether parts wait for a chat."""
        return chat in self._chats

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [chat.task for chat in self._chats.values() if chat.task]

    def _enqueue(self, item: OutboxItem) -> None:
        if self._closed or item.id in self._queued or item.id in self._done:
            return
        self._queued.add(item.id)
        if item.part.turn:
            self._unsent_of[item.part.turn.entry] += 1
        chat = self._chats.setdefault(item.part.chat, _ChatQueue())
        chat.items.append(item)
        if chat.task is None:
            work = self._send_all(item.part.chat, chat)
            chat.task = asyncio.create_task(work, name=f"send:{item.part.chat}")

    async def _send_all(self, number: int, chat: _ChatQueue) -> None:
        """Part after part. Nothing may end this early: it would hold up the chat for ever."""
        while chat.items:
            item = chat.items[0]
            await self._retry(partial(self._send_and_report, item), MAX_ATTEMPTS)
            try:
                receipt = partial(self._outbox.receipt, self._fence, item.id, item.part.turn)
                await self._retry(receipt)
            except FencedOut:
                self._owned.on_lost()
                return
            chat.items.popleft()
            self._finish(item)
        self._chats.pop(number, None)

    async def _send_and_report(self, item: OutboxItem) -> None:
        result = await self.send(item)
        if not (tracks := item.part.tracks):
            return
        with contextlib.suppress(FencedOut):  # the receipt will find out as well
            if result.undeliverable:
                await self._owned.report(tracks, "undeliverable")
            elif result.message is not None:
                shown = (result.chat, result.message)
                try:  # this may not fail: the part would be sent again
                    if await self._outbox.mark_shown(self._fence, tracks, *shown):
                        await self._owned.report(tracks, "overtaken")
                except FencedOut:
                    raise
                except StoreError:
                    log.exception("tracking.failed", line=self._fence.line)

    async def _retry(self, step: Callable[[], Awaitable[None]], attempts: int = 0) -> None:
        """Repeat a step until it succeeds, or up to a number of attempts; logs each failure."""
        for failures in range(1, attempts + 1) if attempts else itertools.count(1):
            try:
                await step()
            except FencedOut:
                raise
            except Exception:
                log.exception("send.failed", line=self._fence.line, failures=failures)
                await self._clock.sleep(backoff(failures, FIRST_PAUSE, LONGEST_PAUSE))
            else:
                return
        self._services.counters.add("send:failed")

    def _finish(self, item: OutboxItem) -> None:
        """A part is done; its id stays known, since a reading of the outbox may be under way."""
        self._queued.discard(item.id)
        self._done[item.id] = None
        if len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]
        if item.part.turn is None:
            return
        entry = item.part.turn.entry
        self._unsent_of[entry] -= 1
        if self._unsent_of[entry] <= 0:
            del self._unsent_of[entry]
            if waiting := self._all_sent.pop(entry, None):
                waiting.set()
