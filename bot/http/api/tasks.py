"""The routes of tasks: `/api/v1/agent/execute`, their status, their end, and `/api/v1/agents`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

import orjson
from fastapi import FastAPI, Header, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.types import Send

from bot.http.accounts.conversations import SentMessage, TurnEvent
from bot.http.accounts.tasks import OVER, TIMED_OUT, Tasks, TaskStatus, result_of
from bot.http.accounts.webhooks import MOST_URL
from bot.http.api import documents as docs
from bot.http.api.answering import WhoAnswers, named, require_profile
from bot.http.api.caller import Caller
from bot.http.api.conversations import (
    EVENT_STREAM,
    UNBUFFERED,
    Message,
    TurnStream,
    accepted,
    asker_of,
    event_stream,
    is_live,
    place_of,
    send_whole,
)
from bot.http.api.later import HEARTBEAT, Later, data_event, place
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs_key
from bot.http.api.offered import is_for
from bot.http.api.problems import CONFIG_FIELD, PRESET_FIELD, ApiError, not_found
from bot.http.api.webhooks import check_webhook
from bot.messages import Specialization, TaskContext
from bot.store.events import START
from bot.store.sessions import WEBHOOK
from bot.turn.results import TIMEOUT
from registry.errors import InvalidValue
from registry.snapshot import Snapshot, spellings

EXECUTE = "/api/v1/agent/execute"
STATUS = "/api/v1/agent/status/{task_id}"
MOST_METADATA = 16 * 1024
"""Bytes of a task's metadata, as JSON."""
_WAIT_SECONDS = 60
_LONGEST_WAIT = 300
_LISTED_AT_ONCE = 50
_CURE = 'Name an instance of this account, or an agent that is marked with "template": true.'
_DONE = "[DONE]"

TaskId = Annotated[str, Path(max_length=64, examples=["3f9a01c2d4e5f60718293a4b"])]
Dimension = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Wait = Annotated[
    int,
    Query(
        ge=0,
        le=_LONGEST_WAIT,
        description="Seconds to wait for the end; after them, and with 0 at once, 202.",
    ),
]


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(metadata))
    except (orjson.JSONEncodeError, RecursionError):
        raise InvalidValue("cannot be kept as JSON", "send plainer values") from None
    if size > MOST_METADATA:
        raise InvalidValue(f"has {size} bytes", f"send at most {MOST_METADATA}")
    return metadata


class SpecializationRequest(BaseModel):
    """What the agent is specialised in for this task."""

    model_config = ConfigDict(extra="forbid")

    language: Dimension = Field("en", examples=["en"])
    vertical: Dimension | None = Field(None, examples=["technology"])
    region: Dimension | None = Field(None, examples=["uae"])


class WebhookRequest(BaseModel):
    """Who hears of the end of the task."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        max_length=MOST_URL,
        description="The task's status is sent there once it is over, signed (Standard Webhooks).",
        examples=["https://example.com/tasks/done"],
    )


class TaskRequest(WhoAnswers):
    """A task for the agent in the path; `tenant_id`, where given, is the account of the key."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"task": "Analyze this RFP and extract requirements", "user_id": "user-456"}
        },
    )

    agent_type: str | None = Field(None, max_length=160, description="The one in the path.")
    task: Message
    tenant_id: str | None = Field(None, max_length=64)
    user_id: str | None = Field(None, description="The person, where the key does not say it.")
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = Field(default_factory=dict)
    stream: bool = False
    specialization: SpecializationRequest = Field(default_factory=SpecializationRequest)
    webhook: WebhookRequest | None = None

    def context_for(self, caller: Caller) -> TaskContext:
        """What comes with the task, for a caller of the same account; raises ApiError."""
        if self.tenant_id not in (None, caller.account):
            detail = "tenant_id is not the account of this key."
            raise ApiError(403, "denied", detail, field="tenant_id")
        client = self.metadata.get("client_id")
        if isinstance(client, str) and not caller.reaches_client(client):
            detail = "This key is for another client."
            raise ApiError(403, "denied", detail, field="metadata.client_id")
        special = self.specialization
        return TaskContext(
            tenant_id=caller.account,
            user_id=caller.user or caller.name,
            metadata=self.metadata,
            specialization=Specialization(special.language, special.vertical, special.region),
        )


