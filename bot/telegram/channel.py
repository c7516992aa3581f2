"""A line's way to its people: the sender of its outbox, and the previews beside it.

Each chat's parts go out one by one, in order. A final waits only for its order or for a chat that
a 429 froze; previews and typing take guessed slots, or are left out.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from bot.errors import FencedOut, TelegramError
from bot.hosting.leases import SecondsLeft
from bot.messages import Address, Buttons, CallbackPress, Clock, Fence, OutboxItem, OutgoingPart
from bot.ops.counters import Counters
from bot.ops.redaction import Secrets
from bot.ops.tasks import cancel_and_wait
from bot.store.outbox import Outbox
from bot.telegram import parts
from bot.telegram.client import TelegramClient
from bot.telegram.previews import Previews
from bot.telegram.rate_limit import ChatRateLimiter
from bot.telegram.sender import SEND_SECONDS, Sender, pause_after

log = structlog.get_logger("channel")

REMEMBERED = 4096
FAILURES = 5

Step = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Chat:
    queue: deque[OutboxItem] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class TelegramChannel:
    """Implements `ports.Channel` for one bot.

    `lease` gives the seconds for which the line is surely ours: nothing is sent beyond them. What
    is rendered, shown or said here has none of the `secrets`, whoever wrote it. `lost` is set once
    another owner has the line, `revoked` once Telegram knows the token no more.
    """

    def __init__(
        self,
        wire: TelegramClient,
        outbox: Outbox,
        fence: Fence,
        lease: SecondsLeft,
        clock: Clock,
        counters: Counters,
        secrets: Secrets,
    ) -> None:
        self._secrets = secrets
        self._wire = wire
        self._outbox = outbox
        self._fence = fence
        self._clock = clock
        self._counters = counters
        pace = ChatRateLimiter(clock)
        self.sender = Sender(wire, outbox, fence, lease, clock, counters, pace)
        self._previews = Previews(wire, lease, clock, pace, secrets)
        self._members = Members(wire, fence.line)
        self._chats: dict[int, _Chat] = {}
        self._closed = False
        self._known: set[str] = set()
        self._gone: dict[str, None] = {}
        self._left: Counter[str] = Counter()
        self._done: dict[str, asyncio.Event] = {}
        self.lost = asyncio.Event()
        self.revoked = self.sender.revoked

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
        *,
        link_previews: bool = False,
    ) -> list[OutgoingPart]:
        """Markdown as parts: the first edits a message where one is given, the last has buttons."""
        return parts.render(
            address, markdown, self._secrets, reply_to, edit, buttons, link_previews=link_previews
        )

    def word(self, press: CallbackPress, text: str) -> OutgoingPart:
        """What is shown for a moment to whoever pressed."""
        return parts.callback_answer(press, self._secrets.redact(text))

    async def administers(self, address: Address, person: int) -> bool:
        """Whether somebody is an admin of the chat."""
        return await self._members.administers(address, person)

    async def has_left(self, address: Address, person: int) -> bool:
        """Whether somebody is surely not in the chat any more."""
        return await self._members.has_left(address, person)

    async def deliver(self, parts: Sequence[OutboxItem]) -> None:
        """Queue parts that are in the outbox; an empty list means: look there for new ones."""
        for part in parts or await self._unsent():
            self._enqueue(replace(part, doubtful=False))

    async def recover(self) -> int:
        """Queue what an earlier owner left; only the head of each chat can have been sent."""
        found, heads = await self._unsent(), set()
        for part in found:
            chat = part.outgoing.chat
            self._enqueue(replace(part, doubtful=part.doubtful and chat not in heads))
            heads.add(chat)
        return len(found)

    async def _unsent(self) -> list[OutboxItem]:
        found: list[OutboxItem] = []
        while page := await self._outbox.unsent(self._fence.line, found[-1].id if found else ""):
            found += page
        return found

    async def sent(self, entry: str) -> None:
        """Return once no part of this turn is left."""
        if self._left[entry] > 0:
            await self._done.setdefault(entry, asyncio.Event()).wait()

    async def drain(self, seconds: float) -> None:
        """Give what is queued some time to go out; the rest stays in the outbox."""
        tasks = [chat.task for chat in self._chats.values() if chat.task]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def close(self) -> None:
        """Stop sending, for good: what is handed over later is the next owner's to send."""
        self._closed = True
        tasks = [chat.task for chat in self._chats.values() if chat.task]
        await cancel_and_wait(tasks)

    def _enqueue(self, part: OutboxItem) -> None:
        if self._closed or part.id in self._known or part.id in self._gone:
            return
        self._known.add(part.id)
        if part.outgoing.turn:
            self._left[part.outgoing.turn.entry] += 1
        chat = self._chats.setdefault(part.outgoing.chat, _Chat())
        chat.queue.append(part)
        if chat.task is None:
            work = self._send_all(part.outgoing.chat, chat)
            chat.task = asyncio.create_task(work, name=f"send:{part.outgoing.chat}")

    async def _send_all(self, number: int, chat: _Chat) -> None:
        """Part after part. Nothing may end this early: it would hold up the chat for ever."""
        while chat.queue:
            part = chat.queue[0]
            await self._insisting(partial(self.sender.send, part), FAILURES)
            try:
                await self._insisting(partial(self._receipt, part))
            except FencedOut:
                self.lost.set()
                return
            chat.queue.popleft()
            self._forget(part)
        self._chats.pop(number, None)

    async def _receipt(self, part: OutboxItem) -> None:
        await self._outbox.receipt(self._fence, part.id, part.outgoing.turn)

    async def _insisting(self, step: Step, most: int | None = None) -> None:
        """Make a step again after each unforeseen failure, perhaps a bounded number of times."""
        failures = 0
        while most is None or failures < most:
            try:
                await step()
            except FencedOut:
                raise
            except Exception:
                failures += 1
                log.exception("send.failed", line=self._fence.line, failures=failures)
                await self._clock.sleep(pause_after(failures))
            else:
                return
        self._counters.add("send:failed")

    def _forget(self, part: OutboxItem) -> None:
        """A part is done; its id stays known, since a reading of the outbox may be under way."""
        self._known.discard(part.id)
        self._gone[part.id] = None
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]
        if part.outgoing.turn is None:
            return
        entry = part.outgoing.turn.entry
        self._left[entry] -= 1
        if self._left[entry] <= 0:
            del self._left[entry]
            if waiting := self._done.pop(entry, None):
                waiting.set()

    async def preview(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        """Show a growing answer, unless parts wait for the chat; see `Previews.show`."""
        if address.chat in self._chats:
            return None
        return await self._previews.show(
            address, draft, markdown, message, link_previews=link_previews
        )

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, unless parts wait for the chat."""
        if address.chat not in self._chats:
            await self._previews.typing(address)

    async def fetch(self, file: str, most: int) -> bytes:
        """A file by its id."""
        return await self._wire.download(file, most, timeout=SEND_SECONDS)


MEMBER_SECONDS = 8.0


class Members:
    """The members of one bot's chats; `line` names the bot in the log."""

    def __init__(self, wire: TelegramClient, line: str) -> None:
        self._wire = wire
        self._line = line

    async def administers(self, address: Address, person: int) -> bool:
        """Whether somebody is an admin of the chat, as Telegram says now; where it does not, no."""
        if address.private:
            return person == address.chat
        return await self._standing(address, person) in ("creator", "administrator")

    async def has_left(self, address: Address, person: int) -> bool:
        """Whether somebody is in the chat no more, as Telegram says now; where it does not, no."""
        return not address.private and await self._standing(address, person) in ("left", "kicked")

    async def _standing(self, address: Address, person: int) -> str:
        """What Telegram calls somebody in a chat; empty where it does not say."""
        ask = {"chat_id": address.chat, "user_id": person}
        try:
            member = await self._wire.call("getChatMember", ask, timeout=MEMBER_SECONDS)
        except TelegramError as error:
            log.warning("member.unknown", line=self._line, error=str(error))
            return ""
        return str(member.get("status", ""))
