"""The routes of approvals: questions about tool calls that conversations over HTTP wait for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from bot.http.accounts.conversations import Asker, DecidedBefore, NotAllowed
from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.conversations import asker_of
from bot.http.api.needs import CallerDep, HostDep, needs_key
from bot.http.api.problems import ApiError, not_found
from bot.http.api.tasks import TaskStatusAnswer, status_answer

PATH = "/api/v1/approvals"
ApprovalId = Annotated[str, Path(max_length=64, examples=["k3v9d0"])]
Account = Annotated[str | None, Query(max_length=64, description="Unset: the account of the key.")]


class Call(BaseModel):
    """A tool call that a person is asked about."""

    tool: str = Field(examples=["mcp:mail:send_mail"])
    arguments: Any = Field(None, examples=[{"to": "ann@example.com"}])
    description: str = Field(examples=["Send a mail to ann@example.com"])
    status: str = Field(examples=["pending"])


class Approval(BaseModel):
    """A question, and what came of it: pending, approved, denied, or why it is void.

    `tool` and `arguments` are those of its first call.
    """

    id: str = Field(examples=["k3v9d0"])
    task_id: str | None = Field(None, description="Where it is a question of a task.")
    tool: str = Field(examples=["mcp:mail:send_mail"])
    arguments: Any = None
    output_id: str | None = Field(examples=["3f9a01c2d4e5f60718293a4b"])
    person: str = Field("", description="The name of the person who asked.", examples=["ann"])
    instance: str | None = Field(None, examples=["acme/sales-smb"])
    status: str = Field(examples=["pending"])
    calls: list[Call]
    approvers: list[str] = Field(examples=[["asker"]])
    expires_at: str = Field(examples=["2026-12-01T12:00:00+00:00"])
    reason: str | None


class ApprovalList(BaseModel):
    """The open questions that the caller may see."""

    approvals: list[Approval]


class DecisionRequest(BaseModel):
    """The answer to a question."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"decision": "deny", "reason": "not today"}}
    )

    decision: Literal["approve", "deny"]
    reason: str | None = Field(None, max_length=1000, description="What the agent is told.")


def add_routes(app: FastAPI) -> None:
    """Add the routes of approvals."""
    tags = docs.tags("approvals")
    app.get(PATH, tags=tags)(list_approvals)
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": "The question as it was answered; of a task, how the task stands."}
    }
    one = f"{PATH}/{{approval_id}}"
    app.post(one, tags=tags, responses=answers, response_model_exclude_unset=True)(decide)


@needs_key()
async def list_approvals(caller: CallerDep, host: HostDep, account: Account = None) -> ApprovalList:
    """List the open questions of the caller's conversations; an admin of the account sees all."""
    found = await host.conversations.approvals(_asker(caller, account))
    return ApprovalList(approvals=[Approval.model_validate(one) for one in found])


@needs_key()
async def decide(
    caller: CallerDep,
    host: HostDep,
    approval_id: ApprovalId,
    body: DecisionRequest,
    account: Account = None,
) -> Approval | TaskStatusAnswer:
    """Approve or deny the calls of a question; the turn continues, and so does its stream."""
    asker = _asker(caller, account)
    try:
        found = await host.conversations.decide(
            asker, approval_id, body.decision, body.reason or ""
        )
    except NotAllowed:
        detail = "Another person has to answer this question: see its approvers."
        raise ApiError(403, "denied", detail) from None
    except DecidedBefore as before:
        detail = f"This question is no longer open: {before.status}."
        raise ApiError(409, "decided-before", detail) from None
    if found is None:
        raise not_found()
    if (id := found["task_id"]) is not None:
        task = await host.tasks.of_account(asker.account, id)
        if task is not None:
            return status_answer(await host.tasks.status(task))
    return Approval.model_validate(found)


def _asker(caller: Caller, account: str | None) -> Asker:
    """Who asks, in an account that they reach; raises ApiError."""
    if account is not None and not caller.reaches_account(account):
        raise not_found()
    return asker_of(caller, account or caller.account)
