"""Groups that became supergroups: a new id, the same conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import structlog

from bot.access.rules import Access
from bot.agents.resolver import AgentResolver, RunnableAgent
from bot.approvals.service import AGENT_GONE, GAVE_UP, ApprovalService
from bot.approvals.store import ApprovalStore
from bot.command import escape_markdown
from bot.errors import FencedOut
from bot.messages import (
    CallbackPress,
    ChatMigration,
    Clock,
    Decoded,
    Event,
    Fence,
    Ignored,
    IncomingMessage,
    LineContext,
    OutgoingPart,
    ResumeTurn,
    Signal,
    TurnRef,
)
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.inbox import InboxEntry, UpdateInbox
from bot.store.journal import Journal, Record
from bot.store.outbox import Outbox
from bot.turn.results import MESSAGE_GONE, RETRYING, STOPPED_EARLY, Retry, find_retry
from bot.turn.runner import TurnRunner
from bot.turn.transcript import Transcripts
from bot.turn.turn import TurnRequest
from registry.binding import Resolution


class ChatMigrations:
    """The groups of one line that became supergroups: the present id to the original one.

    What is said in a chat that has migrated is said in its old conversation.
    """

    def __init__(self, known: Mapping[int, int] | None = None) -> None:
        self._original = dict(known or {})

    def apply(self, event: Decoded) -> Decoded:
        """The event, its address with the original id of the chat."""
        if isinstance(event, Ignored):
            return event
        if isinstance(event, ChatMigration):
            self._original[event.to] = event.address.chat
            return event
        original = self._original.get(event.address.chat)
        if original is None:
            return event
        return replace(event, address=replace(event.address, migrated_from=original))


@dataclass(slots=True, repr=False)
class ChatMigrationStore:
    """One hash for each line: the present id of a group, and its original one."""

    client: StoreClient

    async def add(self, fence: Fence, original: int, present: int) -> None:
        """Note that a group has another id from now on."""
        names = [keys.fence(fence.line), keys.migrations(fence.line)]
        await self.client.run_idempotent("note_migration", names, [fence.token, present, original])

    async def load(self, line: str) -> dict[int, int]:
        """The original ids of a line's groups, by their present ids."""
        command = ("HGETALL", keys.migrations(line))
        found = await self.client.retry_while_down(lambda: self.client.command(*command))
        return {int(present): int(original) for present, original in pairs_of(found)}


log = structlog.get_logger("turns")

NO_AGENT = "No agent answers here yet."
NO_AGENT_CURE = (
    "You are an admin: /bind an agent here or make one the /default (/agents lists them), "
    "or do so in agents.json. Now: {}."
)
OPEN_QUESTION = "An approval is waiting for an answer here. Please answer it first."
RETRY_SECONDS = 1.0

Resume = Callable[[str, ResumeTurn], None]
"""Queues a suspended turn: the inbox entry that began it, and the event that resumes it."""


class Outcome(Enum):
    """What became of an entry."""

    DONE = auto()
    BLOCKED = auto()
    """It has to wait until the suspended turn of its conversation has ended."""


@dataclass(slots=True, repr=False)
class LineStores:
    """The stores of all lines, on one client."""

    inbox: UpdateInbox
    outbox: Outbox
    journal: Journal
    approvals: ApprovalStore
    migrations: ChatMigrationStore

    async def settle(
        self,
        line: LineContext,
        entry: InboxEntry,
        parts: Sequence[OutgoingPart] = (),
        conversation: str | None = None,
    ) -> None:
        """Finish an entry with what it says; its turn that is open in `conversation` is over."""
        items = await self.inbox.settle(line.fence, [entry.id], parts, conversation)
        if parts:
            await line.channel.deliver(items)

    async def reply(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, markdown: str
    ) -> None:
        """Finish a message's entry with an answer, which in a group replies to the message."""
        reply_to = None if incoming.address.private else incoming.message
        parts = line.channel.render(incoming.address, markdown, reply_to)
        await self.settle(line, entry, parts, incoming.address.conversation)


