"""Sends one part of the outbox: its calls and retries, and what is sent instead."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from bot.errors import StoreError
from bot.hosting.leases import MIN_LEASE_SECONDS, SecondsLeft
from bot.hosting.outbox_channel import FIRST_PAUSE, LONGEST_PAUSE, TOPIC, SendResult
from bot.messages import Address, Clock, Fence, OutboxItem, OutgoingPart, PartKind, RichText
from bot.ops.logging import Counters
from bot.ops.redaction import Secrets
from bot.ops.tasks import backoff, wait_first
from bot.safety.output_filter import shows_secret
from bot.store.outbox import Failures, Outbox
from bot.telegram import errors
from bot.telegram.client import TelegramClient
from bot.telegram.markdown import renderer
from bot.telegram.markdown.split import split
from bot.telegram.rate_limit import ChatRateLimiter

METHODS: dict[PartKind, str] = {
    "message": "sendMessage",
    "edit": "editMessageText",
    "clear_keyboard": "editMessageReplyMarkup",
    "callback_answer": "answerCallbackQuery",
}
UNLESS_GONE = "allow_sending_without_reply"
PREVIEWED = frozenset({"sendMessage", "editMessageText"})
"""Methods we call after which Telegram fetches the first link of the text, if allowed."""

log = structlog.get_logger("channel")
SEND_SECONDS = 25.0
ASK_SECONDS = 8.0
LONGEST_BEFORE_A_COPY = 240.0
PLAIN_AFTER = 3
MOST_FAULTS = 8
"""After so many 5xx for one message, while others were sent, it is given up: in half a minute."""
LONGEST_WHILE_SERVED = 8.0
"""Seconds between two tries of a message after a 5xx, while others are sent."""
MOST_FAULTS_UNPROVEN = 40
"""The same if nothing was sent to others in the meantime: after about a quarter of an hour."""
MOST_FORMS = 6
"""So many forms of one message may be refused."""
MOST_COPIES = 20
"""After so many sends without an answer, while others were answered, it must be there. With their
pauses they take most of an hour: a bad network could lose fewer.
"""


def messages(markdown: str, secrets: Secrets) -> list[RichText]:
    """Markdown as the texts of messages, without secrets.

    A secret that two pieces of a long text would show together is looked for as well.
    """
    found = [without_secrets(rich, secrets) for rich in renderer.render_pieces(markdown)]
    if len(found) > 1 and shows_secret(whole := renderer.join(found), secrets):
        found = [without_secrets(RichText(whole.text), secrets)]
    return [part for rich in found for part in split(rich, renderer.PART_LIMIT)]


def without_secrets(rich: RichText, secrets: Secrets) -> RichText:
    """A text as people will see it, without secrets; where it had one, as plain text."""
    return RichText(secrets.redact(rich.text)) if shows_secret(rich, secrets) else rich


def text_payload(
    address: Address, rich: RichText, reply_to: int | None = None, *, link_previews: bool = False
) -> dict[str, Any]:
    """One message's JSON without its chat: text, entities, topic, what it replies to."""
    payload = _shown(rich)
    if link_previews:
        payload["link_preview_options"] = {"is_disabled": False}
    if address.topic is not None:
        payload[TOPIC] = address.topic
    if reply_to is not None:
        payload["reply_parameters"] = {"message_id": reply_to, UNLESS_GONE: True}
    return payload


def _shown(rich: RichText) -> dict[str, Any]:
    entities = {"entities": list(rich.entities)} if rich.entities else {}
    return {"text": rich.text, **entities}


