"""Turns are begun, resumed and ended here; also groups that became supergroups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

import structlog

from bot.access.rules import Access
from bot.agents.resolver import AgentResolver, RunnableAgent, is_draft
from bot.approvals.service import (
    AGENT_GONE,
    DRAFT_GONE,
    GAVE_UP,
    PRESET_GONE,
    ApprovalService,
)
from bot.approvals.store import ApprovalStore
from bot.command import escape_markdown, lost_profile_cure, no_agent_cure, paragraphs
from bot.errors import FencedOut
from bot.messages import (
    Buttons,
    CallbackPress,
    ChatMigration,
    Clock,
    Decoded,
    Event,
    Fence,
    Ignored,
    IncomingMessage,
    LineContext,
    LineEntry,
    OutgoingPart,
    ResumeTurn,
    Signal,
    TurnRef,
    TurnSummary,
    text_of,
)
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.inbox import DeadLetters, UpdateInbox
from bot.store.journal import Journal, OpenTurn, Record
from bot.store.outbox import Outbox
from bot.store.sessions import account_of, is_http
from bot.turn.results import (
    BROKEN,
    LEAVE_PRESET,
    LETTER_GONE,
    MESSAGE_GONE,
    NO_AGENT,
    NOT_YOURS,
    RETRYING,
    STOPPED_EARLY,
    WAYS_OUT,
    Retry,
    find_retry,
    letter_button,
    retry_button,
)
from bot.turn.routing import InstanceRouter
from bot.turn.runner import TurnRunner
from bot.turn.transcript import Transcripts
from bot.turn.turn import TurnRequest
from registry.binding import LostProfile, Resolution
from registry.roles import DEFAULT_ACCOUNT


def apply_migrations(original: dict[int, int], event: Decoded) -> Decoded:
    """The event with the original id of its chat, where that is a group that became a supergroup.

    What is said in the supergroup is said in the old conversation. `original` has the first id of
    each present one, and is kept up to date.
    """
    if isinstance(event, ChatMigration):
        original[event.to] = event.address.chat
    elif not isinstance(event, Ignored) and (before := original.get(event.address.chat)):
        return replace(event, address=replace(event.address, migrated_from=before))
    return event


log = structlog.get_logger("turns")

OPEN_QUESTION = "An approval is waiting for an answer here. Please answer it first."
NO_ROUTE = "there is no other instance that this router could hand the message to"
RETRY_SECONDS = 1.0

Resume = Callable[[str, ResumeTurn], None]
"""Queues a suspended turn: the inbox entry that began it, and the event that resumes it."""


class Outcome(Enum):
    """The outcome of an entry."""

    DONE = auto()
    BLOCKED = auto()
    """It has to wait until the suspended turn of its conversation has ended."""
    UNBLOCKED = auto()
    """It has ended that turn, and comes after what waited for that as well."""


class LineStores:
    """The stores of all lines, on one client."""

    def __init__(self, client: StoreClient) -> None:
        self.client = client
        self.inbox = UpdateInbox(client)
        self.outbox = Outbox(client)
        self.journal = Journal(client)
        self.approvals = ApprovalStore(client)

    async def reply(
        self,
        entry: LineEntry,
        incoming: IncomingMessage,
        markdown: str,
        keyboard: Mapping[str, Any] | None = None,
    ) -> None:
        """Finish a message's entry with an answer, which in a group replies to the message.

        A keyboard takes the place of the phone's own.
        """
        address = incoming.address
        reply_to = None if address.private else incoming.message
        failed = TurnSummary("failed", failure=markdown)
        parts = entry.line.channel.render(address, markdown, reply_to, summary=failed)
        if keyboard is not None and parts:
            payload = {**parts[-1].payload, "reply_markup": keyboard}
            parts[-1] = replace(parts[-1], payload=payload)
        await self.inbox.finish(entry, parts, address.conversation)

    async def note_migration(self, fence: Fence, original: int, present: int) -> None:
        """Note that a group has another id from now on."""
        names = [keys.fence(fence.line), keys.migrations(fence.line)]
        await self.client.run_idempotent("note_migration", names, [fence.token, present, original])

    async def migrations(self, line: str) -> dict[int, int]:
        """The original ids of a line's groups, by their present ids."""
        found = await self.client.read("HGETALL", keys.migrations(line))
        return {int(present): int(original) for present, original in pairs_of(found)}


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
    router: InstanceRouter = field(init=False)

    def __post_init__(self) -> None:
        runner = self.runner
        self.router = InstanceRouter(self.resolver, runner.model, runner.budgets, self.clock)

    # --- beginning ---

    async def start(self, entry: LineEntry, incoming: IncomingMessage) -> Outcome:
        """Answer a message; where a turn is suspended, end that first or wait for it.

        In a group, people who already wait for it are answered before the person who ends it.
        """
        found, agent = self.resolver.resolve(entry.line, incoming.address, incoming.person)
        if agent is not None:
            routed = await self.router.routed(entry, incoming, agent)
            lost = routed if isinstance(routed, LostProfile) else None
            agent = routed if isinstance(routed, RunnableAgent) else None
            found = found if agent else replace(found, why=NO_ROUTE, lost=lost)
        if agent is None:
            if not await self._end_open(entry, incoming):
                await self.stores.reply(entry, incoming, self._no_answer(entry, incoming, found))
            return Outcome.DONE
        request = self._request(entry, incoming, agent)
        while open_turn := await self.runner.run(request):
            was_sending = open_turn.state == "sending"
            effect = await self.approvals.on_message(entry, incoming, open_turn)
            if effect == "reason_taken":
                return Outcome.DONE
            if effect == "waits" and entry.superseded:
                await self.stores.inbox.finish(entry)
                return Outcome.DONE
            if effect == "waits":
                await self._tell_to_wait(entry, incoming, open_turn)
                return Outcome.BLOCKED
            if not (was_sending or incoming.address.private):
                return Outcome.UNBLOCKED
        return Outcome.DONE

    async def _end_open(self, entry: LineEntry, incoming: IncomingMessage) -> bool:
        """End the entry's turn where it is open already, and nobody can answer here any more."""
        if began := await self.router.began(entry, incoming):
            agent = self.resolver.in_place_of(began)
            await self.runner.run(self._request(entry, incoming, agent))
        return bool(began)

    def _no_answer(self, entry: LineEntry, incoming: IncomingMessage, found: Resolution) -> str:
        """What a person reads where nobody answers; admins also read the cure."""
        over_http, why = is_http(entry.line.name), escape_markdown(found.why)
        admin = self.access.is_admin(incoming.person.id) and not over_http
        snapshot = self.resolver.catalog.snapshot()
        if found.lost is not None:
            leave = LEAVE_PRESET if found.preset and not over_http else ""
            cure = lost_profile_cure(snapshot, found.lost) if admin else ""
            return paragraphs(BROKEN, leave, cure)
        if found.rule in WAYS_OUT:
            return paragraphs(why, "" if over_http else WAYS_OUT[found.rule])
        document = snapshot.document
        cure = no_agent_cure(found.why, document.agents, document.errors) if admin else ""
        if over_http and account_of(entry.line.name) == DEFAULT_ACCOUNT:
            cure = f"{why[:1].upper()}{why[1:]}."
        return paragraphs(NO_AGENT, cure)

    async def _tell_to_wait(
        self, entry: LineEntry, incoming: IncomingMessage, turn: OpenTurn
    ) -> None:
        """Tell a person, once for each question, for whose answer their message waits."""
        line, key = entry.line, f"waits:{turn.nonce}:{incoming.person.id}"
        if text := await self.approvals.waiting_text(line, turn):
            parts = line.channel.render(incoming.address, text, incoming.message)
            if items := await self.stores.outbox.post(line.name, key, parts):
                await line.channel.deliver(items)

    async def retry(self, entry: LineEntry, press: CallbackPress, turn: str) -> None:
        """Answer the message of a failed turn again, or tell the person who pressed why not."""
        channel = entry.line.channel
        where, agent = self.resolver.resolve(entry.line, press.address, press.person)
        gone = BROKEN if where.lost else MESSAGE_GONE
        incoming = IncomingMessage(press.address, press.person, 0, int(self.clock.wall()))
        if agent is None and await self._end_open(entry, incoming):
            return
        found = await self._find_retry(entry, press, turn, agent) if agent else gone
        if agent is None or isinstance(found, str):
            await self.stores.inbox.finish(entry, [channel.callback_answer(press, str(found))])
            return
        await self._acknowledge_retry(entry, press)
        message = 0 if press.address.migrated_from else found.message  # the old chat's number
        incoming = replace(incoming, message=message)
        text = text_of(map(dict, found.content))
        routed = await self.router.routed(entry, incoming, agent, text)
        if isinstance(routed, LostProfile):
            await self.stores.reply(entry, incoming, BROKEN)
            return
        agent = routed or agent
        request = replace(self._request(entry, incoming, agent), retry=found)
        while open_turn := await self.runner.run(request):
            await channel.wait_until_sent(open_turn.ref.entry)

    async def _find_retry(
        self, entry: LineEntry, press: CallbackPress, turn: str, agent: RunnableAgent
    ) -> Retry | str:
        """The message to answer once more, or why there is none."""
        line, conversation = entry.line.name, press.address.conversation
        if await self.stores.approvals.pending_in(line, conversation):
            return OPEN_QUESTION
        records = await self.stores.journal.newest(line, TurnRef(entry.id, conversation, agent.id))
        private = press.address.private
        return find_retry(records, turn, entry.id, press.person.id, private=private)

    async def replay(self, entry: LineEntry, press: CallbackPress, letter: str, asker: int) -> None:
        """Put a message that was set aside back into the inbox, or say why not."""
        client, channel, refusal = self.stores.client, entry.line.channel, ""
        if not press.address.private and press.person.id != asker:
            refusal = NOT_YOURS
        elif press.message is None or not await client.retry_while_down(
            lambda: DeadLetters(client).replay_entry(entry.line.name, letter)
        ):
            refusal = LETTER_GONE
        if refusal:
            await self.stores.inbox.finish(entry, [channel.callback_answer(press, refusal)])
            return
        await self._acknowledge_retry(entry, press)
        await self.stores.inbox.finish(entry)

    async def _acknowledge_retry(self, entry: LineEntry, press: CallbackPress) -> None:
        """Answer the press and take its button away; once, also after a crash."""
        line = entry.line
        parts = [line.channel.callback_answer(press, RETRYING)]
        if press.message is not None:
            bare = {"message_id": press.message}
            parts.append(OutgoingPart(press.address.chat, "clear_keyboard", bare))
        if items := await self.stores.outbox.post(line.name, f"again:{entry.id}", parts):
            await line.channel.deliver(items)

    async def resume(self, entry: LineEntry, event: ResumeTurn) -> None:
        """Resume a suspended turn as people decided.

        If its agent was removed it ends with a sentence; if its asker lost access, without one.
        """
        line = entry.line
        approval = await self.approvals.claim_expired(line, event.nonce)
        if approval is None:
            return
        asker = approval.asker
        agent = self.resolver.current(approval.turn.agent, approval.preset)
        if agent is None:
            gone = DRAFT_GONE if is_draft(approval.turn.agent) else AGENT_GONE
            gone = PRESET_GONE if approval.preset else gone
            if self.resolver.lost(approval.turn.agent):
                buttons = retry_button(approval.turn.entry)
                await self.approvals.abandon(line, approval, BROKEN, buttons)
            else:
                await self.approvals.abandon(line, approval, gone)
        elif self.access.verdict(approval.address, asker.id) != "admitted":
            await self.approvals.abandon(line, approval, "")
        else:
            incoming = IncomingMessage(approval.address, asker, approval.message, sent_at=0)
            request = self._request(entry, incoming, agent)
            await self.runner.run(replace(request, approval=approval))
            await self.approvals.retire(line, approval.nonce)

    def _request(
        self, entry: LineEntry, incoming: IncomingMessage, agent: RunnableAgent
    ) -> TurnRequest:
        agent = self.resolver.for_line(agent, entry.line)
        return TurnRequest(entry, incoming, agent, self.access.role(incoming.person.id))

    # --- suspended turns ---

    async def recover(self, line: LineContext, resume: Resume) -> int:
        """Reload pending approvals after a takeover and queue the expired ones; how many there are.

        Call it before any entry is queued: a suspended turn comes first in its conversation.
        """
        return await self.recover_all(
            line, resume, await self.stores.approvals.due_times(line.name)
        )

    async def recover_all(
        self, line: LineContext, resume: Resume, waiting: Sequence[tuple[str, float]]
    ) -> int:
        """The same for approvals whose times were read already."""
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
                log.exception("resume.failed", line=line.name)
                line.timers.set(nonce, self.clock.wall() + RETRY_SECONDS)

    async def _queue(self, line: LineContext, resume: Resume, nonce: str) -> None:
        approval = await self.stores.approvals.load(line.name, nonce)
        if approval is None:
            await self.approvals.retire(line, nonce)
        else:
            resume(approval.turn.entry, ResumeTurn(approval.address, nonce))

    async def migrate(self, entry: LineEntry, event: ChatMigration) -> None:
        """Note a group's new id, and send what waits for approval to the new chat."""
        line, conversation = entry.line, event.address.conversation  # a plain group has no topics
        await self.stores.note_migration(line.fence, event.address.chat, event.to)
        if approval := await self.stores.approvals.pending_in(line.name, conversation):
            await self.approvals.on_chat_migrated(line, approval.nonce, event.to)
        await self.stores.inbox.finish(entry)

    # --- ending ---

    async def stop_suspended(self, entry: LineEntry, signal: Signal) -> bool:
        """End the suspended turn of a conversation with a signal's entry; whether there was one."""
        line = entry.line
        found = await self.stores.approvals.pending_in(line.name, signal.address.conversation)
        if found is None or signal.person is None:
            return False
        if signal.address.stream != found.address.stream:  # over HTTP a stop names its turn
            return False
        return await self.approvals.end_turn(line, found, STOPPED_EARLY, settles=entry.id)

    async def new_conversation(
        self, entry: LineEntry, incoming: IncomingMessage, agent: str, text: str
    ) -> None:
        """Start a new conversation: end the suspended turn, record a boundary, and confirm it."""
        line, conversation = entry.line, incoming.address.conversation
        if approval := await self.stores.approvals.pending_in(line.name, conversation):
            await self.approvals.end_turn(line, approval, "")
        ref = TurnRef(entry.id, conversation, agent)
        record = Record("boundary", {"turn": entry.id, "at": incoming.sent_at})
        parts = line.channel.render(incoming.address, text)
        items = await self.stores.journal.boundary(line.fence, ref, record, parts)
        self.transcripts.forget(line.name, ref)
        await line.channel.deliver(items)

    async def dead_letter(self, entry: LineEntry, event: Event, text: str, why: str) -> None:
        """Move an entry to the dead letters and say `text`; a suspended turn ends with its own."""
        line, address = entry.line, event.address
        if isinstance(event, ResumeTurn):
            approval = await self.stores.approvals.load(line.name, event.nonce)
            if approval is not None:
                await self.approvals.abandon(line, approval, GAVE_UP)
            line.timers.drop(event.nonce)
            return
        buttons: Buttons = ()
        if isinstance(event, IncomingMessage):
            buttons = letter_button(entry.id, event.person.id)
        failed = TurnSummary("failed", failure=text)
        parts = line.channel.render(address, text, buttons=buttons, summary=failed) if text else []
        where = (entry.id, why, parts, address.conversation)
        items = await self.stores.inbox.dead_letter(line.fence, *where)
        self.transcripts.forget_line(line.name)
        await line.channel.deliver(items)
