"""The routes of bindings and of the default agent: `/api/v1/registry/bindings`, `…/default`."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.documents import Document, DocumentRoutes
from bot.http.api.needs import CallerDep, Host, HostDep, needs
from bot.http.api.problems import not_found, shown_place
from registry.binding import AgentBinding, parts_of_slot
from registry.bot_edits import may_see
from registry.catalog import INSTANCE, Catalog
from registry.errors import DocumentErrors, Problem
from registry.fields import canonical
from registry.revisions import Revision
from registry.roles import Target
from registry.snapshot import revision_of
from registry.sources import stored_values as stored

BINDINGS = "/api/v1/registry/bindings"
DEFAULT = "/api/v1/registry/default"
Slot = Annotated[
    str,
    Path(
        description="What is bound: `<type>:<key>`, for one bot alone `<type>:<key>:bot:<bot>`, "
        "URL-escaped.",
        examples=["chatid:-100123:bot:@demobot"],
    ),
]


class BindingAnswer(BaseModel):
    """A binding in the names that PUT takes, and which revision that is."""

    slot: str = Field(examples=["chatid:-100123:bot:@demobot"])
    binding: AgentBinding | None = Field(description="null after a restored deletion.")
    revision: int | None
    hash: str | None = Field(description="The ETag, without its quotes.")
    place: str
    read_only: bool


class BindingSummary(BaseModel):
    """A binding in a list; `read_only` where the operator's file or environment owns it."""

    slot: str = Field(examples=["telegrambot:@demobot"])
    binding: AgentBinding
    hash: str | None
    place: str
    read_only: bool
    active: bool = Field(description="Whether its agent is there.")


class BindingList(BaseModel):
    """A page of bindings, by their slots."""

    bindings: list[BindingSummary]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class DefaultAnswer(BaseModel):
    """Which agent answers where no other one is bound, and which revision that is."""

    agent_id: str | None = Field(examples=["jack"])
    revision: int | None
    hash: str | None = Field(description="The ETag, without its quotes.")
    place: str | None
    read_only: bool


def _body(name: str, words: str, *more: str) -> dict[str, Any]:
    """A body that names an agent; the other fields repeat what the path says."""
    properties = {one: {"type": "string"} for one in (name, *more)}
    schema = {"type": "object", "required": [name], "properties": properties, "description": words}
    content = {"application/json": {"schema": schema, "example": {name: "jack"}}}
    return {"requestBody": {"required": True, "content": content}}


_BINDING_BODY = _body(
    "agentId", "The agent; all else must be as in the path.", "type", "bindingKey", "bot"
)
_DEFAULT_BODY = _body("agent_id", "The agent that is to be the default one.")


def add_routes(app: FastAPI) -> None:
    """Add the routes of bindings and of the default agent."""
    app.get(BINDINGS, tags=docs.tags("bindings"))(list_bindings)
    reads = needs("instance", "read")
    path = f"{BINDINGS}/{{slot}}"
    one: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    for at, tag, answer, body, (get, put, delete), find, shown in (
        (path, "bindings", BindingAnswer, _BINDING_BODY, _OF_BINDING, binding_document, _binding),
        (DEFAULT, "default", DefaultAnswer, _DEFAULT_BODY, _OF_DEFAULT, default_document, _default),
    ):
        tags, made = docs.tags(tag), {**one, 201: {**docs.CREATED, "model": answer}}
        app.get(at, tags=tags, response_model=answer, responses=one)(get)
        app.put(at, tags=tags, response_model=answer, responses=made, openapi_extra=body)(put)
        app.delete(at, tags=tags, status_code=204, response_class=Response)(delete)
        docs.add_revisions(app, DocumentRoutes(at, tag, answer, find, reads, shown))


async def _require_default_account(host: Host, caller: Caller) -> None:
    """Raise Denied for who may not see what the account `default` decides."""
    await _require_reading(host, caller, INSTANCE)