class ExecuteRequest(TaskRequest):
    """A task, and which agent or instance is to do it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "agent_type": "jack",
                "task": "Analyze this RFP and extract requirements",
                "metadata": {"project_id": "project-789"},
                "specialization": {"vertical": "technology", "region": "uae"},
            }
        },
    )

    agent_type: str | None = Field(
        None,
        min_length=1,
        max_length=160,
        examples=["jack"],
        description="Not looked at where `agent_instance_id` or `agent_config_name` names who "
        "answers; else it has to be there.",
    )


class Artifact(BaseModel):
    """A file that a tool gave; one without `expires_at` is elsewhere, as the tool linked it."""

    id: str = Field(examples=["3f9a01c2d4e5f60718293a4b-0123456789ab"])
    name: str = Field(examples=["chart.png"])
    mime_type: str = Field(examples=["image/png"])
    size: int | None = Field(description="In bytes, where it is known.", examples=[48213])
    url: str = Field(
        description="Fetch it there, without a key.",
        examples=["/api/v1/artifacts/3f9a…?expires=1764585400&signature=9c1f…"],
    )
    expires_at: str | None = Field(examples=["2026-12-01T12:00:00+00:00"])


class AgentResult(BaseModel):
    """What a task came to; `output` is the agent's text, or what went wrong."""

    success: bool
    output: str
    artifacts: list[Artifact]
    metadata: dict[str, Any] = Field(
        examples=[
            {
                "agent": "rfp_technology_uae",
                "tools_used": [],
                "model": "claude-sonnet-4-6",
                "completion_status": "complete",
                "usage": {"prompt_tokens": 900, "completion_tokens": 80, "total_tokens": 980},
            }
        ]
    )


class TaskAnswer(AgentResult):
    """The result of a task."""

    task_id: str = Field(examples=["3f9a01c2d4e5f60718293a4b"])
    output_id: str = Field(examples=["3f9a01c2d4e5f60718293a4b"])


class TaskAccepted(BaseModel):
    """The task goes on; `approval` is the question that it waits for, where it does."""

    task_id: str
    output_id: str
    status: Literal["queued", "running", "suspended"]
    approval: dict[str, Any] | None = None


class TaskStatusAnswer(BaseModel):
    """How a task stands; `result` is there once it is over."""

    task_id: str = Field(examples=["3f9a01c2d4e5f60718293a4b"])
    output_id: str = Field(examples=["3f9a01c2d4e5f60718293a4b"])
    agent_type: str = Field(examples=["rfp"])
    status: Literal["queued", "running", "suspended", "completed", "failed", "cancelled"]
    created_at: str | None
    updated_at: str | None
    result: AgentResult | None
    approval: dict[str, Any] | None = None


class UsableAgent(BaseModel):
    """An agent, or an instance of the account, that tasks may name."""

    agent_type: str = Field(examples=["rfp"])
    name: str = Field(examples=["RFP Agent"])
    description: str | None
    tools: list[str] = Field(description="The tools that it is known to have now.")
    specializations: dict[str, list[str]] = Field(
        description="The values that tasks may name, by dimension.",
        examples=[{"verticals": ["technology"], "regions": ["uae"], "languages": ["en"]}],
    )
    capabilities: list[str]


class UsableAgents(BaseModel):
    """The agents that the caller may use."""

    agents: list[UsableAgent]


_STREAM = (
    "id: 3f9a01c2d4e5f60718293a4b-0-0\n\n"
    'id: 3f9a01c2d4e5f60718293a4b-1764499000000-0\ndata: {"text":"Hello!"}\n\n'
    "id: 3f9a01c2d4e5f60718293a4b-1764499000100-0\ndata: [DONE]\n\n"
)
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "The task's status."}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": TaskAnswer,
        "description": "The result, also that of a task which failed; a stream where wanted.",
        "content": {EVENT_STREAM: {"schema": {"type": "string"}, "example": _STREAM}},
    },
    202: {
        "model": TaskAccepted,
        "description": "The task goes on, or waits for an approval.",
        "headers": _LOCATION,
    },
    204: {"description": "The task is over, and its last event was the one in `Last-Event-ID`."},
}


def add_routes(app: FastAPI) -> None:
    """Add the routes of tasks."""
    tags = docs.tags("tasks")
    more: dict[str, Any] = {"tags": tags, "response_class": Response, "responses": _ANSWERS}
    app.post(EXECUTE, **more)(execute)
    app.post("/api/v1/agent/{agent}/execute", **more)(execute_agent)
    app.get(STATUS, tags=tags, response_model_exclude_unset=True)(task_status)
    app.delete("/api/v1/agent/task/{task_id}", tags=tags, response_model_exclude_unset=True)(
        cancel_task
    )
    app.get("/api/v1/agents", tags=tags)(list_usable_agents)


