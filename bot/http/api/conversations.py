"""The routes of conversations: `/accounts/{account}/agents`, and `/chat`, `/stream` of each."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import FastAPI, Header, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Send

from bot.http.accounts.conversations import (
    Asker,
    Conversations,
    MessageReused,
    SentMessage,
    SessionNotFound,
    TurnAnswer,
    TurnEvent,
    parse_event_id,
)
from bot.http.api import documents as docs
from bot.http.api.answering import (
    ChosenAgent,
    ConfigQuery,
    PresetQuery,
    WhoAnswers,
    is_of_path,
    named,
    require_profile,
)
from bot.http.api.caller import Caller
from bot.http.api.later import HEARTBEAT, Later, event, place
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs_key
from bot.http.api.problems import MEDIA_TYPE, RULED, ApiError, not_found
from bot.http.api.sign_in import set_cookie
from bot.http.api.visitors import CHAT_COOKIE, cookies_of
from bot.ops.tasks import cancel_and_wait
from bot.store.events import START
from bot.turn.results import BY_RULE, OVER_A_LIMIT, TOO_MANY, partial_facts
from registry.errors import InvalidValue
from registry.roles import Target, Tier, may_write

AGENTS = "/accounts/{account}/agents"
ONE = f"{AGENTS}/{{instance}}"
EVENT_STREAM = "text/event-stream"
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""A header for proxies that would keep a stream back until it is whole."""
LONGEST_MESSAGE = 100_000
_LONGEST_IN_URL = 8_000
_FIRST_SECONDS = 0.25
"""How long a reader that comes back may wait for its status, which says whether there is more."""

Account = Annotated[str, Path(examples=["acme"])]
Instance = Annotated[str, Path(examples=["sales-smb"])]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise InvalidValue("is empty", "write a message")
    return text


Message = Annotated[
    str, Field(max_length=LONGEST_MESSAGE, examples=["hello"]), AfterValidator(_not_blank)
]
ShortMessage = Annotated[
    str | None,
    Query(max_length=_LONGEST_IN_URL, description="What begins a turn.", examples=["hello"]),
    AfterValidator(lambda text: None if text is None else _not_blank(text)),
]
"""A message in a URL; a longer one goes into a body."""
SessionId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="The conversation: one that you name is made if it does not exist.",
        examples=["ann-1"],
    ),
]
OnDisconnect = Literal["continue", "cancel"]


class ListedAgent(BaseModel):
    """An instance of an account, as a client chooses one."""

    slug: str = Field(examples=["simple-chat-customer-support"])
    name: str = Field(examples=["Customer Support Chat"])
    type: str = Field(examples=["simple_chat"])
    description: str | None
    capabilities: list[str]


class ChatRequest(WhoAnswers):
    """A message to an instance."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"message": "hello", "session_id": "ann-1"}}
    )

    message: Message
    session_id: SessionId | None = None
    user_id: str | None = Field(None, description="The person, where the key does not say it.")


class Usage(BaseModel):
    """The tokens of a turn."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatAnswer(BaseModel):
    """An answer; `output_id` names its turn."""

    response: str = Field(examples=["Hello! How can I help?"])
    usage: Usage
    output_id: str = Field(examples=["3f9a01c2d4e5f60718293a4b"])
    session_id: str = Field(examples=["ann-1"])
    metadata: dict[str, Any] = Field(
        examples=[{"tools_used": [], "completion_status": "complete", "model": "m"}]
    )


class WaitingTurn(BaseModel):
    """The turn waits for a person: answer its question at `/api/v1/approvals/{id}`."""

    status: Literal["suspended"]
    approval: dict[str, Any]
    output_id: str
    session_id: str


class HistoryItem(BaseModel):
    """A message of a conversation.

    `metadata` says of an answer that it is not complete, and lists the files that tools gave.
    """

    role: str = Field(examples=["human", "assistant"])
    content: str
    at: str | None
    output_id: str | None
    metadata: dict[str, Any] | None = None


class History(BaseModel):
    """The newest messages of a conversation, oldest first."""

    session_id: str
    messages: list[HistoryItem]


