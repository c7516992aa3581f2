"""Who gets which agent, from a chat: /bind, /unbind, /default."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.command import BotCommand, CommandContext, CommandResult, Reply, code, escape_markdown
from bot.commands.admin_context import AdminContext, actor, retrying
from registry.binding import AgentBinding, AgentBindingType, Bindings, BotIdentity

WHERE = "[bot | chat ID | user ID] [everywhere]"
HOW_TO_BIND = f"Write /bind AGENT {WHERE}; alone it means this chat in this bot."
HOW_TO_UNBIND = f"Write /unbind {WHERE}; alone it means this chat in this bot."
_NUMBER = re.compile(r"-?[0-9]{1,19}\Z")
_KINDS = {"chat": AgentBindingType.ChatId, "user": AgentBindingType.UserId}


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be bound: a bot, a chat or a person, the latter two in this bot or everywhere."""

    kind: AgentBindingType
    key: str
    bot: BotIdentity | None

    def binding(self, agent_id: str, there: Bindings) -> AgentBinding:
        """The binding to write, under the name that is in use already, so that it replaces it.

        Raises ValueError for what is no id.
        """
        found = self.found(there)
        if found is not None:
            key, bot = found.binding_key, found.bot
        else:
            own = self.bot is not None and self.kind is not AgentBindingType.TelegramBot
            key, bot = self.key, str(self.bot.id) if self.bot and own else None
        return AgentBinding(agent_id=agent_id, type=self.kind, binding_key=key, bot=bot)

    def found(self, there: Bindings) -> AgentBinding | None:
        """What is bound there now."""
        if self.bot is None:
            return there.plain(self.kind, self.key)
        if self.kind is AgentBindingType.TelegramBot:
            return there.of_bot(self.bot)
        return there.scoped(self.kind, self.key, self.bot)


class BindingCommands:
    """The rows that read and change bindings and the default agent."""

    def __init__(self, desk: AdminContext) -> None:
        self._desk = desk

    def rows(self) -> Iterator[BotCommand]:
        """The rows of the table."""
        yield BotCommand(
            "bind", "let an agent answer here, or elsewhere", retrying(self.bind),
            "admin", False, f"AGENT {WHERE}",
        )  # fmt: skip
        yield BotCommand(
            "unbind", "take a binding away", retrying(self.unbind), "admin", False, WHERE
        )
        yield BotCommand(
            "default", "show or set the agent of everybody else", retrying(self.default),
            "admin", False, "[AGENT | none]",
        )  # fmt: skip

    async def bind(self, context: CommandContext) -> CommandResult:
        """A binding, in place of what was bound there."""
        words = context.words
        target = _target(context, words[1:]) if words else None
        if target is None:
            return Reply(escape_markdown(HOW_TO_BIND))
        catalog = self._desk.catalog
        try:
            binding = target.binding(words[0].lower(), catalog.snapshot().bindings)
        except ValueError:
            return Reply(
                escape_markdown(f"'{words[0][:64]}' or the id behind it is no id. {HOW_TO_BIND}")
            )
        await catalog.bind(actor(context), binding, key=context.key)
        absent = "" if binding.agent_id in catalog.snapshot().agents else (
            f" There is no agent {code(binding.agent_id)} yet: until then this binding is inactive."
        )  # fmt: skip
        bound = f"{code(binding.slot)} is bound to {code(binding.agent_id)}.{absent}"
        return Reply(f"{bound}\n{self._here(context)}")

    async def unbind(self, context: CommandContext) -> CommandResult:
        """A binding away."""
        target = _target(context, context.words)
        if target is None:
            return Reply(escape_markdown(HOW_TO_UNBIND))
        catalog = self._desk.catalog
        try:
            slot = target.binding("any", catalog.snapshot().bindings).slot
        except ValueError:
            return Reply(escape_markdown(HOW_TO_UNBIND))
        if not await catalog.unbind(actor(context), slot, key=context.key):
            return Reply(f"Nothing is bound at {code(slot)}. {self._here(context)}")
        return Reply(f"{code(slot)} is bound no more.\n{self._here(context)}")

    async def default(self, context: CommandContext) -> CommandResult:
        """The default agent: shown, set, or taken away."""
        catalog, words = self._desk.catalog, context.words
        if not words:
            default = catalog.snapshot().default
            return Reply(f"The default agent is {code(default)}." if default else "There is none.")
        wanted = None if words[0].lower() == "none" else words[0].lower()
        await catalog.set_default(actor(context), wanted, key=context.key)
        if wanted is None:
            return Reply("There is no default agent any more.")
        return Reply(f"{code(wanted)} answers everybody who is bound to no other agent.")

    def _here(self, context: CommandContext) -> str:
        """Who answers in this chat now, and why."""
        chat, person = context.incoming.address.chat, context.incoming.person.id
        found = self._desk.catalog.snapshot().resolve(context.bot, chat, person)
        who = f"Here answers {code(found.agent_id)}" if found.agent_id else "Here answers nobody"
        return f"{who}: {escape_markdown(found.why)}."


def _target(context: CommandContext, words: Sequence[str]) -> Target | None:
    """What the words mean; None where they mean nothing."""
    said = [word.lower() for word in words]
    everywhere = said[-1:] == ["everywhere"]
    said = said[:-1] if everywhere else said
    bot = None if everywhere else context.bot
    if not said:
        return Target(AgentBindingType.ChatId, str(context.incoming.address.chat), bot)
    if said == ["bot"] and bot is not None:
        return Target(AgentBindingType.TelegramBot, str(bot.id), bot)
    if len(said) == 2 and said[0] in _KINDS and _NUMBER.match(said[1]):
        return Target(_KINDS[said[0]], str(int(said[1])), bot)
    return None
