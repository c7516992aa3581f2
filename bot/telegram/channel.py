"""A line's way to its people: the sender of its outbox, and the previews beside it.

Each chat's parts go out one by one, in order. A final waits only for its order or for a chat that
a 429 froze; previews and typing take guessed slots, or are left out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import structlog

from bot.errors import (
    FateUnknown,
    FencedOut,
    NotModified,
    NotSent,
    ServerFault,
    StoreError,
    TelegramError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from bot.events import Address, Outgoing
from bot.ops.counters import Counters
from bot.ops.waiting import ended
from bot.ports import Buttons, Clock, Fence, Outbox, Posted
from bot.telegram import markup, parts
from bot.telegram.pacing import Pace
from bot.telegram.wire import Wire

log = structlog.get_logger("channel")

SEND_SECONDS = 25.0
PREVIEW_SECONDS = 8.0
LEAST_LEASE = 0.5
LONGEST_PAUSE = 30.0
REMEMBERED = 4096
FAILURES = 5

Lease = Callable[[], float]
Step = Callable[[], Awaitable[None]]


async def _nothing(_nonce: str) -> None:
    """For a channel that nobody wants to hear of."""


@dataclass(slots=True)
class _Chat:
    queue: deque[Posted] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class TelegramChannel:
    """Implements `ports.Channel` for one bot.

    `lease` gives the seconds for which the line is surely ours: nothing is sent beyond them.
    `overtaken` hears of each sheet that was decided before the message that shows it was sent.
    """

    def __init__(
        self,
        wire: Wire,
        outbox: Outbox,
        fence: Fence,
        lease: Lease,
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._wire = wire
        self._outbox = outbox
        self._fence = fence
        self._lease = lease
        self._clock = clock
        self._counters = counters
        self._pace = Pace(clock)
        self._chats: dict[int, _Chat] = {}
        self._known: set[str] = set()
        self._gone: dict[str, None] = {}
        self._left: Counter[str] = Counter()
        self._done: dict[str, asyncio.Event] = {}
        self.lost = asyncio.Event()
        self.revoked = asyncio.Event()
        self.overtaken: Callable[[str], Awaitable[None]] = _nothing

    # --- rendering ---

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
    ) -> list[Outgoing]:
        """Markdown as parts: the first edits a message where one is given, the last has buttons."""
        return parts.render(address, markdown, reply_to, edit, buttons)

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
            member = await self._wire.call("getChatMember", ask, timeout=PREVIEW_SECONDS)
        except TelegramError as error:
            log.warning("member.unknown", line=self._fence.line, error=str(error))
            return ""
        return str(member.get("status", ""))

    # --- delivering ---

    async def deliver(self, parts: Sequence[Posted]) -> None:
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

    async def _unsent(self) -> list[Posted]:
        found: list[Posted] = []
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
        """Stop sending."""
        tasks = [chat.task for chat in self._chats.values() if chat.task]
        await ended(tasks)

    def _enqueue(self, part: Posted) -> None:
        if part.id in self._known or part.id in self._gone:
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
            await self._insisting(partial(self._to_its_fate, part), FAILURES)
            try:
                await self._insisting(partial(self._receipt, part))
            except FencedOut:
                self.lost.set()
                return
            chat.queue.popleft()
            self._forget(part)
        self._chats.pop(number, None)

    async def _receipt(self, part: Posted) -> None:
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
                await self._clock.sleep(min(0.5 * 2 ** min(failures - 1, 8), LONGEST_PAUSE))
            else:
                return
        self._counters.add("send:failed")

    def _forget(self, part: Posted) -> None:
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

    async def _to_its_fate(self, part: Posted) -> None:
        """Send one part until it is sent, or until it is plain that it never can be."""
        outgoing = parts.marked(part.outgoing) if part.doubtful else part.outgoing
        tries = 0
        while True:
            await self._clear_to_send(outgoing.chat)
            try:
                sent = await self._call(outgoing)
            except TelegramError as error:
                tries += 1
                again = await self._mend(outgoing, error, tries)
                if again is None:
                    return
                outgoing = again
            else:
                self._counters.add("sent")
                if outgoing.shows:
                    await self._shown(outgoing.shows, sent["message_id"])
                return

    async def _shown(self, nonce: str, message: int) -> None:
        """Note what a message shows. Nothing may fail here: the message would be sent again."""
        with contextlib.suppress(FencedOut):  # the receipt will find out as well
            try:
                if await self._outbox.shown(self._fence, nonce, message):
                    await self.overtaken(nonce)
            except StoreError:
                log.exception("shown.failed", line=self._fence.line)

    async def _clear_to_send(self, chat: int) -> None:
        """Wait while the chat is frozen, the token is revoked, or the lease is not surely ours."""
        while (pause := self._pace.open_in(chat)) > 0:
            await self._clock.sleep(pause)
        while self._lease() < LEAST_LEASE:
            await self._clock.sleep(0.1)

    async def _call(self, outgoing: Outgoing) -> Any:
        payload = dict(outgoing.payload)
        if not outgoing.method.startswith("answer"):
            payload["chat_id"] = outgoing.chat
        self._pace.spend(outgoing.chat)
        seconds = min(SEND_SECONDS, self._lease())
        return await self._wire.call(outgoing.method, payload, timeout=seconds)

    async def _mend(self, outgoing: Outgoing, error: TelegramError, tries: int) -> Outgoing | None:
        """What to send next after a refusal; None where there is nothing left to send."""
        if isinstance(error, NotModified):
            return None
        if isinstance(error, Unauthorized):
            self.revoked.set()
            await asyncio.Event().wait()  # quarantined: the fleet closes this channel
        if isinstance(error, TooManyRequests):
            self._counters.add("send:429")
            self._pace.freeze(outgoing.chat, self._clock.monotonic() + error.retry_after)
            return outgoing
        if isinstance(error, NotSent):
            await self._pause(error, tries)
            return outgoing
        if isinstance(error, (FateUnknown, ServerFault)):
            self._counters.add("send:fate_unknown")
            await self._pause(error, tries)
            return parts.marked(outgoing)
        other = parts.other_way(outgoing, error)
        if other is None:
            self._give_up(outgoing, error)
        return other

    async def _pause(self, error: TelegramError, tries: int) -> None:
        pause = min(0.5 * 2 ** min(tries - 1, 8), LONGEST_PAUSE)
        log.warning("send.again", line=self._fence.line, error=str(error), pause=pause)
        await self._clock.sleep(pause)

    def _give_up(self, outgoing: Outgoing, error: TelegramError) -> None:
        kind = "unreachable" if isinstance(error, Unreachable) else "refused"
        self._counters.add(f"send:{kind}")
        log.warning(
            "send.given_up", line=self._fence.line, chat=outgoing.chat, error=str(error), kind=kind
        )

    # --- what is shed ---

    async def preview(
        self, address: Address, draft: int, markdown: str, message: int | None
    ) -> int | None:
        """Show a growing answer; its message id (0 for a draft), or None if there was no slot."""
        if not self._has_slot(address.chat):
            return None
        grown = markup.split(markup.render(markdown), markup.PART_LIMIT)
        if not grown:
            return None
        self._pace.spend(address.chat, preview=True)
        payload = parts.payload(address, grown[-1 if address.private else 0], None)
        if address.private:
            body = payload | {"draft_id": draft, "can_stop": True}
            await self._shed(address, "sendMessageDraft", body)
            return 0
        if message is None:
            sent = await self._shed(address, "sendMessage", payload)
            return int(sent["message_id"])
        await self._shed(address, "editMessageText", payload | {"message_id": message})
        return message

    async def typing(self, address: Address) -> None:
        """Show that an answer is coming, if there is a slot."""
        if not self._has_slot(address.chat):
            return
        self._pace.spend(address.chat)
        thread = {} if address.topic is None else {"message_thread_id": address.topic}
        await self._shed(address, "sendChatAction", {"action": "typing"} | thread)

    async def fetch(self, file: str, most: int) -> bytes:
        """A file by its id."""
        return await self._wire.download(file, most, timeout=SEND_SECONDS)

    def _has_slot(self, chat: int) -> bool:
        waiting = chat in self._chats
        return not waiting and self._pace.may_preview(chat) and self._lease() > LEAST_LEASE

    async def _shed(self, address: Address, method: str, payload: dict[str, Any]) -> Any:
        seconds = min(PREVIEW_SECONDS, self._lease())
        try:
            return await self._wire.call(
                method, payload | {"chat_id": address.chat}, timeout=seconds
            )
        except NotModified:
            return {"message_id": payload.get("message_id", 0)}
        except TooManyRequests as error:
            self._pace.freeze(address.chat, self._clock.monotonic() + error.retry_after)
            raise
