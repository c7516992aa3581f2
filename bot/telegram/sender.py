"""Sends one part of an outbox until it is there, or until it is plain that it never can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from bot.hosting.leases import MIN_LEASE_SECONDS, SecondsLeft
from bot.hosting.outbox_channel import LONGEST_PAUSE, SendResult, retry_pause
from bot.messages import Clock, OutboxItem, OutgoingPart
from bot.ops.counters import Counters
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
from bot.telegram.parts import METHODS, fallback_part, mark_repeated, without_link_preview
from bot.telegram.rate_limit import ChatRateLimiter

log = structlog.get_logger("channel")

SEND_SECONDS = 25.0
ASK_SECONDS = 8.0
LONGEST_BEFORE_A_COPY = 240.0
MOST_COPIES = 20
"""After so many sends to which no answer came, while others were answered, it surely is there.

With their pauses they take the better part of an hour: fewer could all be lost by a bad network.
"""


@dataclass(slots=True, repr=False)
class TelegramSender:
    """Sends the parts of one bot's line, as far as its lease goes."""

    line: str
    client: TelegramClient
    seconds_left: SecondsLeft
    rate_limit: ChatRateLimiter
    clock: Clock
    counters: Counters

    async def send(self, item: OutboxItem) -> SendResult:
        """Send one part until it is sent or never can be; raises Unauthorized."""
        part = mark_repeated(item.part) if item.maybe_sent else item.part
        attempts = unanswered = 0
        while True:
            await self._wait_until_clear(part.chat)
            try:
                sent = await self._call(part)
            except NotModified:
                return SendResult(part.chat)
            except Unauthorized:
                raise
            except TelegramError as error:
                attempts += 1
                unanswered += isinstance(error, FateUnknown)
                next_part = await self._next_attempt(error, part, attempts)
                if next_part is None:
                    return SendResult(part.chat, undeliverable=True)
                if unanswered >= MOST_COPIES:
                    self.counters.add("send:unanswered")
                    log.error("send.unanswered", line=self.line, chat=part.chat, times=unanswered)
                    return SendResult(part.chat)
                part = next_part
            else:
                self.counters.add("sent")
                return SendResult(part.chat, message_id(sent))

    async def _wait_until_clear(self, chat: int) -> None:
        """Wait while the chat is blocked, or the lease is not surely ours."""
        while (pause := self.rate_limit.blocked_for(chat)) > 0:
            await self.clock.sleep(pause)
        while self.seconds_left() < MIN_LEASE_SECONDS:
            await self.clock.sleep(0.1)

    async def _call(self, part: OutgoingPart) -> Any:
        method = METHODS[part.kind]
        payload = without_link_preview(method, part.payload)
        if part.kind != "callback_answer":
            payload["chat_id"] = part.chat
        self.rate_limit.record(part.chat)
        return await self.client.call(
            method, payload, timeout=min(SEND_SECONDS, self.seconds_left())
        )

    async def _next_attempt(
        self, error: TelegramError, part: OutgoingPart, attempts: int
    ) -> OutgoingPart | None:
        """Pause as the failure asks; then what to send next, None where nothing can be sent."""
        if isinstance(error, TooManyRequests):
            self.counters.add("send:429")
            self.rate_limit.block_until(part.chat, self.clock.monotonic() + error.retry_after)
            return part
        if isinstance(error, NotSent):
            await self._pause(error, attempts)
            return part
        if isinstance(error, FateUnknown | ServerFault):
            self.counters.add("send:fate_unknown")
            if isinstance(error, FateUnknown):
                await self._pause(error, attempts, LONGEST_BEFORE_A_COPY)
                await self._wait_until_reachable()
            else:
                await self._pause(error, attempts)
            return mark_repeated(part)
        other = fallback_part(part, error)
        if other is None:
            kind = "unreachable" if isinstance(error, Unreachable) else "refused"
            self.counters.add(f"send:{kind}")
            log.warning(
                "send.given_up", line=self.line, chat=part.chat, error=str(error), kind=kind
            )
        return other

    async def _wait_until_reachable(self) -> None:
        """Wait until Telegram answers anything.

        While answers are lost on their way, each repetition would be one more copy for the person.
        """
        failures = 0
        while True:
            try:
                await self.client.call("getMe", {}, timeout=ASK_SECONDS)
            except (FateUnknown, NotSent, ServerFault) as error:
                failures += 1
                await self._pause(error, failures)
            except TelegramError:
                return
            else:
                return

    async def _pause(
        self, error: TelegramError, failures: int, longest: float = LONGEST_PAUSE
    ) -> None:
        pause = retry_pause(failures, longest)
        log.warning("send.retry", line=self.line, error=str(error), pause=pause)
        await self.clock.sleep(pause)


def message_id(sent: Any) -> int | None:
    """The id of the message that a call has made or edited; None where the answer has none."""
    found = sent.get("message_id") if isinstance(sent, dict) else None
    return found if isinstance(found, int) else None
