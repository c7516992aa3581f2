"""`switchboard presets`: people's own presets, which only the operator sees beside their owners."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bot.cli.documents import STDIN, documents
from bot.cli.registry import Registry, Said, not_there, person_of, table, time_of
from bot.cli.transfer import write_private
from registry.preset import PersonPresets, Preset
from registry.preset_edits import as_answered
from registry.preset_rules import fault_of


def _wanted(registry: Registry, given: Namespace) -> list[PersonPresets]:
    """The presets of everybody, or of one person."""
    found = {id: entry.value for id, entry in documents(registry, "preset").items()}
    if given.person is None:
        return [found[owner] for owner in sorted(found)]
    owner = person_of(given.person)
    if owner not in found:
        raise not_there("person with presets", owner, found, "`presets list` shows them")
    return [found[owner]]


async def list_presets(registry: Registry, given: Namespace) -> Said:
    """The presets by their owners, without their texts."""
    rows, data = list[list[str]](), list[dict[str, Any]]()
    snapshot = registry.catalog.snapshot()
    for held, one in _each(_wanted(registry, given)):
        marks = ["default"] if held.default == one.id else []
        marks += ["cannot answer"] if fault_of(snapshot, held.owner, one) else []
        model, changed = one.primary_model or "", time_of(one.updated_at)
        rows.append(
            [held.owner, one.instance_name, one.base_agent_name, model, changed, ", ".join(marks)]
        )
        said = {"id": one.id, "instance_name": one.instance_name, "base": one.base_agent_name}
        data.append({"owner": held.owner, **said, "model": one.primary_model, "marks": marks})
    return Said([*table(rows)] or ["no presets"], data)


def _each(people: list[PersonPresets]) -> Iterator[tuple[PersonPresets, Preset]]:
    for held in people:
        for one in held.presets:
            yield held, one


async def export_presets(registry: Registry, given: Namespace) -> Said:
    """Write the presets with their texts to a file that only its owner may read, or to stdout."""
    times = ("created_at", "updated_at")
    body = [
        {
            "owner": held.owner,
            **as_answered(one, held),
            **{name: time_of(getattr(one, name)) or None for name in times},
        }
        for held, one in _each(_wanted(registry, given))
    ]
    text = json.dumps(body, indent=2, ensure_ascii=False)
    if given.file in (None, STDIN):
        return Said(text.splitlines(), body)
    write_private(Path(given.file), text + "\n")
    count = f"{len(body)} preset" if len(body) == 1 else f"{len(body)} presets"
    return Said([f"exported to {given.file}: {count}"], {"file": given.file, "count": len(body)})
