"""The routes of agents: `/api/v1/registry/agents`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.documents import Document, DocumentRoutes
from bot.http.api.needs import CallerDep, HostDep, needs
from bot.http.api.problems import not_found, shown_place
from registry.definition import AgentDefinition
from registry.errors import DocumentErrors, Problem
from registry.fields import casefolded, is_slug
from registry.revisions import Revision
from registry.snapshot import Entry, revision_of
from registry.sources import stored_values as stored

PATH = "/api/v1/registry/agents"
AgentId = Annotated[str, Path(description="The id of the agent.", examples=["jack"])]
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/AgentDefinition"},
                "example": {"name": "Jack", "customInstructions": "You are Jack, a pirate."},
            }
        },
    }
}


class AgentSummary(BaseModel):
    """An agent in a list; `read_only` where the operator's file or environment owns it."""

    id: str = Field(examples=["jack"])
    name: str = Field(examples=["Jack"])
    description: str | None
    hash: str | None
    place: str = Field(examples=["agents.json:3"])
    read_only: bool
    default: bool = Field(description="Whether it answers where no other agent is bound.")


class AgentList(BaseModel):
    """A page of agents, by their ids."""

    agents: list[AgentSummary]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class AgentAnswer(BaseModel):
    """An agent: its definition in the names that PUT takes, and which revision that is."""

    id: str = Field(examples=["jack"])
    definition: AgentDefinition | None = Field(description="null after a restored deletion.")
    revision: int | None = Field(examples=[3])
    hash: str | None = Field(description="The ETag, without its quotes.")
    place: str = Field(examples=["agents.json:3"])
    read_only: bool
    effective: dict[str, docs.EffectiveField] | None = Field(
        None, description="With `?effective=true`: every field as it is in force."
    )


def add_routes(app: FastAPI) -> None:
    """Add the routes of agents."""
    path, tags = f"{PATH}/{{agent_id}}", docs.tags("agents")
    one: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    put = {**one, 201: {**docs.CREATED, "model": AgentAnswer}, 202: docs.WAITS}
    app.get(PATH, tags=tags)(list_agents)
    app.get(path, tags=tags, response_model=AgentAnswer, responses=one)(get_agent)
    app.put(path, tags=tags, response_model=AgentAnswer, responses=put, openapi_extra=_BODY)(
        put_agent
    )
    app.delete(path, tags=tags, status_code=204, response_class=Response)(delete_agent)
    reads = needs("agent_builder", "read", agent="agent_id")
    docs.add_revisions(
        app, DocumentRoutes(path, "agents", AgentAnswer, agent_document, reads, _restored)
    )


async def agent_document(caller: CallerDep, host: HostDep, agent_id: AgentId) -> Document:
    """The agent in the path."""
    if not is_slug(agent_id):
        raise not_found()
    return Document(host, caller, "agent", agent_id)


AgentDep = Annotated[Document, Depends(agent_document)]


@needs("agent_builder", "read")
async def list_agents(
    caller: CallerDep, host: HostDep, cursor: docs.Cursor = None, limit: docs.Limit = 50
) -> AgentList:
    """List the agents that the key may see."""
    after = host.cursors.read(caller.account, "agents", cursor) if cursor is not None else ""
    snapshot = host.catalog.snapshot()
    ids = sorted(id for id in snapshot.agents if id > after and caller.reaches_agent(id))
    page, more = ids[:limit], len(ids) > limit
    found = [_summary(snapshot.agents[id], is_default=id == snapshot.default) for id in page]
    next_ = host.cursors.make(caller.account, "agents", page[-1]) if more else None
    return AgentList(agents=found, next=next_)


def _summary(entry: Entry[AgentDefinition], *, is_default: bool) -> AgentSummary:
    own = entry.value
    return AgentSummary(
        id=own.id,
        name=own.name,
        description=own.description,
        hash=docs.held(entry),
        place=shown_place(entry.place),
        read_only=docs.is_read_only(entry),
        default=is_default,
    )


@needs("agent_builder", "read", agent="agent_id")
async def get_agent(document: AgentDep, effective: docs.Effective = False) -> Response:
    """Show an agent; its ETag is what If-Match of a change takes."""
    entry, etag = document.entry, document.etag
    if entry is None:
        raise not_found()
    said = {
        "id": document.id,
        "definition": docs.shown(entry),
        "revision": await document.number(etag),
        "hash": etag,
        "place": shown_place(entry.place),
        "read_only": docs.is_read_only(entry),
        **docs.effective_of(document, wanted=effective),
    }
    return docs.answer(said, etag=etag)


@needs("agent_builder", "write", agent="agent_id")
async def put_agent(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    agent_id: AgentId,
    if_match: docs.IfMatch = None,
) -> Response:
    """Create an agent (201), or change it as a whole (200)."""
    text, value = await docs.read_body(request)
    given = next((one for name, one in value.items() if casefolded(name) == "id"), None)
    if given is None:
        text = json.dumps({"id": agent_id, **value}, ensure_ascii=False)
    elif given != agent_id:
        message, cure = "it is not the id in the path", "leave it out, or write the same one"
        raise DocumentErrors([Problem("body", message, cure, path="id")])
    agent = await host.catalog.parse(text, "body")
    document = Document(host, caller, "agent", agent.id)
    written = await document.put(agent.to_text(), if_match)
    status, location = (201, f"{PATH}/{agent.id}") if written.created else (200, None)
    etag = revision_of(agent.to_text())
    said = _written(agent.id, agent.to_json(), written.number, etag)
    return docs.answer(said, etag=etag, status=status, location=location)


def _written(agent_id: str, definition: Any, number: int, etag: str | None) -> dict[str, Any]:
    """An agent that was written a moment ago, and so is in the store."""
    return {
        "id": agent_id,
        "definition": definition,
        "revision": number,
        "hash": etag,
        "place": stored.DEFINITION + agent_id,
        "read_only": False,
    }


def _restored(document: Document, made: Revision) -> Response:
    etag = made.hash if made.text is not None else None
    return docs.answer(_written(document.id, made.value, made.number, etag), etag=etag)


@needs("agent_builder", "write", agent="agent_id")
async def delete_agent(document: AgentDep, if_match: docs.IfMatch = None) -> Response:
    """Delete an agent. What is bound to it stays bound, and a restore brings it back."""
    return await document.delete(document.host.catalog.delete_agent, if_match)
