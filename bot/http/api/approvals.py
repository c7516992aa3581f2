"""The routes of approvals: questions about tool calls that conversations over HTTP wait for."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import FastAPI, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from bot.http.accounts.conversations import Asker, NotAllowed
from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.conversations import asker_of
from bot.http.api.needs import CallerDep, HostDep, needs_key
from bot.http.api.problems import ApiError, not_found

PATH = "/api/v1/approvals"
ApprovalId = Annotated[str, Path(max_length=64, examples=["k3v9d0"])]
Account = Annotated[str | None, Query(max_length=64, description="Unset: the account of the key.")]


class Call(BaseModel):
    """A tool call that a person is asked about."""

    tool: str = Field(examples=["mcp:mail:send_mail"])
    description: str = Field(examples=["Send a mail to ann@example.com"])
    status: str = Field(examples=["pending"])


class Approval(BaseModel):
    """A question, and what came of it: pending, approved, denied, or why it is void."""

    id: str = Field(examples=["k3v9d0"])
    output_id: str | None = Field(examples=["3f9a01c2d4e5f60718293a4b"])
    person: str = Field("", description="The name of the person who asked.", examples=["ann"])
    instance: str | None = Field(None, examples=["acme/sales-smb"])
    status: str = Field(examples=["pending"])
    calls: list[Call]
    approvers: list[str] = Field(examples=[["asker"]])
    expires_at: float | None = Field(description="In seconds since the epoch.")
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
    app.post(f"{PATH}/{{approval_id}}", tags=tags)(decide)


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
) -> Approval:
    """Approve or deny the calls of a question; the turn continues, and so does its stream.

    A question that was answered before is answered with what came of it.
    """
    asker = _asker(caller, account)
    try:
        found = await host.conversations.decide(
            asker, approval_id, body.decision, body.reason or ""
        )
    except NotAllowed:
        detail = "Another person has to answer this question: see its approvers."
        raise ApiError(403, "denied", detail) from None
    if found is None:
        raise not_found()
    return Approval.model_validate(found)


def _asker(caller: Caller, account: str | None) -> Asker:
    """Who asks, in an account that they reach; raises ApiError."""
    if account is not None and not caller.reaches_account(account):
        raise not_found()
    return asker_of(caller, account or caller.account)