# --- the routes ----------------------------------------------------------------------------------

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="With `stream`: the last event that was read. No task begins then.",
    ),
]


@needs_key()
async def execute(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    body: ExecuteRequest,
    wait: Wait = _WAIT_SECONDS,
    after: LastEventId = None,
) -> Response:
    """Run a task with an agent, once for each `Idempotency-Key`."""
    return await _execute(request, caller, host, body, (body.agent_type, wait, after))


@needs_key()
async def execute_agent(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    agent: Annotated[str, Path(max_length=160, examples=["jack"])],
    body: TaskRequest,
    wait: Wait = _WAIT_SECONDS,
    after: LastEventId = None,
) -> Response:
    """The same, with the agent in the path."""
    if body.agent_type not in (None, agent):
        detail = "agent_type is not the agent in the path: leave it out."
        raise ApiError(422, "invalid", detail, field="agent_type")
    return await _execute(request, caller, host, body, (agent, wait, after))


@needs_key()
async def task_status(caller: CallerDep, host: HostDep, task_id: TaskId) -> TaskStatusAnswer:
    """How a task stands, for 48 hours."""
    task = await host.tasks.find(asker_of(caller, caller.account), task_id)
    if task is None:
        raise not_found()
    return status_answer(await host.tasks.status(task))


@needs_key()
async def cancel_task(caller: CallerDep, host: HostDep, task_id: TaskId) -> TaskStatusAnswer:
    """Stop a task, its model request and its tools; one that is over stays as it is."""
    asker = asker_of(caller, caller.account)
    task = await host.tasks.find(asker, task_id)
    if task is None:
        raise not_found()
    return status_answer(await host.tasks.cancel(asker, task))


@needs_key()
async def list_usable_agents(caller: CallerDep, host: HostDep) -> UsableAgents:
    """List the instances of the account, and the agents that it may use."""
    snapshot, found = host.catalog.snapshot(), list[UsableAgent]()
    for number, name in enumerate(usable_agents(caller, snapshot), 1):
        found.append(_listed(host, snapshot, caller.account, name))
        if number % _LISTED_AT_ONCE == 0:  # others are served in between
            await asyncio.sleep(0)
    return UsableAgents(agents=found)


# --- who may run what ----------------------------------------------------------------------------


def usable_agents(caller: Caller, snapshot: Snapshot) -> Iterator[str]:
    """What a caller may name as `agent_type`: instances first, then agents."""
    instances = snapshot.instances_of(caller.account)
    names = [*instances, *sorted(id for id in snapshot.agents if id not in instances)]
    for name in names:
        # An instance comes before an agent whose id only reads alike: that one is not meant.
        wanted = f"{caller.account}/{name}" if name in instances else name
        if meant(caller, snapshot, name) == wanted:
            yield name


def meant(caller: Caller, snapshot: Snapshot, name: str) -> str | None:
    """The id of the instance or agent that a caller means by `agent_type`.

    None where there is none that they may use. An instance of the caller's account comes first; `-`
    and `_` are alike.
    """
    account, instances = caller.account, snapshot.instances_of(caller.account)
    own = name.removeprefix(f"{account}/")
    for slug in spellings(own):
        if slug in instances:
            id = f"{account}/{slug}"
            is_usable = caller.reaches_agent(slug) and snapshot.unknown_type(id) is None
            return id if is_usable else None
    known = snapshot.agent_named(name)
    return known if known and is_for(snapshot, caller, known) else None


def _listed(host: Host, snapshot: Snapshot, account: str, name: str) -> UsableAgent:
    instance = snapshot.instance(f"{account}/{name}")
    id = f"{account}/{name}" if instance else name
    value = instance or snapshot.agents[name].value
    return UsableAgent(
        agent_type=name,
        name=instance.title if instance else value.name or name,
        description=value.description,
        tools=host.talking.about.tools(id, account),
        specializations=dict(host.talking.about.specializations()),
        capabilities=[*instance.capabilities] if instance else [],
    )


# --- what the routes have in common --------------------------------------------------------------


