"""Which agent answers where, from a chat: /bind, /unbind, /default."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from bot.command import CommandContext, CommandResult, Reply, code, command, escape_markdown
from bot.commands.host import AdminContext, actor
from registry.binding import AgentBinding, AgentBindingType, Bindings, BotIdentity

WHERE = "[bot | chat ID | user ID] [everywhere]"
HOW_TO_BIND = f"Write /bind AGENT {WHERE}; without a target it means this chat in this bot."
HOW_TO_UNBIND = f"Write /unbind {WHERE}; without a target it means this chat in this bot."
_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")
_KINDS = {"chat": AgentBindingType.ChatId, "user": AgentBindingType.UserId}


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be bound: a bot, or a chat or a person in one bot (None: in every bot)."""

    kind: AgentBindingType
    key: str
    bot: BotIdentity | None

    def binding(self, agent_id: str, bindings: Bindings) -> AgentBinding:
        """The binding to write; it takes the name of the present one, and so replaces it.

        Raises ValueError where an id is not valid.
        """
        key, bot = self.key, None
        if self.bot is None:
            found = bindings.plain(self.kind, key)
        elif self.kind is AgentBindingType.TelegramBot:
            found = bindings.of_bot(self.bot)
        else:
            found, bot = bindings.scoped(self.kind, key, self.bot), str(self.bot.id)
        if found:
            key, bot = found.binding_key, found.bot
        return AgentBinding(agent_id=agent_id, type=self.kind, binding_key=key, bot=bot)


def _target(context: CommandContext, words: Sequence[str]) -> Target | None:
    """The target that the words name; None where they are not valid."""
    lower = [word.lower() for word in words]
    everywhere = lower[-1:] == ["everywhere"]
    lower = lower[:-1] if everywhere else lower
    bot = None if everywhere else context.bot
    if not lower:
        return Target(AgentBindingType.ChatId, str(context.incoming.address.chat), bot)
    if lower == ["bot"] and bot is not None:
        return Target(AgentBindingType.TelegramBot, str(bot.id), bot)
    if len(lower) == 2 and lower[0] in _KINDS and _NUMBER.match(lower[1]):
        return Target(_KINDS[lower[0]], str(int(lower[1])), bot)
    return None


@command("bind", "let an agent answer here, or elsewhere", role="admin", usage=f"AGENT {WHERE}")
async def bind(host: AdminContext, context: CommandContext) -> CommandResult:
    """Bind an agent, in place of what was bound there."""
    words, catalog = context.words, host.catalog
    target = _target(context, words[1:]) if words else None
    if target is None:
        return Reply(escape_markdown(HOW_TO_BIND))
    try:
        binding = target.binding(words[0].lower(), catalog.snapshot().bindings)
    except ValueError:
        wrong = f"'{words[0][:64]}' or the id after it is not valid."
        return Reply(escape_markdown(f"{wrong} {HOW_TO_BIND}"))
    await catalog.bind(actor(context), binding, key=context.key)
    bound = f"Bound {code(binding.slot)} to {code(binding.agent_id)}."
    if binding.agent_id not in catalog.snapshot().agents:
        bound += " There is no such agent yet; until then the binding is inactive."
    return Reply(f"{bound}\n{_who_answers(host, context)}")


@command("unbind", "remove a binding", role="admin", usage=WHERE)
async def unbind(host: AdminContext, context: CommandContext) -> CommandResult:
    """Remove a binding."""
    target, catalog = _target(context, context.words), host.catalog
    slot = ""
    with suppress(ValueError):
        slot = target.binding("any", catalog.snapshot().bindings).slot if target else ""
    if not slot:
        return Reply(escape_markdown(HOW_TO_UNBIND))
    if not await catalog.unbind(actor(context), slot, key=context.key):
        return Reply(f"Nothing is bound at {code(slot)}. {_who_answers(host, context)}")
    return Reply(f"Removed the binding of {code(slot)}.\n{_who_answers(host, context)}")


def _who_answers(host: AdminContext, context: CommandContext) -> str:
    chat, person = context.incoming.address.chat, context.incoming.person.id
    found = host.catalog.snapshot().resolve(context.bot, chat, person)
    who = code(found.agent_id) if found.agent_id else "No agent"
    return f"{who} answers here: {escape_markdown(found.why)}."


@command("default", "show or set the default agent", role="admin", usage="[AGENT | none]")
async def default(host: AdminContext, context: CommandContext) -> CommandResult:
    """Show, set or remove the default agent."""
    catalog, words = host.catalog, context.words
    if not words:
        current = catalog.snapshot().default
        text = f"The default agent is {code(current)}." if current else ""
        return Reply(text or "There is no default agent.")
    wanted = None if words[0].lower() == "none" else words[0].lower()
    await catalog.set_default(actor(context), wanted, key=context.key)
    if wanted is None:
        return Reply("There is no default agent any more.")
    return Reply(f"{code(wanted)} answers wherever no other agent is bound.")