class StopRequest(BaseModel):
    """Which answer is to stop."""

    model_config = ConfigDict(extra="forbid")

    output_id: str = Field(pattern=r"^[0-9a-f]{24}$", examples=["3f9a01c2d4e5f60718293a4b"])


class Stopped(BaseModel):
    """Whether the turn was running and is being stopped."""

    output_id: str
    stopped: bool


_EVENTS = (
    "id: 3f9a01c2d4e5f60718293a4b-0-0\n\n"
    "id: 3f9a01c2d4e5f60718293a4b-1764499000000-0\nevent: message\ndata: Hello!\n\n"
    "id: 3f9a01c2d4e5f60718293a4b-1764499000100-0\nevent: done\ndata: \n\n"
)
_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "One event of the stream.",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string", "description": "What Last-Event-ID takes."},
        "event": {"enum": ["message", "tool", "approval", "done", "error"]},
        "data": {"type": "string", "description": "Text in `message`, nothing in `done`, or JSON."},
    },
}
STREAMS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events `message` (new text), `tool`, `approval`, `done` and `error`.",
        "content": {EVENT_STREAM: {"schema": _EVENT, "example": _EVENTS}},
    },
    204: {"description": "The turn is over, and its last event was the one in `Last-Event-ID`."},
    431: {"description": "The URL and the header are larger than 32 KB."},
}
"""What the routes of streams answer."""


