"""The routes of approvals: questions about tool calls that conversations over HTTP wait for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Path
from pydantic import BaseModel, ConfigDict, Field

from bot.http.api import documents as docs
from bot.http.api.conversations import asker_of
from bot.http.api.needs import CallerDep, HostDep, needs_key
from bot.http.api.problems import not_found

PATH = "/api/v1/approvals"
ApprovalId = Annotated[str, Path(max_length=64, examples=["k3v9d0"])]


class Call(BaseModel):
    """A tool call that a person is asked about."""

    tool: str = Field(examples=["send_mail"])
    arguments: dict[str, Any] = Field(examples=[{"to": "ann@example.com"}])


class Approval(BaseModel):
    """A question that waits for an answer."""

    id: str = Field(examples=["k3v9d0"])
    question: str = Field(examples=["May I send this mail?"])
    calls: list[Call]
    expires_at: str | None


class ApprovalList(BaseModel):
    """The questions that the caller may answer, oldest first."""

    approvals: list[Approval]


class DecisionRequest(BaseModel):
    """The answer to a question."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"decision": "deny", "reason": "not today"}}
    )

    decision: Literal["approve", "deny"]
    reason: str | None = Field(None, max_length=1000, description="What the agent is told.")


class Decided(BaseModel):
    """That an answer was taken."""

    id: str
    decision: Literal["approve", "deny"]


def add_routes(app: FastAPI) -> None:
    """Add the routes of approvals."""
    tags = docs.tags("approvals")
    app.get(PATH, tags=tags)(list_approvals)
    app.post(f"{PATH}/{{approval_id}}", tags=tags)(decide)


@needs_key()
async def list_approvals(caller: CallerDep, host: HostDep) -> ApprovalList:
    """List the questions of the caller's conversations that wait for an answer."""
    found = await host.conversations.approvals(asker_of(caller, caller.account))
    return ApprovalList(approvals=[Approval.model_validate(one) for one in found])


@needs_key()
async def decide(
    caller: CallerDep, host: HostDep, approval_id: ApprovalId, body: DecisionRequest
) -> Decided:
    """Approve or deny the calls of a question; the turn goes on, in its stream as well."""
    asker = asker_of(caller, caller.account)
    done = await host.conversations.decide(asker, approval_id, body.decision, body.reason or "")
    if not done:
        raise not_found()
    return Decided(id=approval_id, decision=body.decision)
