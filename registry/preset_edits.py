"""Presets as their owners make and change them: the same for every face."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from registry import errors
from registry.catalog import Catalog
from registry.errors import DocumentErrors, InvalidValue, Problem
from registry.fields import canonical, casefolded, slug, unknown_name
from registry.preset import (
    MOST_BOTS,
    MOST_PRESETS,
    PersonPresets,
    Preset,
    PresetOverrides,
    account_of_owner,
)
from registry.preset_rules import KnownTools, models_for, offered_bases, unknown_tools
from registry.roles import Actor
from registry.snapshot import Snapshot, revision_of
from registry.sources import stored_values as stored
from registry.sources.revision_store import DELETED
from registry.validation import DocumentReader, RawValue

_TRIES = 200
MOST_CHANGES = 200
"""Changes that one person may make in an hour: nobody can push the rest out of the audit."""
_HOUR = 3600.0
_OVERRIDES = "config_overrides"
IS_DEFAULT = "is_default"
FIELDS = (
    "instance_name",
    "display_name",
    "base_agent_name",
    "primary_model",
    "system_prompt_override",
    "system_prompt_append",
    _OVERRIDES,
    IS_DEFAULT,
)
"""What the owner of a preset may write, in the order of the document (spec 2)."""
_KNOWN = {casefolded(name): name for name in FIELDS}


def presets_of(snapshot: Snapshot, owner: str) -> PersonPresets:
    """The presets of a person, maybe none."""
    return snapshot.presets_of(owner) or PersonPresets(owner=owner)


def as_answered(preset: Preset, held: PersonPresets) -> dict[str, Any]:
    """A preset as its owner is shown it, without its times: every field, null where it is unset."""
    overrides = preset.overrides.model_dump(mode="json", exclude_none=True)
    return {
        "id": preset.id,
        "instance_name": preset.instance_name,
        "display_name": preset.title,
        "base_agent_name": preset.base_agent_name,
        "primary_model": preset.primary_model,
        "system_prompt_override": preset.system_prompt_override,
        "system_prompt_append": preset.system_prompt_append,
        _OVERRIDES: overrides or None,
        IS_DEFAULT: held.default == preset.id,
    }


# --- reading what was given ----------------------------------------------------------------------


def _given(change: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in their own spelling; raises DocumentErrors for one that nobody knows."""
    found: dict[str, Any] = {}
    for name, value in change.items():
        spelled = _KNOWN.get(casefolded(str(name)))
        if spelled is None:
            message, cure = unknown_name(str(name), FIELDS)
            raise DocumentErrors([Problem("preset", message, cure, path=str(name)[:100])])
        if spelled in found:
            message = f"'{spelled}' is given twice, in two spellings"
            raise DocumentErrors([Problem("preset", message, "keep one", path=spelled)])
        found[spelled] = value
    if isinstance(inner := found.get(_OVERRIDES), Mapping):
        try:
            found[_OVERRIDES] = canonical(inner, PresetOverrides)
        except InvalidValue as wrong:
            problem = Problem("preset", wrong.message, wrong.cure, path=_OVERRIDES)
            raise DocumentErrors([problem]) from None
    if not isinstance(found.get(IS_DEFAULT, False), bool):
        message = f"'{IS_DEFAULT}' must be true or false"
        raise DocumentErrors([Problem("preset", message, "write one of the two", path=IS_DEFAULT)])
    return found


def _changed(
    catalog: Catalog, held: Mapping[str, Any], change: Mapping[str, Any], at: float
) -> Preset:
    """A preset with the given fields; null takes one out. Raises DocumentErrors."""
    value = {**held}
    for name, new in change.items():
        if name == IS_DEFAULT:
            continue
        if name == _OVERRIDES and isinstance(new, Mapping):
            inner = {**value.get(name, {}), **new}
            new = {key: item for key, item in inner.items() if item is not None}
        value[name] = new
    value = {name: item for name, item in value.items() if item is not None}
    if isinstance(base := value.get("base_agent_name"), str):
        value["base_agent_name"] = _agent_named(catalog, base)
    made = _read(catalog, value)
    return made if value == held else made.model_copy(update={"updated_at": at})