def problem(words: str) -> dict[str, Any]:
    """A refusal of a route, for the OpenAPI document."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": words, "content": {MEDIA_TYPE: {"schema": schema}}}


CHATS: dict[int | str, dict[str, Any]] = {
    200: {"model": ChatAnswer, "description": "The answer."},
    202: {"model": WaitingTurn, "description": "The turn waits for an approval."},
    502: problem("The model failed; `response` is what it said until then."),
}
"""What the routes of chats answer."""


def add_routes(app: FastAPI) -> None:
    """Add the routes of conversations."""
    tags = docs.tags("conversations")
    app.get(AGENTS, tags=tags)(list_agents)
    chats: dict[str, Any] = {"response_class": Response, "responses": CHATS}
    app.post(f"{ONE}/chat", tags=tags, **chats)(chat)
    streams: dict[str, Any] = {"response_class": Response, "responses": STREAMS}
    app.get(f"{ONE}/stream", tags=tags, **streams)(stream)
    app.post(f"{ONE}/stream", tags=tags, **streams)(stream_body)
    app.get(f"{ONE}/history", tags=tags, response_model_exclude_none=True)(history)
    app.post(f"{ONE}/stop", tags=tags)(stop)


# --- the routes ----------------------------------------------------------------------------------


@needs_key(account="account")
async def list_agents(caller: CallerDep, host: HostDep, account: Account) -> list[ListedAgent]:
    """List the instances of an account."""
    found = host.catalog.snapshot().instances_of(account)
    if not found and account != caller.account:
        raise not_found()
    return [
        ListedAgent(
            slug=slug,
            name=entry.value.title,
            type=entry.value.agent_type,
            description=entry.value.description,
            capabilities=[*entry.value.capabilities],
        )
        for slug, entry in found.items()
        if caller.reaches_agent(slug)
    ]


@needs_key(account="account", agent="instance")
async def chat(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    account: Account,
    instance: Instance,
    body: ChatRequest,
    on_disconnect: Annotated[OnDisconnect, Query()] = "continue",
) -> Response:
    """Send a message, and wait for the answer."""
    who = answering(host, caller, account, instance, body)
    if (unknown := host.catalog.snapshot().unknown_type(who.id)) is not None:
        raise ApiError(422, "unknown-type", unknown_type(unknown))
    require_profile(host.catalog.snapshot(), caller, who.id)
    session = session_of(request, caller, who, body.session_id)
    turn = await send(request, host, session, body.message, grows=False)
    return later_answer(request, host, session, turn, answer_json, on_disconnect)


@needs_key(account="account", agent="instance")
async def stream(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    account: Account,
    instance: Instance,
    message: ShortMessage = None,
    session_id: Annotated[SessionId | None, Query()] = None,
    on_disconnect: Annotated[
        OnDisconnect, Query(description="Whether the turn continues when the client goes.")
    ] = "continue",
    last_event_id: Annotated[str | None, Query(description="As the header of that name.")] = None,
    agent_instance_id: PresetQuery = None,
    agent_config_name: ConfigQuery = None,
    header: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="The last event that was read: the turn is read on, and none begins.",
        ),
    ] = None,
) -> Response:
    """Send a message and read the answer as it is written, as server-sent events."""
    given = WhoAnswers(agent_instance_id=agent_instance_id, agent_config_name=agent_config_name)
    who = answering(host, caller, account, instance, given)
    wanted = Wanted(who, message, session_id, header or last_event_id, on_disconnect)
    return await begin_stream(request, caller, host, wanted)


@needs_key(account="account", agent="instance")
async def stream_body(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    account: Account,
    instance: Instance,
    body: ChatRequest,
    on_disconnect: Annotated[OnDisconnect, Query()] = "continue",
    last_event_id: Annotated[str | None, Query()] = None,
    header: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:
    """The same with the message in the body, for texts that no URL can hold."""
    who = answering(host, caller, account, instance, body)
    after = header or last_event_id
    wanted = Wanted(who, body.message, body.session_id, after, on_disconnect)
    return await begin_stream(request, caller, host, wanted)


@needs_key(account="account", agent="instance")
async def history(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    account: Account,
    instance: Instance,
    session_id: Annotated[SessionId | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    agent_instance_id: PresetQuery = None,
    agent_config_name: ConfigQuery = None,
) -> History:
    """The newest messages of a conversation, oldest first."""
    given = WhoAnswers(agent_instance_id=agent_instance_id, agent_config_name=agent_config_name)
    who = answering(host, caller, account, instance, given)
    session = session_of(request, caller, who, session_id, may_begin=False)
    found = await host.conversations.history(session.asker, who.id, session.id, limit)
    if found is None:
        raise not_found()
    messages = [
        HistoryItem(
            role=one.role,
            content=one.content,
            at=iso(one.at or None),
            output_id=one.output_id or None,
            metadata=dict(one.metadata) if one.metadata else None,
        )
        for one in found
    ]
    return History(session_id=session.id, messages=messages)


@needs_key(account="account", agent="instance")
async def stop(
    caller: CallerDep, host: HostDep, account: Account, instance: Instance, body: StopRequest
) -> Stopped:
    """Stop the answer that is being written; what was written stays."""
    id = instance_of(host, account, instance)
    asker = asker_of(caller, account)
    turn = await host.conversations.find(asker, body.output_id)
    if turn is None or not is_of_path(turn.instance, id):
        raise not_found()
    stopped = await host.conversations.stop(asker, turn)
    return Stopped(output_id=body.output_id, stopped=stopped)


# --- what they have in common --------------------------------------------------------------------


def instance_of(host: Host, account: str, instance: str) -> str:
    """The id of an instance; raises the one 404 where there is none."""
    id = f"{account}/{instance}"
    if host.catalog.snapshot().instance(id) is None:
        raise not_found()
    return id


def unknown_type(name: str) -> str:
    """What is said of an instance whose type no agent and nothing built in has."""
    return f"Unknown agent type: {name}"


def answering(
    host: Host, caller: Caller, account: str, instance: str, given: WhoAnswers
) -> ChosenAgent:
    """Who answers: whom the request names, else the instance in its path; raises ApiError."""
    id = instance_of(host, account, instance)
    own = named(host, caller, account, given.agent_instance_id, given.agent_config_name)
    return own or ChosenAgent(id, account)


def asker_of(caller: Caller, account: str) -> Asker:
    """Who talks, as conversations know them; admins of the account answer what agents ask there.

    A key of one client or agent is no admin's, even with the role of one.
    """
    key, grants = caller.key, caller.actor.grants
    admins = may_write(grants, Target("instance", account))
    return Asker(
        person=caller.actor.id,
        name=caller.name,
        owner=caller.owner,
        account=account,
        key=key.id if key else None,
        may_decide=admins and not (key and key.is_narrow),
        is_named=key is None or key.user is not None,
        writes=frozenset(tier for tier in TIERS if _writes(caller, tier)),
    )


TIERS: tuple[Tier, ...] = ("agent_builder", "instance")


def _writes(caller: Caller, tier: Tier) -> bool:
    """Whether a caller may write a tier of the operator's own account, if need be with a reason."""
    is_narrow = caller.key is not None and caller.key.is_narrow
    return may_write(caller.actor.grants, Target(tier)) and not is_narrow


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation of the caller; `cookie` is one that the client has to be given."""

    asker: Asker
    who: ChosenAgent
    id: str
    cookie: str | None = None


def session_of(
    request: Request,
    caller: Caller,
    who: ChosenAgent,
    given: str | None,
    *,
    may_begin: bool = True,
) -> Session:
    """The conversation that a request names; else the one of its cookie and who answers.

    What a cookie holds is no name of a conversation: that one follows from it, from whose it is
    and from who answers. So a cookie that somebody else has chosen leads to nobody's conversation.
    """
    account = who.account
    if given is not None and caller.owner:
        return Session(asker_of(caller, account), who, given)
    cookie = cookies_of(request.headers.get("cookie", "")).get(CHAT_COOKIE) or None
    if cookie is None and not may_begin:
        detail = "Name the conversation, or send the cookie of one."
        raise ApiError(422, "invalid", detail, field="session_id")
    value = cookie or _new_cookie(request, caller)
    owner = caller.owner or f"visitor:{_short(value)}"
    asker = asker_of(caller, account)
    if not caller.owner:  # a stranger is told from others by the cookie alone
        person = f"{caller.actor.id}-{_short(value)}"
        asker = Asker(person, "visitor", owner, account, is_named=False)
    id = _short(value, owner, who.id)
    return Session(asker, who, id, None if cookie else value)


def _new_cookie(request: Request, caller: Caller) -> str:
    if caller.owner and "idempotency-key" in request.headers:
        return _short("cookie", caller.change_key)  # a repeat is in the same conversation
    return secrets.token_urlsafe(16)


def _short(*parts: str) -> str:
    """22 characters that nobody can choose."""
    hashed = hashlib.sha256("\n".join(parts).encode()).digest()
    return base64.urlsafe_b64encode(hashed)[:22].decode()


async def send(
    request: Request, host: Host, session: Session, message: str, *, grows: bool
) -> SentMessage:
    """Begin a turn, once for each `Idempotency-Key`; raises ApiError."""
    sending = host.conversations.send(
        session.asker,
        session.who.id,
        message,
        session=session.id,
        idempotency=request.headers.get("idempotency-key"),
        grows=grows,
        preset=session.who.preset,
    )
    return await accepted(sending)


async def accepted(sending: Awaitable[SentMessage], what: str = "message") -> SentMessage:
    """A message, or `what` else it is, once it is accepted; raises ApiError."""
    try:
        return await sending
    except SessionNotFound:
        raise not_found() from None
    except MessageReused:
        detail = f"This Idempotency-Key was used for another {what}. Choose a new one."
        raise ApiError(422, "key-reused", detail, field="Idempotency-Key") from None


def _with_session(
    response: Response, request: Request, host: Host, session: Session, turn: SentMessage
) -> Response:
    response.headers["Session-Id"] = turn.session
    if session.cookie is not None and turn.session == session.id:
        set_cookie(response, request, host, CHAT_COOKIE, session.cookie)
    return response


# --- whole answers -------------------------------------------------------------------------------


def later_answer(
    request: Request,
    host: Host,
    session: Session,
    turn: SentMessage,
    shown: Callable[[SentMessage, TurnAnswer], Response],
    on_disconnect: OnDisconnect = "continue",
) -> Response:
    """The response that is made of a turn's answer once it is there."""
    own = _with_session(Response(), request, host, session, turn).raw_headers
    headers = [one for one in own if one[0] in (b"session-id", b"set-cookie")]
    sending = partial(_send_answer, host.conversations, turn, shown, headers)
    return Later(sending, _stopping(host, session, turn, on_disconnect))


