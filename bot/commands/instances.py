"""Agent instances of accounts, from a chat: /instances, /instance, /newinstance, and so on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bot.command import (
    READ_INSTANCES,
    WRITE_INSTANCES,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    counted,
    escape_markdown,
    first_items,
    paragraphs,
    problem_lines,
    reason_of,
    split_reason,
)
from bot.commands.agents import advice_lines, described, document_in, place_in_force, setting_line
from bot.commands.host import MAX_NAMES, AdminContext
from registry.errors import NotThere
from registry.fields import is_slug, nearest
from registry.instance import AgentInstance, is_instance_id
from registry.instance_edits import (
    SETTINGS,
    change_instance,
    create_instance,
    instance_from,
    may_see,
    parse_pasted,
    place_of,
    seen_instances,
    setting_of,
    typed_change,
)
from registry.layers import EffectiveAgent
from registry.revisions import differences
from registry.roles import DEFAULT_ACCOUNT, NO_REASON, Actor, Why
from registry.snapshot import SPELLED_LLM, Entry

MAX_SHOWN = 50
INSTANCE = "ACCOUNT/INSTANCE"
WHICH = f"Which instance? Write {{}} {INSTANCE}, such as acme/sales-smb; /instances lists them."
HOW_TO_EDIT = (
    f"Write a field and its value after /editinstance {INSTANCE}, such as temperature 0.3, "
    "tools.crm off or name none. To replace the instance as a whole, write YAML or JSON there, "
    "send a file with the command as its caption, or reply to a message or a file with the command."
)
_OF_AGENT = frozenset({"tools", "context_management.history_limit"})
"""What the agent decides where an instance says nothing."""
_BECAUSE = re.compile(r"\A[ \t]*because\b([^\n]*)(?:\n|\Z)", re.IGNORECASE)
"""Why, on the line of the command, where a document follows."""


@command(
    "instances",
    "list the agent instances of accounts",
    needs=READ_INSTANCES,
    usage="[ACCOUNT]",
    concurrent=True,
)
async def instances(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the instances that the sender may see, of all accounts or of one."""
    account = context.arguments.strip().lower()
    found = seen_instances(host.catalog, host.actor(context), account)
    if not found:
        where = f" in account {code(account[:64])}" if account else ""
        return Reply(f"There are no agent instances{where} that you may see.")
    shown, more = first_items([*found.items()], MAX_SHOWN)
    lines = [
        f"• {code(id)} {escape_markdown(entry.value.title)} · {code(entry.value.agent_type)} · "
        f"{escape_markdown(entry.place)}"
        for id, entry in shown
    ]
    return Reply("\n".join(lines) + more)


@command(
    "instance",
    "show an instance's settings and origins",
    needs=READ_INSTANCES,
    usage=INSTANCE,
    concurrent=True,
)
async def instance(host: AdminContext, context: CommandContext) -> CommandResult:
    """Show what is in force of an instance, each setting with its origin."""
    here = context.resolution.agent_id or ""
    id = context.arguments.strip().lower() or (here if is_instance_id(here) else "")
    if not is_instance_id(id):
        return Reply(escape_markdown(WHICH.format("/instance")))
    entry = found_instance(host, context, id)
    return Reply(await described(host, context, id, entry.value.title, _settings(host, entry)))


def found_instance(host: AdminContext, context: CommandContext, id: str) -> Entry[AgentInstance]:
    """An instance that the sender may see; raises NotThere for any other."""
    actor, entry = host.actor(context), host.catalog.snapshot().document.instances.get(id)
    if entry is not None and may_see(actor, entry.value.account):
        return entry
    near = nearest(id, [*seen_instances(host.catalog, actor)][:MAX_NAMES], 0.6)
    rest = f"did you mean '{near}'?" if near else "/instances lists them"
    raise NotThere(f"there is no agent instance '{id}'; {rest}")


def _settings(host: AdminContext, entry: Entry[AgentInstance]) -> Iterator[str]:
    """A line for each setting: its own, or what it has from its agent."""
    effective = host.catalog.snapshot().effective(entry.value.id, host.defaults)
    for name in SETTINGS:
        value, place = setting_of(entry.value, name), place_of(entry, name)
        if value is None:
            value, place = _inherited(effective, entry.value, name, host)
        yield setting_line(name, _words(value), place)


def _inherited(
    effective: EffectiveAgent | None, own: AgentInstance, name: str, host: AdminContext
) -> tuple[Any, str]:
    """What an instance has where it says nothing, and where that is written."""
    if name == "name":
        return own.title, "its slug"
    if effective is None:
        return None, "default"
    if name == "description":
        return effective.definition.description, effective.origins["description"]
    if spelled := SPELLED_LLM.get(name):
        value = effective.llm.model_dump(by_alias=True)[spelled]
        return value, place_in_force(effective, spelled, host.defaults)
    if name in _OF_AGENT:
        return None, f"as agent {effective.definition.id} has it"
    return None, "default"


