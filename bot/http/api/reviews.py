"""The routes of reviews: changes of agents that wait for a second person (`REVIEW__CORE=two`)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.needs import CallerDep, HostDep, iso, needs
from registry.review import Proposal
from registry.reviews import Reviews
from registry.revisions import json_of
from registry.roles import Duty

PATH = "/api/v1/reviews"
AgentId = Annotated[str, Path(min_length=1, max_length=64, examples=["jack"])]


class Review(BaseModel):
    """A change of an agent that is not in force yet; `missing` are the reviews it waits for."""

    agent: str = Field(examples=["jack"])
    mark: str = Field(description="What an approval of this very change names.")
    definition: Any = Field(description="The agent as it is to be.")
    base: str | None = Field(description="The hash that it was made over; null for a new agent.")
    changed_by: str
    created_at: str | None
    reason: str | None
    ticket: str | None
    needs: list[Duty]
    missing: list[Duty]
    approved_by: list[str]
    in_force: bool = Field(description="Whether the change has just been put in force.")


class ReviewList(BaseModel):
    """What waits, oldest first."""

    reviews: list[Review]


class ApprovalRequest(BaseModel):
    """Which change is approved: its mark, as the list shows it."""

    model_config = ConfigDict(extra="forbid")

    mark: str = Field(min_length=8, max_length=8, examples=["3f2ab1c9"])


class Rejection(BaseModel):
    """Why a change is rejected."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(None, max_length=1000)
    ticket: str | None = Field(None, max_length=100)


def add_routes(app: FastAPI) -> None:
    """Add the routes of reviews."""
    tags, one = docs.tags("reviews"), f"{PATH}/{{agent_id}}"
    app.get(PATH, tags=tags)(list_reviews)
    app.post(f"{one}/approve", tags=tags)(approve)
    app.post(f"{one}/reject", tags=tags, status_code=204, response_class=Response)(reject)


def _review(proposal: Proposal, *, in_force: bool = False) -> Review:
    return Review(
        agent=proposal.agent,
        mark=proposal.mark,
        definition=json_of(proposal.text),
        base=proposal.base,
        changed_by=proposal.by,
        created_at=iso(proposal.at),
        reason=proposal.reason or None,
        ticket=proposal.ticket or None,
        needs=[*proposal.needs],
        missing=[*proposal.missing],
        approved_by=[approval.by for approval in proposal.approvals],
        in_force=in_force,
    )


@needs("agent_builder", "read")
async def list_reviews(caller: CallerDep, host: HostDep) -> ReviewList:
    """List the changes of agents that wait for a second person."""
    docs.require_whole(caller)
    return ReviewList(reviews=[_review(one) for one in Reviews(host.catalog).open()])


@needs("agent_builder", "write")
async def approve(
    caller: CallerDep, host: HostDep, agent_id: AgentId, body: ApprovalRequest
) -> Review:
    """Approve a change; it is in force once no review is missing.

    Nobody approves their own change, and only who is named for one of its reviews approves it.
    """
    docs.require_whole(caller)
    key, why = caller.change_key, caller.why
    reviews = Reviews(host.catalog)
    approved = await reviews.approve(caller.actor, agent_id, body.mark, key=key, why=why)
    return _review(approved, in_force=not approved.missing)


@needs("agent_builder", "write")
async def reject(
    caller: CallerDep, host: HostDep, agent_id: AgentId, body: Rejection | None = None
) -> Response:
    """Reject a change, or take back one's own; the agent stays as it is."""
    docs.require_whole(caller)
    body = body or Rejection()
    why = docs.why_of(caller, body.reason, body.ticket)
    key = caller.change_key
    await Reviews(host.catalog).reject(caller.actor, agent_id, key=key, why=why)
    return Response(status_code=204)
