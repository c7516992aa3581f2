"""The agents, from a chat: /agents, /agent, /addagent, /deleteagent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

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
from bot.commands.host import AdminContext, BotState, no_agent, server_line, server_name
from bot.errors import ChannelError, UnreadableFile
from bot.safety.text_safety import printable, reveal
from bot.tools.policy import Decision
from bot.tools.toolset import ListedTool
from registry.binding import AgentBinding, AgentBindingType
from registry.definition import LlmConfiguration
from registry.errors import AlreadyThere
from registry.instance import is_instance_id
from registry.layers import EffectiveAgent
from registry.roles import NO_REASON
from registry.snapshot import Snapshot

MAX_SHOWN = 50
MAX_BYTES = 256 * 1024
MAX_BINDINGS = 20
MAX_KEY = 40
MAX_NOTES = 10
MAX_TEXT = 300
MAX_NAME = 60
HOW_TO_ADD = (
    "Send the agent's JSON or YAML after /addagent, send a file with it that has the caption "
    "/addagent, or reply with /addagent to a message or a file. The shortest is "
    '{"id": "jack", "name": "Jack"}.'
)
HAPPENS = {
    Decision.RUN: "runs",
    Decision.ASK: "asks a person",
    Decision.CONFIRM: "asks a person every time",
}
_FENCED = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_HEAD = re.compile(r"\A(?:(replace)\b[ \t]*)?(?:because\b([^\n]*))?\s*", re.IGNORECASE)
"""What may precede an agent: that it replaces one, and on the first line why."""


@command(
    "agent",
    "show an agent's settings and origins",
    needs=READ_AGENTS,
    usage="ID",
    concurrent=True,
)
async def agent(host: AdminContext, context: CommandContext) -> CommandResult:
    """Show the effective settings of one agent, each with its origin."""
    wanted = context.arguments.lower() or context.resolution.agent_id
    if not wanted:
        return Reply("Which agent? Write /agent ID; /agents lists them.")
    snapshot = host.catalog.snapshot()
    if is_instance_id(wanted):
        hint = code(f"/instance {wanted}")
        return Reply(f"{code(wanted)} names an instance of an agent: {hint} shows it.")
    found = snapshot.effective(wanted, host.defaults)
    if found is None:
        return Reply(no_agent(snapshot, wanted))
    return Reply(await described_agent(host, context, found))


async def described_agent(
    host: AdminContext, context: CommandContext, found: EffectiveAgent
) -> str:
    """All that an agent has, each with its origin."""
    own = found.definition
    return await described(host, context, own.id, own.name, _settings(found, host.defaults))


def shown_name(name: str) -> str:
    """The name of an agent as Markdown, with what deceives in it written out."""
    return escape_markdown(reveal(name, name=True)[0])


def titled(name: str, id: str) -> str:
    """An agent or an instance by its name and its id, as Markdown."""
    return f"**{shown_name(name)}** ({code(id)})"


async def described(
    host: AdminContext, context: CommandContext, id: str, name: str, settings: Iterable[str]
) -> str:
    """An agent or an instance with its settings, its tools, where it answers, and what is odd."""
    snapshot = host.catalog.snapshot()
    found, offered = snapshot.effective(id, host.defaults), await host.tools(id, context)
    advice = "\n".join(advice_lines(host, found)) if found else ""
    review = problem_lines([*snapshot.review(id), *offered.problems])
    return paragraphs(
        titled(name, id),
        "\n".join(settings),
        _tools(offered.listed),
        answers_of(snapshot, id, host.bots()),
        "\n".join(_servers(host, id)),
        advice,
        review,
    )


def _settings(agent: EffectiveAgent, defaults: LlmConfiguration) -> Iterator[str]:
    """A line for each setting, with its value and where that is written."""
    own, llm = agent.definition, agent.llm.model_dump(by_alias=True)
    values = {
        "description": own.description,
        "profile": own.profile,
        **{name: llm[name] for name in llm if name != "fallbackModel" or llm[name]},
        "customInstructions": agent.written.custom_instructions,
        **({"segments": built_from(agent)} if agent.segments else {}),
        "servers": ", ".join(f"{one.name} ({one.server.transport})" for one in agent.servers),
        "skills": ", ".join(skill.name for skill in own.skills),
        "internalToolsets": ", ".join(own.internal_toolsets),
        "whitelistPatterns": ", ".join(own.whitelist_patterns),
        "toolPolicy": _json(own.tool_policy),
        "safetyConfig": _json(own.safety_config),
        "costConfig": _json(own.cost_config),
        "linkPreviews": str(own.link_previews).lower(),
        "template": str(own.template).lower(),
        "presets": _json(own.presets),
    }
    for name, value in values.items():
        yield setting_line(name, value, place_in_force(agent, name, defaults))


def built_from(agent: EffectiveAgent) -> str:
    """That a profile's segments are what the agent's part of the prompt is built from."""
    name = agent.profile.name if agent.profile else ""
    return f"the prompt is built from {counted(len(agent.segments), 'segment')} of profile {name}"


def place_in_force(agent: EffectiveAgent, name: str, defaults: LlmConfiguration) -> str:
    """Where a setting of an agent as it runs is written, `default` where it is nowhere."""
    if agent.layers.get(name) != "L0":
        return agent.origins[name]
    variables = (field.replace("_", "").upper() for field in defaults.model_fields_set)
    return f"LLM__{name.upper()}" if name.upper() in variables else "default"


def setting_line(name: str, value: Any, place: str) -> str:
    """A line on a setting, with its value and where that is written."""
    text = "" if value is None else str(value)
    cut = text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"
    return f"• {name}: {f'{code(cut)} · ' if text else '– · '}{escape_markdown(place)}"


def _json(part: BaseModel | None) -> str:
    """What a part of a definition says, as JSON; '' where it says nothing."""
    said = part and part.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return json.dumps(said, ensure_ascii=False) if said else ""


def _tools(tools: Sequence[ListedTool]) -> str:
    """The tools that the agent has now, and what happens to a call of each."""
    shown, more = first_items(tools, MAX_SHOWN)
    lines = [f"• {code(tool.key)} {HAPPENS[tool.decision]}" for tool in shown]
    return "Its tools, for you in this chat:\n" + "\n".join(lines) + more if lines else ""


def answers_of(snapshot: Snapshot, agent_id: str, bots: Sequence[BotState]) -> str:
    """Where an agent answers, in lines."""
    names = {
        key: f"@{escape_markdown(one.identity.username)}"
        for one in bots
        if one.identity.username
        for key in one.identity.keys
    }
    bound = [binding for binding in snapshot.bindings if binding.agent_id == agent_id]
    shown, more = first_items(bound, MAX_BINDINGS)
    lines = [f"• {_bound(binding, names)}" for binding in shown]
    if snapshot.default == agent_id:
        why = "it is the only agent, and so the default" if snapshot.has_only_agent else ""
        lines.append(f"• wherever no other agent is bound ({why or 'it is the default'})")
    return "Answers:\n" + "\n".join(lines) + more if lines else "Nothing is bound to it."


def _bound(binding: AgentBinding, names: Mapping[str, str]) -> str:
    """What is bound, in words; `names` are the bots' by each key that a binding may use."""

    def bot(key: str) -> str:
        return names.get(key) or f"bot {code(key if len(key) < MAX_KEY else f'{key[:12]}…')}"

    if binding.is_of_bot:
        return f"every chat of {bot(binding.binding_key)}"
    what = "chat" if binding.type is AgentBindingType.ChatId else "person"
    where = bot(binding.bot) if binding.bot else "every bot"
    return f"{what} {code(binding.binding_key)} in {where}"


