"""Runs bot commands: finds the command, judges who may use it and how often, and calls it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.access.command import UNGATED
from bot.access.rules import Access
from bot.agents.runnable import RunnableAgent
from bot.command import CommandContext, CommandResult, Commands
from bot.conversations.turns import Turns
from bot.line_context import LineContext
from bot.messages import DEFAULT_ACCOUNT, Attribution, Clock, Command, IncomingMessage
from bot.ops.logging import Counters
from bot.store.inbox import InboxEntry
from bot.turn.limits import RequestRate
from bot.usage.limits import Spender
from registry.binding import Resolution

UNKNOWN_COMMAND = "I don't know /{}. /help lists what I know."
ADMINS_ONLY = "Only admins of this host may send this."
REFUSALS_A_MINUTE = 1
UNGATED_A_MINUTE = 5


@dataclass(slots=True, repr=False)
class CommandRunner:
    """Runs the commands of a table; what they want to happen is for the caller to do."""

    commands: Commands
    turns: Turns
    access: Access
    clock: Clock
    counters: Counters
    _answers: RequestRate = field(init=False)

    def __post_init__(self) -> None:
        self._answers = RequestRate(self.clock)

    def is_concurrent(self, command: Command) -> bool:
        """Whether a command touches no conversation."""
        row = self.commands.find(command.name)
        return row is None or row.concurrent

    async def run(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage
    ) -> CommandResult | None:
        """What the command wants to happen; None where it was refused, and its entry settled."""
        command = incoming.command
        assert command is not None
        row = self.commands.find(command.name)
        found, agent = self.turns.resolve(line, incoming)
        if row is None:
            if incoming.address.private or command.named:
                text = UNKNOWN_COMMAND.format(command.name)
                await self._refuse(line, entry, incoming, text, agent)
            else:  # it may be another bot's
                await self.turns.stores.settle(line, entry)
            return None
        context = self._context(line, entry, incoming, found, agent)
        if row.role == "admin" and not context.admin:
            self.counters.add("refused:admin")
            await self.commands.refuse(row, context)
            await self._refuse(line, entry, incoming, ADMINS_ONLY, agent)
            return None
        if row.name in UNGATED and not self._may_answer(
            line, incoming, "ungated", UNGATED_A_MINUTE
        ):
            await self.turns.stores.settle(line, entry)
            return None
        return await row.function(context)

    async def _refuse(
        self,
        line: LineContext,
        entry: InboxEntry,
        incoming: IncomingMessage,
        text: str,
        agent: RunnableAgent | None,
    ) -> None:
        """Say no, at most once a minute; each refusal counts as a request of the person."""
        if agent is not None:
            conversation, person = incoming.address.conversation, incoming.person.id
            requester = (line.fence.line, conversation, person)
            self.turns.runner.rate.take(requester, agent.limits.per_minute)
        told = self._may_answer(line, incoming, "refused", REFUSALS_A_MINUTE)
        await self.turns.stores.reply(line, entry, incoming, text if told else "")

    def _may_answer(
        self, line: LineContext, incoming: IncomingMessage, kind: str, most: int
    ) -> bool:
        """Count an answer of a kind to a person; False where there were enough in this minute."""
        return self._answers.take((line.fence.line, kind, incoming.person.id), most)

    def _context(
        self,
        line: LineContext,
        entry: InboxEntry,
        incoming: IncomingMessage,
        found: Resolution,
        agent: RunnableAgent | None,
    ) -> CommandContext:
        conversation, person = incoming.address.conversation, incoming.person.id
        approvals, budgets = self.turns.stores.approvals, self.turns.runner.budgets
        attribution = agent.attribution if agent else Attribution(DEFAULT_ACCOUNT, "", "")
        spender = Spender(line.fence.line, conversation, person, entry.id, attribution)
        return CommandContext(
            incoming,
            agent=agent.name if agent else None,
            admin=self.access.is_admin(person),
            key=f"{line.fence.line}:{entry.id}",
            bot=line.identity,
            resolution=found,
            fetch=line.channel.fetch,
            grants=lambda: approvals.grants(line.fence.line, conversation),
            revoke_grant=lambda grant: approvals.revoke_grant(line.fence, conversation, grant),
            spent=lambda: budgets.spent(spender, agent.budgets if agent else {}, self.clock.wall()),
        )
