"""Instances of agents as people and programs make and change them: the same for every face."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from registry import errors
from registry.catalog import Catalog, Written
from registry.errors import DocumentErrors, Problem
from registry.fields import casefolded
from registry.instance import SLASH, AgentInstance
from registry.roles import NO_REASON, Actor, Target, Why, verdict
from registry.snapshot import PACKAGED, Entry, revision_of
from registry.sources import stored_values as stored
from registry.sources.handwritten import parse_pasted_instance
from registry.sources.revision_store import DELETED
from registry.typed_edits import REMOVED, EditableFields, merged
from registry.validation import DocumentReader, RawValue

_QUICK = 16_000  # characters of a text that are read on the loop
_TRIES = 20
_SWITCHED = {"on": True, "true": True, "off": False, "false": False}
_TYPED = re.compile(r"([A-Za-z]\w*(?:\.\S*[^\s:])?)[ \t]+(?!:)(.*)", re.DOTALL)


_FIELDS = EditableFields(AgentInstance, frozenset({"account", "instance_name"}))
SETTINGS = _FIELDS.settings
"""What an instance may set, by its dotted name (`llm.temperature`), and what kind of value it is.

`account` and `instance_name`, which name it, are not among them.
"""


def setting_of(instance: AgentInstance, name: str) -> Any:
    """What an instance says of a setting, as JSON; None where it says nothing."""
    value: Any = instance.to_json()
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def place_of(entry: Entry[AgentInstance], name: str) -> str:
    """Where a setting of an instance is written."""
    found = entry.origins.get(name) or entry.origins.get(name.partition(".")[0])
    return found or entry.place


def may_see(actor: Actor, account: str) -> bool:
    """Whether an actor may read the instances of an account."""
    return verdict(actor.grants, "read", Target("instance", account)) == "yes"


def seen_instances(
    catalog: Catalog, actor: Actor, account: str = ""
) -> dict[str, Entry[AgentInstance]]:
    """The instances that an actor may see, by `<account>/<name>`; of one account or of all."""
    return {
        entry.value.id: entry
        for name, entries in catalog.snapshot().accounts.items()
        if account in ("", name) and may_see(actor, name)
        for entry in entries.values()
    }


# --- reading what was given ----------------------------------------------------------------------


def parse_instance(
    catalog: Catalog, value: Mapping[str, Any], id: str, place: str
) -> AgentInstance:
    """The instance of this id in a JSON value, which may leave its names out.

    Raises DocumentErrors with every mistake.
    """
    reader = DocumentReader(catalog.writer)
    entry = reader.instance(RawValue.of_place(value, place, place), id)
    if entry is None:
        raise DocumentErrors(reader.problems)
    return entry.value


async def parse_pasted(catalog: Catalog, text: str, file: str = "", id: str = "") -> AgentInstance:
    """An instance from YAML or JSON that somebody pasted, or a file; raises DocumentErrors."""
    if len(text) <= _QUICK:
        return parse_pasted_instance(text, file, catalog.writer, id)
    return await asyncio.to_thread(parse_pasted_instance, text, file, catalog.writer, id)


def typed_change(text: str, id: str) -> dict[str, Any] | None:
    """The change of an instance in words such as `temperature 0.3`; None for a whole document.

    `tools.crm on` switches a tool, and `none` takes a setting out. Raises DocumentErrors for a name
    that nothing has.
    """
    found = _TYPED.fullmatch(text.strip())
    if not found:
        return None
    given, _, tool = found[1].partition(".")
    if casefolded(given) == "tools" and tool:
        return {"tools": {tool: _switched(found[2], tool, id)}}
    if _FIELDS.named(found[1]) is None and ("{" in text or "\n" in text.strip()):
        return None
    return _FIELDS.change(found[1], found[2], id)


def _switched(text: str, tool: str, id: str) -> Any:
    word = text.strip().lower()
    if word == REMOVED:
        return None
    if word not in _SWITCHED:
        message, cure = f"'{word[:40]}' is neither on nor off", f"write tools.{tool} on"
        raise DocumentErrors([Problem(id, message, cure, path=f"tools.{tool}")])
    return {"enabled": _SWITCHED[word]}


# --- making and changing -------------------------------------------------------------------------


async def create_instance(
    catalog: Catalog,
    actor: Actor,
    instance: AgentInstance,
    *,
    key: str,
    why: Why = NO_REASON,
) -> Written:
    """Store a new instance; raises AlreadyThere where its id is taken, also in the package."""
    id, text, put = instance.id, instance.to_text(), catalog.put_document
    there = catalog.snapshot().document.instances.get(id)
    try:
        if there is not None and there.document == PACKAGED:
            raise errors.AlreadyThere
        return await put(
            actor, "instance", id, text, key=key, expected=DELETED, why=why, action="create"
        )
    except errors.AlreadyThere:
        raise errors.AlreadyThere(f"there is already an agent instance '{id}'") from None


async def instance_from(
    catalog: Catalog, id: str, source: str, change: Mapping[str, Any] | None = None
) -> AgentInstance:
    """A new instance as a template has it, or of an agent type, with the given fields.

    Raises NotThere where the source is neither, and DocumentErrors.
    """
    snapshot = catalog.snapshot()
    account, _, name = id.partition(SLASH)
    if catalog.instances is not None and source in await catalog.instances.template_names():
        made = (await catalog.instances.from_template(source, account, name)).to_json()
    elif snapshot.type_named(source) is not None:
        made = {"agent_type": source}
    else:
        raise errors.NotThere(await _no_source(catalog, account, source))
    return parse_instance(catalog, merged(made, _FIELDS.spelled(change or {}, id)), id, id)


async def _no_source(catalog: Catalog, account: str, source: str) -> str:
    names = await catalog.instances.template_names() if catalog.instances else []
    types = catalog.snapshot().offered_types(account)
    known = f"templates are {', '.join(names) or 'none'}; types are {', '.join(types)}"
    return f"there is no template and no agent type '{source[:64]}'; {known}"


async def change_instance(
    catalog: Catalog,
    actor: Actor,
    id: str,
    change: Mapping[str, Any],
    *,
    key: str,
    expected: str | None = None,
    why: Why = NO_REASON,
) -> tuple[AgentInstance, Written]:
    """Change the given fields of an instance, over the expected hash if there is one.

    What comes with the package is copied to the store. Raises NotThere, and what `put_document`
    raises.
    """
    for _ in range(_TRIES):
        held, document = await _held(catalog, id)
        given = merged(_FIELDS.spelled(document, id), _FIELDS.spelled(change, id))
        instance = parse_instance(catalog, given, id, id)
        put, text = catalog.put_document, instance.to_text()
        lost = () if expected else (errors.RevisionConflict, errors.AlreadyThere)
        with suppress(*lost):
            written = await put(
                actor,
                "instance",
                id,
                text,
                key=key,
                expected=expected or held,
                why=why,
                action="update",
            )
            return instance, written
    raise errors.RevisionConflict(f"too many others are changing {id}; try again")


async def _held(catalog: Catalog, id: str) -> tuple[str, dict[str, Any]]:
    """The hash and the value of an instance as it is stored; raises NotThere or Owned."""
    where = stored.INSTANCE + id
    if (place := catalog.owner(where)) is not None:
        raise errors.Owned(id, place)
    text = await catalog.writable.text(where)
    if text is None:
        there = catalog.snapshot().document.instances.get(id)
        if there is None or there.document != PACKAGED:
            raise errors.NotThere(f"there is no agent instance '{id}'")
        return DELETED, there.value.to_json()
    value = None
    with suppress(ValueError):
        value = json.loads(text)
    if not isinstance(value, dict):
        message, cure = "its value is not an object", "write it as a whole"
        raise DocumentErrors([Problem(where, message, cure)])
    return revision_of(text), value