def _words(value: Any) -> str:
    """A value as people read it; the names of tools with whether they are on."""
    if isinstance(value, Mapping):
        tools = {name: "on" if one.get("enabled") else "off" for name, one in value.items()}
        return ", ".join(f"{name} {word}" for name, word in tools.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


# --- changing ------------------------------------------------------------------------------------


@command(
    "newinstance",
    "create an agent instance in an account",
    needs=WRITE_INSTANCES,
    usage=f"{INSTANCE} TEMPLATE | TYPE | YAML [because …]",
)
async def new_instance(host: AdminContext, context: CommandContext) -> CommandResult:
    """Create an instance from a template, of an agent type, or from its YAML or JSON."""
    id, rest = _split_id(context.arguments)
    source, why = _source(rest)
    if not is_instance_id(id):
        return Reply(await _how_to_create(host, id))
    if source:
        made = await instance_from(host.catalog, id, source)
    else:
        text, why = _document(rest)
        text, file = await document_in(context, text)
        if not text:
            return Reply(await _how_to_create(host, id))
        made = await parse_pasted(host.catalog, text, file, id)
    await create_instance(host.catalog, host.actor(context), made, key=context.key, why=why)
    hint = (
        f"/editinstance {id} temperature 0.3 changes a setting, and /bind {id} lets it answer here."
    )
    said = f"Created agent instance {_titled(made)}."
    return Reply(paragraphs(said, escape_markdown(hint), await _warnings(host, context, id)))


def _split_id(text: str) -> tuple[str, str]:
    """The first word, which names an instance, and what follows it."""
    id, *rest = text.split(maxsplit=1) or [""]
    return id.lower(), "".join(rest)


def _source(text: str) -> tuple[str, Why]:
    """The template or the type that is named, and why; '' where something else stands there."""
    words, why = split_reason(text)
    name = words.strip().lower()
    return (name, why) if is_slug(name) else ("", NO_REASON)


def _document(text: str) -> tuple[str, Why]:
    """A document, and why, which stands before it."""
    found = _BECAUSE.match(text)
    return (text[found.end() :], reason_of(found[1])) if found else (text, NO_REASON)


async def _how_to_create(host: AdminContext, id: str) -> str:
    """How to create an instance, with the templates and types that there are."""
    files, snapshot = host.catalog.instances, host.catalog.snapshot()
    account = id.partition("/")[0] if is_instance_id(id) else DEFAULT_ACCOUNT
    names = await files.template_names() if files else []
    templates = ", ".join(map(code, names)) or "none"
    types = ", ".join(map(code, snapshot.offered_types(account)))
    how = (
        f"Write /newinstance {INSTANCE} and the name of a template or an agent type, such as "
        "/newinstance acme/sales-smb sales-agent-default; or its YAML or JSON, also in a file."
    )
    return paragraphs(escape_markdown(how), f"Templates: {templates}.\nAgent types: {types}.")


def _titled(one: AgentInstance) -> str:
    return f"**{escape_markdown(one.title)}** ({code(one.id)})"


async def _warnings(host: AdminContext, context: CommandContext, id: str) -> str:
    """What is odd about an instance, and what its model does not accept."""
    snapshot = host.catalog.snapshot()
    effective = snapshot.effective(id, host.defaults)
    advice = advice_lines(host, effective) if effective else []
    odd = [*snapshot.review(id), *(await host.tools(id, context)).problems]
    return "\n".join(filter(None, [problem_lines(odd), *advice]))


@command(
    "editinstance",
    "change an agent instance",
    needs=WRITE_INSTANCES,
    usage=f"{INSTANCE} FIELD VALUE | YAML [because …]",
)
async def edit_instance(host: AdminContext, context: CommandContext) -> CommandResult:
    """Change one setting of an instance, or replace it as a whole."""
    id, rest = _split_id(context.arguments)
    if not is_instance_id(id):
        return Reply(escape_markdown(f"{WHICH.format('/editinstance')} {HOW_TO_EDIT}"))
    found_instance(host, context, id)
    catalog, actor = host.catalog, host.actor(context)
    words, why = split_reason(rest)
    change = None if _BECAUSE.match(rest) else typed_change(words, id)
    if change is not None:
        made, written = await change_instance(catalog, actor, id, change, key=context.key, why=why)
    else:
        text, why = _document(rest)
        text, file = await document_in(context, text)
        if not text:
            return Reply(escape_markdown(HOW_TO_EDIT))
        made = await parse_pasted(catalog, text, file, id)
        put, value = catalog.put_document, made.to_text()
        written = await put(actor, "instance", id, value, key=context.key, why=why, action="update")
    said = f"{_titled(made)} says so already."
    if written.changed:
        fields = ", ".join(await _changed_fields(host, actor, id, written.number))
        said = f"Changed {_titled(made)}: {escape_markdown(fields)}."
    return Reply(paragraphs(said, await _warnings(host, context, id)))


async def _changed_fields(host: AdminContext, actor: Actor, id: str, number: int) -> list[str]:
    """What a revision changed, however often the command that made it is handled."""
    new, *old = await host.history.revisions(actor, "instance", id, before=number + 1, count=2)
    files = host.catalog.instances
    packaged = files.packaged.instances.get(id) if files else None
    before = old[0].value if old else None
    if before is None and packaged is not None:  # it was copied from there
        before = packaged.value.to_json()
    return [one.field for one in differences(before or {}, new.value or {})]


@command(
    "deleteinstance",
    "delete an agent instance",
    needs=WRITE_INSTANCES,
    usage=f"{INSTANCE} [because …]",
)
async def delete_instance(host: AdminContext, context: CommandContext) -> CommandResult:
    """Delete an instance; what is bound to it stays bound, inactive."""
    text, why = split_reason(context.arguments)
    id = text.strip().lower()
    if not is_instance_id(id):
        return Reply(escape_markdown(WHICH.format("/deleteinstance")))
    actor = host.actor(context)
    if not await host.catalog.delete_instance(actor, id, key=context.key, why=why):
        found_instance(host, context, id)
        raise NotThere(f"there is no agent instance '{id}'")
    snapshot = host.catalog.snapshot()
    if id in snapshot.document.instances:
        return Reply(f"Deleted {code(id)}; the one that comes with the package answers again.")
    left = sum(binding.agent_id == id for binding in snapshot.bindings)
    still = f" Still bound to it, inactive until you /unbind: {counted(left, 'binding')}."
    return Reply(f"Deleted agent instance {code(id)}.{still if left else ''}")
