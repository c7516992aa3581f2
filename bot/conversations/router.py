"""What becomes of an entry that was admitted: a command, a press, or a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bot.access import cards
from bot.access.command import UNGATED, Claim, GiveRole
from bot.access.gate import AccessGate
from bot.access.rules import Access
from bot.agents.resolver import AgentResolver
from bot.agents.runnable import RunnableAgent
from bot.approvals.request import is_approval
from bot.command import (
    CommandContext,
    CommandResult,
    Commands,
    Reply,
    StartNewConversation,
    escape_markdown,
)
from bot.commands.table import NOTHING_RUNS
from bot.conversations.retry import Retries
from bot.conversations.suspended_turns import SuspendedTurns
from bot.line_context import LineContext
from bot.messages import (
    DEFAULT_ACCOUNT,
    Attribution,
    CallbackPress,
    ChatMigration,
    Clock,
    Command,
    Event,
    IncomingMessage,
    Membership,
    OutgoingPart,
    ResumeTurn,
    Signal,
    TurnRef,
    User,
)
from bot.ops.counters import Counters
from bot.store.inbox import InboxEntry, UpdateInbox
from bot.store.journal import Journal, Record
from bot.turn import retry
from bot.turn.limits import RequestRate
from bot.turn.results import STOPPED_EARLY, TurnRequest
from bot.turn.runner import Runner
from bot.turn.turn import Transcripts
from bot.usage.limits import Spender
from registry.binding import Resolution

log = structlog.get_logger("router")

NO_AGENT = "No agent answers here yet."
NO_AGENT_CURE = (
    "You are an admin: /bind an agent here or make one the /default (/agents lists them), "
    "or do so in agents.json. Now: {}."
)
UNKNOWN_COMMAND = "I don't know /{}. /help lists what I know."
UNSUPPORTED = "I can't take {} yet, only text. Please write it to me."
ADMINS_ONLY = "Only admins of this host may send this."
STALE_PRESS = "This button no longer does anything."
REFUSALS_A_MINUTE = 1
UNGATED_A_MINUTE = 5


AdminSeen = Callable[[User, LineContext], Awaitable[None]]


async def nobody_cares(_person: User, _line: LineContext) -> None:
    """For a router whose admins get no notices."""


class Router:
    """Leads each entry to its outcome. Every path ends in one store call that settles the entry."""

    def __init__(
        self,
        access: Access,
        commands: Commands,
        plans: AgentResolver,
        runner: Runner,
        inbox: UpdateInbox,
        journal: Journal,
        transcripts: Transcripts,
        clock: Clock,
        counters: Counters,
        suspended: SuspendedTurns,
        retries: Retries,
        admission: AccessGate,
        admin_seen: AdminSeen = nobody_cares,
    ) -> None:
        self._admission = admission
        self._refusals = RequestRate(clock)
        self._suspended = suspended
        self._retries = retries
        self._admin_seen = admin_seen
        self._access = access
        self._commands = commands
        self._plans = plans
        self._runner = runner
        self._inbox = inbox
        self._journal = journal
        self._transcripts = transcripts
        self._clock = clock
        self._counters = counters

    def runs_beside(self, event: Event) -> bool:
        """Whether the event touches no conversation."""
        if isinstance(event, IncomingMessage) and event.command:
            row = self._commands.find(event.command.name)
            return row is None or row.concurrent
        if isinstance(event, ChatMigration | Membership):
            return True
        return isinstance(event, CallbackPress) and retry.parse_retry(event.data) is None

    async def admits(self, line: LineContext, entry: InboxEntry, event: Event) -> bool:
        """Whether an entry may go any further; one that may not is settled."""
        if self._admission.admits(event):
            return True
        await self._admission.refuse(line, entry, event)
        return False

    async def handle(
        self, line: LineContext, entry: InboxEntry, event: Event, stop: asyncio.Event
    ) -> bool:
        """One entry to its outcome; False where it must wait for a turn that waits for people."""
        if isinstance(event, CallbackPress):
            await self._press(line, entry, event, stop)
        elif isinstance(event, IncomingMessage):
            return await self._message(line, entry, event, stop)
        elif isinstance(event, ResumeTurn):
            await self._suspended.take_up(line, event, stop)
        elif isinstance(event, ChatMigration):
            await self._suspended.follow(line, event)
            await self._settle(line, entry, [])
        elif isinstance(event, Membership):
            await self._admission.on_membership(line, entry, event)
        return True

    async def stop_waiting(self, line: LineContext, entry: InboxEntry, signal: Signal) -> bool:
        """End a turn that waits for people, with the signal; whether there was one."""
        answering = self._suspended.answering
        found = await answering.pending_in(line.fence.line, signal.address.conversation)
        if found is None or signal.person is None:
            return False
        return await answering.end_turn(line, found, STOPPED_EARLY, settles=entry.id)

    async def signalled(
        self, line: LineContext, entry: InboxEntry, signal: Signal, *, running: bool
    ) -> None:
        """A signal has done its work; a typed /stop that found nothing gets a word."""
        typed = signal.draft is None and not running
        parts = line.channel.render(signal.address, NOTHING_RUNS) if typed else []
        await self._settle(line, entry, parts)

    async def overtaken(self, line: LineContext, shown: str) -> None:
        """Draw what was decided while the message that shows it was on its way."""
        if card := cards.parse_card_id(shown):
            await self._admission.refresh(line, card)
        else:
            await self._suspended.answering.refresh(line, shown)

    async def undelivered(self, line: LineContext, shown: str) -> None:
        """The message that shows something cannot be delivered."""
        if card := cards.parse_card_id(shown):
            await self._admission.on_undeliverable(line, card)
        else:
            await self._suspended.answering.on_undeliverable(line, shown)

    async def bury(
        self, line: LineContext, entry: InboxEntry, event: Event, word: str, why: str
    ) -> None:
        """Set a poisonous entry aside, with word to the person."""
        if isinstance(event, ResumeTurn):
            await self._suspended.give_up(line, event)
            return
        admitted = self._admission.admits(event)
        parts = line.channel.render(event.address, word) if admitted else []
        conversation = event.address.conversation
        posted = await self._inbox.dead_letter(line.fence, entry.id, why, parts, conversation)
        self._transcripts.forget_line(line.fence.line)
        await line.channel.deliver(posted)

    async def _message(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, stop: asyncio.Event
    ) -> bool:
        if incoming.address.private and self._access.is_admin(incoming.person.id):
            await self._admin_seen(incoming.person, line)
        if incoming.command:
            await self._command(line, entry, incoming, incoming.command)
        elif incoming.unsupported:
            self._counters.add("unsupported")
            await self._say(line, entry, incoming, UNSUPPORTED.format(incoming.unsupported))
        else:
            return await self._turn(line, entry, incoming, stop)
        return True

    async def _turn(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, stop: asyncio.Event
    ) -> bool:
        found = self._plans.resolution(line, incoming.address, incoming.person)
        plan = self._plans.plan(found)
        if plan is None:
            admin = self._access.is_admin(incoming.person.id)
            cure = f"\n\n{NO_AGENT_CURE.format(escape_markdown(found.why))}" if admin else ""
            await self._say(line, entry, incoming, NO_AGENT + cure)
            return True
        role = self._access.role(incoming.person.id)
        job = TurnRequest(line.fence, entry.id, incoming, plan, line.channel, line.timers, role)
        while held := await self._runner.run(job, stop):
            met = await self._suspended.answering.on_message(line, entry.id, incoming, held)
            if met != "superseded":
                return met == "reason_taken"
        return True

    async def _command(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, command: Command
    ) -> None:
        row = self._commands.find(command.name)
        found = self._plans.resolution(line, incoming.address, incoming.person)
        plan = self._plans.plan(found)
        if row is None:
            if incoming.address.private or command.named:
                said = UNKNOWN_COMMAND.format(command.name)
                await self._refuse(line, entry, incoming, said, plan)
            else:  # it may be another bot's
                await self._settle(line, entry, [])
            return
        context = self._context(line, entry, incoming, found, plan)
        if row.role == "admin" and not context.admin:
            self._counters.add("refused:admin")
            await self._commands.refuse(row, context)
            await self._refuse(line, entry, incoming, ADMINS_ONLY, plan)
            return
        if row.name in UNGATED and not self._takes(line, incoming, "ungated", UNGATED_A_MINUTE):
            await self._settle(line, entry, [])
            return
        await self._fulfil(line, entry, incoming, await row.function(context), plan)

    async def _refuse(
        self,
        line: LineContext,
        entry: InboxEntry,
        incoming: IncomingMessage,
        text: str,
        plan: RunnableAgent | None,
    ) -> None:
        """Say no, at most once a minute; each refusal counts as a request of the person."""
        if plan is not None:
            where, person = incoming.address.conversation, incoming.person.id
            self._runner.counts(line.fence.line, where, person, plan.limits.per_minute)
        told = self._takes(line, incoming, "refused", REFUSALS_A_MINUTE)
        await self._say(line, entry, incoming, text if told else "")

    def _takes(self, line: LineContext, incoming: IncomingMessage, what: str, most: int) -> bool:
        """Count an answer of a kind to a person, or say that there were enough in this minute."""
        return self._refusals.take((line.fence.line, what, incoming.person.id), most)

    def _context(
        self,
        line: LineContext,
        entry: InboxEntry,
        incoming: IncomingMessage,
        found: Resolution,
        plan: RunnableAgent | None,
    ) -> CommandContext:
        return CommandContext(
            incoming,
            agent=plan.name if plan else None,
            admin=self._access.is_admin(incoming.person.id),
            key=f"{line.fence.line}:{entry.id}",
            bot=line.identity,
            resolution=found,
            fetch=line.channel.fetch,
            grants=lambda: self._suspended.grants(line, incoming.address.conversation),
            revoke_grant=lambda grant: self._suspended.revoke(
                line, incoming.address.conversation, grant
            ),
            spent=lambda: self._runner.spent(
                Spender(
                    line.fence.line,
                    incoming.address.conversation,
                    incoming.person.id,
                    entry.id,
                    plan.attribution if plan else Attribution(DEFAULT_ACCOUNT, "", ""),
                ),
                plan.budgets if plan else {},
            ),
        )

    async def _fulfil(
        self,
        line: LineContext,
        entry: InboxEntry,
        incoming: IncomingMessage,
        intent: CommandResult,
        plan: RunnableAgent | None,
    ) -> None:
        if isinstance(intent, StartNewConversation) and plan is not None:
            conversation = incoming.address.conversation
            answering = self._suspended.answering
            if sheet := await answering.pending_in(line.fence.line, conversation):
                await answering.end_turn(line, sheet, "")
            ref = TurnRef(entry.id, incoming.address.conversation, plan.agent)
            record = Record("boundary", {"turn": entry.id, "at": incoming.sent_at})
            parts = line.channel.render(incoming.address, intent.text)
            posted = await self._journal.boundary(line.fence, ref, record, parts)
            self._transcripts.forget(line.fence.line, ref)
            await line.channel.deliver(posted)
            return
        person = incoming.person
        if isinstance(intent, GiveRole):
            text = await self._admission.change_roles(line, entry, person, intent)
        elif isinstance(intent, Claim):
            text = await self._admission.claim(line, entry, person, intent.code)
            if self._access.is_admin(person.id):
                await self._admin_seen(person, line)
        else:
            assert isinstance(intent, Reply | StartNewConversation)
            text = intent.text
        await self._say(line, entry, incoming, text)

    async def _press(
        self, line: LineContext, entry: InboxEntry, press: CallbackPress, stop: asyncio.Event
    ) -> None:
        if turn := retry.parse_retry(press.data):
            await self._retries.press(line, entry, press, turn, stop)
            return
        if cards.is_card(press.data):
            await self._admission.press(line, entry, press)
            return
        if is_approval(press.data):
            await self._suspended.answering.press(line, entry.id, press)
            return
        await self._settle(line, entry, [line.channel.callback_answer(press, STALE_PRESS)])

    async def _say(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, text: str
    ) -> None:
        reply_to = None if incoming.address.private else incoming.message
        parts = line.channel.render(incoming.address, text, reply_to)
        await self._settle(line, entry, parts, incoming.address.conversation)

    async def _settle(
        self,
        line: LineContext,
        entry: InboxEntry,
        parts: list[OutgoingPart],
        conv: str | None = None,
    ) -> None:
        posted = await self._inbox.settle(line.fence, [entry.id], parts, conv)
        if parts:
            await line.channel.deliver(posted)
