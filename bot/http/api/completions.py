"""The face that OpenAI's clients know: `/v1/models` and `/v1/chat/completions`.

A model is an agent. A request is a message to it, which goes the way of every other message; the
tools of the agent run here, and its own settings apply.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import FastAPI, Header, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Send

from bot.http.accounts.conversations import (
    NOT_KEPT,
    SESSION,
    Asker,
    Conversations,
    SentMessage,
    TurnAnswer,
    TurnEvent,
)
from bot.http.accounts.history import EarlierMessage
from bot.http.api import conversations as talk
from bot.http.api import documents as docs
from bot.http.api.answering import ChosenAgent, WhoAnswers, named, require_profile
from bot.http.api.caller import Caller
from bot.http.api.later import HEARTBEAT, Later, data_event
from bot.http.api.needs import CallerDep, Host, HostDep, needs_key
from bot.http.api.offered import Offered, find_offered, offered
from bot.http.api.problems import CONFIG_FIELD, OPENAI, PRESET_FIELD, RULED, ApiError
from bot.messages import Specialization, TaskContext
from bot.turn.results import BY_RULE

MODELS, COMPLETIONS = "/v1/models", "/v1/chat/completions"
WAITING = "This waits for a person's approval of {}. Decide at {}/api/v1/approvals/{}?{}."
_REASONS = {"max_tokens": "length", "refusal": "content_filter"}
"""Why an answer ended, in OpenAI's words, by the stop reason of the model."""
_ANSWERED_ANEW = "The answer was interrupted. Ask again."
_TEXTS = {"text", "input_text", "refusal"}
_WORDS_OF_CLIENT = "instructions_of_the_client"


class ModelItem(BaseModel):
    """An agent as a model; when it was made is not known (`created` is 0)."""

    id: str = Field(examples=["sales-smb"])
    object: str = "model"
    created: int = 0
    owned_by: str = Field(examples=["acme"])
    name: str = Field(examples=["Sales SMB"])


class ModelList(BaseModel):
    """The agents that the key may use."""

    object: str = "list"
    data: list[ModelItem]


class GivenMessage(BaseModel):
    """A message as OpenAI's clients write them; only text is read."""

    role: str = Field(examples=["user"])
    content: str | list[dict[str, Any]] | None = Field(None, examples=["hello"])
    tool_calls: list[Any] | None = None


class StreamOptions(BaseModel):
    """What a stream has besides the answer."""

    include_usage: bool = False