def _read(catalog: Catalog, value: Mapping[str, Any]) -> Preset:
    reader = DocumentReader(catalog.writer)
    entry = reader.preset(RawValue.of_place(dict(value), "preset", "preset"))
    if entry is None:
        raise DocumentErrors(reader.problems)
    return entry.value


async def _check_tools(
    catalog: Catalog,
    actor: Actor,
    fields: Mapping[str, Any],
    held: Preset | None,
    known: KnownTools | None,
) -> None:
    """Raise DocumentErrors for names of tools that the agent does not have.

    Those that the preset has already may stay.
    """
    overrides = fields.get(_OVERRIDES)
    names = overrides.get("allowed_tools") if isinstance(overrides, Mapping) else None
    base = fields.get("base_agent_name") or (held.base_agent_name if held else None)
    if known is None or not isinstance(names, list | tuple) or not isinstance(base, str):
        return
    base = _agent_named(catalog, base)
    if base not in bases_for(catalog, account_of_owner(actor.id)):
        return  # which is said when the preset is judged
    own = held.overrides.allowed_tools or () if held and held.base_agent_name == base else ()
    if all(name in own for name in names):
        return
    found = await known(base, account_of_owner(actor.id))
    if problems := [*unknown_tools(names, found)]:
        raise DocumentErrors(problems)


def _agent_named(catalog: Catalog, name: str) -> str:
    """The id of an agent, of which hyphens and underscores are alike; the name where none has."""
    return catalog.snapshot().agent_named(name) or name


# --- making and changing -------------------------------------------------------------------------


async def create_preset(
    catalog: Catalog,
    actor: Actor,
    given: Mapping[str, Any],
    *,
    key: str,
    bot: int | None = None,
    known: KnownTools | None = None,
) -> tuple[Preset, PersonPresets]:
    """Make a preset of the actor's own, and use it in a `bot`; with it come all that they have.

    `known` says which tools an agent has. Raises AlreadyThere for a name that they have already,
    and DocumentErrors.
    """
    fields, id = _given(given), _id_of(actor, key)
    await _check_tools(catalog, actor, fields, None, known)

    def made(held: PersonPresets) -> PersonPresets:
        return _with_new(catalog, held, id, fields, bot)

    after = await _rewrite(catalog, actor, "create", made, key)
    preset = after.find(id)
    if preset is None:
        raise errors.NotThere("this preset was deleted meanwhile")
    return preset, after


def _id_of(actor: Actor, key: str) -> str:
    """The id of a preset that a change makes: the same where it is made again after a crash."""
    return hashlib.sha256(f"{actor.id}\n{key}".encode()).hexdigest()[:12]


def _with_new(
    catalog: Catalog,
    held: PersonPresets,
    id: str,
    fields: Mapping[str, Any],
    bot: int | None = None,
) -> PersonPresets:
    if len(held.presets) >= MOST_PRESETS:
        message = f"you have {MOST_PRESETS} presets, and nobody may have more"
        raise DocumentErrors([Problem("presets", message, "delete one", path="instance_name")])
    at = round(catalog.wall(), 3)
    preset = _changed(catalog, {"id": id, "created_at": at}, fields, at)
    _refuse_taken(held, preset)
    after = held.model_copy(update={"presets": (*held.presets, preset)})
    if fields.get(IS_DEFAULT):
        after = after.model_copy(update={"default": id})
    return after if bot is None else _using(after, bot, id)


def _refuse_taken(held: PersonPresets, preset: Preset) -> None:
    other = held.named(preset.instance_name)
    if other is not None and other.id != preset.id:
        raise errors.AlreadyThere(f"you have a preset '{preset.instance_name}' already")


