"""The routes of agent instances: `/accounts/{account}/agents/{instance}`; and their templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.documents import Document, DocumentRoutes
from bot.http.api.needs import CallerDep, HostDep, needs, needs_key
from bot.http.api.problems import not_found, shown_place
from registry.errors import DocumentErrors, Problem, RevisionConflict
from registry.instance import AgentInstance, instance_id, is_instance_id
from registry.instance_edits import (
    change_instance,
    create_instance,
    instance_from,
    parse_instance,
)
from registry.revisions import Revision
from registry.snapshot import revision_of
from registry.sources import stored_values as stored

INSTANCES = "/accounts/{account}/agents/{instance}"
TEMPLATES = "/api/v1/agent-templates"
Account = Annotated[str, Path(description="The slug of the account.", examples=["acme"])]
Instance = Annotated[str, Path(description="The slug of the instance.", examples=["shop-desk"])]
Owner = Literal["file", "package", "store"]
_EXAMPLE = {
    "agent_type": "sales_agent",
    "llm": {"temperature": 0.8, "max_tokens": 2000},
    "tools": {"crm": {"enabled": True}},
    "context_management": {"history_limit": 10},
}


def _body(words: str, example: Any, schema: Any = None) -> dict[str, Any]:
    """A body with fields of an instance."""
    schema = schema or {"type": "object", "description": words}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "description": words, "content": content}}


_PUT = _body("The whole instance; `account` and `instance_name` may be left out.", _EXAMPLE)
_PATCH = _body("The fields to change; null takes one out.", {"llm": {"temperature": 0.3}})
_FROM = {
    "type": "object",
    "required": ["template"],
    "properties": {"template": {"type": "string"}},
}
_POST = _body(
    "The template's name, and fields that replace its own.",
    {"template": "sales-agent-default", "llm": {"temperature": 0.8}},
    _FROM,
)


class InstanceAnswer(BaseModel):
    """An instance in the names that PUT takes, which revision that is, and where it is written."""

    id: str = Field(examples=["acme/shop-desk"])
    instance: AgentInstance | None = Field(description="null after a restored deletion.")
    revision: int | None = Field(examples=[3])
    hash: str | None = Field(description="The ETag, without its quotes.")
    owner: Owner = Field(description="Whether a file, the package or the store has it.")
    place: str = Field(examples=["acme/shop-desk/config.yaml"])
    read_only: bool
    effective: dict[str, docs.EffectiveField] | None = Field(
        None, description="With `?effective=true`: every field as it is in force."
    )


class Template(BaseModel):
    """A template, from which a new instance can be made."""

    name: str = Field(examples=["sales-agent-default"])
    agent_type: str = Field(examples=["sales_agent"])
    description: str | None
    capabilities: list[str]
    instance: dict[str, Any] = Field(description="What a new instance has.", examples=[_EXAMPLE])


class TemplateList(BaseModel):
    """All templates, by their names."""

    templates: list[Template]


def add_routes(app: FastAPI) -> None:
    """Add the routes of instances and templates."""
    tags = docs.tags("instances")
    one: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    made: dict[int | str, dict[str, Any]] = {201: {**docs.CREATED, "model": InstanceAnswer}}
    as_one: dict[str, Any] = {"tags": tags, "response_model": InstanceAnswer}
    app.get(INSTANCES, **as_one, responses=one)(get_instance)
    app.put(INSTANCES, **as_one, responses={**one, **made}, openapi_extra=_PUT)(put_instance)
    app.patch(INSTANCES, **as_one, responses=one, openapi_extra=_PATCH)(patch_instance)
    app.post(INSTANCES, **as_one, status_code=201, responses=made, openapi_extra=_POST)(
        copy_template
    )
    app.delete(INSTANCES, tags=tags, status_code=204, response_class=Response)(delete_instance)
    reads = needs("instance", "read", account="account", agent="instance")
    routes = DocumentRoutes(
        INSTANCES, "instances", InstanceAnswer, instance_document, reads, _restored, "revisions"
    )
    docs.add_revisions(app, routes)
    app.get(TEMPLATES, tags=tags)(list_templates)


async def instance_document(
    caller: CallerDep, host: HostDep, account: Account, instance: Instance
) -> Document:
    """The instance in the path."""
    id = instance_id(account, instance)
    if not is_instance_id(id):
        raise not_found()
    return Document(host, caller, "instance", id)


InstanceDep = Annotated[Document, Depends(instance_document)]
_writes = needs("instance", "write", account="account", agent="instance")


@needs("instance", "read", account="account", agent="instance")
async def get_instance(document: InstanceDep, effective: docs.Effective = False) -> Response:
    """Show an instance; its ETag is what If-Match of a change takes."""
    entry, etag = document.entry, document.etag
    if entry is None:
        raise not_found()
    said = {
        "id": document.id,
        "instance": docs.shown(entry),
        "revision": await document.number(etag),
        "hash": etag,
        "owner": entry.owner,
        "place": shown_place(entry.place),
        "read_only": docs.is_read_only(entry),
        **docs.effective_of(document, wanted=effective),
    }
    return docs.answer(said, etag=etag)


@_writes
async def put_instance(
    request: Request, document: InstanceDep, if_match: docs.IfMatch = None
) -> Response:
    """Create an instance (201), or change it as a whole (200)."""
    _, value = await docs.read_body(request)
    instance = parse_instance(document.host.catalog, value, document.id, "body")
    written = await document.put(instance.to_text(), if_match)
    return _written(instance, written.number, created=written.created)


@_writes
async def patch_instance(
    request: Request, document: InstanceDep, if_match: docs.IfMatch = None
) -> Response:
    """Change the given fields; null takes one out, and all others stay."""
    _, value = await docs.read_body(request)
    caller, expected = document.caller, document.expected(if_match)
    try:
        instance, written = await change_instance(
            document.host.catalog,
            caller.actor,
            document.id,
            value,
            key=caller.change_key,
            expected=expected,
            why=caller.why,
        )
    except RevisionConflict as error:
        raise await document.conflict(error, expected) from None
    return _written(instance, written.number)


@_writes
async def copy_template(request: Request, document: InstanceDep) -> Response:
    """Make a new instance from a template."""
    _, value = await docs.read_body(request)
    caller, catalog = document.caller, document.host.catalog
    template = value.pop("template", None)
    names = await catalog.instances.template_names() if catalog.instances else []
    if template not in names:
        message, cure = "it names no template", f"name one of: {', '.join(names) or 'none'}"
        raise DocumentErrors([Problem("body", message, cure, path="template")])
    instance = await instance_from(catalog, document.id, template, value)
    written = await create_instance(
        catalog, caller.actor, instance, key=caller.change_key, why=caller.why
    )
    return _written(instance, written.number, created=True)


def _written(instance: AgentInstance, number: int, *, created: bool = False) -> Response:
    etag = revision_of(instance.to_text())
    location = INSTANCES.format(account=instance.account, instance=instance.instance_name)
    said = _in_store(instance.id, instance.to_json(), number, etag)
    if not created:
        return docs.answer(said, etag=etag)
    return docs.answer(said, etag=etag, status=201, location=location)


def _in_store(id: str, value: Any, number: int, etag: str | None) -> Mapping[str, Any]:
    """An instance that was written a moment ago, and so is in the store."""
    said = {"id": id, "instance": value, "revision": number, "hash": etag, "owner": "store"}
    return {**said, "place": shown_place(stored.INSTANCE + id), "read_only": False}


def _restored(document: Document, made: Revision) -> Response:
    etag = made.hash if made.text is not None else None
    return docs.answer(_in_store(document.id, made.value, made.number, etag), etag=etag)


@_writes
async def delete_instance(document: InstanceDep, if_match: docs.IfMatch = None) -> Response:
    """Delete an instance. What is bound to it stays bound, and a restore brings it back."""
    return await document.delete(document.host.catalog.delete_instance, if_match)


# --- templates -----------------------------------------------------------------------------------


@needs_key()
async def list_templates(host: HostDep) -> TemplateList:
    """List the templates."""
    files = host.catalog.instances
    found = await files.read_templates() if files else {}
    return TemplateList(templates=[_template(name, one) for name, one in found.items()])


def _template(name: str, one: AgentInstance) -> Template:
    names = ("account", "instance_name")
    return Template(
        name=name,
        agent_type=one.agent_type,
        description=one.description,
        capabilities=[*one.capabilities],
        instance={field: v for field, v in one.to_json().items() if field not in names},
    )