def _servers(host: AdminContext, agent_id: str) -> Iterator[str]:
    """What is wrong with the agent's MCP servers, and which of their tools are left out."""
    for server in host.servers(agent_id):
        if server["state"] != "up":
            yield server_line(server)
        notes = [str(note) for note in server.get("notes", ())]
        shown, more = first_items(notes, MAX_NOTES)
        for note in shown:
            yield f"⚠ server {server_name(server)}: {escape_markdown(note)}"
        if more:
            yield more.strip()


def advice_lines(host: AdminContext, agent: EffectiveAgent) -> list[str]:
    """A line for each setting that the agent's model does not accept."""
    return [f"⚠ {escape_markdown(sentence)}" for sentence in host.advice(agent.llm)]


@command(
    "addagent",
    "add or replace an agent from its JSON",
    needs=WRITE_AGENTS,
    usage="[replace] [because …] JSON",
)
async def add_agent(host: AdminContext, context: CommandContext) -> CommandResult:
    """Add or replace an agent, from the message, its file, or the text or file replied to."""
    catalog = host.catalog
    head = _HEAD.match(context.arguments)
    replaces, why = (bool(head[1]), reason_of(head[2] or "")) if head else (False, NO_REASON)
    text, file = await document_in(context, _HEAD.sub("", context.arguments))
    if not text:
        return Reply(escape_markdown(HOW_TO_ADD))
    agent = await catalog.parse_pasted(text, file)
    try:
        write = catalog.update_agent if replaces else catalog.create_agent
        await write(host.actor(context), agent, key=context.key, why=why)
    except AlreadyThere:
        return Reply(f"Agent {code(agent.id)} exists already; /addagent replace changes it.")
    snapshot = catalog.snapshot()
    effective = snapshot.effective(agent.id, host.defaults)
    warnings = [problem_lines(snapshot.review(agent.id))]
    warnings += advice_lines(host, effective) if effective else []
    done = f"{'Updated' if replaces else 'Created'} agent **{escape_markdown(agent.name)}**"
    hint = "" if replaces else f"{escape_markdown(f'/bind {agent.id}')} lets it answer here."
    return Reply(paragraphs(f"{done} ({code(agent.id)}).", hint, "\n".join(filter(None, warnings))))