async def _execute(
    request: Request,
    caller: Caller,
    host: Host,
    body: TaskRequest,
    how: tuple[str | None, int, str | None],
) -> Response:
    name, wait, after = how
    context = body.context_for(caller)
    asker, start = asker_of(caller, caller.account), START
    if body.stream and after:
        turn, start = place_of(after)
        if (task := await host.tasks.find(asker, turn)) is None:
            raise not_found()
    else:
        who = named(host, caller, caller.account, body.agent_instance_id, body.agent_config_name)
        if who is None and name is None:
            detail = f"Name agent_type, {PRESET_FIELD} or {CONFIG_FIELD}."
            raise ApiError(422, "invalid", detail, field="agent_type")
        agent = who.id if who else meant(caller, host.catalog.snapshot(), name or "")
        if agent is None:
            detail = f"Unknown agent type: {name}. {_CURE}"
            raise ApiError(404, "unknown-type", detail, field="agent_type")
        require_profile(host.catalog.snapshot(), caller, agent)
        once, hears = request.headers.get("idempotency-key"), body.webhook
        if hears is not None:
            check_webhook(host, hears.url)
        beginning = host.tasks.begin(
            asker,
            agent,
            body.task,
            context,
            idempotency=once,
            grows=body.stream,
            webhook=hears.url if hears else "",
            preset=who.preset if who else "",
        )
        task = await accepted(beginning, "task")
    if body.stream:
        headers = event_stream(UNBUFFERED).raw_headers
        may_read = partial(is_live, host, caller)
        stream = TurnStream(host.conversations, task, start, headers, _piece, may_read)
        return Later(stream.send)
    if wait == 0:
        return await _shown(host, task)
    return Later(partial(_send_result, host, task, wait))


async def _send_result(host: Host, task: SentMessage, wait: int, send: Send) -> None:
    """Send the result once it is there, or how the task stands after a while."""
    try:
        async with asyncio.timeout(wait):
            answer = await host.conversations.answer(task)
    except TimeoutError:
        await send_whole(await _shown(host, task), send)
        return
    if answer.approval is None:
        await send_whole(_result(task, result_of(task, answer)), send)
    else:
        await send_whole(_accepted(task, "suspended", answer.approval), send)


async def _shown(host: Host, task: SentMessage) -> Response:
    """How a task stands, as the answer to who wants it executed."""
    status = await host.tasks.status(task)
    if status.result is not None:
        return _result(task, status.result)
    return _accepted(task, status.state, status.approval)


def _result(task: SentMessage, result: Any) -> Response:
    said = {"task_id": task.turn, "output_id": task.turn, **result}
    return Response(orjson.dumps(said), media_type="application/json")


def _accepted(task: SentMessage, state: str, approval: Any) -> Response:
    said = {"task_id": task.turn, "output_id": task.turn, "status": state}
    if approval is not None:
        said["approval"] = approval
    location = {"Location": STATUS.format(task_id=task.turn)}
    return Response(orjson.dumps(said), 202, location, media_type="application/json")


def status_answer(status: TaskStatus) -> TaskStatusAnswer:
    """How a task stands, as JSON."""
    result, approval = status.result, status.approval
    answer = TaskStatusAnswer(
        task_id=status.task.turn,
        output_id=status.task.turn,
        agent_type=status.agent_type,
        status=status.state,
        created_at=iso(status.created),
        updated_at=iso(status.updated),
        result=AgentResult.model_validate(result) if result is not None else None,
    )
    if approval is not None:
        answer.approval = dict(approval)
    return answer


async def webhook_message(tasks: Tasks, account: str, id: str) -> tuple[str, bytes | None]:
    """Where the webhook of a task goes, and its status; no body while it is not over."""
    task = await tasks.of_account(account, id)
    if task is None:
        return "", None
    status = await tasks.status(task)
    if status.state not in OVER:
        return str(task.about[WEBHOOK]), None
    body = status_answer(status).model_dump_json(exclude_unset=True)
    return str(task.about[WEBHOOK]), body.encode()


def _piece(one: TurnEvent) -> bytes:
    """An event of a task's stream as spec 5, 11.2 has it."""
    if one.kind == "heartbeat":
        return HEARTBEAT
    if one.kind == "message":
        return data_event(orjson.dumps({"text": one.data}).decode(), one.id)
    if one.kind == "approval":
        said = {"status": "suspended", "approval": orjson.loads(one.data)}
        return data_event(orjson.dumps(said).decode(), one.id)
    if one.kind == "done":
        return data_event(_DONE, one.id)
    if one.kind == "error":
        told = orjson.loads(one.data)
        words = f"Error: {told.pop('message')}"
        words = TIMED_OUT if told.get("error_type") == TIMEOUT else words
        failed = orjson.dumps({"error": words, **told}).decode()
        # The id comes with the last of the two: who loses the connection between them gets both.
        return data_event(failed) + data_event(_DONE, one.id)
    return place(one.id)  # a tool runs: nothing to read, but a place to read on from
