"""The sending half of a channel, the same on every wire: the outbox in order, with receipts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import re
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import structlog

from bot.errors import ChannelRevoked, FencedOut, StoreError
from bot.hosting.transport import Ownership
from bot.messages import Address, Clock, OutboxItem, OutgoingPart
from bot.ops.logging import Counters
from bot.ops.redaction import Secrets
from bot.ops.tasks import backoff, cancel_and_wait
from bot.store.outbox import MOST_OF_CLOSED, Outbox

log = structlog.get_logger("channel")

REMEMBERED = 4096
MAX_ATTEMPTS = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
TOPIC = "message_thread_id"
NOT_DELIVERED = (
    "A message of mine could not be delivered here, so I set it aside. "
    "The operator can find it among the dead letters."
)
REFUSED_ALERT = (
    "{}: a message could not be delivered. {}\n\nIt is kept: `switchboard dead-letters list` shows "
    "it, and `switchboard dead-letters replay` sends it once more. Others that are refused in the "
    "same words are kept as well, without another notice."
)
CLOSED_ALERT = (
    "{}: the bot may not write in chat {}. {}\n\nAllow it there, then send what was refused: "
    "`switchboard dead-letters list` shows it, and `switchboard dead-letters replay` sends it. The "
    "newest {} messages of this chat are kept, without another notice."
)
FAILED_HERE = "Sending it failed on this host: its log says why."

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SendResult:
    """The outcome of a part: the message that shows it, or why nobody will ever see it.

    `undeliverable` says why in words. `refused`: people in the chat should have received it, but
    did not; `closed`: the chat refuses everything until somebody lets the bot write.
    """

    chat: int
    message: int | None = None
    undeliverable: str = ""
    refused: bool = False
    closed: bool = False


@dataclass(slots=True, repr=False)
class ChannelServices:
    """What the channels of a host share; nothing that is in `secrets` may be sent.

    `alert` tells the admins a text, once for its key.
    """

    outbox: Outbox
    clock: Clock
    counters: Counters
    secrets: Secrets
    alert: Callable[[str, str], Awaitable[object]]


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
        """Send one part: try until it is sent, or clearly never can be."""

    async def deliver(self, items: Sequence[OutboxItem]) -> None:
        """Queue parts that are in the outbox; an empty list means: look there for new ones."""
        for item in items or await self._outbox.unsent(self._fence.line):
            self._enqueue(replace(item, maybe_sent=False))

    async def recover(self) -> int:
        """Queue what an earlier owner left; only the head of each chat can have been sent."""
        return self.take_over(await self._outbox.unsent(self._fence.line))

    def take_over(self, found: Sequence[OutboxItem]) -> int:
        """The same for parts that were read already."""
        heads = set()
        for item in found:
            chat = item.part.chat
            self._enqueue(replace(item, maybe_sent=item.maybe_sent and chat not in heads))
            heads.add(chat)
        return len(found)

    def is_sending(self, entry: str) -> bool:
        """Whether parts of this turn are left to send."""
        return entry in self._unsent_of

    async def wait_until_sent(self, entry: str) -> None:
        """Return once no part of this turn is left to send."""
        if self.is_sending(entry):
            await self._all_sent.setdefault(entry, asyncio.Event()).wait()

    def abandon(self, address: Address) -> None:
        """Set aside now, not later, what fails again and again in this conversation."""
        chat = self._chats.get(address.chat, _ChatQueue())
        for item in chat.items:
            if item.part.payload.get(TOPIC) == address.topic:
                item.unwanted.set()

    @abstractmethod
    def held_up(self, chat: int) -> float:
        """Seconds in which nothing will go out to a chat, as far as is known."""

    def is_held_up(self, entry: str, seconds: float) -> bool:
        """Whether a part of this turn waits for a chat that takes nothing for so long."""
        return any(
            self.held_up(number) > seconds
            for number, chat in self._chats.items()
            if any(one.part.turn and one.part.turn.entry == entry for one in chat.items)
        )

    async def drain(self, seconds: float) -> None:
        """Give what is queued some time to go out; the rest stays in the outbox."""
        chats = self._chats.items()
        free = [chat.task for number, chat in chats if self.held_up(number) <= seconds]
        if tasks := [task for task in free if task]:
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
        """Part after part. Nothing may end this early: it would hold up the chat forever."""
        while chat.items:
            item = chat.items[0]
            result = await self._retry(partial(self._send_and_report, item), MAX_ATTEMPTS)
            try:
                failed = SendResult(number, undeliverable=FAILED_HERE, refused=True)
                await self._retry(partial(self._settle, item, result or failed))
            except FencedOut:
                self._owned.on_lost()
                return
            chat.items.popleft()
            self._finish(item)
        self._chats.pop(number, None)

    async def _send_and_report(self, item: OutboxItem) -> SendResult:
        result = await self.send(item)
        if not (tracks := item.part.tracks):
            return result
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
        return result

    async def _settle(self, item: OutboxItem, result: SendResult) -> None:
        """Remove a part; of one that nobody will see history says so, and a refused one is kept."""
        part, why = item.part, result.undeliverable
        if not why or part.may_be_left_out:
            await self._outbox.receipt(self._fence, item, delivered=not why)
            if part.late_for:
                self._owned.on_late(part.late_for)
            return
        told, keep = None, result.refused and not part.tracks  # what it tracks has its own end
        if keep and result.closed:
            text = CLOSED_ALERT.format(self._fence.line, part.chat, why, MOST_OF_CLOSED)
            await self._services.alert(f"closed:{self._fence.line}:{part.chat}", text)
        elif keep:
            topic = {name: part.payload[name] for name in (TOPIC,) if name in part.payload}
            told = OutgoingPart(part.chat, "message", {"text": NOT_DELIVERED} | topic)
            told = replace(told, best_effort=True)
            await self._alert(why)
        for one in await self._outbox.set_aside(self._fence, item, why, told, keep=keep):
            self._enqueue(one)
        if keep:
            self._services.counters.add("dead_letters")

    async def _alert(self, why: str) -> None:
        """Tell the admins once about all refusals in the same words, numbers aside."""
        line = self._fence.line
        digest = hashlib.sha256(re.sub(r"\d+", "", why).encode()).hexdigest()[:16]
        await self._services.alert(f"refused:{line}:{digest}", REFUSED_ALERT.format(line, why))

    async def _retry(self, step: Callable[[], Awaitable[T]], attempts: int = 0) -> T | None:
        """Repeat a step until it succeeds, or up to a number of attempts; logs each failure."""
        for failures in range(1, attempts + 1) if attempts else itertools.count(1):
            try:
                return await step()
            except FencedOut:
                raise
            except Exception:
                log.exception("send.failed", line=self._fence.line, failures=failures)
                await self._clock.sleep(backoff(failures, FIRST_PAUSE, LONGEST_PAUSE))
        self._services.counters.add("send:failed")
        return None

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