async def change_preset(
    catalog: Catalog,
    actor: Actor,
    id: str,
    change: Mapping[str, Any],
    *,
    key: str,
    expected: str | None = None,
    known: KnownTools | None = None,
) -> tuple[Preset, PersonPresets]:
    """Change the given fields of a preset of the actor's own; null takes one out.

    `expected` is the hash of the preset that they saw, `known` says which tools an agent has.
    Raises NotThere, also for those of others, AlreadyThere, RevisionConflict, and DocumentErrors.
    """
    fields = _given(change)
    held_now = presets_of(catalog.snapshot(), actor.id).find(id)
    await _check_tools(catalog, actor, fields, held_now, known)

    def changed(held: PersonPresets) -> PersonPresets:
        preset = _own(held, id, expected)
        return _with_changed(catalog, held, preset, fields)

    after = await _rewrite(catalog, actor, "update", changed, key)
    return _own(after, id), after


def _with_changed(
    catalog: Catalog, held: PersonPresets, preset: Preset, fields: Mapping[str, Any]
) -> PersonPresets:
    new = _changed(catalog, preset.to_json(), fields, round(catalog.wall(), 3))
    _refuse_taken(held, new)
    presets = tuple(new if one.id == preset.id else one for one in held.presets)
    default = held.default
    if IS_DEFAULT in fields:
        was_default = default == preset.id
        default = preset.id if fields[IS_DEFAULT] else None if was_default else default
    return held.model_copy(update={"presets": presets, "default": default})


def _own(held: PersonPresets, id: str, expected: str | None = None) -> Preset:
    """A preset of a person; raises NotThere, and RevisionConflict where another was expected."""
    if (preset := held.find(id)) is None:
        raise errors.NotThere("there is no such preset")
    if expected not in (None, revision_of(preset.to_text())):
        raise errors.RevisionConflict(f"'{preset.instance_name}' was changed meanwhile")
    return preset


async def delete_preset(
    catalog: Catalog, actor: Actor, id: str, *, key: str, expected: str | None = None
) -> None:
    """Take a preset of the actor's own out of use; its record stays in the history.

    Its name is free from then on. If it was the default, there is none. Raises NotThere.
    """

    def without(held: PersonPresets) -> PersonPresets:
        _own(held, id, expected)
        left = tuple(one for one in held.presets if one.id != id)
        used = {bot: chosen for bot, chosen in held.used.items() if chosen != id}
        default = None if held.default == id else held.default
        return held.model_copy(update={"presets": left, "used": used, "default": default})

    await _rewrite(catalog, actor, "delete", without, key)


async def set_default(catalog: Catalog, actor: Actor, id: str | None, *, key: str) -> None:
    """Make a preset of the actor's own their default, or none; raises NotThere."""

    def switched(held: PersonPresets) -> PersonPresets:
        if id is not None:
            _own(held, id)
        return held.model_copy(update={"default": id})

    await _rewrite(catalog, actor, "set default of", switched, key)


async def use_preset(catalog: Catalog, actor: Actor, bot: int, id: str, *, key: str) -> None:
    """Use a preset of the actor's own in a bot from now on, or (`BARE`) the agent itself."""

    def using(held: PersonPresets) -> PersonPresets:
        if id:
            _own(held, id)
        return _using(held, bot, id)

    await _rewrite(catalog, actor, "use", using, key)


def _using(held: PersonPresets, bot: int, id: str) -> PersonPresets:
    others = {name: chosen for name, chosen in held.used.items() if name != str(bot)}
    kept = dict([*others.items()][-MOST_BOTS + 1 :])
    return held.model_copy(update={"used": {**kept, str(bot): id}})


