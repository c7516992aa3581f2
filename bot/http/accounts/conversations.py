"""Conversations with instances over HTTP: a message is accepted, its turn followed, or stopped.

Nothing runs here: a message goes into its conversation's inbox, and what comes back is read from
the turn's event stream. So any replica takes any request.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from bot.approvals.request import ALL, ApprovalRequest, callback_data
from bot.approvals.store import ApprovalStore
from bot.errors import SwitchboardError
from bot.http.accounts.history import HistoryMessage, history_of
from bot.http.accounts.reader import EventReader
from bot.http.accounts.transport import HttpUpdate
from bot.messages import Clock, Json, TaskContext, TurnRef, User
from bot.store.events import START, StoredEvent
from bot.store.journal import Journal
from bot.store.sessions import NewMessage, SessionStore, StoredSession, account_of, line_of

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an id of a session may be."""
TASK = "task:"
"""In front of a task's id: what stands for its session."""
CONVERSATION = "0"
"""The only conversation of a line of the HTTP API."""
DECIDE_SECONDS = 10.0
LOOK_SECONDS = 0.05
_EVENT_ID = re.compile(r"([0-9a-f]{24})-([0-9]{1,20}-[0-9]{1,20})")
HISTORY_RECORDS = 2_000

Kind = Literal["message", "tool", "approval", "done", "error", "heartbeat"]
Decision = Literal["approve", "deny"]


class SessionNotFound(SwitchboardError):
    """There is no such session for this caller and this instance."""


class MessageReused(SwitchboardError):
    """The Idempotency-Key of a request belongs to another message."""