async def _require_reading(host: Host, caller: Caller, target: Target) -> None:
    """Raise Denied for who may not see what an account decides: that of the bot, else `default`."""
    docs.require_whole(caller)
    await host.catalog.require(caller.actor, "read", target, "see bindings")


# --- bindings ------------------------------------------------------------------------------------


async def binding_document(caller: CallerDep, host: HostDep, slot: Slot) -> Document:
    """The binding in the path."""
    named = _slot_of(parts_of_slot(slot))
    await _require_reading(host, caller, host.catalog.target_of_slot(named or slot))
    if named is None:
        raise not_found()
    return Document(host, caller, "binding", named)


def _slot_of(parts: Mapping[str, str]) -> str | None:
    """The slot in the registry's own spelling; None where it can bind nothing."""
    with suppress(ValueError):
        return AgentBinding.model_validate({**parts, "agentId": "any"}).slot
    return None


BindingDep = Annotated[Document, Depends(binding_document)]


@needs("instance", "read")
async def list_bindings(
    caller: CallerDep, host: HostDep, cursor: docs.Cursor = None, limit: docs.Limit = 50
) -> BindingList:
    """List the bindings of bots, chats and persons that the key may see: those of its account."""
    docs.require_whole(caller)
    after = host.cursors.read(caller.account, "bindings", cursor) if cursor is not None else ""
    snapshot = host.catalog.snapshot()
    bindings = snapshot.document.bindings
    target_of = host.catalog.target_of_binding
    seen = (
        slot
        for slot, one in bindings.items()
        if may_see(caller.actor, target_of(one.value).account)
    )
    slots = sorted(slot for slot in seen if slot > after)
    page, more = slots[:limit], len(slots) > limit
    found = [
        BindingSummary(
            slot=slot,
            binding=entry.value,
            hash=docs.held(entry),
            place=shown_place(entry.place),
            read_only=docs.is_read_only(entry),
            active=entry.value.agent_id in snapshot.runnable,
        )
        for slot, entry in ((slot, bindings[slot]) for slot in page)
    ]
    next_ = host.cursors.make(caller.account, "bindings", page[-1]) if more else None
    return BindingList(bindings=found, next=next_)


@needs("instance", "read")
async def get_binding(document: BindingDep) -> Response:
    """Show a binding; its ETag is what If-Match of a change takes."""
    entry, etag = document.entry, document.etag
    if entry is None:
        raise not_found()
    said = {
        "slot": document.id,
        "binding": docs.shown(entry),
        "revision": await document.number(etag),
        "hash": etag,
        "place": shown_place(entry.place),
        "read_only": docs.is_read_only(entry),
    }
    return docs.answer(said, etag=etag)


@needs("instance", "write")
async def put_binding(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    slot: Slot,
    if_match: docs.IfMatch = None,
) -> Response:
    """Bind an agent (201), or another one in its place (200)."""
    parts = parts_of_slot(slot)
    named = _slot_of(parts) or slot
    await _require_reading(host, caller, host.catalog.target_of_slot(named))
    _, value = await docs.read_body(request)
    binding = _binding_of(host.catalog, named, {**parts, **canonical(value, AgentBinding)})
    _require_agent(host.catalog.snapshot().runnable, binding.agent_id, "agentId")
    document = Document(host, caller, "binding", named)
    written = await document.put(binding.to_text(), if_match)
    etag = revision_of(binding.to_text())
    location = f"{BINDINGS}/{quote(document.id, safe='')}" if written.created else None
    said = _bound(document.id, json.loads(binding.to_text()), written.number, etag)
    return docs.answer(said, etag=etag, status=201 if location else 200, location=location)


def _binding_of(catalog: Catalog, slot: str, value: dict[str, Any]) -> AgentBinding:
    """The binding of a slot; raises DocumentErrors with all that is wrong."""
    text = json.dumps(value, ensure_ascii=False)
    if wrong := stored.problems_of(stored.BINDING + slot, text, catalog.writer):
        raise DocumentErrors(wrong)
    return AgentBinding.model_validate(value)