async def adjust(
    catalog: Catalog,
    actor: Actor,
    here: tuple[int, str, str],
    change: Mapping[str, Any],
    *,
    key: str,
) -> Preset:
    """Change the preset that is used in a bot; where none is, make one of the agent and use it.

    `here` is the bot, the id of the preset that is used there ('' for none), and the agent.
    """
    (bot, id, base), new_id = here, _id_of(actor, key)

    def adjusted(held: PersonPresets) -> PersonPresets:
        if preset := held.find(id):
            return _with_changed(catalog, held, preset, change)
        fields = {"instance_name": _free_name(held, base), "base_agent_name": base, **change}
        return _with_new(catalog, held, new_id, fields, bot)

    after = await _rewrite(catalog, actor, "adjust", adjusted, key)
    return _own(after, id if after.find(id) else new_id)


def _free_name(held: PersonPresets, base: str) -> str:
    """A name for a preset of an agent that the person has not used yet."""
    return _unused(held, slug(f"my-{base}"[:60]) or "mine")


def _unused(held: PersonPresets, name: str) -> str:
    numbered = (f"{name}-{number}" for number in range(2, MOST_PRESETS + 2))
    return next(one for one in (name, *numbered) if held.named(one) is None)


def names_of(held: PersonPresets, title: str) -> dict[str, str]:
    """The fields that name a preset as a person calls it; a slug is made where none can be read.

    Raises AlreadyThere where one has this title already, and no slug tells the two apart.
    """
    if name := slug(title):
        return {"instance_name": name} | ({"display_name": title} if title != name else {})
    if any(one.title == title for one in held.presets):
        raise errors.AlreadyThere(f"you have a preset '{title}' already")
    return {"instance_name": _unused(held, "preset"), "display_name": title}


async def _rewrite(
    catalog: Catalog,
    actor: Actor,
    action: str,
    change: Callable[[PersonPresets], PersonPresets],
    key: str,
) -> PersonPresets:
    """Change the presets of the actor, over whatever others write at the same time.

    A change whose key was seen before is not made again.
    """
    owner, where = actor.id, stored.PRESET + actor.id
    for _ in range(_TRIES):
        text = await catalog.writable.text(where)
        held = _held(owner, text)
        if await catalog.was_made(key):
            return held
        new = change(held)
        if new == held:
            return held
        await _refuse_flood(catalog, where)
        expected = DELETED if text is None else revision_of(text)
        put, value = catalog.put_document, new.to_text()
        with suppress(errors.RevisionConflict, errors.AlreadyThere):
            await put(actor, "preset", owner, value, key=key, expected=expected, action=action)
            return new
    raise errors.RevisionConflict("your presets are being changed elsewhere; try again")


async def _refuse_flood(catalog: Catalog, where: str) -> None:
    """Raise Denied where a person has made too many changes within an hour."""
    async with catalog.writable.using(where) as revisions:
        (head,) = await revisions.heads([where])
        if head.number < MOST_CHANGES:
            return
        found = await revisions.history(where, 1, head.number - MOST_CHANGES + 2)
    if found and found[0].at > catalog.wall() - _HOUR:
        message = f"you have changed your presets {MOST_CHANGES} times within an hour"
        raise errors.Denied(f"{message}: wait a while")


def _held(owner: str, text: str | None) -> PersonPresets:
    if text is None:
        return PersonPresets(owner=owner)
    try:
        return PersonPresets.model_validate_json(text)
    except ValueError:
        place = stored.PRESET + owner
        cure = "an operator has to DEL it in the store"
        raise DocumentErrors([Problem(place, "its value is not valid", cure)]) from None


# --- what one may build upon ---------------------------------------------------------------------


def usable_models(catalog: Catalog, base: str) -> list[str]:
    """The models that presets of an agent may name."""
    agent, allowed = catalog.get_agent(base), catalog.allowed_models()
    return models_for(agent, allowed) if agent else allowed


def bases_for(catalog: Catalog, account: str) -> list[str]:
    """The ids of the agents that presets of people in an account may stand on."""
    return offered_bases(catalog.snapshot(), account)
