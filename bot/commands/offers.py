"""What agents may be made of, from a chat: /models, /tools."""

from __future__ import annotations

from collections import defaultdict

from bot.command import (
    READ_AGENTS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    paragraphs,
    problem_lines,
)
from bot.commands.agents import HAPPENS
from bot.commands.host import AdminContext, no_agent
from registry import models as table

MAX_SHOWN = 60
NO_MODEL = "No model may be chosen here: the operator sets MODELS__ALLOWED."


@command(
    "models",
    "list the models that may be chosen, and what each can do",
    needs=READ_AGENTS,
    usage="[WORD]",
    concurrent=True,
)
async def models(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the allowed models, or those with a word in their name."""
    word = context.arguments.strip().lower()
    found = [one for one in host.catalog.allowed_models() if word in one.lower()]
    if not found:
        return Reply("No model matches." if word else NO_MODEL)
    shown, more = first_items(found, MAX_SHOWN)
    own = host.defaults.model
    lines = [
        f"{model_line(one)}{' · the default of the host' if one == own else ''}" for one in shown
    ]
    return Reply("\n".join(lines) + more)


def model_line(name: str) -> str:
    """A line on a model, with what it can do as far as the table of models knows it."""
    info = table.known(name)
    if info is None:
        return f"• {code(name)}"
    parts = [f"reads {info.context:,} tokens, writes {info.max_output:,}"]
    parts += ["thinks"] if info.thinking - {"disabled"} else []
    parts += [f"effort {info.efforts[0]} to {info.efforts[-1]}"] if info.efforts else []
    parts += ["temperature"] if info.temperature else []
    parts += [f"retires {info.retires}"] if info.retires else []
    return f"• {code(name)} · {', '.join(parts)}"


@command(
    "tools",
    "list the tools of an agent, by server",
    needs=READ_AGENTS,
    usage="[AGENT]",
    concurrent=True,
)
async def tools(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the tools that an agent has for the sender, with what happens to a call of each."""
    id = context.arguments.strip().lower() or context.resolution.agent_id or ""
    snapshot = host.catalog.snapshot()
    if id not in snapshot.runnable:
        return Reply(no_agent(snapshot, id) if id else "Which agent? Write /tools AGENT.")
    offered = await host.tools(id, context)
    groups: dict[str, list[str]] = defaultdict(list)
    for tool in sorted(offered.listed, key=lambda one: one.key):
        group, _, name = tool.key.rpartition(":")
        groups[group].append(f"• {code(name)} {HAPPENS[tool.decision]}")
    parts = []
    for group, lines in groups.items():
        shown, more = first_items(lines, MAX_SHOWN)
        parts.append(f"**{escape_markdown(group)}**\n" + "\n".join(shown) + more)
    absent = problem_lines(offered.absent)
    return Reply(paragraphs(*parts, absent) or f"{code(id)} has no tools here.")
