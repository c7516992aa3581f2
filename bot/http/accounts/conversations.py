"""Conversations with instances over HTTP: a message is accepted, its turn followed, or stopped.

Nothing runs here: a message goes into its conversation's inbox, and what comes back is read from
the turn's event stream. So any replica takes any request.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from bot.approvals.request import ALL, ApprovalDecision, ApprovalRequest, callback_data
from bot.approvals.store import ApprovalStore
from bot.errors import SwitchboardError
from bot.http.accounts.artifacts import ArtifactLinks
from bot.http.accounts.history import EarlierMessage, HistoryMessage, history_of, records_of
from bot.http.accounts.reader import EventReader
from bot.http.accounts.transport import HttpUpdate
from bot.messages import Clock, Json, TaskContext, TurnRef, User
from bot.store.events import START, StoredEvent
from bot.store.journal import Journal, Record
from bot.store.sessions import (
    CONVERSATION,
    ONCE,
    TASK,
    WEBHOOK,
    NewMessage,
    SessionStore,
    StoredSession,
    account_of,
    is_task,
    line_of,
    session_of,
)
from bot.turn.artifacts import artifacts_in

SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What an id of a session may be."""
DECIDE_SECONDS = 10.0
LOOK_SECONDS = 0.05
_EVENT_ID = re.compile(r"([0-9a-f]{24})-([0-9]{1,20}-[0-9]{1,20})")
HISTORY_RECORDS = 2_000
CALL_RECORDS = 50
"""Of the newest records, among which a call is that waits for an answer."""
NOT_KEPT = "This answer is not kept any more."

Kind = Literal["message", "tool", "approval", "done", "error", "heartbeat"]
Decision = Literal["approve", "deny"]


class SessionNotFound(SwitchboardError):
    """There is no such session for this caller and this instance."""


class MessageReused(SwitchboardError):
    """The Idempotency-Key of a request belongs to another message."""


class NotAllowed(SwitchboardError):
    """The caller may not answer this question."""


class DecidedBefore(SwitchboardError):
    """The question was answered before, or nobody may answer it any more; `status` says which."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Asker:
    """Who talks over HTTP: the person, their name for the model, and whose their sessions are.

    `key` is the id of the API key that pays. `may_decide`: whether they may answer what agents of
    the account ask; `is_named` is False where the key itself names no person. `writes` are the
    tiers of the operator's account that they may write.
    """

    person: str
    name: str
    owner: str
    account: str
    key: str | None = None
    may_decide: bool = False
    is_named: bool = True
    writes: frozenset[str] = frozenset()

    @property
    def task_owner(self) -> str:
        """Whose their tasks are: of a key, whomever it names as the person of one."""
        return f"key:{self.key}:" if self.key else self.owner

    def owner_of(self, line: str) -> str:
        """Whose a line is that they have begun."""
        return self.task_owner if is_task(line) else self.owner

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
    """A message that was accepted, by its turn; `repeated` where it was accepted before.

    `about` says more about a task; `at` is when its line began, in seconds since the epoch.
    """

    turn: str
    session: str
    instance: str
    line: str
    repeated: bool = False
    about: Json = field(default_factory=dict)
    at: int = 0


@dataclass(frozen=True, slots=True)
class TurnEvent:
    """An event as it goes to a client; heartbeats have neither id nor data.

    `summary` is that of the whole turn, in its last event: JSON of `bot.messages.TurnSummary`.
    """

    id: str
    kind: Kind
    data: str
    summary: str = ""


@dataclass(frozen=True, slots=True)
class TurnAnswer:
    """What a turn came to: `text` is the answer, or what there is of it.

    `failure` says why there is no whole one; `approval` what people must decide first. `summary` is
    that of the stream's last event, see `bot.messages.TurnSummary`. `ended_at` is when it ended, in
    milliseconds since the epoch; `artifacts` are the files that tools gave, as clients see them.
    """

    text: str
    summary: Json = field(default_factory=dict)
    failure: str = ""
    approval: Json | None = None
    ended_at: int = 0
    artifacts: Sequence[Json] = ()

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of the turn, as answers have them."""
        asked = self.summary.get("prompt_tokens", 0)
        said = self.summary.get("completion_tokens", 0)
        return {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
        }


def turn_id(account: str, key: str, text: str) -> str:
    """The id of the turn of a request with this `Idempotency-Key`."""
    return hashlib.sha256(f"{account}\n{key}\n{text}".encode()).hexdigest()[:24]


def parse_event_id(text: str) -> tuple[str, str] | None:
    """The turn and the entry in a `Last-Event-ID`; None where it is not one of ours."""
    found = _EVENT_ID.fullmatch(text.strip())
    return (found[1], found[2]) if found else None