@dataclass(slots=True, repr=False)
class Turns:
    """Begins turns, and ends those that wait for people."""

    resolver: AgentResolver
    runner: TurnRunner
    approvals: ApprovalService
    stores: LineStores
    transcripts: Transcripts
    access: Access
    clock: Clock

    def resolve(
        self, line: LineContext, event: IncomingMessage | CallbackPress
    ) -> tuple[Resolution, RunnableAgent | None]:
        """Who answers an event, and why; None where nobody does."""
        return self.resolver.resolve(line, event.address, event.person)

    # --- beginning ---

    async def start(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, stop: asyncio.Event
    ) -> Outcome:
        """Answer a message; where a turn is suspended, end that first or wait for it."""
        found, agent = self.resolve(line, incoming)
        if agent is None:
            admin = self.access.is_admin(incoming.person.id)
            cure = f"\n\n{NO_AGENT_CURE.format(escape_markdown(found.why))}" if admin else ""
            await self.stores.reply(line, entry, incoming, NO_AGENT + cure)
            return Outcome.DONE
        request = self._request(line, entry.id, incoming, agent)
        while open_turn := await self.runner.run(request, stop):
            effect = await self.approvals.on_message(line, entry.id, incoming, open_turn)
            if effect != "superseded":
                return Outcome.DONE if effect == "reason_taken" else Outcome.BLOCKED
        return Outcome.DONE

    async def retry(
        self,
        line: LineContext,
        entry: InboxEntry,
        press: CallbackPress,
        turn: str,
        stop: asyncio.Event,
    ) -> None:
        """Answer the message of a failed turn again, or tell whoever pressed why not."""
        _, agent = self.resolve(line, press)
        found = await self._find_retry(line, entry, press, turn, agent) if agent else MESSAGE_GONE
        if agent is None or isinstance(found, str):
            answer = line.channel.callback_answer(press, str(found))
            await self.stores.settle(line, entry, [answer])
            return
        await self._acknowledge_retry(line, entry, press)
        message = 0 if press.address.migrated_from else found.message  # the old chat's number
        incoming = IncomingMessage(
            press.address, press.person, message, sent_at=int(self.clock.wall())
        )
        request = self._request(line, entry.id, incoming, agent, found)
        while open_turn := await self.runner.run(request, stop):
            await line.channel.wait_until_sent(open_turn.ref.entry)

    async def _find_retry(
        self,
        line: LineContext,
        entry: InboxEntry,
        press: CallbackPress,
        turn: str,
        agent: RunnableAgent,
    ) -> Retry | str:
        """The message to answer once more, or why there is none."""
        conversation = press.address.conversation
        if await self.approvals.pending_in(line.fence.line, conversation):
            return OPEN_QUESTION
        ref = TurnRef(entry.id, conversation, agent.id)
        records = await self.stores.journal.newest(line.fence.line, ref)
        private = press.address.private
        return find_retry(records, turn, entry.id, press.person.id, private=private)

    async def _acknowledge_retry(
        self, line: LineContext, entry: InboxEntry, press: CallbackPress
    ) -> None:
        """Answer the press and take its button away; once, also after a crash."""
        parts = [line.channel.callback_answer(press, RETRYING)]
        if press.message is not None:
            bare = {"message_id": press.message}
            parts.append(OutgoingPart(press.address.chat, "clear_keyboard", bare))
        items = await self.stores.outbox.post(line.fence.line, f"again:{entry.id}", parts)
        if items:
            await line.channel.deliver(items)

    async def resume(self, line: LineContext, event: ResumeTurn, stop: asyncio.Event) -> None:
        """Let a suspended turn go on as people decided.

        It ends with a sentence where its agent was removed, without where its asker lost access.
        """
        approval = await self.approvals.claim_expired(line, event.nonce)
        if approval is None:
            return
        agent = self.resolver.current(approval.turn.agent)
        if agent is None:
            await self.approvals.abandon(line, approval, AGENT_GONE)
            return
        if self.access.verdict(approval.address, approval.asker.id) != "admitted":
            await self.approvals.abandon(line, approval, "")
            return
        incoming = IncomingMessage(approval.address, approval.asker, approval.message, sent_at=0)
        request = self._request(line, approval.turn.entry, incoming, agent)
        await self.runner.run(request, stop, approval)
        await self.approvals.retire(line, approval.nonce)

    def _request(
        self,
        line: LineContext,
        entry: str,
        incoming: IncomingMessage,
        agent: RunnableAgent,
        retry: Retry | None = None,
    ) -> TurnRequest:
        role = self.access.role(incoming.person.id)
        return TurnRequest(line, entry, incoming, agent, role, retry)

    # --- suspended turns ---

    async def recover(self, line: LineContext, resume: Resume) -> int:
        """Reload pending approvals after a takeover and queue the expired ones; how many there are.

        Call it before any entry is queued: a suspended turn comes first in its conversation.
        """
        waiting = await self.stores.approvals.due_times(line.fence.line)
        now = self.clock.wall()
        for nonce, due in waiting:
            if due <= now:
                await self._queue(line, resume, nonce)
            else:
                line.timers.set(nonce, due)
        return len(waiting)

    async def resume_when_due(self, line: LineContext, resume: Resume) -> None:
        """Queue each suspended turn when it is due, until cancelled; raises FencedOut."""
        while True:
            nonce = await line.timers.next(self.clock)
            try:
                await self._queue(line, resume, nonce)
            except FencedOut:
                raise
            except Exception:
                log.exception("resume.failed", line=line.fence.line)
                line.timers.set(nonce, self.clock.wall() + RETRY_SECONDS)

    async def _queue(self, line: LineContext, resume: Resume, nonce: str) -> None:
        approval = await self.stores.approvals.load(line.fence.line, nonce)
        if approval is None:
            await self.approvals.retire(line, nonce)
        else:
            resume(approval.turn.entry, ResumeTurn(approval.address, nonce))

    async def migrate(self, line: LineContext, event: ChatMigration) -> None:
        """Note a group's new id, and send what waits for approval to the new chat."""
        await self.stores.migrations.add(line.fence, event.address.chat, event.to)
        conversation = event.address.conversation  # a plain group has no topics
        if approval := await self.approvals.pending_in(line.fence.line, conversation):
            await self.approvals.on_chat_migrated(line, approval.nonce, event.to)

    # --- ending ---

    async def stop_suspended(self, line: LineContext, entry: InboxEntry, signal: Signal) -> bool:
        """End the suspended turn of a conversation with a signal's entry; whether there was one."""
        found = await self.approvals.pending_in(line.fence.line, signal.address.conversation)
        if found is None or signal.person is None:
            return False
        return await self.approvals.end_turn(line, found, STOPPED_EARLY, settles=entry.id)

    async def new_conversation(
        self, line: LineContext, entry: InboxEntry, incoming: IncomingMessage, agent: str, text: str
    ) -> None:
        """Start a new conversation: end the suspended turn, record a boundary, and confirm it."""
        conversation = incoming.address.conversation
        if approval := await self.approvals.pending_in(line.fence.line, conversation):
            await self.approvals.end_turn(line, approval, "")
        ref = TurnRef(entry.id, conversation, agent)
        record = Record("boundary", {"turn": entry.id, "at": incoming.sent_at})
        parts = line.channel.render(incoming.address, text)
        items = await self.stores.journal.boundary(line.fence, ref, record, parts)
        self.transcripts.forget(line.fence.line, ref)
        await line.channel.deliver(items)

    async def dead_letter(
        self, line: LineContext, entry: InboxEntry, event: Event, text: str, why: str
    ) -> None:
        """Move an entry to the dead letters and say `text`; a suspended turn ends with its own."""
        if isinstance(event, ResumeTurn):
            approval = await self.stores.approvals.load(line.fence.line, event.nonce)
            if approval is not None:
                await self.approvals.abandon(line, approval, GAVE_UP)
            line.timers.drop(event.nonce)
            return
        parts = line.channel.render(event.address, text) if text else []
        conversation = event.address.conversation
        items = await self.stores.inbox.dead_letter(line.fence, entry.id, why, parts, conversation)
        self.transcripts.forget_line(line.fence.line)
        await line.channel.deliver(items)
