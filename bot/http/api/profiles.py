"""The routes of profiles and model configurations: `/api/v1/profiles`, `/api/v1/llm-configs`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from fastapi import Depends, FastAPI, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.caller import Caller
from bot.http.api.documents import Document, DocumentRoutes
from bot.http.api.needs import CallerDep, Host, HostDep, needs
from bot.http.api.problems import not_found, shown_place
from registry.catalog import Catalog
from registry.policy import NAME
from registry.profile import NamedLlmConfig, Profile
from registry.profile_edits import delete, parse_llm_config, parse_profile
from registry.profiles_seen import named_by, shared_of, users_of_each
from registry.revisions import Kind, Revision
from registry.roles import Actor
from registry.snapshot import Entry, revision_of
from registry.sources import stored_values as stored

PROFILES = "/api/v1/profiles"
LLM_CONFIGS = "/api/v1/llm-configs"
Owner = Literal["file", "package", "store"]
_PROFILE_EXAMPLE = {
    "type": "partner",
    "flow_decider": [
        {
            "id": "rule_tool_call_exists",
            "condition": "v['state.current_action']",
            "action": {"type": "continue_with_tool"},
        },
        {
            "id": "rule_no_tool_call_fallback",
            "condition": "True",
            "action": {"type": "await_user_input"},
        },
    ],
}
_CONFIG_EXAMPLE = {"temperature": 0.2, "max_tokens": 2000}


def _body(schema: str, words: str, example: Any) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    content = {"application/json": {"schema": reference, "example": example}}
    return {"requestBody": {"required": True, "description": words, "content": content}}


class _Summary(BaseModel):
    """What lists tell of each; `read_only` where a file owns it, or files alone may change it."""

    name: str = Field(examples=["Waiter"])
    hash: str | None
    owner: Owner = Field(description="Whether a file, the package or the store has it.")
    place: str = Field(examples=["waiter.yaml:1"])
    read_only: bool


class ProfileSummary(_Summary):
    """A profile in a list; `used_by` has the ids of the agents that name it."""

    type: str | None = Field(examples=["partner"])
    description: str | None
    llm_config_ref: str | None = Field(examples=["quick"])
    used_by: list[str] = Field(examples=[["jack"]])


class ProfileList(BaseModel):
    """A page of profiles, by their names."""

    profiles: list[ProfileSummary]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class ProfileAnswer(_Summary):
    """A profile in the names that PUT takes, which revision that is, and which agents name it."""

    profile: Profile | None = Field(description="null after a restored deletion.")
    revision: int | None = Field(examples=[3])
    used_by: list[str] = Field(examples=[["jack"]])


class LlmConfigSummary(_Summary):
    """A model configuration in a list; `used_by` has the names of the profiles that refer to it."""

    name: str = Field(examples=["quick"])
    model: str | None = Field(examples=["claude-haiku-4-5"])
    used_by: list[str] = Field(examples=[["Waiter"]])


class LlmConfigList(BaseModel):
    """A page of model configurations, by their names."""

    llm_configs: list[LlmConfigSummary]
    next: str | None = Field(description="The cursor of the next page; null at the end.")


class LlmConfigAnswer(_Summary):
    """A model configuration in the names that PUT takes, and which profiles refer to it."""

    name: str = Field(examples=["quick"])
    llm_config: NamedLlmConfig | None = Field(description="null after a restored deletion.")
    revision: int | None = Field(examples=[3])
    used_by: list[str] = Field(examples=[["Waiter"]])


@dataclass(frozen=True, slots=True)
class _Shared:
    """One of the two kinds: where its routes are, and what of their answers differs.

    `field` is the name of the document in an answer, `listed` that of a list, and `told` are the
    fields of a document that a list has; `example` is a name.
    """

    kind: Kind
    path: str
    tag: str
    field: str
    listed: str
    example: str
    told: tuple[str, ...]
    answer: type[BaseModel]
    page: type[BaseModel]
    body: dict[str, Any]


_BOTH = (
    _Shared(
        "profile",
        PROFILES,
        "profiles",
        "profile",
        "profiles",
        "Waiter",
        ("type", "description", "llm_config_ref"),
        ProfileAnswer,
        ProfileList,
        _body("Profile", "The whole profile; `name` may be left out.", _PROFILE_EXAMPLE),
    ),
    _Shared(
        "llm-config",
        LLM_CONFIGS,
        "llm-configs",
        "llm_config",
        "llm_configs",
        "quick",
        ("model",),
        LlmConfigAnswer,
        LlmConfigList,
        _body("NamedLlmConfig", "All of it; `name` may be left out.", _CONFIG_EXAMPLE),
    ),
)
_reads, _writes = needs("agent_builder", "read"), needs("agent_builder", "write")


def add_routes(app: FastAPI) -> None:
    """Add the routes of both kinds."""
    for shared in _BOTH:
        _add_kind(app, shared)


def _add_kind(app: FastAPI, shared: _Shared) -> None:
    path, tags = f"{shared.path}/{{name}}", docs.tags(shared.tag)
    one: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    made = {**one, 201: {**docs.CREATED, "model": shared.answer}}
    as_one: dict[str, Any] = {"tags": tags, "response_model": shared.answer}
    noun = "a profile" if shared.kind == "profile" else "a model configuration"

    about = Path(
        description="The name, in its own upper and lower case.", examples=[shared.example]
    )

    async def document(caller: CallerDep, host: HostDep, name: str = about) -> Document:
        docs.require_whole(caller)
        if not NAME.match(name):
            raise not_found()
        return Document(host, caller, shared.kind, name)

    found = Depends(document)

    @app.get(shared.path, tags=tags, response_model=shared.page, summary=f"List {shared.tag}")
    @_reads
    async def listing(
        caller: CallerDep, host: HostDep, cursor: docs.Cursor = None, limit: docs.Limit = 50
    ) -> Response:
        """List them by their names, with who uses each."""
        return _list(shared, caller, host, cursor, limit)

    @app.get(path, **as_one, responses=one, summary=f"Show {noun}")
    @_reads
    async def show(document: Document = found) -> Response:
        """Show it as PUT takes it; its ETag is what If-Match of a change takes."""
        return await _show(shared, document)

    @app.put(
        path,
        **as_one,
        responses=made,
        openapi_extra=shared.body,
        summary=f"Create or change {noun}",
    )
    @_writes
    async def put(
        request: Request, document: Document = found, if_match: docs.IfMatch = None
    ) -> Response:
        """Create it (201), or change it as a whole (200)."""
        return await _put(shared, request, document, if_match)

    @app.delete(path, tags=tags, status_code=204, response_class=Response, summary=f"Delete {noun}")
    @_writes
    async def remove(document: Document = found, if_match: docs.IfMatch = None) -> Response:
        """Delete it, unless something refers to it; a restore brings it back."""
        remove = partial(_remove, document.host.catalog, shared.kind)
        return await document.delete(remove, if_match)

    shown = partial(_restored, shared)
    routes = DocumentRoutes(path, shared.tag, shared.answer, document, _reads, shown)
    docs.add_revisions(app, routes)


async def _remove(catalog: Catalog, kind: Kind, actor: Actor, name: str, **rest: Any) -> bool:
    return await delete(catalog, actor, kind, name, **rest)


def _list(shared: _Shared, caller: Caller, host: Host, cursor: str | None, limit: int) -> Response:
    """A page of those that there are."""
    docs.require_whole(caller)
    after = host.cursors.read(caller.account, shared.tag, cursor) if cursor is not None else ""
    snapshot = host.catalog.snapshot()
    entries = shared_of(snapshot, shared.kind)
    names = sorted(name for name in entries if name > after)
    page, more = names[:limit], len(names) > limit
    next_ = host.cursors.make(caller.account, shared.tag, page[-1]) if more else None
    users = users_of_each(snapshot, shared.kind)
    by_file = host.catalog.review == "two"
    rows = [
        _summary(entries[name], users.get(name, []), shared.told, by_file=by_file) for name in page
    ]
    return docs.answer({shared.listed: rows, "next": next_})


def _summary(
    entry: Entry[Any], users: list[str], told: Iterable[str] = (), *, by_file: bool
) -> dict[str, Any]:
    """What is told of each, with the given fields of its document; whether it changes `by_file`."""
    return {
        "name": entry.value.name,
        **{one: getattr(entry.value, one) for one in told},
        "hash": docs.held(entry),
        "owner": entry.owner,
        "place": shown_place(entry.place),
        "read_only": by_file or docs.is_read_only(entry),
        "used_by": users,
    }


async def _show(shared: _Shared, document: Document) -> Response:
    entry, etag = document.entry, document.etag
    if entry is None:
        raise not_found()
    users = named_by(document.host.catalog.snapshot(), shared.kind, document.id)
    said = {
        **_summary(entry, users, by_file=document.host.catalog.review == "two"),
        shared.field: docs.shown(entry),
        "revision": await document.number(etag),
    }
    return docs.answer(said, etag=etag)


async def _put(
    shared: _Shared, request: Request, document: Document, if_match: str | None
) -> Response:
    _, value = await docs.read_body(request)
    parse = parse_profile if shared.kind == "profile" else parse_llm_config
    one = parse(document.host.catalog, value, document.id)
    written = await document.put(one.to_text(), if_match)
    etag = revision_of(one.to_text())
    said = _in_store(shared, document, one.to_json(), written.number, etag)
    if not written.created:
        return docs.answer(said, etag=etag)
    location = f"{shared.path}/{one.name}"
    return docs.answer(said, etag=etag, status=201, location=location)


def _in_store(
    shared: _Shared, document: Document, value: Any, number: int, etag: str | None
) -> dict[str, Any]:
    """One that was written a moment ago, and so is in the store."""
    return {
        "name": document.id,
        shared.field: value,
        "revision": number,
        "hash": etag,
        "owner": "store",
        "place": stored.key_of(shared.kind, document.id),
        "read_only": False,
        "used_by": named_by(document.host.catalog.snapshot(), shared.kind, document.id),
    }


def _restored(shared: _Shared, document: Document, made: Revision) -> Response:
    etag = made.hash if made.text is not None else None
    said = _in_store(shared, document, made.value, made.number, etag)
    return docs.answer(said, etag=etag)