@dataclass(slots=True, repr=False)
class Conversations:
    """The conversations of all accounts over HTTP; `look` has a line served on this host.

    `links` makes the addresses of artifacts.
    """

    sessions: SessionStore
    reader: EventReader
    journal: Journal
    requests: ApprovalStore
    clock: Clock
    look: Callable[[str], None]
    links: ArtifactLinks = field(default_factory=ArtifactLinks)

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
        before: Sequence[EarlierMessage] = (),
        context: TaskContext | None = None,
        once: bool = False,
        preset: str = "",
    ) -> SentMessage:
        """Accept a message into a session, which is made where there is none.

        With an `idempotency` key the same message is accepted once. `grows`: somebody will read the
        answer while it is made. `before` is what was said before, as the client tells it: a session
        that is made begins with it, one that is there has its own. `context` goes with the message.
        `once`: nothing follows in the session that is made without one, and it is not kept. A
        `preset` (`<owner>/<id>`) is laid over the agent. Raises SessionNotFound, MessageReused and
        StoreUnavailable.
        """
        turn, made = secrets.token_hex(12), secrets.token_urlsafe(16)
        if idempotency is not None:  # a repeat must find the same session
            turn = made = turn_id(asker.account, asker.owner, idempotency)
        if session is not None and not SESSION.fullmatch(session):
            raise SessionNotFound
        session = session or (ONCE + made if once else made)
        update = HttpUpdate(
            *("message", asker.user, instance, turn, text),
            grows=grows,
            context=context,
            preset=preset or None,
        )
        return await self._accept(asker, session, update, before=before)

    async def begin_task(
        self,
        asker: Asker,
        instance: str,
        text: str,
        *,
        context: TaskContext,
        about: Json | None = None,
        idempotency: str | None = None,
        grows: bool = True,
        preset: str = "",
    ) -> SentMessage:
        """Accept a task: a message in a line of its own, `api:<account>:task:<id>`.

        `about` is kept with it. Raises MessageReused and StoreUnavailable.
        """
        turn = secrets.token_hex(12)
        if idempotency is not None:
            turn = turn_id(asker.account, asker.task_owner, idempotency)
        update = HttpUpdate(
            *("message", asker.user, instance, turn, text),
            grows=grows,
            context=context,
            preset=preset or None,
        )
        try:
            return await self._accept(asker, TASK + turn, update, about)
        except SessionNotFound:  # the key was used for a task of another agent
            raise MessageReused from None

    async def _accept(
        self,
        asker: Asker,
        session: str,
        update: HttpUpdate,
        about: Json | None = None,
        before: Sequence[EarlierMessage] = (),
    ) -> SentMessage:
        line = line_of(asker.account, session)
        turn, instance = update.turn, update.instance
        update = replace(update, at=int(self.clock.wall()))
        # What a repeat must not change.
        hears = (about or {}).get(WEBHOOK)
        parts = [instance, session, update.text, update.context, before, hears]
        said = orjson.dumps([*parts, *filter(None, [update.preset])])
        digest = hashlib.sha256(said).hexdigest()[:16]
        records = records_of(before, update.person, update.at)
        message = NewMessage(turn, digest, update.dump(), update.at, records)
        stored = StoredSession(asker.owner_of(line), instance, about or {}, update.at)
        outcome = await self.sessions.accept(line, stored, message)
        if outcome == "foreign":
            raise SessionNotFound
        if outcome == "reused":
            raise MessageReused
        self.look(line)
        if outcome == "repeated":
            stored = await self.sessions.find(line) or stored
        of = (turn, session, instance, line, outcome == "repeated")
        return SentMessage(*of, stored.about, stored.at)

    async def find(self, asker: Asker, turn: str, *, look: bool = True) -> SentMessage | None:
        """A turn in a session of the caller; None where it is nobody's, or another's.

        With `look` its line is served at once, where something waits in it.
        """
        found = await self._found(asker.account, turn)
        if found is None or found[1].owner != asker.owner_of(found[0].line):
            return None
        if look:
            self.look(found[0].line)
        return found[0]

    async def of_account(self, account: str, turn: str) -> SentMessage | None:
        """A turn of anybody in an account: only for those who may see all of them."""
        found = await self._found(account, turn)
        return found[0] if found else None

    async def _found(self, account: str, turn: str) -> tuple[SentMessage, StoredSession] | None:
        line = await self.sessions.line_of_turn(turn)
        if line is None or account_of(line) != account:
            return None
        if (held := await self.sessions.find(line)) is None:
            return None
        of = (turn, session_of(line), held.instance, line, True)
        return SentMessage(*of, held.about, held.at), held

    # --- following ---

    async def follow(
        self, sent: SentMessage, after: str = START
    ) -> AsyncGenerator[TurnEvent, None]:
        """The events of a turn after an entry, up to the one that ends the response."""
        if after == START and (answer := await self.kept_answer(sent)):
            for one in _events_of(sent, answer):
                yield one
            return
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
                yield TurnEvent(f"{sent.turn}-{event.id}", kind, data, event.summary)
                if kind in ("done", "error"):
                    return

    async def answer(self, sent: SentMessage) -> TurnAnswer:
        """Wait for the end of a turn, or until it waits for people."""
        return await self.kept_answer(sent) or await self.told_answer(sent)

    async def told_answer(self, sent: SentMessage) -> TurnAnswer:
        """The same of a turn whose events are kept, or are still to come."""
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
                    return await self._listed(sent, _answer("".join(pieces), event))
        return TurnAnswer("", failure=NOT_KEPT)

    async def kept_answer(self, sent: SentMessage) -> TurnAnswer | None:
        """The answer of a turn whose events are not kept any more, from the journal.

        None where the turn has events, or is not over.
        """
        if not sent.repeated:
            return None
        now = await self.sessions.progress(sent.line, sent.turn)
        if now.newest is not None:
            return None
        found = await self.recorded_answer(sent)
        is_lost = found is None and not (now.state or now.waiting)
        return TurnAnswer("", failure=NOT_KEPT) if is_lost else found

    async def recorded_answer(self, sent: SentMessage) -> TurnAnswer | None:
        """The answer of a turn as the journal has it; None where its end is not there."""
        records = await self._records(sent)
        for record in records:
            if record.kind == "end":
                return await self._listed(sent, _recorded(record), records)
        return None

    async def _records(self, sent: SentMessage) -> list[Record]:
        """The records of a turn."""
        ref = TurnRef("", CONVERSATION, sent.instance)
        records = await self.journal.newest(sent.line, ref, HISTORY_RECORDS)
        names = {one.body["turn"] for one in records if one.body.get("stream") == sent.turn}
        return [one for one in records if one.body.get("turn") in names]

    async def _listed(
        self, sent: SentMessage, answer: TurnAnswer, records: Sequence[Record] | None = None
    ) -> TurnAnswer:
        """An answer with its artifacts; if others ended the turn, only its records have them."""
        told = answer.summary.get("artifacts")
        if not told and answer.summary.get("outcome") != "done":
            told = artifacts_in(await self._records(sent) if records is None else records)
        return replace(answer, artifacts=self.links.listed(told or ()))

    async def _question(self, line: str, data: str) -> Json:
        """What an event asks, with what is known of the request now."""
        asked: dict[str, Any] = orjson.loads(data)
        request = await self.requests.load(line, asked["id"])
        return await self.question(line, request) if request else asked | {"status": "gone"}

    async def question(self, line: str, request: ApprovalRequest) -> Json:
        """A request as clients see it, with the arguments of its calls."""
        wanted = {call.call_id for call in request.calls}
        found: dict[str, Any] = {}
        for record in await self.journal.newest(line, request.turn, CALL_RECORDS):
            if record.kind == "model":
                calls = (one for one in record.body["content"] if one["type"] == "tool_use")
                found |= {one["id"]: one["input"] for one in calls if one["id"] in wanted}
        return question_of(request, found, is_task=is_task(line))

    # --- what else a caller may do ---

    async def stop(self, asker: Asker, sent: SentMessage) -> bool:
        """Stop a turn of the caller; False where it is over."""
        if await self.reader.is_over(sent.line, sent.turn):
            return False
        update = HttpUpdate("stop", asker.user, sent.instance, sent.turn)
        await self.sessions.signal(sent.line, f"stop:{sent.turn}", update.dump())
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
        return history_of(records, self.links.listed)[-limit:]

    async def approvals(self, asker: Asker) -> list[Json]:
        """The open questions that the caller may see: their own, or all of an account."""
        found: list[Json] = []
        for nonce, line in (await self.sessions.approvals(asker.account)).items():
            request = await self.requests.load(line, nonce)
            if request is None or request.closed or not request.pending:
                await self.sessions.forget_approval(asker.account, nonce)
            elif await self._sees(asker, line):
                found.append(await self.question(line, request))
        return found

    async def decide(
        self, asker: Asker, nonce: str, decision: Decision, reason: str
    ) -> Json | None:
        """Answer a question; what it came to, None where the caller sees no such question.

        Raises NotAllowed where they may see it, but not answer, and DecidedBefore.
        """
        line = (await self.sessions.approvals(asker.account)).get(nonce)
        if line is None or not await self._sees(asker, line):
            return None
        request = await self.requests.load(line, nonce)
        if request is None:
            return None
        needed = {request.calls[i].right for i in request.pending} - {""}
        lacks_right = decision == "approve" and not needed <= asker.writes
        if lacks_right or not self._may_decide(asker, request):
            raise NotAllowed
        if not request.pending or request.closed:
            raise DecidedBefore(_status_of(request))
        choice: Literal["once", "deny"] = "once" if decision == "approve" else "deny"
        wanted, name = ApprovalDecision(nonce, ALL, choice), secrets.token_hex(8)
        request = await self.press(line, request, asker.user, wanted, name, reason)
        if _is_anothers(request, asker, decision):  # both answered at once
            raise DecidedBefore(_status_of(request))
        return await self.question(line, request)

    async def press(
        self,
        line: str,
        request: ApprovalRequest,
        person: User,
        decision: ApprovalDecision,
        name: str,
        reason: str = "",
    ) -> ApprovalRequest:
        """Put a decision into a question's line, which judges it; once for its name.

        Returns the request once its calls are decided, or as it is after a while.
        """
        nonce, at = request.nonce, request.address
        data = callback_data(nonce, decision.index, decision.choice)
        turn, instance = at.stream or "", at.instance or ""
        update = HttpUpdate("press", person, instance, turn, data, reason=reason)
        await self.sessions.signal(line, f"press:{name}", update.dump())
        self.look(line)
        until = self.clock.monotonic() + DECIDE_SECONDS
        while not request.closed and request.affected(decision):
            if self.clock.monotonic() >= until:
                break
            await asyncio.sleep(LOOK_SECONDS)
            request = await self.requests.load(line, nonce) or request
        return request

    async def _sees(self, asker: Asker, line: str) -> bool:
        held = await self.sessions.find(line)
        return held is not None and (asker.may_decide or held.owner == asker.owner_of(line))

    def _may_decide(self, asker: Asker, request: ApprovalRequest) -> bool:
        is_own = request.asker.id == asker.person and asker.is_named
        return asker.may_decide or ("asker" in request.approvers and is_own)