class NotAllowed(SwitchboardError):
    """The caller may not answer this question."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who talks over HTTP: the person, their name for the model, and whose their sessions are.

    `key` is the id of the API key that pays. `may_decide`: whether they may answer what agents of
    the account ask; `is_named` is False where a key names no person.
    """

    person: str
    name: str
    owner: str
    account: str
    key: str | None = None
    may_decide: bool = False
    is_named: bool = True

    @property
    def user(self) -> User:
        """The person as a turn knows them."""
        return User(
            self.person,
            self.name,
            key=self.key,
            may_decide=self.may_decide,
            is_named=self.is_named,
        )


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that was accepted, by its turn; `repeated` where it was accepted before."""

    turn: str
    session: str
    instance: str
    line: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """An event as it goes to a client; heartbeats have neither id nor data."""

    id: str
    kind: Kind
    data: str

    @property
    def is_last(self) -> bool:
        """Whether the response ends with it."""
        return self.kind in ("done", "error")


@dataclass(frozen=True, slots=True)
class TurnAnswer:
    """What a turn came to: `text` is the answer, or what there is of it.

    `failure` says why there is no whole one; `approval` what people must decide first. `summary` is
    that of the stream's last event, see `bot.messages.TurnSummary`.
    """

    text: str
    summary: Json = field(default_factory=dict)
    failure: str = ""
    approval: Json | None = None


def turn_id(account: str, key: str, text: str) -> str:
    """The id of the turn of a request with this `Idempotency-Key`."""
    return hashlib.sha256(f"{account}\n{key}\n{text}".encode()).hexdigest()[:24]


def parse_event_id(text: str) -> tuple[str, str] | None:
    """The turn and the entry in a `Last-Event-ID`; None where it is not one of ours."""
    found = _EVENT_ID.fullmatch(text.strip())
    return (found[1], found[2]) if found else None


@dataclass(slots=True, repr=False)
class Conversations:
    """The conversations of all accounts over HTTP; `look` has a line served on this host."""

    sessions: SessionStore
    reader: EventReader
    journal: Journal
    requests: ApprovalStore
    clock: Clock
    look: Callable[[str], None]

    # --- sending ---

    async def send(
        self,
        asker: Asker,
        instance: str,
        text: str,
        *,
        session: str | None = None,
        idempotency: str | None = None,
        grows: bool = True,
    ) -> SentMessage:
        """Accept a message into a session, which is made where there is none.

        With an `idempotency` key the same message is accepted once. `grows`: somebody will read the
        answer while it is made. Raises SessionNotFound, MessageReused and StoreUnavailable.
        """
        turn, made = secrets.token_hex(12), secrets.token_urlsafe(16)
        if idempotency is not None:  # a repeat must find the same session
            turn = made = turn_id(asker.account, asker.owner, idempotency)
        session = session or made
        if not SESSION.fullmatch(session):
            raise SessionNotFound
        update = HttpUpdate("message", asker.user, instance, turn, text, grows=grows)
        return await self._accept(asker, session, update)

    async def begin_task(
        self,
        asker: Asker,
        instance: str,
        text: str,
        *,
        context: TaskContext,
        idempotency: str | None = None,
        grows: bool = True,
    ) -> SentMessage:
        """Accept a task: a message in a line of its own, `api:<account>:task:<id>`.

        Raises MessageReused and StoreUnavailable.
        """
        turn = secrets.token_hex(12)
        if idempotency is not None:
            turn = turn_id(asker.account, asker.owner, idempotency)
        update = HttpUpdate(
            "message", asker.user, instance, turn, text, grows=grows, context=context
        )
        return await self._accept(asker, TASK + turn, update)

    async def _accept(self, asker: Asker, session: str, update: HttpUpdate) -> SentMessage:
        line = line_of(asker.account, session)
        turn, instance = update.turn, update.instance
        update = replace(update, at=int(self.clock.wall()))
        # What a repeat must not change.
        said = orjson.dumps([instance, session, update.text, update.context])
        digest = hashlib.sha256(said).hexdigest()[:16]
        message = NewMessage(turn, digest, update.dump(), update.at)
        outcome = await self.sessions.accept(line, StoredSession(asker.owner, instance), message)
        if outcome == "foreign":
            raise SessionNotFound
        if outcome == "reused":
            raise MessageReused
        self.look(line)
        return SentMessage(turn, session, instance, line, repeated=outcome == "repeated")

    async def repeated(self, asker: Asker, idempotency: str) -> SentMessage | None:
        """The message that this caller sent with an Idempotency-Key before, if they did."""
        return await self.find(asker, turn_id(asker.account, asker.owner, idempotency))

    async def find(self, asker: Asker, turn: str) -> SentMessage | None:
        """A turn in a session of the caller; None where it is nobody's, or another's."""
        line = await self.sessions.line_of_turn(turn)
        if line is None or account_of(line) != asker.account:
            return None
        held = await self.sessions.find(line)
        if held is None or held.owner != asker.owner:
            return None
        self.look(line)
        return SentMessage(turn, _session_of(line), held.instance, line, repeated=True)

    # --- following ---

    async def follow(
        self, sent: SentMessage, after: str = START
    ) -> AsyncGenerator[TurnEvent, None]:
        """The events of a turn after an entry, up to the one that ends the response."""
        following = self.reader.follow(sent.line, sent.turn, after, is_new=not sent.repeated)
        async with aclosing(following) as events:
            async for event in events:
                if event is None:
                    yield TurnEvent("", "heartbeat", "")
                    continue
                data = event.data
                if event.kind == "approval":
                    data = orjson.dumps(await self._question(sent.line, event.data)).decode()
                kind: Kind = "error" if event.kind == "partial" else event.kind
                yield TurnEvent(f"{sent.turn}-{event.id}", kind, data)
                if kind in ("done", "error"):
                    return

    async def answer(self, sent: SentMessage) -> TurnAnswer:
        """Wait for the end of a turn, or until it waits for people."""
        pieces: list[str] = []
        events = self.reader.events
        new = not sent.repeated
        async with aclosing(self.reader.follow(sent.line, sent.turn, is_new=new)) as following:
            async for event in following:
                if event is None:
                    continue
                if event.kind == "message":
                    pieces.append(event.data)
                elif event.kind == "partial":
                    pieces = []
                elif event.kind == "approval":
                    question = await self._question(sent.line, event.data)
                    newer = await events.read(sent.line, sent.turn, event.id)
                    if question.get("status") == "pending" and not newer:
                        return TurnAnswer("".join(pieces), approval=question)
                elif event.kind in ("done", "error"):
                    return _answer("".join(pieces), event)
        return TurnAnswer("", failure="This answer is not kept any more.")

    async def _question(self, line: str, data: str) -> Json:
        """What an event asks, with what is known of the request now."""
        asked: dict[str, Any] = orjson.loads(data)
        request = await self.requests.load(line, asked["id"])
        return question_of(request) if request else asked | {"status": "gone"}

    # --- what else a caller may do ---

    async def stop(self, asker: Asker, turn: str) -> bool:
        """Stop a turn of the caller; False where it is not theirs, or over."""
        sent = await self.find(asker, turn)
        if sent is None or await self.reader.is_over(sent.line, turn):
            return False
        update = HttpUpdate("stop", asker.user, sent.instance, turn)
        await self.sessions.signal(sent.line, f"stop:{turn}", update.dump())
        self.look(sent.line)
        return True

    async def history(
        self, asker: Asker, instance: str, session: str, limit: int
    ) -> list[HistoryMessage] | None:
        """The newest messages of a session, oldest first; None where it is not the caller's."""
        if not SESSION.fullmatch(session):
            return None
        line = line_of(asker.account, session)
        held = await self.sessions.find(line)
        if held is None or (held.owner, held.instance) != (asker.owner, instance):
            return None
        records = await self.journal.newest(
            line, TurnRef("", CONVERSATION, instance), HISTORY_RECORDS
        )
        return history_of(records)[-limit:]

    async def approvals(self, asker: Asker) -> list[Json]:
        """The open questions that the caller may see: their own, or all of an account."""
        found: list[Json] = []
        for nonce, line in (await self.sessions.approvals(asker.account)).items():
            request = await self.requests.load(line, nonce)
            if request is None or request.closed or not request.pending:
                await self.sessions.forget_approval(asker.account, nonce)
            elif await self._sees(asker, line):
                found.append(question_of(request))
        return found

    async def decide(
        self, asker: Asker, nonce: str, decision: Decision, reason: str
    ) -> Json | None:
        """Answer a question; what it came to, None where the caller sees no such question.

        Raises NotAllowed where they may see it, but not answer.
        """
        line = (await self.sessions.approvals(asker.account)).get(nonce)
        if line is None or not await self._sees(asker, line):
            return None
        request = await self.requests.load(line, nonce)
        if request is None:
            return None
        if not self._may_decide(asker, request):
            raise NotAllowed
        if request.pending and not request.closed:
            choice: Literal["once", "deny"] = "once" if decision == "approve" else "deny"
            data, turn = callback_data(nonce, ALL, choice), request.address.stream or ""
            update = HttpUpdate(
                "press", asker.user, request.address.instance or "", turn, data, reason=reason
            )
            await self.sessions.signal(line, f"press:{secrets.token_hex(8)}", update.dump())
            self.look(line)
            request = await self._decided(line, nonce, request)
        return question_of(request)

    async def _decided(self, line: str, nonce: str, request: ApprovalRequest) -> ApprovalRequest:
        """A request once its calls are decided, or as it is after a while."""
        until = self.clock.monotonic() + DECIDE_SECONDS
        while request.pending and not request.closed and self.clock.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            request = await self.requests.load(line, nonce) or request
        return request

    async def _sees(self, asker: Asker, line: str) -> bool:
        held = await self.sessions.find(line)
        return held is not None and (asker.may_decide or held.owner == asker.owner)

    def _may_decide(self, asker: Asker, request: ApprovalRequest) -> bool:
        is_own = request.asker.id == asker.person and asker.is_named
        return asker.may_decide or ("asker" in request.approvers and is_own)


def _session_of(line: str) -> str:
    return line.split(":", 2)[2]


def _answer(text: str, event: StoredEvent) -> TurnAnswer:
    summary: Json = orjson.loads(event.summary) if event.summary else {}
    failure = orjson.loads(event.data)["message"] if event.kind == "error" else ""
    return TurnAnswer(text, summary, failure)


_OUTCOMES = {"granted": "approved", "pending": "pending"}


def question_of(request: ApprovalRequest) -> Json:
    """A request as clients see it: what is asked, of which turn, until when, and its outcome."""
    states: Sequence[str] = [_OUTCOMES.get(call.state, call.state) for call in request.calls]
    status = "pending" if "pending" in states and not request.closed else states[0]
    calls = [
        {"tool": call.key, "description": call.description, "status": state}
        for call, state in zip(request.calls, states, strict=True)
    ]
    return {
        "id": request.nonce,
        "output_id": request.address.stream,
        "person": request.asker.name,
        "instance": request.address.instance,
        "status": status,
        "calls": calls,
        "approvers": [one for one in request.approvers if isinstance(one, str)],
        "expires_at": request.expires_at,
        "reason": request.reason or None,
    }
