"""`switchboard profiles | llm-configs`: shared by agents, from files, package and store."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from bot.cli.documents import listing, put_document, read_text
from bot.cli.registry import Registry, Said, table
from registry.profile_edits import parse_pasted
from registry.profile_rules import NOUNS
from registry.profiles_seen import users_of_each


async def list_shared(registry: Registry, given: Namespace) -> Said:
    """The profiles or configurations with what they are, who uses them, place and revision."""
    kind = given.kind
    users = users_of_each(registry.catalog.snapshot(), kind)
    found = [one | {"used_by": users.get(one["id"], [])} for one in await listing(registry, kind)]
    told = "type" if kind == "profile" else "model"
    rows = (
        [
            one["id"],
            one["value"].get(told) or "",
            ", ".join(one["used_by"]) or "not used",
            one["place"] if one["owner"] == "file" else one["owner"],
            f"revision {one['revision']}" if one["revision"] else "",
        ]
        for one in found
    )
    lines = [*table(rows)] or [f"no {NOUNS[kind]}s"]
    return Said(lines, found, notes=[*_wrong_files(registry)])


def _wrong_files(registry: Registry) -> Iterator[str]:
    files = registry.catalog.profiles
    yield from map(str, files.document.errors if files else ())


async def put_shared(registry: Registry, given: Namespace) -> Said:
    """Create a profile or a configuration, or change it as a whole, from YAML or JSON."""
    text, called = read_text(given.file)
    one = await parse_pasted(registry.catalog, given.kind, text, called)
    return await put_document(registry, given, one.name, one.to_text())
