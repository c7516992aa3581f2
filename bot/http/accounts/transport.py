"""An HTTP conversation as a line: what its inbox holds, and how its answers go to event streams."""

# ruff: noqa: ARG002 there is neither a chat nor a preview that most calls of a channel are about
from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Literal

import orjson

from bot.approvals.cards import QuestionCards
from bot.approvals.view import CARDS
from bot.hosting.leases import MIN_LEASE_SECONDS
from bot.hosting.outbox_channel import ChannelServices, OutboxChannel, SendResult
from bot.hosting.transport import Accept, Ownership
from bot.messages import (
    WAITING,
    Address,
    Buttons,
    CallbackPress,
    Decoded,
    IncomingMessage,
    OutboxItem,
    OutgoingPart,
    PersonId,
    Signal,
    Specialization,
    TaskContext,
    TurnSummary,
    User,
)
from bot.store.events import AnswerStream, EventLog
from bot.store.sessions import SessionStore
from registry.binding import BotIdentity

NOBODY = BotIdentity("", 0)
"""In place of a bot: bindings never match it."""


@dataclass(frozen=True, slots=True)
class HttpUpdate:
    """What is accepted into a conversation over HTTP: a message, a stop, an answer to a question.

    `text` is the message, or the data of the button that was pressed. `turn` names the event
    stream; `grows`: whether somebody reads it while the answer is made. `preset` is laid over the
    agent, as `<owner>/<id>`.
    """

    kind: Literal["message", "stop", "press"]
    person: User
    instance: str
    turn: str
    text: str = ""
    at: int = 0
    grows: bool = True
    reason: str | None = None
    context: TaskContext | None = None
    preset: str | None = None

    def dump(self) -> bytes:
        """The update as the inbox holds it."""
        if self.preset is not None:
            return orjson.dumps(self)
        fields = {one.name: getattr(self, one.name) for one in dataclass_fields(self)}
        del fields["preset"]  # a host of an earlier release does not know it
        return orjson.dumps(fields)

    @property
    def address(self) -> Address:
        """Where the answer goes."""
        return Address(
            0, 0, instance=self.instance, stream=self.turn, grows=self.grows, preset=self.preset
        )


def load_update(raw: bytes) -> HttpUpdate:
    """An update as `dump` wrote it."""
    body: dict[str, Any] = orjson.loads(raw)
    body["person"] = User(**body["person"])
    if context := body.get("context"):
        context["specialization"] = Specialization(**context["specialization"])
        body["context"] = TaskContext(**context)
    return HttpUpdate(**body)


def decode_update(raw: bytes) -> Decoded:
    """What a stored update means."""
    update = load_update(raw)
    if update.kind == "message":
        at = update.address
        person, text = update.person, update.text
        return IncomingMessage(at, person, 0, update.at, text=text, context=update.context)
    if update.kind == "stop":
        return Signal(update.address, "stop", update.person)
    return CallbackPress(update.address, update.person, "", update.text, reason=update.reason)


class HttpTransport:
    """Implements `Transport` for one conversation; nothing is received: any host accepts for it."""

    has_groups = False
    identity = NOBODY
    state = "serving"
    last_success: float | None = None

    def __init__(
        self,
        line: str,
        events: EventLog,
        sessions: SessionStore,
        services: ChannelServices,
        cards: QuestionCards,
    ) -> None:
        self.line = line
        self._events = events
        self._sessions = sessions
        self._services = services
        self._cards = cards

    async def identify(self) -> None:
        """Nobody has to be asked."""

    def decode(self, raw: bytes) -> Decoded:
        """What a stored update means."""
        return decode_update(raw)

    def open_channel(self, owned: Ownership) -> HttpChannel:
        """The way to the event streams of a conversation."""
        return HttpChannel(self._events, self._sessions, owned, self._services, self._cards)

    async def receive(self, accept: Accept) -> None:
        """Wait: other hosts tell of what they accept."""
        await asyncio.Event().wait()

    async def show_menu(self, person: int | None = None) -> None:
        """There is none."""


