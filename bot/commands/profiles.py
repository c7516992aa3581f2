"""Profiles that agents share, from a chat: /profiles, /llmconfigs, /addprofile, /removeprofile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bot.command import (
    READ_AGENTS,
    WRITE_AGENTS,
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
from bot.commands.agents import document_in, setting_line
from bot.commands.host import AdminContext
from bot.safety.text_safety import reveal
from registry.errors import AlreadyThere, NotThere
from registry.profile_edits import delete, parse_pasted, put
from registry.profiles_seen import (
    found_shared,
    named_by,
    rule_words,
    seen_shared,
    users_of_each,
)
from registry.revisions import Kind
from registry.roles import NO_REASON
from registry.snapshot import Entry
from registry.sources.revision_store import DELETED

if TYPE_CHECKING:  # most hosts have none
    from registry.profile import FlowRule, NamedLlmConfig, Observer, Profile

MAX_SHOWN = 50
MAX_RULES = 20
MAX_USERS = 20
HOW_TO_ADD = (
    "Send the profile's YAML or JSON after /addprofile, send a file with it that has the caption "
    "/addprofile, or reply with /addprofile to a message or a file. /addprofile replace changes "
    "one that exists."
)
_HEAD = re.compile(r"\A(?:(replace)\b[ \t]*)?(?:because\b([^\n]*))?\s*", re.IGNORECASE)
"""What may precede a profile: that it replaces one, and on the first line why."""


@command(
    "profiles",
    "list the profiles of agents, or show one",
    needs=READ_AGENTS,
    usage="[NAME]",
    concurrent=True,
)
async def profiles(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the profiles with who uses them, or show one with its rules."""
    name = context.arguments.strip()
    if name:
        entry = found_shared(host.catalog, host.actor(context), "profile", name)
        return Reply(_shown_profile(host, entry))
    listed = _listed(host, context, "profile", _profile_words)
    return Reply(listed or f"There are no profiles. {escape_markdown(HOW_TO_ADD)}")