class CompletionRequest(WhoAnswers):
    """A conversation whose last message is to be answered.

    What is not listed here (`temperature`, `max_tokens`, `stop`, …) is the agent's to say, and is
    not looked at.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "sales-smb",
                "messages": [{"role": "user", "content": "hello"}],
            }
        }
    )

    model: str | None = Field(
        None,
        max_length=200,
        description="An agent: see `/v1/models`. Not looked at where `agent_instance_id` or "
        "`agent_config_name` names who answers; else it has to be there.",
    )
    messages: list[GivenMessage] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=500)] | dict[str, Any] | None = Field(
        None, description="Names the conversation, of which only the last message is then read."
    )
    n: int | None = Field(None, description="Only 1.")
    tools: list[Any] | None = Field(None, description="Not supported: the agent has its own.")
    functions: list[Any] | None = Field(None, description="Not supported, as `tools`.")
    response_format: dict[str, Any] | None = Field(None, description="Only text.")
    modalities: list[str] | None = Field(None, description="Only text.")
    logprobs: bool | None = Field(None, description="Not supported.")


_ANSWER = {
    "id": "chatcmpl-3f9a01c2d4e5f60718293a4b",
    "object": "chat.completion",
    "created": 1796083200,
    "model": "sales-smb",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 300, "completion_tokens": 5, "total_tokens": 305},
    "system_fingerprint": "fp_0f3a9c1e52",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer; with `stream` in chunks, and `[DONE]` at the end.",
        "content": {
            "application/json": {"schema": {"type": "object"}, "example": _ANSWER},
            talk.EVENT_STREAM: {"schema": {"type": "string"}},
        },
    },
    502: {
        "description": "The model failed.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIError"}}},
    },
}


def add_routes(app: FastAPI) -> None:
    """Add the routes of this face."""
    tags = docs.tags("openai")
    app.get(MODELS, tags=tags)(list_models)
    app.get(f"{MODELS}/{{model:path}}", tags=tags)(get_model)
    whole: dict[str, Any] = {"response_class": Response, "responses": _RESPONSES}
    app.post(COMPLETIONS, tags=tags, **whole)(complete)


# --- the routes ----------------------------------------------------------------------------------


@needs_key()
async def list_models(caller: CallerDep, host: HostDep) -> ModelList:
    """List the agents that the key may use, as models."""
    found = offered(host.catalog.snapshot(), caller)
    return ModelList(data=[_item(one) for one in found])


@needs_key()
async def get_model(
    caller: CallerDep, host: HostDep, model: Annotated[str, Path(examples=["sales-smb"])]
) -> ModelItem:
    """Look at one of them."""
    return _item(_found(host, caller, model))


@needs_key()
async def complete(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    body: CompletionRequest,
    session_id: Annotated[
        str | None,
        Header(
            alias="X-Session-Id",
            description="The conversation, of which only the last message is then read.",
        ),
    ] = None,
) -> Response:
    """Answer the last message of a conversation, at once or in chunks."""
    agent = _answering(host, caller, body)
    require_profile(host.catalog.snapshot(), caller, agent.id)
    _refuse_unsupported(body)
    said = _read(body.messages)
    asker = talk.asker_of(caller, agent.account)
    context = None
    if said.system:
        more = {_WORDS_OF_CLIENT: said.system}
        who = caller.user or caller.actor.id
        context = TaskContext(agent.account, who, more, Specialization(language=""))
    session = _session(caller, agent, body.user, session_id)
    sending = host.conversations.send(
        asker,
        agent.id,
        said.message,
        session=session,
        idempotency=request.headers.get("idempotency-key"),
        grows=bool(body.stream),
        before=said.before,
        context=context,
        once=session is None,
        preset=agent.preset,
    )
    turn = await talk.accepted(sending)
    stamp = {
        "id": f"chatcmpl-{turn.turn}",
        "created": int(host.conversations.clock.wall()),
        "model": body.model or agent.id,
        "system_fingerprint": f"fp_{agent.revision[:10]}",
    }
    may_read = partial(talk.is_live, host, caller)
    page = host.talking.page_url
    completion = _Completion(host.conversations, asker, turn, stamp, page, may_read)
    if not body.stream:
        return Later(completion.send_whole, completion.stop)
    has_usage = body.stream_options is not None and body.stream_options.include_usage
    return Later(partial(completion.send_chunks, has_usage=has_usage), completion.stop)


def _item(one: Offered) -> ModelItem:
    return ModelItem(id=one.name, owned_by=one.account, name=one.title)


def _answering(host: Host, caller: Caller, body: CompletionRequest) -> ChosenAgent:
    """Who answers: whom the body names beside the model, else the model."""
    own = named(host, caller, caller.account, body.agent_instance_id, body.agent_config_name)
    if own is not None:
        return own
    if not body.model:
        detail = f"Name a model, {PRESET_FIELD} or {CONFIG_FIELD}."
        raise ApiError(400, "invalid", detail, field="model")
    found = _found(host, caller, body.model)
    return ChosenAgent(found.id, found.account, revision=found.revision)


def _found(host: Host, caller: Caller, name: str) -> Offered:
    found = find_offered(host.catalog.snapshot(), caller, name)
    if found is None:
        detail = (
            f"The model '{name}' does not exist, or this key may not use it: take an instance of "
            'the account, or an agent that the operator marks with "template": true.'
        )
        code = {"code": "model_not_found"}
        raise ApiError(404, "not-found", detail, field="model", more=code)
    return found


# --- what is asked -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """What the messages of a request say: the last one, those before it, the client's own words."""

    message: str
    before: tuple[EarlierMessage, ...]
    system: str


def _unsupported(field: str, detail: str) -> ApiError:
    return ApiError(400, "unsupported", detail, field=field, more={"code": "unsupported_value"})


def _refuse_unsupported(body: CompletionRequest) -> None:
    if body.n not in (None, 1):
        raise _unsupported("n", "One answer is made at a time: leave n out.")
    for field in ("tools", "functions"):
        if getattr(body, field):
            detail = f"{field} are not supported: the tools of an agent run at the host."
            raise _unsupported(field, detail)
    if body.response_format and body.response_format.get("type") != "text":
        detail = "The agent answers with text: only the response_format text is supported."
        raise _unsupported("response_format", detail)
    if body.modalities and body.modalities != ["text"]:
        raise _unsupported("modalities", "The agent answers with text alone.")
    if body.logprobs:
        raise _unsupported("logprobs", "There are no logprobs.")