def _require_agent(known: Container[str], agent_id: str, name: str) -> None:
    """Raise DocumentErrors where there is no such agent."""
    if agent_id not in known:
        message, cure = f"there is no agent '{agent_id[:64]}'", "create it first, or name another"
        raise DocumentErrors([Problem("body", message, cure, path=name)])


def _bound(slot: str, binding: Any, number: int, etag: str | None) -> dict[str, Any]:
    """A binding that was written a moment ago, and so is in the store."""
    place = stored.BINDING + slot
    said = {"slot": slot, "binding": binding, "revision": number, "hash": etag}
    return {**said, "place": place, "read_only": False}


def _binding(document: Document, made: Revision) -> Response:
    etag = made.hash if made.text is not None else None
    return docs.answer(_bound(document.id, made.value, made.number, etag), etag=etag)


@needs("instance", "write")
async def delete_binding(document: BindingDep, if_match: docs.IfMatch = None) -> Response:
    """Remove a binding."""
    return await document.delete(document.host.catalog.unbind, if_match)


# --- the default agent ---------------------------------------------------------------------------


async def default_document(caller: CallerDep, host: HostDep) -> Document:
    """The document that says which agent is the default one."""
    await _require_default_account(host, caller)
    return Document(host, caller, "default", stored.DEFAULT_ID)


DefaultDep = Annotated[Document, Depends(default_document)]


@needs("instance", "read")
async def get_default(document: DefaultDep) -> Response:
    """Show which agent answers where no other one is bound; `agent_id` is null for none."""
    entry, etag = document.entry, document.etag
    said = {
        "agent_id": entry.value if entry else None,
        "revision": await document.number(etag),
        "hash": etag,
        "place": shown_place(entry.place) if entry else None,
        "read_only": entry is not None and docs.is_read_only(entry),
    }
    return docs.answer(said, etag=etag)


@needs("instance", "write")
async def put_default(
    request: Request, document: DefaultDep, if_match: docs.IfMatch = None
) -> Response:
    """Make an agent the default one: 201 where there was none, else 200."""
    _, value = await docs.read_body(request)
    agent_id = value.get("agent_id", value.get("agentId"))
    if not isinstance(agent_id, str) or len(value) > 1:
        message, cure = "one field is needed: the id of an agent", 'send {"agent_id": "jack"}'
        raise DocumentErrors([Problem("body", message, cure, path="agent_id")])
    _require_agent(document.host.catalog.snapshot().agents, agent_id, "agent_id")
    written = await document.put(json.dumps(agent_id), if_match)
    etag = revision_of(json.dumps(agent_id))
    location = DEFAULT if written.created else None
    said = _as_default(agent_id, written.number, etag)
    return docs.answer(said, etag=etag, status=201 if location else 200, location=location)


def _as_default(agent_id: Any, number: int, etag: str | None) -> dict[str, Any]:
    said = {"agent_id": agent_id, "revision": number, "hash": etag}
    return {**said, "place": stored.DEFAULT, "read_only": False}


def _default(_document: Document, made: Revision) -> Response:
    etag = made.hash if made.text is not None else None
    return docs.answer(_as_default(made.value, made.number, etag), etag=etag)


@needs("instance", "write")
async def delete_default(document: DefaultDep, if_match: docs.IfMatch = None) -> Response:
    """Have no default agent any more."""
    return await document.delete(_none_is_default(document.host.catalog), if_match)


def _none_is_default(catalog: Catalog) -> Any:
    async def remove(actor: Any, _id: str, **more: Any) -> bool:
        there = await catalog.writable.revision(stored.DEFAULT)
        await catalog.set_default(actor, None, **more)
        return there is not None

    return remove


_OF_BINDING = (get_binding, put_binding, delete_binding)
_OF_DEFAULT = (get_default, put_default, delete_default)
