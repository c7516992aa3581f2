"""`switchboard instances`: agent instances of accounts, from files, the package and the store."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from bot.cli.documents import documents, listing, made, put_document, read_text
from bot.cli.registry import ACTOR, Registry, Said, table, why_of
from bot.errors import WrongWords
from registry.instance import AgentInstance, is_instance_id
from registry.instance_edits import create_instance, instance_from, parse_pasted


async def list_instances(registry: Registry, given: Namespace) -> Said:
    """The instances with name, type, place and revision; with --account those of one account."""
    entries = documents(registry, "instance", packaged=True)
    found = [
        one | {"title": entries[one["id"]].value.title}
        for one in await listing(registry, "instance")
        if given.account in (None, one["value"]["account"])
    ]
    rows = (
        [
            one["id"],
            one["title"],
            one["value"]["agent_type"],
            one["place"] if one["owner"] == "file" else one["owner"],
            f"revision {one['revision']}" if one["revision"] else "",
        ]
        for one in found
    )
    return Said([*table(rows)] or ["no instances"], found, notes=[*_wrong_files(registry)])


def _wrong_files(registry: Registry) -> Iterator[str]:
    files = registry.catalog.instances
    yield from map(str, files.document.errors if files else ())


async def put_instance(registry: Registry, given: Namespace) -> Said:
    """Create an instance, or change it as a whole, from YAML or JSON with its names."""
    text, called = read_text(given.file)
    instance = await parse_pasted(registry.catalog, text, called)
    return await put_document(registry, given, instance.id, instance.to_text())


async def new_instance(registry: Registry, given: Namespace) -> Said:
    """Create an instance from a template, or of an agent type."""
    if not is_instance_id(given.id):
        raise WrongWords(f"'{given.id}' names no instance; write ACCOUNT/INSTANCE")
    one: AgentInstance = await instance_from(registry.catalog, given.id, given.source)
    key, why = registry.key("create"), why_of(given)
    written = await create_instance(registry.catalog, ACTOR, one, key=key, why=why)
    line = f"created agent instance {one.id} from {given.source}, revision {written.number}"
    return Said([line], made("instance", one.id, "created", written.number))


async def list_templates(registry: Registry, _given: Namespace) -> Said:
    """The templates, with the agent type of each and what it is for."""
    files = registry.catalog.instances
    found = await files.read_templates() if files else {}
    rows = ([name, one.agent_type, one.description or ""] for name, one in found.items())
    data = [
        {"name": name, "agent_type": one.agent_type, "value": one.to_json()}
        for name, one in found.items()
    ]
    return Said([*table(rows)] or ["no templates"], data)
