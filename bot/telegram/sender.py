"""One part of an outbox, sent until it is there, or until it is plain that it never can be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from bot.errors import FencedOut, StoreError
from bot.hosting.leases import LEAST_LEASE, SecondsLeft
from bot.messages import Clock, Fence, OutboxItem, OutgoingPart
from bot.ops.counters import Counters
from bot.store.outbox import Outbox
from bot.telegram import parts
from bot.telegram.client import TelegramClient
from bot.telegram.errors import (
    FateUnknown,
    NotModified,
    NotSent,
    ServerFault,
    TelegramError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from bot.telegram.rate_limit import ChatRateLimiter

log = structlog.get_logger("channel")

SEND_SECONDS = 25.0
ASK_SECONDS = 8.0
LONGEST_PAUSE = 30.0
LONGEST_BEFORE_A_COPY = 240.0
MOST_COPIES = 20
"""After so many sends to which no answer came, while others were answered, it surely is there.

With their pauses they take the better part of an hour: fewer could all be lost by a bad network.
"""


async def _nothing(_nonce: str) -> None:
    """For a sender that nobody wants to hear of."""


def pause_after(failures: int, longest: float = LONGEST_PAUSE) -> float:
    """Seconds to wait after so many failures in a row."""
    return min(0.5 * 2.0 ** min(failures - 1, 10), longest)


class Sender:
    """Sends the parts of one bot's line, as far as its lease goes.

    `overtaken` hears of each sheet that was decided before the message that shows it was sent,
    `unasked` of each whose message the chat does not take; `revoked` is set
    once Telegram does not know the token any more.
    """

    def __init__(
        self,
        wire: TelegramClient,
        outbox: Outbox,
        fence: Fence,
        lease: SecondsLeft,
        clock: Clock,
        counters: Counters,
        pace: ChatRateLimiter,
    ) -> None:
        self._wire = wire
        self._outbox = outbox
        self._fence = fence
        self._lease = lease
        self._clock = clock
        self._counters = counters
        self._pace = pace
        self.revoked = asyncio.Event()
        self.overtaken: Callable[[str], Awaitable[None]] = _nothing
        self.unasked: Callable[[str], Awaitable[None]] = _nothing

    async def send(self, part: OutboxItem) -> None:
        """Send one part until it is sent, or until it is plain that it never can be."""
        outgoing = parts.mark_repeated(part.outgoing) if part.maybe_sent else part.outgoing
        tries = unknown = 0
        while True:
            await self._clear_to_send(outgoing.chat)
            try:
                sent = await self._call(outgoing)
            except TelegramError as error:
                tries += 1
                unknown += isinstance(error, FateUnknown)
                again = await self._mend(outgoing, error, tries)
                if again is None:
                    await self._never_shown(outgoing, error)
                if again is None or self._often_enough(outgoing, unknown):
                    return
                outgoing = again
            else:
                self._counters.add("sent")
                if outgoing.tracks:
                    await self._shown(outgoing, sent)
                return

    async def _never_shown(self, outgoing: OutgoingPart, error: TelegramError) -> None:
        """Tell that people will not see a sheet: the chat takes no message of ours."""
        if outgoing.tracks and not isinstance(error, NotModified):
            with contextlib.suppress(FencedOut):  # the receipt will find out as well
                await self.unasked(outgoing.tracks)

    async def _shown(self, outgoing: OutgoingPart, sent: Any) -> None:
        """Note what a message shows. Nothing may fail here: the message would be sent again."""
        nonce, chat = outgoing.tracks, outgoing.chat
        with contextlib.suppress(FencedOut):  # the receipt will find out as well
            try:
                message = parts.number("sendMessage", sent)
                if await self._outbox.mark_shown(self._fence, nonce, chat, message):
                    await self.overtaken(nonce)
            except (StoreError, FateUnknown):
                log.exception("shown.failed", line=self._fence.line)

    async def _clear_to_send(self, chat: int) -> None:
        """Wait while the chat is frozen, the token is revoked, or the lease is not surely ours."""
        while (pause := self._pace.open_in(chat)) > 0:
            await self._clock.sleep(pause)
        while self._lease() < LEAST_LEASE:
            await self._clock.sleep(0.1)

    async def _call(self, outgoing: OutgoingPart) -> Any:
        method = parts.METHODS[outgoing.kind]
        payload = parts.closed(method, dict(outgoing.payload))
        if outgoing.kind != "callback_answer":
            payload["chat_id"] = outgoing.chat
        self._pace.spend(outgoing.chat)
        seconds = min(SEND_SECONDS, self._lease())
        return await self._wire.call(method, payload, timeout=seconds)

    async def _mend(
        self, outgoing: OutgoingPart, error: TelegramError, tries: int
    ) -> OutgoingPart | None:
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
            if isinstance(error, FateUnknown):
                await self._pause(error, tries, LONGEST_BEFORE_A_COPY)
                await self._until_answered()
            else:
                await self._pause(error, tries)
            return parts.mark_repeated(outgoing)
        other = parts.other_way(outgoing, error)
        if other is None:
            self._give_up(outgoing, error)
        return other

    async def _until_answered(self) -> None:
        """Wait until Telegram answers at all.

        While answers are lost on their way, each repetition would be one more copy for the person.
        """
        failures = 0
        while True:
            try:
                await self._wire.call("getMe", {}, timeout=ASK_SECONDS)
            except (FateUnknown, NotSent, ServerFault) as error:
                failures += 1
                await self._pause(error, failures)
            except TelegramError:
                return
            else:
                return

    def _often_enough(self, outgoing: OutgoingPart, unknown: int) -> bool:
        """Whether a part was sent so often, each time with no answer, that it surely is there."""
        if unknown < MOST_COPIES:
            return False
        self._counters.add("send:unanswered")
        log.error("send.unanswered", line=self._fence.line, chat=outgoing.chat, times=unknown)
        return True

    async def _pause(
        self, error: TelegramError, tries: int, longest: float = LONGEST_PAUSE
    ) -> None:
        pause = pause_after(tries, longest)
        log.warning("send.again", line=self._fence.line, error=str(error), pause=pause)
        await self._clock.sleep(pause)

    def _give_up(self, outgoing: OutgoingPart, error: TelegramError) -> None:
        kind = "unreachable" if isinstance(error, Unreachable) else "refused"
        self._counters.add(f"send:{kind}")
        log.warning(
            "send.given_up", line=self._fence.line, chat=outgoing.chat, error=str(error), kind=kind
        )