def without_link_preview(method: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The payload of a call after which Telegram fetches no link, unless it says that it may.

    An edit needs it as well: without it, the first link would be fetched after all. A draft cannot
    have it and needs none: no link of it is fetched until the message is sent.
    """
    if method in PREVIEWED and "link_preview_options" not in payload:
        return {**payload, "link_preview_options": {"is_disabled": True}}
    return dict(payload)


def mark_repeated(part: OutgoingPart) -> OutgoingPart:
    """A message that may be there already, with the mark that says so; an edit needs none."""
    text = part.payload.get("text", "")
    if part.kind != "message" or text.startswith(renderer.MARK):
        return part
    rich = renderer.with_mark(RichText(text, tuple(part.payload.get("entities", ()))))
    return replace(part, payload=_without(part.payload, "entities") | _shown(rich))


def fallback_part(part: OutgoingPart, error: errors.TelegramError) -> OutgoingPart | None:
    """Another form of a refused part that may pass, so that nothing of an answer is lost."""
    payload = part.payload
    if isinstance(error, errors.ChatMigrated):
        moved = _without(payload, "message_id", "reply_parameters")
        there = replace(part, chat=error.to, payload=moved)
        if part.kind == "edit" and not part.best_effort:
            return replace(there, kind="message")
        return None if "message_id" in payload else there
    if isinstance(error, errors.MessageGone) and part.kind == "edit":
        if part.best_effort:
            return None
        return replace(part, kind="message", payload=_without(payload, "message_id"))
    if isinstance(error, errors.CannotParse) and "entities" in payload:
        return replace(part, payload=_without(payload, "entities"))
    if isinstance(error, errors.TopicGone) and TOPIC in payload:
        return _without_topic(part)
    return _plainer(part) if isinstance(error, errors.BadRequest) else None


def _without_topic(part: OutgoingPart) -> OutgoingPart | None:
    """A part for a chat whose topic is gone.

    A private chat shows it anyway. In a forum it goes where the message is that it replies
    to, if that is still there, and to no other topic.
    """
    payload = _without(part.payload, TOPIC)
    if part.chat > 0:
        return replace(part, payload=payload)
    if not (reply := payload.get("reply_parameters")):
        return None
    return replace(part, payload=payload | {"reply_parameters": _without(reply, UNLESS_GONE)})


def _plainer(part: OutgoingPart) -> OutgoingPart | None:
    """A part without what is not its text, step by step; an edit becomes a message in the end."""
    payload = part.payload
    extras = _decoration(payload)
    if part.tracks == "" and not extras & payload.keys():
        extras = {"reply_markup"}
    if extras & payload.keys():
        return replace(part, payload=_without(payload, *extras))
    if part.kind == "edit" and not part.best_effort:  # the growing answer stays above it
        return _as_message(part)
    return None


def _as_message(edit: OutgoingPart) -> OutgoingPart:
    """What an edit would show, as a message of its own."""
    payload = _without(edit.payload, "message_id")
    return mark_repeated(replace(edit, kind="message", payload=payload))


def _decoration(payload: Mapping[str, Any]) -> set[str]:
    """What a message may go without: its look, and its reply unless that alone says where to go."""
    reply = payload.get("reply_parameters", {UNLESS_GONE: True})
    return {"entities", "reply_parameters"} if UNLESS_GONE in reply else {"entities"}


def _without(payload: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name not in keys}


@dataclass(slots=True)
class _Tries:
    """How sending one part, whose id is `item`, went so far, since a monotonic time.

    `faults` counts 5xx while Telegram answered otherwise, `forms` the refused forms of the part;
    `refusal` is what Telegram said to the first of them. `served`: others were sent something
    meanwhile. Once `recalled`, the counts are those of earlier owners of the line as well.
    """

    item: str
    began: float
    unwanted: asyncio.Event
    failed: int = 0
    unanswered: int = 0
    faults: int = 0
    served: bool = False
    recalled: bool = False
    forms: int = 0
    refusal: str = ""

    @property
    def faults_left(self) -> int:
        """How many 5xx are still borne; few where the people there asked for an end."""
        if self.unwanted.is_set():
            return PLAIN_AFTER - self.faults
        return (MOST_FAULTS if self.served else MOST_FAULTS_UNPROVEN) - self.faults


@dataclass(slots=True, repr=False)
class TelegramSender:
    """Sends the parts of one bot's line, as far as its lease goes."""

    fence: Fence
    client: TelegramClient
    seconds_left: SecondsLeft
    rate_limit: ChatRateLimiter
    clock: Clock
    counters: Counters
    outbox: Outbox
    _failing: dict[int, _Tries] = field(init=False, default_factory=dict)
    _sent_at: float = field(init=False, default=-math.inf)

    async def send(self, item: OutboxItem) -> SendResult:
        """Send one part until it is sent or never can be; raises Unauthorized."""
        part = mark_repeated(item.part) if item.maybe_sent else item.part
        tries = _Tries(item.id, self.clock.monotonic(), item.unwanted)
        try:
            return await self._send(part, tries)
        finally:
            self._failing.pop(part.chat, None)

    async def _send(self, part: OutgoingPart, tries: _Tries) -> SendResult:
        chat = part.chat
        while True:
            while (pause := self.rate_limit.blocked_for(part.chat)) > 0:
                await self.clock.sleep(pause)
            while self.seconds_left() < MIN_LEASE_SECONDS:
                await self.clock.sleep(0.1)
            try:
                sent = await self._call(part)
            except errors.NotModified:
                return SendResult(part.chat)
            except errors.Unauthorized:
                raise
            except errors.TelegramError as error:
                tries.failed += not isinstance(error, errors.TooManyRequests)
                self._failing[chat] = tries
                next_part = await self._next_attempt(error, part, tries)
                if next_part is None:
                    return self._given_up(error, part, tries)
                if tries.unanswered >= MOST_COPIES:
                    self.counters.add("send:unanswered")
                    how = {"chat": chat, "times": tries.unanswered}
                    log.error("send.unanswered", line=self.fence.line, **how)
                    return SendResult(part.chat)
                part = next_part
            else:
                self.counters.add("sent")
                self._sent_at = self.clock.monotonic()
                return SendResult(part.chat, message_id(sent))

    async def block(self, chat: int, seconds: float) -> None:
        """Send nothing to a chat for some seconds, also if another host owns the line by then."""
        self.rate_limit.block_until(chat, self.clock.monotonic() + seconds)
        if seconds > 0:
            with contextlib.suppress(StoreError):  # the receipt will find out as well
                await self.outbox.block_chat(self.fence, chat, seconds)

    def is_failing(self, chat: int) -> bool:
        """Whether the part that is being sent to a chat has failed again and again."""
        tries = self._failing.get(chat)
        return tries is not None and tries.failed >= PLAIN_AFTER

    async def _call(self, part: OutgoingPart) -> Any:
        method = METHODS[part.kind]
        payload = without_link_preview(method, part.payload)
        if part.kind != "callback_answer":
            payload["chat_id"] = part.chat
        self.rate_limit.record(part.chat)
        seconds = min(SEND_SECONDS, self.seconds_left())
        return await self.client.call(method, payload, timeout=seconds)

    async def _next_attempt(
        self, error: errors.TelegramError, part: OutgoingPart, tries: _Tries
    ) -> OutgoingPart | None:
        """Pause as the failure asks; then what to send next, None where nothing can be sent."""
        match error:
            case errors.TooManyRequests():
                self.counters.add("send:429")
                await self.block(part.chat, error.retry_after)
                return part
            case errors.NotSent():
                await self._pause(error, tries.failed)
                return part
            case errors.FateUnknown():
                self.counters.add("send:fate_unknown")
                tries.unanswered += 1
                await self._keep(tries, part)
                await self._pause(error, tries.failed, LONGEST_BEFORE_A_COPY)
                await self._wait_until_reachable()
                return mark_repeated(part)
            case errors.ServerFault():
                self.counters.add("send:fate_unknown")
                return await self._after_fault(error, part, tries)
        tries.forms += 1
        tries.refusal = tries.refusal or error.description
        return fallback_part(part, error) if tries.forms < MOST_FORMS else None

    async def _after_fault(
        self, error: errors.ServerFault, part: OutgoingPart, tries: _Tries
    ) -> OutgoingPart | None:
        """What to send after a 5xx, which may be the fault of Telegram or of this one message.

        It is the message's where Telegram answers otherwise, above all where it took what was sent
        to others meanwhile.
        """
        if await self._unreachable() is None:
            tries.faults += 1
            await self._keep(tries, part)
        if tries.faults_left <= 0:
            return None
        wake = tries.unwanted if tries.faults >= PLAIN_AFTER else None
        longest = LONGEST_WHILE_SERVED if tries.served else LONGEST_PAUSE
        await self._pause(error, tries.failed, longest, wake)
        if tries.faults_left <= 0:
            return None
        again = mark_repeated(part)
        if tries.faults < PLAIN_AFTER:
            return again
        enough = tries.served or tries.faults >= MOST_FAULTS
        if enough and part.kind == "edit" and not part.best_effort:
            return _as_message(part)
        return replace(again, payload=_without(again.payload, *_decoration(again.payload)))

    async def _keep(self, tries: _Tries, part: OutgoingPart) -> None:
        """Keep the counts with the part, so that a restart does not reset them.

        A part that never fails in this way is never looked up.
        """
        line = self.fence.line
        tries.served |= self._sent_at > tries.began or part.may_be_left_out
        with contextlib.suppress(StoreError):  # they count from the start of this host, then
            if not tries.recalled:
                before = await self.outbox.failures(line, tries.item)
                tries.faults += before.faults
                tries.unanswered += before.unanswered
                tries.failed += before.faults + before.unanswered
                tries.served |= before.served
                tries.recalled = True
            found = Failures(tries.faults, tries.unanswered, tries.served)
            await self.outbox.note_failures(self.fence, tries.item, found)

    def _given_up(
        self, error: errors.TelegramError, part: OutgoingPart, tries: _Tries
    ) -> SendResult:
        refused = not isinstance(error, errors.Unreachable)
        closed = isinstance(error, errors.ChatClosed)
        kind = "refused" if refused else "unreachable"
        self.counters.add(f"send:{kind}")
        words = {"error": str(error), "kind": kind, "cause": error.cause, "tries": tries.failed}
        log.warning("send.given_up", line=self.fence.line, chat=part.chat, **words)
        said = f"Telegram refused it: {tries.refusal or error.description}"
        return SendResult(part.chat, undeliverable=said, refused=refused, closed=closed)

    async def _unreachable(self) -> errors.TelegramError | None:
        """Why Telegram answers this bot nothing at all; None where it answers, even to refuse."""
        try:
            await self.client.call("getMe", {}, timeout=ASK_SECONDS)
        except (errors.FateUnknown, errors.NotSent, errors.ServerFault) as error:
            return error
        except errors.TelegramError:
            return None
        return None

    async def _wait_until_reachable(self) -> None:
        """Wait until Telegram answers anything.

        While answers get lost, each repetition would be one more copy for the person.
        """
        failures = 0
        while error := await self._unreachable():
            failures += 1
            await self._pause(error, failures)

    async def _pause(
        self,
        error: errors.TelegramError,
        failures: int,
        longest: float = LONGEST_PAUSE,
        wake: asyncio.Event | None = None,
    ) -> None:
        pause = backoff(failures, FIRST_PAUSE, longest)
        log.warning("send.retry", line=self.fence.line, error=str(error), pause=pause)
        await wait_first(self.clock.sleep(pause), *([wake] if wake else []))


def message_id(sent: Any) -> int | None:
    """The id of the message that a call has made or edited; None where the answer has none."""
    found = sent.get("message_id") if isinstance(sent, dict) else None
    return found if isinstance(found, int) else None
