"""The routes of presets, which spec 2 calls agent instances: `/api/v1/agent-instances`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, Path, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from bot.http.api import documents as docs
from bot.http.api.answering import reaches_base
from bot.http.api.caller import Caller
from bot.http.api.needs import CallerDep, Host, HostDep, iso, needs_key
from bot.http.api.problems import ApiError, not_found
from registry.preset import PersonPresets, Preset
from registry.preset_edits import (
    as_answered,
    bases_for,
    change_preset,
    create_preset,
    delete_preset,
    presets_of,
)
from registry.snapshot import revision_of

PATH = "/api/v1/agent-instances"
PresetId = Annotated[str, Path(max_length=64, examples=["3f9a01c2d4e5"])]
_EXAMPLE = {
    "instance_name": "deep-researcher",
    "display_name": "Deep Researcher",
    "base_agent_name": "research_agent",
    "system_prompt_append": "Always cite sources in APA format.",
    "primary_model": "gpt-4",
}
_FIELDS: dict[str, Any] = {
    "instance_name": {"type": "string", "description": "A slug that none of your presets has."},
    "display_name": {"type": "string", "description": "What people read."},
    "base_agent_name": {"type": "string", "description": "An agent of `templates`."},
    "primary_model": {"type": "string", "nullable": True, "description": "One of `templates`."},
    "system_prompt_override": {
        "type": "string",
        "nullable": True,
        "description": "Replaces the agent's own text.",
    },
    "system_prompt_append": {
        "type": "string",
        "nullable": True,
        "description": "Stands after the agent's own text.",
    },
    "config_overrides": {
        "type": "object",
        "nullable": True,
        "description": "`temperature`, `max_tokens`, `reasoning_effort`, `allowed_tools`.",
    },
    "is_default": {"type": "boolean", "description": "Whether it is your default one."},
    "user_id": {"type": "string", "description": "The person, where the key does not say it."},
}
for _field in _FIELDS.values():  # as OpenAPI 3.1 writes what may be null
    if _field.pop("nullable", False):
        _field["type"] = [_field["type"], "null"]


class TemplateAgent(BaseModel):
    """An agent that presets may stand on, with the model and the tools that it has now."""

    name: str = Field(examples=["research_agent"])
    display_name: str = Field(examples=["Research agent"])
    description: str | None
    model: str | None
    tools: list[str]


class Templates(BaseModel):
    """What presets may be built upon."""

    agents: list[TemplateAgent]
    models: list[str] = Field(examples=[["claude-sonnet-4-6", "gpt-4"]])


class PresetAnswer(BaseModel):
    """A preset of the caller."""

    id: str = Field(examples=["3f9a01c2d4e5"])
    instance_name: str = Field(examples=["deep-researcher"])
    display_name: str = Field(examples=["Deep Researcher"])
    base_agent_name: str = Field(examples=["research_agent"])
    primary_model: str | None = Field(examples=["gpt-4"])
    system_prompt_override: str | None
    system_prompt_append: str | None = Field(examples=["Always cite sources in APA format."])
    config_overrides: dict[str, Any] | None = Field(examples=[{"temperature": 0.2}])
    is_default: bool
    created_at: str | None = Field(examples=["2027-02-28T12:00:00+00:00"])
    updated_at: str | None = Field(examples=["2027-02-28T12:00:00+00:00"])


def _body(words: str, example: Any, required: list[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": _FIELDS}
    schema |= {"required": required} if required else {}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "description": words, "content": content}}


_POST = _body("The fields of the preset.", _EXAMPLE, ["instance_name", "base_agent_name"])
_PATCH = _body("The fields to change; null takes one out.", {"is_default": True}, [])


def add_routes(app: FastAPI) -> None:
    """Add the routes of presets."""
    tags = docs.tags("presets")
    one: dict[str, Any] = {"tags": tags, "response_model": PresetAnswer}
    shown: dict[int | str, dict[str, Any]] = {200: {"headers": docs.ETAG}}
    made: dict[int | str, dict[str, Any]] = {201: {**docs.CREATED, "model": PresetAnswer}}
    app.get(f"{PATH}/templates", tags=tags)(list_bases)
    app.get(PATH, tags=tags)(list_presets)
    app.post(PATH, **one, status_code=201, responses=made, openapi_extra=_POST)(post_preset)
    path = f"{PATH}/{{preset_id}}"
    app.get(path, **one, responses=shown)(get_preset)
    app.patch(path, **one, responses=shown, openapi_extra=_PATCH)(patch_preset)
    app.delete(path, tags=tags, status_code=204, response_class=Response)(remove_preset)


@needs_key()
async def list_bases(caller: CallerDep, host: HostDep) -> Templates:
    """List the agents and the models that a preset may build on."""
    snapshot, about = host.catalog.snapshot(), host.talking.about
    bases = [
        id for id in bases_for(host.catalog, caller.account) if reaches_base(snapshot, caller, id)
    ]
    # Every replica waits for the servers, so that each of them gives the same answer.
    known = await asyncio.gather(*(about.known(id, caller.account) for id in bases))
    found = [
        TemplateAgent(
            name=id,
            display_name=snapshot.agents[id].value.name,
            description=snapshot.agents[id].value.description,
            model=about.model(id),
            tools=sorted({key.split(":", 2)[-1] for key in tools.shown}),
        )
        for id, tools in zip(bases, known, strict=True)
    ]
    return Templates(agents=found, models=host.catalog.allowed_models())


@needs_key()
async def list_presets(caller: CallerDep, host: HostDep) -> list[PresetAnswer]:
    """List your presets."""
    held = presets_of(host.catalog.snapshot(), caller.actor.id)
    return [_answer(one, held) for one in held.presets]


@needs_key()
async def post_preset(request: Request, caller: CallerDep, host: HostDep) -> Response:
    """Create a preset of your own."""
    given = await _fields(request)
    _require_base(host, caller, given)
    preset, held = await create_preset(
        host.catalog,
        caller.actor,
        given,
        key=caller.change_key,
        known=host.talking.about.known,
    )
    return docs.answer(
        _answer(preset, held), etag=_etag(preset), status=201, location=f"{PATH}/{preset.id}"
    )


@needs_key()
async def get_preset(caller: CallerDep, host: HostDep, preset_id: PresetId) -> Response:
    """Show a preset of your own; its ETag is what If-Match of a change takes."""
    held = presets_of(host.catalog.snapshot(), caller.actor.id)
    if (preset := held.find(preset_id)) is None:
        raise not_found()
    return docs.answer(_answer(preset, held), etag=_etag(preset))


@needs_key()
async def patch_preset(
    request: Request,
    caller: CallerDep,
    host: HostDep,
    preset_id: PresetId,
    if_match: docs.IfMatch = None,
) -> Response:
    """Change the given fields of a preset of your own; all others stay."""
    given = await _fields(request)
    _require_base(host, caller, given)
    preset, held = await change_preset(
        host.catalog,
        caller.actor,
        preset_id,
        given,
        key=caller.change_key,
        expected=_expected(caller, host, preset_id, if_match),
        known=host.talking.about.known,
    )
    return docs.answer(_answer(preset, held), etag=_etag(preset))


@needs_key()
async def remove_preset(
    caller: CallerDep, host: HostDep, preset_id: PresetId, if_match: docs.IfMatch = None
) -> Response:
    """Delete a preset of your own: it is used no more, and its name is free."""
    await delete_preset(
        host.catalog,
        caller.actor,
        preset_id,
        key=caller.change_key,
        expected=_expected(caller, host, preset_id, if_match),
    )
    return docs.none_left()


async def _fields(request: Request) -> dict[str, Any]:
    """The fields in a body; `user_id`, which names the person, was looked at before."""
    _, value = await docs.read_body(request)
    value.pop("user_id", None)
    return value


def _require_base(host: Host, caller: Caller, given: dict[str, Any]) -> None:
    """Raise ApiError where a key of one agent alone names another one."""
    base = given.get("base_agent_name")
    if isinstance(base, str) and not reaches_base(host.catalog.snapshot(), caller, base):
        detail = f"This key reaches {caller.agent} alone."
        raise ApiError(403, "denied", detail, field="base_agent_name")


def _expected(caller: Caller, host: Host, id: str, if_match: str | None) -> str | None:
    """The hash of the preset that a change must find, by If-Match and what is there now."""
    held = host.catalog.snapshot().presets_of(caller.actor.id)
    preset = held.find(id) if held else None
    return docs.expected_of(if_match, _etag(preset) if preset else None)


def _etag(preset: Preset) -> str:
    return revision_of(preset.to_text())


def _answer(preset: Preset, held: PersonPresets) -> PresetAnswer:
    return PresetAnswer(
        **as_answered(preset, held),
        created_at=iso(preset.created_at or None),
        updated_at=iso(preset.updated_at or None),
    )