async def document_in(context: CommandContext, text: str) -> tuple[str, str]:
    """A document and the name of its file, if any: the text, else what is replied to.

    A code fence around it is left out. Raises UnreadableFile.
    """
    quoted = context.incoming.quoted
    if not text and quoted is not None:
        if quoted.file is not None:
            name = " ".join(printable(quoted.file.name, MAX_NAME).split())
            return await _read(context, quoted.file.id), name or "the file"
        text = quoted.text
    fenced = _FENCED.match(text)
    return (fenced[1] if fenced else text).strip(), ""


async def _read(context: CommandContext, file: str) -> str:
    try:
        return (await context.fetch(file, MAX_BYTES)).decode("utf-8-sig").rstrip()
    except ChannelError as error:
        raise UnreadableFile(error.description) from None
    except UnicodeDecodeError:
        raise UnreadableFile("it is not UTF-8 text") from None


@command("deleteagent", "delete an agent", needs=WRITE_AGENTS, usage="ID [because …]")
async def delete_agent(host: AdminContext, context: CommandContext) -> CommandResult:
    """Delete an agent; what is bound to it stays bound, inactive."""
    text, why = split_reason(context.arguments)
    if len(text.split()) != 1:
        return Reply("Which agent? Write /deleteagent ID; /agents lists them.")
    wanted, actor = text.strip().lower(), host.actor(context)
    if not await host.catalog.delete_agent(actor, wanted, key=context.key, why=why):
        return Reply(no_agent(host.catalog.snapshot(), wanted))
    left = sum(b.agent_id == wanted for b in host.catalog.snapshot().bindings)
    still = f" Still bound to it, inactive until you /unbind: {counted(left, 'binding')}."
    return Reply(f"Deleted agent {code(wanted)}.{still if left else ''}")
