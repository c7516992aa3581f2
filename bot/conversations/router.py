"""What becomes of an entry: a refusal, a command, an answer to a press, or a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bot.access import cards
from bot.access.command import Claim, GiveRole
from bot.access.gate import AccessGate
from bot.approvals.request import is_approval
from bot.command import CommandResult, Reply, StartNewConversation
from bot.commands.table import NOTHING_RUNS
from bot.conversations.command_runner import CommandRunner
from bot.conversations.turns import LineStores, Outcome, Turns
from bot.line_context import LineContext
from bot.messages import (
    CallbackPress,
    ChatMigration,
    Event,
    IncomingMessage,
    Membership,
    ResumeTurn,
    Signal,
    User,
)
from bot.ops.counters import Counters
from bot.store.inbox import InboxEntry
from bot.turn.results import parse_retry

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
    commands: CommandRunner
    turns: Turns
    stores: LineStores
    counters: Counters
    on_private_message: PrivateMessageSeen = ignore_private_message

    def is_concurrent(self, event: Event) -> bool:
        """Whether the event touches no conversation, so that it need not wait for its queue."""
        if isinstance(event, IncomingMessage) and event.command:
            return self.commands.is_concurrent(event.command)
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
                await self.stores.reply(line, entry, event, text)
            else:
                return await self.turns.start(line, entry, event, stop)
        elif isinstance(event, CallbackPress):
            await self._press(line, entry, event, stop)
        elif isinstance(event, ResumeTurn):
            await self.turns.resume(line, event, stop)
        elif isinstance(event, ChatMigration):
            await self.turns.migrate(line, event)
            await self.stores.settle(line, entry)
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
            await self.stores.settle(line, entry, parts)

    async def dead_letter(
        self, line: LineContext, entry: InboxEntry, event: Event, why: str
    ) -> None:
        """Set a poisonous entry aside, and say so to whoever may talk."""
        text = POISON_MESSAGE if self.gate.admits(event) else ""
        await self.turns.dead_letter(line, entry, event, text, why)
        self.counters.add("dead_letters")

    async def tracked_message(self, line: LineContext, tracks: str, fate: Fate) -> None:
        """Redraw what changed before its message was sent; give up what cannot be shown."""
        approvals = self.turns.approvals
        if card := cards.parse_card_id(tracks):
            react = self.gate.refresh if fate == "overtaken" else self.gate.on_undeliverable
            await react(line, card)
        else:
            update = approvals.refresh if fate == "overtaken" else approvals.on_undeliverable
            await update(line, tracks)

    async def _command(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage
    ) -> None:
        """Run a command and do what it wants."""
        result = await self.commands.run(line, entry, incoming)
        if isinstance(result, StartNewConversation):
            _, agent = self.turns.resolve(line, incoming)
            if agent is not None:
                await self.turns.new_conversation(line, entry, incoming, agent.id, result.text)
                return
        if result is not None:
            text = await self._fulfil(line, entry, incoming, result)
            await self.stores.reply(line, entry, incoming, text)

    async def _fulfil(
        self,
        line: LineContext,
        entry: InboxEntry,
        incoming: IncomingMessage,
        result: CommandResult,
    ) -> str:
        """Do what a command wants, and what to answer, as Markdown."""
        person = incoming.person
        if isinstance(result, GiveRole):
            return await self.gate.change_roles(line, entry, person, result)
        if isinstance(result, Claim):
            text = await self.gate.claim(line, entry, person, result.code)
            await self.on_private_message(person, line)  # who may be an admin by now
            return text
        assert isinstance(result, Reply | StartNewConversation)
        return result.text

    async def _press(
        self, line: LineContext, entry: InboxEntry, press: CallbackPress, stop: asyncio.Event
    ) -> None:
        if turn := parse_retry(press.data):
            await self.turns.retry(line, entry, press, turn, stop)
        elif cards.is_card(press.data):
            await self.gate.press(line, entry, press)
        elif is_approval(press.data):
            await self.turns.approvals.press(line, entry.id, press)
        else:
            answer = line.channel.callback_answer(press, STALE_PRESS)
            await self.stores.settle(line, entry, [answer])