def _stopping(
    host: Host, session: Session, turn: SentMessage, on_disconnect: OnDisconnect
) -> Callable[[], Awaitable[object]] | None:
    """What is done where the client goes before the end."""
    if on_disconnect == "continue":
        return None
    return partial(host.conversations.stop, session.asker, turn)


async def _send_answer(
    conversations: Conversations,
    turn: SentMessage,
    shown: Callable[[SentMessage, TurnAnswer], Response],
    headers: list[tuple[bytes, bytes]],
    send: Send,
) -> None:
    await send_whole(shown(turn, await conversations.answer(turn)), send, headers)


async def send_whole(
    response: Response, send: Send, more_headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send a response that is there as a whole."""
    start = {"type": "http.response.start", "status": response.status_code}
    await send({**start, "headers": [*response.raw_headers, *more_headers]})
    await send({"type": "http.response.body", "body": response.body})


def answer_json(turn: SentMessage, answer: TurnAnswer) -> Response:
    """An answer as JSON: 200, or 202 where it waits for a person; raises ApiError 502."""
    ids = {"output_id": turn.turn, "session_id": turn.session}
    if answer.approval is not None:
        said = {"status": "suspended", "approval": answer.approval, **ids}
        return Response(orjson.dumps(said), 202, media_type="application/json")
    if answer.failure:
        raise failure(turn, answer)
    of, summary = {"response": answer.text, "usage": answer.usage}, answer.summary
    is_whole = summary.get("outcome") in ("done", "refused") and not summary.get("partial")
    metadata = {
        "tools_used": summary.get("tools") or [],
        "completion_status": "complete" if is_whole else "partial",
        "model": summary.get("model") or None,
        **(summary.get("partial") or {}),
    }
    if answer.artifacts:
        metadata["artifacts"] = answer.artifacts
    body = orjson.dumps({**of, **ids, "metadata": metadata})
    return Response(body, media_type="application/json")


def failure(turn: SentMessage, answer: TurnAnswer) -> ApiError:
    """What is said where the model failed, or a rule ended the turn, with what was said until then.

    What a rule decided would be decided again, so that nobody is to ask again by themselves.
    """
    kind = answer.summary.get("error")
    metadata = answer.summary.get("partial") or {"completion_status": "partial"}
    if kind == BY_RULE:  # its history has the same facts
        metadata = {**partial_facts(answer.failure, 0), "error_type": kind}
    if answer.artifacts:
        metadata = {**metadata, "artifacts": answer.artifacts}
    more = {
        "response": answer.text,
        "usage": answer.usage,
        "metadata": metadata,
        "output_id": turn.turn,
        "session_id": turn.session,
    }
    if kind in OVER_A_LIMIT:
        wait = 60 if kind == TOO_MANY else seconds_to_midnight()
        headers = {"Retry-After": str(wait)}
        return ApiError(429, "too-many", answer.failure, headers=headers, more=more)
    if kind == BY_RULE:
        return ApiError(422, RULED, answer.failure, more=more)
    return ApiError(502, "failed", answer.failure, more=more)


def seconds_to_midnight() -> int:
    """Seconds until the budgets of a day begin anew: they end with the day, in UTC."""
    return 86_400 - int(time.time()) % 86_400


# --- streams -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request for a stream asks for: a new turn, or (`after`) the rest of one.

    The answer has these `headers` besides its own.
    """

    who: ChosenAgent
    message: str | None
    session: str | None = None
    after: str | None = None
    on_disconnect: OnDisconnect = "continue"
    headers: Mapping[str, str] = field(default_factory=dict)


async def begin_stream(request: Request, caller: Caller, host: Host, wanted: Wanted) -> Response:
    """The stream of a new turn, or the rest of the turn of `Last-Event-ID`; raises ApiError."""
    own, after = {**UNBUFFERED, **wanted.headers}, START
    if wanted.after:
        session, turn, after = await _resumed(request, caller, host, wanted)
    else:
        if wanted.message is None:
            raise ApiError(422, "invalid", "Send a message.", field="message")
        if (unknown := host.catalog.snapshot().unknown_type(wanted.who.id)) is not None:
            said = event("error", orjson.dumps({"message": unknown_type(unknown)}).decode())
            return Response(said, media_type=EVENT_STREAM, headers=own)
        require_profile(host.catalog.snapshot(), caller, wanted.who.id)
        session = session_of(request, caller, wanted.who, wanted.session)
        turn = await send(request, host, session, wanted.message, grows=True)
    response = event_stream(own)
    _with_session(response, request, host, session, turn)
    stop_turn = _stopping(host, session, turn, wanted.on_disconnect)
    headers, may_read = response.raw_headers, partial(is_live, host, caller)
    stream = TurnStream(host.conversations, turn, after, headers, may_read=may_read)
    return Later(stream.send, stop_turn)


def is_live(host: Host, caller: Caller) -> bool:
    """Whether the key of a caller opens anything still; one of the environment always does."""
    if caller.key is None:
        return True
    entry = host.catalog.snapshot().document.keys.get(caller.key.id)
    return entry is None or entry.value.is_live(time.time())


def event_stream(headers: Mapping[str, str]) -> Response:
    """The beginning of a stream: its headers."""
    response = Response(media_type=EVENT_STREAM, headers=dict(headers))
    del response.headers["content-length"]
    return response


async def _resumed(
    request: Request, caller: Caller, host: Host, wanted: Wanted
) -> tuple[Session, SentMessage, str]:
    """The turn that is read on, and after which entry; raises ApiError."""
    asker = asker_of(caller, wanted.who.account)
    if not caller.owner:
        asker = session_of(request, caller, wanted.who, None, may_begin=False).asker
    turn, entry = place_of(wanted.after or "")
    sent = await host.conversations.find(asker, turn)
    if sent is None or not is_of_path(sent.instance, wanted.who.id):
        raise not_found()
    return Session(asker, wanted.who, sent.session), sent, entry


def place_of(event_id: str) -> tuple[str, str]:
    """The turn and the entry in a `Last-Event-ID`; raises ApiError."""
    if (found := parse_event_id(event_id)) is None:
        detail = "Last-Event-ID is no id of an event of this host."
        raise ApiError(422, "invalid", detail, field="Last-Event-ID")
    return found


def event_piece(one: TurnEvent) -> bytes:
    """An event as the streams of conversations have it."""
    return HEARTBEAT if one.kind == "heartbeat" else event(one.kind, one.data, one.id)


@dataclass(frozen=True, slots=True)
class TurnStream:
    """The events of a turn after an entry, each sent as the bytes that `piece` makes of it.

    The stream ends early once its reader may no longer read: their key was revoked, or expired.
    """

    conversations: Conversations
    turn: SentMessage
    after: str
    headers: Sequence[tuple[bytes, bytes]]
    piece: Callable[[TurnEvent], bytes] = event_piece
    may_read: Callable[[], bool] = lambda: True

    async def send(self, send: Send) -> None:
        """Send the events as they come, or 204 where all of them were read."""
        after, piece = self.after, self.piece
        async with aclosing(self.conversations.follow(self.turn, after)) as events:
            first = asyncio.ensure_future(anext(events, None)) if after != START else None
            try:
                if first is not None:
                    await asyncio.wait([first], timeout=_FIRST_SECONDS)
                    if first.done() and first.result() is None:
                        start = {"type": "http.response.start", "status": 204, "headers": []}
                        await send(start)
                        await send({"type": "http.response.body"})
                        return
                start = {"type": "http.response.start", "status": 200}
                await send({**start, "headers": [*self.headers]})
                await send_piece(send, place(f"{self.turn.turn}-{after}"))
                if first is not None:
                    found, first = await first, None
                    if found is not None:
                        await send_piece(send, piece(found))
            finally:
                if first is not None:
                    await cancel_and_wait([first])
            async for one in events:
                if not self.may_read():
                    break
                await send_piece(send, piece(one))
        await send({"type": "http.response.body"})


async def send_piece(send: Send, piece: bytes) -> None:
    """Send the next bytes of a stream."""
    await send({"type": "http.response.body", "body": piece, "more_body": True})
