"""Which agent answers where, from a chat: /bind, /unbind, /default."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from bot.command import (
    WRITE_ACCOUNT,
    WRITE_INSTANCES,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    paragraphs,
    split_reason,
)
from bot.commands.host import AdminContext, no_agent
from bot.commands.instances import found_instance
from registry.binding import (
    AgentBinding,
    AgentBindingType,
    Bindings,
    BotIdentity,
    Resolution,
)
from registry.instance import is_instance_id

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


def _wrong_id(words: Sequence[str]) -> str:
    """A reply that chats and people have numeric ids, if the words give something else; or ''."""
    if len(words) < 2 or words[0].lower() not in _KINDS or _NUMBER.match(words[1]):
        return ""
    return f"{code(words[0].lower())} takes a numeric id; /id shows it."


def _place(target: Target, context: CommandContext) -> str:
    """A target in words: "in this chat", "for person 7 in every bot"."""
    here = context.incoming.address
    if target.kind is AgentBindingType.TelegramBot:
        return "for this whole bot"
    bots = " in every bot" if target.bot is None else ""
    if target.kind is AgentBindingType.UserId:
        is_me = target.key == str(context.incoming.person.telegram_id)
        return f"for {'you' if is_me else f'person {target.key}'}{bots or ' in this bot'}"
    if target.key != str(here.chat):
        return f"in chat {target.key}{bots or ' of this bot'}"
    if here.private:
        return f"in this chat{bots}"
    return f"in this whole group{', in every topic' if here.topic else ''}{bots}"


@command(
    "bind",
    "let an agent answer here, or elsewhere",
    needs=WRITE_INSTANCES,
    usage=f"AGENT {WHERE} [because …]",
)
async def bind(host: AdminContext, context: CommandContext) -> CommandResult:
    """Bind an agent, in place of what was bound there."""
    text, why = split_reason(context.arguments)
    words, catalog = text.split(), host.catalog
    target = _target(context, words[1:]) if words else None
    if target is None:
        return Reply(_wrong_id(words[1:]) or escape_markdown(HOW_TO_BIND))
    try:
        binding = target.binding(words[0].lower(), catalog.snapshot().bindings)
    except ValueError:
        wrong = f"'{words[0][:64]}' or the id after it is not valid."
        return Reply(escape_markdown(f"{wrong} {HOW_TO_BIND}"))
    if is_instance_id(binding.agent_id):
        found_instance(host, context, binding.agent_id)
    if binding.agent_id not in catalog.snapshot().runnable:
        return Reply(f"{no_agent(catalog.snapshot(), binding.agent_id)} Nothing was changed.")
    await catalog.bind(host.actor(context), binding, key=context.key, why=why)
    is_bot = target.kind is AgentBindingType.TelegramBot
    unless = ", unless a chat or a person has another agent" if is_bot else ""
    place = _place(target, context)
    if target.kind is AgentBindingType.UserId:
        place = place.removeprefix("for ")
    answers = f"{code(binding.agent_id)} now answers {place}{unless}."
    return Reply(paragraphs(answers, *_others(host, context, target, binding.agent_id)))


@command("unbind", "remove a binding", needs=WRITE_INSTANCES, usage=f"{WHERE} [because …]")
async def unbind(host: AdminContext, context: CommandContext) -> CommandResult:
    """Remove a binding."""
    text, why = split_reason(context.arguments)
    words, catalog = text.split(), host.catalog
    target = _target(context, words)
    slot = ""
    with suppress(ValueError):
        slot = target.binding("any", catalog.snapshot().bindings).slot if target else ""
    if target is None or not slot:
        return Reply(_wrong_id(words) or escape_markdown(HOW_TO_UNBIND))
    place = _place(target, context)
    done = await catalog.unbind(host.actor(context), slot, key=context.key, why=why)
    what = f"Removed the binding {place}." if done else f"Nothing is bound {place}."
    return Reply(paragraphs(what, *_others(host, context, target)))


def _others(
    host: AdminContext, context: CommandContext, target: Target, bound: str | None = None
) -> Iterator[str]:
    """Which agent answers at the target, where it is not the one that was `bound`, and here."""
    chat, person = context.incoming.address.chat, context.incoming.person.telegram_id
    resolve = partial(host.catalog.snapshot().resolve, context.bot)
    here = resolve(chat, person)
    match target.kind:
        case AgentBindingType.ChatId:
            is_here, there = target.key == str(chat), resolve(int(target.key), None)
        case AgentBindingType.UserId:
            is_here, there = target.key == str(person), resolve(None, int(target.key))
        case _:
            is_here, there = False, resolve(None, None)
    is_bot = target.kind is AgentBindingType.TelegramBot
    is_same = not is_here and (there.agent_id, there.why) == (here.agent_id, here.why)
    if not is_here and there.agent_id != bound:
        where = "In this bot" if is_bot or not is_same else "There and here"
        there_too = "" if is_bot or is_same else " there"
        yield f"{where}, {_who(there)} answers{there_too}: {escape_markdown(there.why)}."
    if here.agent_id != bound and not is_same:
        yield f"Here, {_who(here)} answers: {escape_markdown(here.why)}."


def _who(found: Resolution) -> str:
    return code(found.agent_id) if found.agent_id else "no agent"


@command(
    "default",
    "show or set the default agent",
    needs=WRITE_ACCOUNT,
    usage="[AGENT | none] [because …]",
)
async def default(host: AdminContext, context: CommandContext) -> CommandResult:
    """Show, set or remove the default agent."""
    text, why = split_reason(context.arguments)
    catalog, words = host.catalog, text.split()
    current = catalog.snapshot().default
    if not words and current:
        lost = "" if current in catalog.snapshot().agents else ", which does not exist"
        if catalog.snapshot().has_only_agent:
            lost = ", because it is the only one"
        return Reply(f"The default agent is {code(current)}{lost}.")
    if not words:
        return Reply("There is no default agent.")
    wanted = None if words[0].lower() == "none" else words[0].lower()
    if wanted is not None and wanted not in catalog.snapshot().agents:
        return Reply(f"{no_agent(catalog.snapshot(), wanted)} Nothing was changed.")
    await catalog.set_default(host.actor(context), wanted, key=context.key, why=why)
    left = catalog.snapshot().default
    if wanted is None and left:
        return Reply(f"{code(left)} is the default agent now, because it is the only one.")
    if wanted is None:
        return Reply("There is no longer a default agent.")
    return Reply(f"{code(wanted)} answers wherever no other agent is bound.")