def _read(messages: Sequence[GivenMessage]) -> _Said:
    """What is said in the messages; raises ApiError for what cannot be read."""
    system: list[str] = []
    told: list[EarlierMessage] = []
    for number, one in enumerate(messages):
        place = f"messages.{number}"
        if one.tool_calls or one.role in ("tool", "function"):
            detail = "Calls of tools and their results are not supported in messages."
            raise _unsupported(place, detail)
        text = _text(one.content, place)
        match one.role:
            case "system" | "developer":
                system.append(text)
            case "user":
                told.append(EarlierMessage("human", text))
            case "assistant":
                told.append(EarlierMessage("assistant", text))
            case _:
                detail = "A role is system, developer, user or assistant."
                raise ApiError(400, "invalid", detail, field=f"{place}.role")
    if not told or told[-1].role != "human" or not told[-1].text.strip():
        detail = "The last message must be the user's, and must not be empty."
        raise ApiError(400, "invalid", detail, field="messages")
    *before, last = told
    if len(last.text) > talk.LONGEST_MESSAGE:
        detail = f"A message may have {talk.LONGEST_MESSAGE} characters."
        raise ApiError(400, "invalid", detail, field="messages")
    kept = tuple(one for one in before if one.text.strip())
    return _Said(last.text, kept, "\n\n".join(filter(str.strip, system)))


def _text(content: str | list[dict[str, Any]] | None, place: str) -> str:
    """The text of a message; raises ApiError where it has something else."""
    given = [{"type": "text", "text": content or ""}] if not isinstance(content, list) else content
    texts: list[str] = []
    for number, part in enumerate(given):
        kind = part.get("type")
        text = part.get("refusal" if kind == "refusal" else "text")
        if kind not in _TEXTS or not isinstance(text, str):
            where = f"{place}.content.{number}"
            raise _unsupported(where, "Only text is supported: no images, sounds or files.")
        texts.append(text)
    found = "\n".join(texts)
    try:
        found.encode()
    except UnicodeEncodeError:
        raise ApiError(400, "invalid", "The text is not valid Unicode.", field=place) from None
    return found


def _session(
    caller: Caller, agent: ChosenAgent, user: object, session_id: str | None
) -> str | None:
    """The conversation that a request names; None for one of this request alone.

    A `user` has another one with each key and each agent.
    """
    if session_id is not None:
        if not SESSION.fullmatch(session_id):
            detail = "Send 1 to 64 letters, digits, hyphens and underscores."
            raise ApiError(400, "invalid", detail, field="X-Session-Id")
        return session_id
    if not user or not isinstance(user, str):  # an object describes a person, it is no name
        return None
    named = f"{caller.owner}\n{agent.id}\n{user}"
    return "user-" + hashlib.sha256(named.encode()).hexdigest()[:24]


