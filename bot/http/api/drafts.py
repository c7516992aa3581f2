"""The routes of drafts of agents: `/api/v1/registry/agents/{agent_id}/draft` and their list."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.agents import PATH as AGENTS
from bot.http.api.agents import AgentId
from bot.http.api.caller import Caller
from bot.http.api.documents import Changed
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs
from bot.http.api.problems import ApiError, not_found
from registry.definition import AgentDefinition
from registry.draft import Draft
from registry.draft_edits import Comparison, Drafts
from registry.errors import DocumentErrors, Overtaken, Problem
from registry.fields import casefolded, is_slug
from registry.roles import Actor
from registry.snapshot import revision_of

PATH = f"{AGENTS}/{{agent_id}}/draft"
LIST = "/api/v1/registry/drafts"
_SCHEMA = {"$ref": "#/components/schemas/AgentDefinition"}


def _body(words: str, example: Any, schema: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "description": words, "content": content}}


_PUT = _body("The whole agent.", {"name": "Jack", "customInstructions": "Be formal."}, _SCHEMA)
_PATCH = _body(
    "The fields to change; null takes one out.",
    {"customInstructions": "Be formal."},
    {"type": "object"},
)


class DraftAnswer(BaseModel):
    """The caller's draft of an agent beside the agent as it is now."""

    agent: str = Field(examples=["jack"])
    by: str = Field(examples=["api:default:ann"])
    definition: AgentDefinition
    base: str | None = Field(description="The hash that it was made from; null for a new agent.")
    hash: str = Field(description="The ETag, without its quotes.")
    changed_at: str | None
    on_test: bool = Field(description="Whether its author tries it in a chat.")
    changes: list[Changed] = Field(description="What publishing it would change now.")
    overtaken_by: str | None = Field(description="Who changed the agent since the draft was made.")
    theirs: list[Changed] = Field(description="What that changed.")
    overlapping: list[str] = Field(description="The fields that both changed.")


class DraftInfo(BaseModel):
    """A draft in a list."""

    agent: str = Field(examples=["jack"])
    by: str = Field(examples=["tg:5"])
    changed_at: str | None
    on_test: bool
    own: bool = Field(description="Whether it is the caller's.")


class DraftList(BaseModel):
    """The drafts that the key may know of, by agent and author."""

    drafts: list[DraftInfo]


class PublishRequest(BaseModel):
    """Why a draft is published."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str | None = Field(None, max_length=500, examples=["Guests complained"])
    ticket: str | None = Field(None, max_length=500)


class PublishedAgent(BaseModel):
    """The agent that a draft became."""

    id: str = Field(examples=["jack"])
    definition: AgentDefinition
    revision: int = Field(examples=[3])
    hash: str
    changed: bool = Field(description="Whether the agent did not say the same already.")


def add_routes(app: FastAPI) -> None:
    """Add the routes of drafts."""
    tags = docs.tags("drafts")
    one: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    as_one: dict[str, Any] = {"tags": tags, "response_model": DraftAnswer, "responses": one}
    app.get(LIST, tags=tags)(list_drafts)
    app.get(PATH, **as_one)(get_draft)
    app.put(PATH, **as_one, openapi_extra=_PUT)(put_draft)
    app.patch(PATH, **as_one, openapi_extra=_PATCH)(patch_draft)
    app.delete(PATH, tags=tags, status_code=204, response_class=Response)(delete_draft)
    app.post(f"{PATH}/update", **as_one)(update_draft)
    app.post(
        f"{PATH}/publish", tags=tags, response_model=PublishedAgent, responses={202: docs.WAITS}
    )(publish_draft)


_reads = needs("agent_builder", "read", agent="agent_id")
_writes = needs("agent_builder", "write", agent="agent_id")


@needs("agent_builder", "read")
async def list_drafts(
    caller: CallerDep, host: HostDep, agent: Annotated[str, Query(max_length=64)] = ""
) -> DraftList:
    """List who has drafts of which agents, of all or of one."""
    found = Drafts(host.history).seen(caller.actor, agent)
    return DraftList(
        drafts=[
            DraftInfo(
                agent=one.agent,
                by=one.by,
                changed_at=iso(one.at),
                on_test=one.tested_in is not None,
                own=one.by == caller.actor.id,
            )
            for one in found
            if caller.reaches_agent(one.agent)
        ]
    )


@_reads
async def get_draft(caller: CallerDep, host: HostDep, agent_id: AgentId) -> Response:
    """Show the caller's draft and what publishing it would change."""
    return await _answer(caller, host, agent_id)