def _answer(text: str, event: StoredEvent) -> TurnAnswer:
    summary: Json = orjson.loads(event.summary) if event.summary else {}
    failure = orjson.loads(event.data)["message"] if event.kind == "error" else ""
    return TurnAnswer(text, summary, failure, ended_at=int(event.id.partition("-")[0]))


def _recorded(end: Record) -> TurnAnswer:
    """The answer of a turn by its last record; one that people ended has no summary."""
    body, at = end.body, int(end.id.partition("-")[0])
    if (summary := body.get("summary")) is not None:
        text = str(summary.get("text", body["text"]))
        return TurnAnswer(text, summary, summary["failure"], ended_at=at)
    is_failure = body["outcome"] == "failed"
    text, failure = ("", body["text"] or NOT_KEPT) if is_failure else (body["text"], "")
    return TurnAnswer(text, {"outcome": body["outcome"]}, failure, ended_at=at)


def _events_of(sent: SentMessage, answer: TurnAnswer) -> Iterator[TurnEvent]:
    """The events of a turn that is over, whose own are not kept any more."""
    if answer.text:
        yield TurnEvent(f"{sent.turn}-1-0", "message", answer.text)
    if answer.failure:
        data = orjson.dumps({"message": answer.failure, "partial": bool(answer.text)}).decode()
        yield TurnEvent(f"{sent.turn}-2-0", "error", data)
    else:
        yield TurnEvent(f"{sent.turn}-2-0", "done", "")