# --- what is answered ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Completion:
    """The answer of one turn, whole or in chunks.

    `stamp` is what each chunk has besides its choices, `page` the address of this host for people.
    Chunks end early once their reader may no longer read: their key was revoked, or expired.
    """

    conversations: Conversations
    asker: Asker
    turn: SentMessage
    stamp: Mapping[str, Any]
    page: str
    may_read: Callable[[], bool]

    @property
    def headers(self) -> dict[str, str]:
        """The conversation that goes on, where one does."""
        session = self.turn.session
        return {"Session-Id": session} if SESSION.fullmatch(session) else {}

    async def stop(self) -> None:
        """The client has gone: nobody reads the answer any more."""
        await self.conversations.stop(self.asker, self.turn)

    async def send_whole(self, send: Send) -> None:
        """Send the answer as one object; raises ApiError where there is none."""
        answer = await self.conversations.answer(self.turn)
        if answer.failure:
            raise _failed(answer.failure, answer.summary.get("error", ""))
        text, reason = answer.text, _reason(answer.summary)
        if answer.approval is not None:
            text, reason = "\n\n".join(filter(None, (text, self._waiting(answer.approval)))), "stop"
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        body = {**self.stamp, "object": "chat.completion", "choices": [choice]}
        response = Response(
            orjson.dumps({**body, "usage": answer.usage}),
            headers=self.headers,
            media_type="application/json",
        )
        await talk.send_whole(response, send)

    async def send_chunks(self, send: Send, *, has_usage: bool) -> None:
        """Send the answer as it is written; raises ApiError where it fails before it has begun."""
        chunks = _Chunks(send, self.stamp, self.headers, has_usage=has_usage)
        async with aclosing(self.conversations.follow(self.turn)) as events:
            async for one in events:
                if not self.may_read():
                    await self.stop()
                    await chunks.fail(_unauthorized())
                    return
                if await self._show(one, chunks):
                    return
        await chunks.fail(_failed(NOT_KEPT))

    async def _show(self, one: TurnEvent, chunks: _Chunks) -> bool:
        """Send what an event says; whether it was the last one that is sent."""
        found: Any = orjson.loads(one.data) if one.kind in ("approval", "error") else {}
        if one.kind == "heartbeat":
            await chunks.beat()
        elif one.kind == "message":
            await chunks.say(one.data)
        elif one.kind == "approval" and found["status"] == "pending":
            gap = "\n\n" if chunks.began else ""
            await chunks.say(gap + self._waiting(found))
            await chunks.end("stop", TurnAnswer(""))
        elif one.kind == "error" and found.get("answered_anew"):
            await self.stop()  # what was shown cannot be taken back, and is not continued
            await chunks.fail(_failed(_ANSWERED_ANEW))
        elif one.kind == "error":
            await chunks.fail(_failed(found["message"], found.get("error_type", "")))
        elif one.kind == "done":
            summary = orjson.loads(one.summary) if one.summary else {}
            await chunks.end(_reason(summary), TurnAnswer("", summary))
        else:
            return False
        return one.kind not in ("heartbeat", "message")

    def _waiting(self, question: Mapping[str, Any]) -> str:
        """That people must decide first, and where."""
        tools = ", ".join(dict.fromkeys(call["tool"] for call in question["calls"]))
        of = urlencode({"account": self.asker.account})  # who decides may be of another one
        return WAITING.format(tools, self.page, question["id"], of)


class _Chunks:
    """A stream of chunks; nothing is sent before there is something to send."""

    def __init__(
        self,
        send: Send,
        stamp: Mapping[str, Any],
        headers: Mapping[str, str],
        *,
        has_usage: bool,
    ) -> None:
        self._send = send
        self._stamp = {**stamp, "object": "chat.completion.chunk"}
        self._headers = {**talk.UNBUFFERED, **headers}
        self._has_usage = has_usage
        self._is_open = False
        self.began = False

    async def say(self, text: str) -> None:
        """Send the next piece of the answer."""
        if not self.began:
            self.began = True
            await self._choose({"role": "assistant", "content": "", "refusal": None})
        await self._choose({"content": text})

    async def end(self, reason: str, answer: TurnAnswer) -> None:
        """Send why the answer ends, and what it took."""
        if not self.began:
            await self.say("")
        await self._choose({}, reason)
        if self._has_usage:
            usage = answer.usage
            await self._data(orjson.dumps({**self._stamp, "choices": [], "usage": usage}))
        await self._close()

    async def fail(self, refusal: ApiError) -> None:
        """Send why the answer breaks off; raises it where nothing was sent before."""
        if not self._is_open:
            raise refusal
        await self._data(refusal.answer(COMPLETIONS, {OPENAI})[2])
        await self._close()

    async def beat(self) -> None:
        """Show that the answer is still being made."""
        await self._piece(HEARTBEAT)

    async def _choose(self, delta: Mapping[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        more = {"usage": None} if self._has_usage else {}
        await self._data(orjson.dumps({**self._stamp, "choices": [choice], **more}))

    async def _data(self, body: bytes) -> None:
        await self._piece(data_event(body.decode()))

    async def _close(self) -> None:
        await self._piece(data_event("[DONE]"))
        await self._send({"type": "http.response.body"})

    async def _piece(self, piece: bytes) -> None:
        if not self._is_open:
            self._is_open = True
            headers = talk.event_stream(self._headers).raw_headers
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await talk.send_piece(self._send, piece)


def _reason(summary: Mapping[str, Any]) -> str:
    """Why an answer ended, in OpenAI's words."""
    return _REASONS.get(summary.get("stop", ""), "stop")


def _failed(why: str, kind: str = "") -> ApiError:
    """What is said where the model failed; to ask again is for a person to decide.

    What a rule of the agent's profile ended is no fault: the request is one that it does not take.
    """
    if kind == BY_RULE:
        return ApiError(422, RULED, why, more={"code": RULED.replace("-", "_")})
    return ApiError(502, "failed", why, headers={"x-should-retry": "false"})


def _unauthorized() -> ApiError:
    return ApiError(401, "unauthorized", "The key was revoked, or has expired.")
