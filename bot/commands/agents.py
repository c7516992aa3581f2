"""The agents, from a chat: /agents, /agent, /addagent, /deleteagent."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bot.command import (
    BotCommand,
    CommandContext,
    CommandResult,
    Reply,
    code,
    counted,
    escape_markdown,
    first_items,
    paragraphs,
    problem_lines,
)
from bot.commands.admin_context import AdminContext, actor, retrying
from bot.commands.agent_page import agent_page
from bot.errors import ChannelError
from registry.definition import AgentDefinition
from registry.errors import AlreadyThere
from registry.snapshot import Entry

MOST_SHOWN = 50
MOST_BYTES = 256 * 1024
HOW_TO_ADD = (
    "Send the agent's JSON behind /addagent, or send /addagent in reply to a message or a file "
    'with it. The least is {"id": "jack", "name": "Jack", "mcpServerEndpoints": []}.'
)
_FENCED = re.compile(r"\A\s*```[a-z]*\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_REPLACE = re.compile(r"\Areplace\b\s*")


class AgentCommands:
    """The rows that read and change agents."""

    def __init__(self, desk: AdminContext) -> None:
        self._desk = desk

    def rows(self) -> Iterator[BotCommand]:
        """The rows of the table."""
        yield BotCommand("agents", "list the agents", self.agents, "admin", True, "[WORD]")
        yield BotCommand(
            "agent", "show an agent's settings and where they are from", self.agent,
            "admin", True, "ID",
        )  # fmt: skip
        yield BotCommand(
            "addagent", "add an agent, or replace one, from its JSON", retrying(self.add),
            "admin", False, "[replace] JSON",
        )  # fmt: skip
        yield BotCommand(
            "deleteagent", "delete an agent", retrying(self.delete), "admin", False, "ID"
        )

    async def agents(self, context: CommandContext) -> CommandResult:
        """All agents, or those with a word in id or name."""
        snapshot = self._desk.catalog.snapshot()
        wanted = context.arguments.lower()
        entries = [
            entry
            for entry in snapshot.agents.values()
            if wanted in entry.value.id or wanted in entry.value.name.lower()
        ]
        if not entries:
            return Reply("No such agent." if wanted else f"There are no agents yet. {HOW_TO_ADD}")
        shown, more = first_items(entries, MOST_SHOWN)
        lines = [_line(entry, entry.value.id == snapshot.default) for entry in shown]
        return Reply("\n".join(lines) + more)

    async def agent(self, context: CommandContext) -> CommandResult:
        """The effective settings of one agent, each with its origin."""
        wanted = context.arguments.lower() or context.resolution.agent_id
        if not wanted:
            return Reply("Say which: /agent ID; /agents lists them.")
        found = agent_page(self._desk, wanted)
        return Reply(found or f"There is no agent {code(wanted)}; /agents lists them.")

    async def add(self, context: CommandContext) -> CommandResult:
        """An agent from pasted JSON, from the text replied to, or from the file replied to."""
        replace = _REPLACE.match(context.arguments) is not None
        try:
            text, place = await self._document(context)
        except (ChannelError, UnicodeDecodeError) as error:
            return Reply(f"I could not read the file: {escape_markdown(_why(error))}.")
        if not text:
            return Reply(escape_markdown(HOW_TO_ADD))
        agent = await self._desk.catalog.parsed(text, place)
        return await self._store(context, agent, replace=replace)

    async def delete(self, context: CommandContext) -> CommandResult:
        """An agent away; what is bound to it stays bound, inactive."""
        if len(context.words) != 1:
            return Reply("Say which: /deleteagent ID; /agents lists them.")
        wanted = context.words[0].lower()
        catalog = self._desk.catalog
        if not await catalog.delete_agent(actor(context), wanted, key=context.key):
            return Reply(f"There is no agent {code(wanted)}.")
        left = [b for b in catalog.snapshot().bindings if b.agent_id == wanted]
        still = (
            f" Inactive now, until you /unbind: {counted(len(left), 'binding')}." if left else ""
        )
        return Reply(f"Agent {code(wanted)} is deleted.{still}")

    async def _document(self, context: CommandContext) -> tuple[str, str]:
        """The JSON and where it is from."""
        text = _REPLACE.sub("", context.arguments)
        quoted = context.incoming.quoted
        if text or quoted is None:
            return _bare(text), "message"
        if quoted.file is None:
            return _bare(quoted.text), "message"
        content = await context.fetch(quoted.file.id, MOST_BYTES)
        return content.decode("utf-8-sig"), quoted.file.name or "file"

    async def _store(
        self, context: CommandContext, agent: AgentDefinition, *, replace: bool
    ) -> CommandResult:
        catalog, who = self._desk.catalog, actor(context)
        try:
            if replace:
                await catalog.update_agent(who, agent, key=context.key)
            else:
                await catalog.create_agent(who, agent, key=context.key)
        except AlreadyThere:
            return Reply(
                f"An agent {code(agent.id)} is there already; /addagent replace changes it."
            )
        done = "changed" if replace else "there"
        said = f"Agent **{escape_markdown(agent.name)}** ({code(agent.id)}) is {done}."
        bind = "" if replace else f"{escape_markdown(f'/bind {agent.id}')} lets it answer here."
        return Reply(paragraphs(said, bind, self._odd(agent.id)))

    def _odd(self, agent_id: str) -> str:
        """What is legal but surprising in the agent that was just stored."""
        snapshot = self._desk.catalog.snapshot()
        found = snapshot.effective(agent_id, self._desk.defaults)
        advice = (
            [f"⚠ {escape_markdown(one)}" for one in self._desk.advice(found.llm)] if found else []
        )
        return "\n".join(filter(None, [problem_lines(snapshot.review(agent_id)), *advice]))


def _line(entry: Entry[AgentDefinition], default: bool) -> str:
    mark = " (the default)" if default else ""
    name, place = escape_markdown(entry.value.name), escape_markdown(entry.place)
    return f"• {code(entry.value.id)} {name}{mark} · {place}"


def _bare(text: str) -> str:
    """A text without the fence around it."""
    match = _FENCED.match(text)
    return (match[1] if match else text).strip()


def _why(error: ChannelError | UnicodeDecodeError) -> str:
    return error.description if isinstance(error, ChannelError) else "it is not UTF-8 text"