_OUTCOMES = {"granted": "approved", "pending": "pending"}


def _status_of(request: ApprovalRequest) -> str:
    states = [_OUTCOMES.get(call.state, call.state) for call in request.calls]
    return "pending" if "pending" in states and not request.closed else states[0]


def _is_anothers(request: ApprovalRequest, asker: Asker, decision: Decision) -> bool:
    """Whether a request was decided otherwise than by this answer of this caller."""
    call = request.calls[0]
    wanted = "granted" if decision == "approve" else "denied"
    return call.state != "pending" and (call.state, call.decided_by) != (wanted, asker.person)


def question_of(
    request: ApprovalRequest, arguments: Mapping[str, Any], *, is_task: bool = False
) -> Json:
    """A request as clients see it: what is asked, of which turn, until when, and its outcome.

    `arguments` are those of its calls by their ids. Tool and arguments of the first call stand
    beside the list as well: most often it is the only one.
    """
    calls = [
        {
            "tool": call.key,
            "arguments": arguments.get(call.call_id),
            "description": call.description,
            "status": _OUTCOMES.get(call.state, call.state),
        }
        for call in request.calls
    ]
    return {
        "id": request.nonce,
        "task_id": request.address.stream if is_task else None,
        "output_id": request.address.stream,
        "person": request.asker.name,
        "instance": request.address.instance,
        "status": _status_of(request),
        "tool": calls[0]["tool"],
        "arguments": calls[0]["arguments"],
        "calls": calls,
        "approvers": [one for one in request.approvers if isinstance(one, str)],
        "expires_at": datetime.fromtimestamp(request.expires_at, UTC).isoformat(timespec="seconds"),
        "reason": request.reason or None,
    }