@_writes
async def put_draft(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    agent_id: AgentId,
    if_match: docs.IfMatch = None,
) -> Response:
    """Make this the caller's draft as a whole; where there is no agent of this id, of a new one."""
    text, value = await docs.read_body(request)
    given = next((one for name, one in value.items() if casefolded(name) == "id"), None)
    if given is None:
        text = json.dumps({"id": agent_id, **value}, ensure_ascii=False)
    elif given != agent_id:
        message, cure = "it is not the id in the path", "leave it out, or write the same one"
        raise DocumentErrors([Problem("body", message, cure, path="id")])
    agent = await host.catalog.parse(text, "body")
    drafts, actor = Drafts(host.history), _author(caller)
    expected = _expected(caller, host, agent_id, if_match)
    await drafts.replace(actor, agent, key=caller.change_key, expected=expected, why=caller.why)
    return await _answer(caller, host, agent_id)


@_writes
async def patch_draft(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    agent_id: AgentId,
    if_match: docs.IfMatch = None,
) -> Response:
    """Change the given fields of the caller's draft, which is begun from the agent if need be."""
    _, value = await docs.read_body(request)
    await Drafts(host.history).change(
        _author(caller),
        agent_id,
        value,
        key=caller.change_key,
        expected=_expected(caller, host, agent_id, if_match),
        why=caller.why,
    )
    return await _answer(caller, host, agent_id)


@_writes
async def delete_draft(caller: CallerDep, host: HostDep, agent_id: AgentId) -> Response:
    """Discard the caller's draft; the agent stays as it is."""
    drafts = Drafts(host.history)
    if not await drafts.discard(_author(caller), agent_id, key=caller.change_key, why=caller.why):
        raise not_found()
    return docs.none_left()


@_writes
async def update_draft(caller: CallerDep, host: HostDep, agent_id: AgentId) -> Response:
    """Put the changes of the caller's draft on the agent as it is now.

    Where somebody else changed the same field, the draft keeps its own.
    """
    key, why = caller.change_key, caller.why
    await Drafts(host.history).rebase(_author(caller), agent_id, key=key, why=why)
    return await _answer(caller, host, agent_id)


@_writes
async def publish_draft(
    caller: CallerDep,
    host: HostDep,
    agent_id: AgentId,
    body: PublishRequest | None = None,
    if_match: docs.IfMatch = None,
) -> Response:
    """Put the caller's draft in force, which ends it.

    409 with what has changed where somebody else changed the agent since the draft was made: the
    draft is kept.
    """
    body = body or PublishRequest()
    drafts, actor = Drafts(host.history), _author(caller)
    why = docs.why_of(caller, body.reason, body.ticket)
    expected = _expected(caller, host, agent_id, if_match)
    try:
        done = await drafts.publish(
            actor, agent_id, key=caller.change_key, expected=expected, why=why
        )
    except Overtaken as error:
        there = await drafts.compare(actor, agent_id)
        theirs = [one.model_dump(mode="json") for one in docs.changed(there.theirs)]
        more = {"by": error.by, "changes": theirs, "overlapping": there.overlapping}
        detail = f"{str(error)[:1].upper()}{str(error)[1:]}."
        raise ApiError(409, "overtaken", detail, more=more) from None
    held = revision_of(done.agent.to_text())
    said = {
        "id": agent_id,
        "definition": done.agent.to_json(),
        "revision": done.number,
        "hash": held,
        "changed": done.changed,
    }
    return docs.answer(said, etag=held)


def _author(caller: Caller) -> Actor:
    """Whose drafts a request is about; to name a person in it proves nothing."""
    key = caller.key
    if key is not None and caller.actor.id != key.person():
        detail = "A draft belongs to the person whom the key itself names; leave user_id out."
        raise ApiError(403, "denied", detail, field="user_id")
    return caller.actor


def _expected(caller: Caller, host: Host, agent: str, if_match: str | None) -> str | None:
    """The hash of the draft that a change must find, by If-Match and what is there now."""
    draft = host.catalog.snapshot().draft(agent, caller.actor.id)
    return docs.expected_of(if_match, revision_of(draft.to_text()) if draft else None)


async def _answer(caller: Caller, host: Host, agent: str) -> Response:
    if not is_slug(agent):
        raise not_found()
    there = await Drafts(host.history).compare(_author(caller), agent)
    said = _said(there.draft, there)
    return docs.answer(said, etag=said["hash"])


def _said(draft: Draft, there: Comparison) -> dict[str, Any]:
    return {
        "agent": draft.agent,
        "by": draft.by,
        "definition": draft.definition.to_json(),
        "base": draft.base,
        "hash": revision_of(draft.to_text()),
        "changed_at": iso(draft.at),
        "on_test": draft.tested_in is not None,
        "changes": [one.model_dump(mode="json") for one in docs.changed(there.changes)],
        "overtaken_by": there.by or None if there.is_overtaken else None,
        "theirs": [one.model_dump(mode="json") for one in docs.changed(there.theirs)],
        "overlapping": there.overlapping if there.is_overtaken else [],
    }