@command(
    "llmconfigs",
    "list model settings that profiles share",
    needs=READ_AGENTS,
    usage="[NAME]",
    concurrent=True,
)
async def llm_configs(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the model configurations with who refers to them, or show one."""
    name = context.arguments.strip()
    if name:
        entry = found_shared(host.catalog, host.actor(context), "llm-config", name)
        return Reply(_shown_config(host, entry))
    listed = _listed(host, context, "llm-config", _config_words)
    how = "Write one into agent_profiles/llm_configs, or send it over HTTP or the command line."
    return Reply(listed or f"There are no model configurations. {escape_markdown(how)}")


def _listed(host: AdminContext, context: CommandContext, kind: Kind, words: Any) -> str:
    """The profiles or the configurations in lines; '' for none."""
    found = seen_shared(host.catalog, host.actor(context), kind)
    shown, more = first_items(sorted(found.items()), MAX_SHOWN)
    lines, users = [], users_of_each(host.catalog.snapshot(), kind)
    for name, entry in shown:
        count = len(users.get(name, ()))
        what = "agent" if kind == "profile" else "profile"
        used = f"used by {counted(count, what)}" if count else "not used"
        parts = [*words(entry.value), used, escape_markdown(entry.place)]
        lines.append(f"• {code(name)} · {' · '.join(parts)}")
    return "\n".join(lines) + more


def _profile_words(one: Profile) -> list[str]:
    """What a profile has, in a few words."""
    rules = len((*one.pre_turn_observers, *one.post_turn_observers, *one.flow_decider))
    parts = [_plain(one.type)] if one.type else []
    parts += [counted(rules, "rule")] if rules else []
    parts += [counted(len(one.segments), "segment")] if one.segments else []
    parts += [f"model settings {code(one.llm_config_ref)}"] if one.llm_config_ref else []
    return parts


def _config_words(one: NamedLlmConfig) -> list[str]:
    """What a configuration sets, in a few words."""
    return [code(f"{name} {value}") for name, value in one.to_json().items() if name != "name"]


def _plain(text: str) -> str:
    """A text of one line as Markdown, with what deceives in it written out."""
    return escape_markdown(reveal(" ".join(text.split()))[0])


# --- one of them ---------------------------------------------------------------------------------


def _shown_profile(host: AdminContext, entry: Entry[Profile]) -> str:
    """All that a profile has, with its rules in words."""
    own: Profile = entry.value
    policy = own.tool_access_policy
    settings = {
        "type": own.type,
        "llm_config_ref": own.llm_config_ref,
        "system_prompt_segments": ", ".join(_segments(own)),
        "text_definitions": ", ".join(own.text_definitions),
        "toolsets": ", ".join(policy.toolsets) if policy else "",
        "allowed_toolsets": _names(policy.allowed_toolsets if policy else None),
        "allowed_individual_tools": _names(policy.allowed_individual_tools if policy else None),
    }
    lines = [_line(entry, name, value) for name, value in settings.items()]
    about = _plain((own.description or "")[:600])
    return paragraphs(
        f"Profile {code(own.name)}",
        about,
        "\n".join(lines),
        _rules("Before each request to the model:", own.pre_turn_observers),
        _rules("After each answer:", own.post_turn_observers),
        _rules("Where an answer calls no tool, the first that holds:", own.flow_decider),
        _used(host, "profile", own.name),
        _odd(host, entry),
    )


def _shown_config(host: AdminContext, entry: Entry[NamedLlmConfig]) -> str:
    own: NamedLlmConfig = entry.value
    fields = own.model_dump(mode="json", exclude={"name"})
    lines = [_line(entry, name, value) for name, value in fields.items()]
    head = f"Model configuration {code(own.name)}"
    settings = host.defaults.model_copy(update=own.settings.model_dump(exclude_none=True))
    advice = "\n".join(f"⚠ {escape_markdown(one)}" for one in host.advice(settings))
    return paragraphs(head, "\n".join(lines), _used(host, "llm-config", own.name), advice)


_INNER: Mapping[str, str] = {
    "system_prompt_segments": "system_prompt_construction",
    "toolsets": "tool_access_policy",
    "allowed_toolsets": "tool_access_policy",
    "allowed_individual_tools": "tool_access_policy",
}


def _line(entry: Entry[Any], name: str, value: Any) -> str:
    """A line on a setting, with where it is written: `default` where it is nowhere."""
    place = entry.origins.get(name) or entry.origins.get(_INNER.get(name, ""), entry.place)
    return setting_line(name, value, "default" if value in (None, "") else place)


def _segments(own: Profile) -> Iterator[str]:
    for one in own.segments:
        what = one.text_definition or one.path
        yield f"{one.type} {what}" if what else one.type


def _names(names: Sequence[str] | None) -> str | None:
    """A list of names; "none" for an empty one, None where there is no list."""
    return None if names is None else ", ".join(names) or "none"


def _rules(head: str, rules: Iterable[Observer | FlowRule]) -> str:
    shown, more = first_items([*rules], MAX_RULES)
    lines = [_rule(one) for one in shown]
    return "\n".join([head, *lines]) + more if lines else ""


def _rule(one: Observer | FlowRule) -> str:
    text = " ".join(one.condition.split())  # of at most LENGTH_LIMIT characters
    return f"• {code(one.id)} {_plain(rule_words(one))}, if {code(text)}"


def _used(host: AdminContext, kind: Kind, name: str) -> str:
    shown, more = first_items(named_by(host.catalog.snapshot(), kind, name), MAX_USERS)
    who = "Agents" if kind == "profile" else "Profiles"
    return f"{who} that use it: {', '.join(map(code, shown))}{more}" if shown else "Nobody uses it."


def _odd(host: AdminContext, entry: Entry[Profile]) -> str:
    """What is wrong or surprising in the place of a profile."""
    file = entry.place.rpartition(":")[0] if entry.owner == "file" else ""
    return problem_lines(
        one
        for one in host.catalog.snapshot().problems
        if one.place == entry.place or (file and one.place.rpartition(":")[0] == file)
    )


# --- changing ------------------------------------------------------------------------------------


@command(
    "addprofile",
    "add or replace a profile",
    needs=WRITE_AGENTS,
    usage="[replace] [because …] YAML",
)
async def add_profile(host: AdminContext, context: CommandContext) -> CommandResult:
    """Add or replace a profile, from the message, its file, or the text or file replied to."""
    head = _HEAD.match(context.arguments)
    replaces, why = (bool(head[1]), reason_of(head[2] or "")) if head else (False, NO_REASON)
    text, file = await document_in(context, _HEAD.sub("", context.arguments))
    if not text:
        return Reply(escape_markdown(HOW_TO_ADD))
    catalog, actor = host.catalog, host.actor(context)
    made = await parse_pasted(catalog, "profile", text, file)
    there = catalog.snapshot().profile(made.name) is not None
    if not await catalog.was_made(context.key):
        if there and not replaces:
            return Reply(_exists(made.name))
        if replaces and not there:
            raise NotThere(f"there is no profile '{made.name}' to replace")
    try:
        expected = None if replaces else DELETED
        written = await put(catalog, actor, made, key=context.key, expected=expected, why=why)
    except AlreadyThere:  # another replica was faster
        return Reply(_exists(made.name))
    if not written.changed:
        return Reply(f"Profile {code(made.name)} says so already.")
    done = f"{'Replaced' if replaces else 'Created'} profile {code(made.name)}."
    hint = f"/edit AGENT profile {made.name} gives it to an agent."
    users = named_by(catalog.snapshot(), "profile", made.name)
    used = f"It is in force for {', '.join(map(code, users[:MAX_USERS]))}." if users else ""
    entry = seen_shared(catalog, actor, "profile").get(made.name)
    odd = _odd(host, entry) if entry else ""
    return Reply(paragraphs(done, used or escape_markdown(hint), odd))


def _exists(name: str) -> str:
    return f"Profile {code(name)} exists already; /addprofile replace changes it."


@command(
    "removeprofile",
    "remove a profile",
    needs=WRITE_AGENTS,
    usage="NAME [because …]",
)
async def remove_profile(host: AdminContext, context: CommandContext) -> CommandResult:
    """Remove a profile; refused while an agent names it."""
    text, why = split_reason(context.arguments)
    name = text.strip()
    if len(name.split()) != 1:
        return Reply("Which profile? Write /removeprofile NAME; /profiles lists them.")
    catalog, actor = host.catalog, host.actor(context)
    if not await delete(catalog, actor, "profile", name, key=context.key, why=why):
        found_shared(catalog, actor, "profile", name)
        raise NotThere(f"there is no profile '{name}'")
    if name in seen_shared(catalog, actor, "profile"):
        return Reply(
            f"Removed {code(name)}; the one that comes with the package is in force again."
        )
    return Reply(f"Removed profile {code(name)}.")
