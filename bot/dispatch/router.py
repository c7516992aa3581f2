"""What becomes of an entry: access first; then a command, a press, or a turn."""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from bot.commands.table import BeginAnew, Commands, Context, Intent
from bot.dispatch.access import Access
from bot.dispatch.line import Line
from bot.events import (
    Address,
    Command,
    Event,
    Incoming,
    Outgoing,
    Person,
    Press,
    Signal,
    TurnRef,
)
from bot.ops.counters import Counters
from bot.ports import Clock, Entry, Inbox, Journal, Record
from bot.turn.plan import Plan
from bot.turn.runner import Job, Runner
from bot.turn.transcripts import Transcripts

log = structlog.get_logger("router")

NO_AGENT = "No agent answers here yet."
NO_AGENT_CURE = (
    "You are an admin: bind this bot to an agent in agents.json "
    "(`bindings`, or `defaultAgentId` for all)."
)
UNKNOWN_COMMAND = "I don't know /{}. /help lists what I know."
UNSUPPORTED = "I can't take {} yet, only text. Please write it to me."
NOTHING_RUNS = "Nothing is running here."
ADMINS_ONLY = "Only admins of this host may send this."
STALE_PRESS = "This button no longer does anything."


class Plans(Protocol):
    """Who answers an address, resolved to plain values."""

    def plan(self, line: Line, address: Address, person: Person) -> Plan | None:
        """The agent for a message, or None where no agent answers."""
        ...


class Router:
    """Leads each entry to its outcome. Every path ends in one store call that settles the entry."""

    def __init__(
        self,
        access: Access,
        commands: Commands,
        plans: Plans,
        runner: Runner,
        inbox: Inbox,
        journal: Journal,
        transcripts: Transcripts,
        clock: Clock,
        counters: Counters,
    ) -> None:
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
        if isinstance(event, Incoming) and event.command:
            row = self._commands.find(event.command.name)
            return row is None or row.beside
        return isinstance(event, Press)

    async def handle(self, line: Line, entry: Entry, event: Event, stop: asyncio.Event) -> None:
        """One entry to its outcome."""
        if isinstance(event, Press):
            await self._press(line, entry, event)
        elif isinstance(event, Incoming):
            await self._message(line, entry, event, stop)

    async def signalled(self, line: Line, entry: Entry, signal: Signal, *, running: bool) -> None:
        """A signal has done its work; a typed /stop that found nothing gets a word."""
        typed = signal.draft is None and not running
        parts = line.channel.render(signal.address, NOTHING_RUNS) if typed else []
        await self._settle(line, entry, parts)

    async def bury(self, line: Line, entry: Entry, event: Event, word: str) -> None:
        """Set a poisonous entry aside, with word to the person."""
        parts = line.channel.render(event.address, word)
        conversation = event.address.conversation
        posted = await self._inbox.bury(line.fence, entry.id, "handler failed", parts, conversation)
        self._transcripts.forget_line(line.fence.line)
        await line.channel.deliver(posted)

    async def _message(
        self, line: Line, entry: Entry, incoming: Incoming, stop: asyncio.Event
    ) -> None:
        if incoming.command:
            await self._command(line, entry, incoming, incoming.command)
        elif incoming.unsupported:
            self._counters.add("unsupported")
            await self._say(line, entry, incoming, UNSUPPORTED.format(incoming.unsupported))
        else:
            await self._turn(line, entry, incoming, stop)

    async def _turn(
        self, line: Line, entry: Entry, incoming: Incoming, stop: asyncio.Event
    ) -> None:
        plan = self._plan(line, incoming)
        if plan is None:
            cure = f"\n\n{NO_AGENT_CURE}" if self._access.is_admin(incoming.person) else ""
            await self._say(line, entry, incoming, NO_AGENT + cure)
            return
        job = Job(line.fence, entry.id, incoming, plan, line.channel)
        await self._runner.run(job, stop)

    async def _command(
        self, line: Line, entry: Entry, incoming: Incoming, command: Command
    ) -> None:
        row = self._commands.find(command.name)
        if row is None:
            known = UNKNOWN_COMMAND.format(command.name) if incoming.address.private else ""
            await self._say(line, entry, incoming, known)
            return
        admin = self._access.is_admin(incoming.person)
        if row.role == "admin" and not admin:
            self._counters.add("refused:admin")
            await self._say(line, entry, incoming, ADMINS_ONLY)
            return
        plan = self._plan(line, incoming)
        intent = await row.function(Context(incoming, plan.name if plan else None, admin))
        await self._fulfil(line, entry, incoming, intent, plan)

    async def _fulfil(
        self, line: Line, entry: Entry, incoming: Incoming, intent: Intent, plan: Plan | None
    ) -> None:
        if isinstance(intent, BeginAnew) and plan is not None:
            ref = TurnRef(entry.id, incoming.address.conversation, plan.agent)
            record = Record("boundary", {"turn": entry.id, "at": incoming.sent_at})
            parts = line.channel.render(incoming.address, intent.text)
            posted = await self._journal.boundary(line.fence, ref, record, parts)
            self._transcripts.forget(line.fence.line, ref)
            await line.channel.deliver(posted)
        else:
            await self._say(line, entry, incoming, intent.text)

    async def _press(self, line: Line, entry: Entry, press: Press) -> None:
        answer = {"callback_query_id": press.query, "text": STALE_PRESS}
        part = Outgoing(press.address.chat, "answerCallbackQuery", answer)
        await self._settle(line, entry, [part])

    def _plan(self, line: Line, incoming: Incoming) -> Plan | None:
        return self._plans.plan(line, incoming.address, incoming.person)

    async def _say(self, line: Line, entry: Entry, incoming: Incoming, text: str) -> None:
        reply_to = None if incoming.address.private else incoming.message
        await self._settle(line, entry, line.channel.render(incoming.address, text, reply_to))

    async def _settle(self, line: Line, entry: Entry, parts: list[Outgoing]) -> None:
        posted = await self._inbox.settle(line.fence, [entry.id], parts)
        if parts:
            await line.channel.deliver(posted)