class HttpChannel(OutboxChannel):
    """Writes the answers of one conversation into the event streams of its turns."""

    def __init__(
        self,
        events: EventLog,
        sessions: SessionStore,
        owned: Ownership,
        services: ChannelServices,
        cards: QuestionCards,
    ) -> None:
        super().__init__(owned, services)
        self._events = events
        self._cards = cards
        self._sessions = sessions
        self._secrets = services.secrets

    def render(
        self,
        address: Address,
        markdown: str,
        reply_to: int | None = None,
        edit: int | None = None,
        buttons: Buttons = (),
        *,
        link_previews: bool = False,
        summary: TurnSummary | None = None,
    ) -> list[OutgoingPart]:
        """One part: the whole answer in Markdown, as it goes into the stream of its turn."""
        payload: dict[str, Any] = {"stream": address.stream, "text": self._secrets.redact(markdown)}
        if summary is not None:
            payload["summary"] = summary.as_json()
            if summary.failure == markdown:  # a failure is an error event, not an answer
                payload["text"] = ""
        if buttons:
            payload["buttons"] = True
        return [OutgoingPart(0, "message", payload)]

    def callback_answer(self, press: CallbackPress, text: str) -> OutgoingPart:
        """What a press came to: nobody is shown it, the request itself says so."""
        return OutgoingPart(0, "callback_answer", {"stream": press.address.stream, "text": text})

    async def send(self, item: OutboxItem) -> SendResult:
        """Write one part into its stream; what is there already is not written again."""
        payload = item.part.payload
        if changed := payload.get(CARDS):
            await self._cards.update(changed)
        if item.part.kind != "message" or payload.get("stream") is None:
            return SendResult(0)
        while self._owned.seconds_left() <= MIN_LEASE_SECONDS:
            await self._clock.sleep(0.2)
        stream = self._events.stream(self._fence, payload["stream"])
        await stream.load()
        if item.part.tracks:
            question = {"id": item.part.tracks, "question": payload["text"]}
            await stream.note("approval", orjson.dumps(question).decode())
            await self._sessions.note_approval(self._fence.line, item.part.tracks)
            await self._cards.ask(self._fence.line, item.part.tracks)
        else:
            await self._end(stream, payload["text"], payload.get("summary") or {})
        return SendResult(0)

    async def _end(self, stream: AnswerStream, text: str, summary: Mapping[str, Any]) -> None:
        """The rest of the answer, and the end of the turn."""
        if stream.is_over:
            return
        if summary.get("outcome") == WAITING:
            if text.startswith(stream.text):
                await stream.extend(text)
            return
        failure, stored = summary.get("failure", ""), orjson.dumps(summary).decode()
        if failure:
            data = {"message": failure, "partial": bool(stream.text)}
            if kind := summary.get("error"):
                data["error_type"] = kind
            await stream.end(text, "error", orjson.dumps(data).decode(), stored)
        else:
            await stream.end(text, "done", "", stored)

    def held_up(self, chat: int) -> float:
        """Nothing holds a stream up."""
        return 0.0

    def frozen(self) -> list[float]:
        """No chat has to wait."""
        return []

    async def preview(
        self,
        address: Address,
        draft: int,
        markdown: str,
        message: int | None,
        *,
        link_previews: bool = False,
    ) -> int | None:
        """Nothing: a growing answer goes into its stream."""
        return None

    async def typing(self, address: Address) -> None:
        """Nothing: who reads a stream knows that an answer is coming."""

    async def show_seen(self, address: Address, message: int) -> None:
        """Nothing: the request was answered."""

    async def is_chat_admin(self, address: Address, person: PersonId) -> bool:
        """Nobody: who may decide for an account is known from their key."""
        return False

    async def has_left(self, address: Address, person: PersonId) -> bool:
        """Nobody leaves a conversation over HTTP."""
        return False

    async def fetch(self, file: str, most: int) -> bytes:
        """No file comes over HTTP yet."""
        raise NotImplementedError
