"""What becomes of an entry: a refusal, a command, an answer to a press, or a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from bot.access import gate
from bot.access.command import UNGATED, Claim, GiveRole
from bot.access.gate import AccessGate
from bot.agents.resolver import RunnableAgent
from bot.approvals.request import is_approval
from bot.command import CommandContext, CommandResult, Commands, Reply, StartNewConversation
from bot.commands.table import NOTHING_RUNS
from bot.conversations.turns import Outcome, Turns
from bot.messages import (
    DEFAULT_ACCOUNT,
    Attribution,
    CallbackPress,
    ChatMigration,
    Event,
    IncomingMessage,
    LineContext,
    Membership,
    ResumeTurn,
    Signal,
    User,
)
from bot.ops.logging import Counters
from bot.store.inbox import InboxEntry
from bot.turn.results import parse_retry
from bot.usage.limits import RequestRate, Spender
from registry.binding import Resolution

UNKNOWN_COMMAND = "I don't know /{}. /help lists what I know."
ADMINS_ONLY = "Only admins of this host may send this."
REFUSALS_A_MINUTE = 1
UNGATED_A_MINUTE = 5


UNSUPPORTED = "I can't read {} yet, only text. Please type it out."
STALE_PRESS = "This button no longer does anything."
POISON_MESSAGE = (
    "Handling your message failed several times, so I set it aside. "
    "The operator can find it among the dead letters."
)

Fate = Literal["overtaken", "undeliverable"]
"""Of a message: what it tracks changed before it was sent, or its chat takes none of ours."""

PrivateMessageSeen = Callable[[User, LineContext], Awaitable[None]]


async def ignore_private_message(_person: User, _line: LineContext) -> None:
    """For a router on a host that has nothing to tell its admins."""


@dataclass(slots=True, repr=False)
class Router:
    """Leads each entry to its outcome. Every path ends in one store call that settles the entry.

    `on_private_message` hears who wrote in private, and once more of whoever tried to become admin.
    """

    gate: AccessGate
    commands: Commands
    turns: Turns
    counters: Counters
    on_private_message: PrivateMessageSeen = ignore_private_message
    _answers: RequestRate = field(init=False)

    def __post_init__(self) -> None:
        self._answers = RequestRate(self.turns.clock)

    def is_concurrent(self, event: Event) -> bool:
        """Whether the event touches no conversation, so that it need not wait for its queue."""
        if isinstance(event, IncomingMessage) and event.command:
            row = self.commands.find(event.command.name)
            return row is None or row.concurrent
        if isinstance(event, CallbackPress):
            return parse_retry(event.data) is None
        return isinstance(event, ChatMigration | Membership)

    async def handle(
        self, line: LineContext, entry: InboxEntry, event: Event, stop: asyncio.Event
    ) -> Outcome:
        """Lead one entry to its outcome; `stop` ends its turn early."""
        if not self.gate.admits(event):
            await self.gate.refuse(line, entry, event)
        elif isinstance(event, IncomingMessage):
            if event.address.private:
                await self.on_private_message(event.person, line)
            if event.command:
                await self._command(line, entry, event)
            elif event.unsupported:
                self.counters.add("unsupported")
                text = UNSUPPORTED.format(event.unsupported)
                await self.turns.stores.reply(line, entry, event, text)
            else:
                return await self.turns.start(line, entry, event, stop)
        elif isinstance(event, CallbackPress):
            await self._press(line, entry, event, stop)
        elif isinstance(event, ResumeTurn):
            await self.turns.resume(line, event, stop)
        elif isinstance(event, ChatMigration):
            await self.turns.migrate(line, event)
            await self.turns.stores.settle(line, entry)
        elif isinstance(event, Membership):
            await self.gate.on_membership(line, entry, event)
        return Outcome.DONE

    async def stop(
        self,
        line: LineContext,
        entry: InboxEntry,
        signal: Signal,
        stop_running: Callable[[], bool],
    ) -> None:
        """End the turn that is suspended or runs; a typed /stop that finds none gets an answer.

        `stop_running` stops the running turn that the signal means, and says whether one runs.
        """
        if not self.gate.admits(signal):
            await self.gate.refuse(line, entry, signal)
        elif not await self.turns.stop_suspended(line, entry, signal):
            nothing = not stop_running() and signal.draft is None
            parts = line.channel.render(signal.address, NOTHING_RUNS) if nothing else []
            await self.turns.stores.settle(line, entry, parts)

    async def dead_letter(
        self, line: LineContext, entry: InboxEntry, event: Event, why: str
    ) -> None:
        """Set a poisonous entry aside, and say so to whoever may talk."""
        text = POISON_MESSAGE if self.gate.admits(event) else ""
        await self.turns.dead_letter(line, entry, event, text, why)
        self.counters.add("dead_letters")

    async def tracked_message(self, line: LineContext, tracks: str, fate: Fate) -> None:
        """Redraw what changed before its message was sent; give up what cannot be shown."""
        if card := gate.parse_card_id(tracks):
            react = self.gate.refresh if fate == "overtaken" else self.gate.on_undeliverable
            await react(line, card)
        else:
            approvals = self.turns.approvals
            update = approvals.refresh if fate == "overtaken" else approvals.on_undeliverable
            await update(line, tracks)

    async def _command(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage
    ) -> None:
        person = incoming.person
        match await self._run(line, entry, incoming):
            case Reply(text):
                pass
            case StartNewConversation(text):
                _, agent = self.turns.resolve(line, incoming)
                if agent is not None:
                    await self.turns.new_conversation(line, entry, incoming, agent.id, text)
                    return
            case GiveRole() as change:
                text = await self.gate.change_roles(line, entry, person, change)
            case Claim(code):
                text = await self.gate.claim(line, entry, person, code)
                await self.on_private_message(person, line)  # who may be an admin by now
            case _:  # it was refused
                return
        await self.turns.stores.reply(line, entry, incoming, text)

    async def _run(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage
    ) -> CommandResult | None:
        """What a command wants to happen; None where it was refused, and its entry settled."""
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
        if not self._may_answer(line, incoming, "refused", REFUSALS_A_MINUTE):
            text = ""
        await self.turns.stores.reply(line, entry, incoming, text)

    def _may_answer(
        self, line: LineContext, incoming: IncomingMessage, kind: str, limit: int
    ) -> bool:
        """Count an answer of a kind to a person; False where there were enough in this minute."""
        return self._answers.take((line.fence.line, kind, incoming.person.id), limit)

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
        limits, clock = agent.budgets if agent else {}, self.turns.clock
        return CommandContext(
            incoming,
            agent=agent.name if agent else None,
            admin=self.turns.access.is_admin(person),
            key=f"{line.fence.line}:{entry.id}",
            bot=line.identity,
            resolution=found,
            fetch=line.channel.fetch,
            grants=lambda: approvals.grants(line.fence.line, conversation),
            revoke_grant=lambda grant: approvals.revoke_grant(line.fence, conversation, grant),
            spent=lambda: budgets.spent(spender, limits, clock.wall()),
        )

    async def _press(
        self, line: LineContext, entry: InboxEntry, press: CallbackPress, stop: asyncio.Event
    ) -> None:
        if turn := parse_retry(press.data):
            await self.turns.retry(line, entry, press, turn, stop)
        elif gate.is_card(press.data):
            await self.gate.press(line, entry, press)
        elif is_approval(press.data):
            await self.turns.approvals.press(line, entry.id, press)
        else:
            answer = line.channel.callback_answer(press, STALE_PRESS)
            await self.turns.stores.settle(line, entry, [answer])
