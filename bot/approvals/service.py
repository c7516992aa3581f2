"""What people do about approval requests: presses, messages, silence; and how turns resume."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from bot.agents.resolver import AgentResolver, RunnableAgent
from bot.approvals import view
from bot.approvals.approvers import Approvers, new_grants
from bot.approvals.request import ApprovalRequest, Suspension, ToolCallApproval, parse_callback
from bot.approvals.store import ApprovalChange, ApprovalStore
from bot.errors import StoreError
from bot.messages import (
    Buttons,
    CallbackPress,
    Clock,
    IncomingMessage,
    LineContext,
    LineEntry,
    TurnRef,
    TurnSummary,
    new_nonce,
)
from bot.ops.logging import Counters
from bot.store.events import EventLog
from bot.store.inbox import UpdateInbox
from bot.store.journal import Journal, OpenTurn, end_record
from bot.tools.calls import failed, result_record

log = structlog.get_logger("approvals")

UNSEEN_SECONDS = 600.0
"""How much longer a request may wait whose question could not be sent yet."""
UNSEEN_RETRY_SECONDS = 2.0

AGENT_GONE = "The agent that asked this was removed, so nothing was done."
PRESET_GONE = "The preset with which this was asked is gone, so nothing was done."
DRAFT_GONE = "The draft that asked this is no longer on test, so nothing was done."
GAVE_UP = "I failed several times to continue, so I stopped."

Change = Callable[[ApprovalRequest | None], Awaitable[ApprovalChange | None]]
MessageOutcome = Literal["superseded", "waits", "reason_taken"]


def new_request(
    suspension: Suspension,
    turn: OpenTurn,
    incoming: IncomingMessage,
    agent: RunnableAgent,
    approvers: tuple[int | str, ...],
    now: float,
) -> ApprovalRequest:
    """The request for the calls of a suspended turn."""
    limit, redact = view.SHOWN_LIMIT // len(suspension.calls), agent.filter.redact_approval
    describe = view.describe_call
    return ApprovalRequest(
        nonce=new_nonce(),
        turn=turn.ref,
        address=incoming.address,
        asker=incoming.person,
        message=incoming.message,
        approvers=approvers,
        calls=tuple(
            ToolCallApproval(
                call_id=call.id,
                key=call.key,
                digest=call.digest,
                fingerprint=policy.definition,
                always=policy.always,
                description=policy.description
                or describe(call.origin, call.tool or "", call.arguments, limit, redact),
                right=policy.right,
            )
            for call, policy in suspension.calls
        ),
        expires_at=now + agent.approval_seconds,
        seconds=agent.approval_seconds,
        preset=agent.preset,
    )


@dataclass(frozen=True, slots=True)
class TurnServices:
    """What all turns share: where they are recorded, and who may approve their calls.

    `agents` finds an agent as it is now, `events` takes the answers over HTTP.
    """

    journal: Journal
    approvals: ApprovalStore
    approvers: Approvers
    agents: AgentResolver
    clock: Clock
    counters: Counters
    events: EventLog

    def current_agent(self, agent: str, preset: str = "") -> RunnableAgent | None:
        """An agent by its id, under a preset, as it is now; None where it can answer no more."""
        return self.agents.current(agent, preset)

    def with_current_approvers(self, request: ApprovalRequest) -> ApprovalRequest:
        """The request with whom its agent lets approve now, if that agent still exists."""
        agent = self.current_agent(request.turn.agent, request.preset)
        if agent is None:
            return request
        return replace(request, approvers=self.approvers.for_agent(agent, request.address.bot))


@dataclass(frozen=True, slots=True)
class ApprovalService:
    """Applies to approval requests what people do, and what time does.

    `forget_transcript` drops a conversation from the cache after its turn was ended here.
    """

    services: TurnServices
    inbox: UpdateInbox
    forget_transcript: Callable[[str, TurnRef], None]

    async def press(self, entry: LineEntry, press: CallbackPress) -> None:
        """Handle a press on an approval button; always answers the callback query."""
        decision, line, person = parse_callback(press.data), entry.line, press.person

        async def decide(request: ApprovalRequest | None) -> ApprovalChange | None:
            request, now = request and self._as_pressed(request, press), self.services.clock.wall()
            why = ""
            if request is None or decision is None:
                why = view.NO_LONGER_OPEN
            elif not await self.services.approvers.may_answer(line, request, person):
                why = view.NOT_YOURS.format(view.approver_names(request))
            elif not request.is_open_for(decision, now):
                why = view.already_decided(request, decision)
            elif lacked := self.services.approvers.lacked(request, decision, person):
                why = view.NO_RIGHT.format(lacked)
            if why or request is None or decision is None:
                await self._refuse(entry, press, why, request)
                return None
            after = request.apply(decision, person, now)
            if press.reason is not None:
                after = after.with_reason(press.reason)
            done = view.acknowledgement(after, decision, person.id)
            answer = line.channel.callback_answer(press, done)
            host_admin = self.services.approvers.may_decide(person)
            return ApprovalChange(
                after,
                [answer, *view.edit_parts(line.channel, after, press.message)],
                settles=entry.id,
                grants=new_grants(request, after, now, host_admin=host_admin),
                counter=f"approvals:{decision.choice}",
            )

        await self._update(line, decision.nonce if decision else "", decide)

    async def on_message(
        self, entry: LineEntry, incoming: IncomingMessage, turn: OpenTurn
    ) -> MessageOutcome:
        """Handle a message that came while a turn of its conversation waits for people.

        It ends that turn ("superseded"), waits for it ("waits"), or was the reason for a denial
        ("reason_taken").
        """
        line, person, approvers = entry.line, incoming.person, self.services.approvers
        if turn.state == "sending":
            await line.channel.wait_until_sent(turn.ref.entry)
            return "superseded"

        async def change(request: ApprovalRequest | None) -> ApprovalChange | None:
            if request is None:
                raise StoreError(f"turn {turn.ref.entry} waits for a request that does not exist")
            request = self.services.with_current_approvers(request)
            is_reason = request.wants_reason and person.id == request.reason_by
            if is_reason and incoming.text:  # not what they forward or only show
                after = request.with_reason(incoming.text)
                return ApprovalChange(after, view.edit_parts(line.channel, after), settles=entry.id)
            if request.pending and await approvers.may_supersede(line, request, person):
                return _superseded(line, request)
            return None

        request, changed = await self._update(line, turn.nonce, change)
        if not changed or request is None:
            return "waits"
        return "superseded" if request.closed else "reason_taken"

    async def waiting_text(self, line: LineContext, turn: OpenTurn) -> str:
        """What to tell people who wait for a suspended turn; nothing if it resumes soon."""
        request = await self.services.approvals.load(line.name, turn.nonce)
        if request is None or request.closed or not request.pending:
            return ""
        return view.WAITING.format(
            view.approver_names(self.services.with_current_approvers(request))
        )

    async def end_turn(
        self, line: LineContext, request: ApprovalRequest, text: str, settles: str = ""
    ) -> bool:
        """End a suspended turn, and the entry `settles`; False where it went on or ended before."""

        async def change(request: ApprovalRequest | None) -> ApprovalChange | None:
            if request is None or request.closed:
                return None
            return _superseded(line, request, text, settles)

        _, ended = await self._update(line, request.nonce, change)
        return ended

    async def abandon(
        self, line: LineContext, request: ApprovalRequest, text: str, buttons: Buttons = ()
    ) -> None:
        """End, as failed, a turn that was resumed and cannot continue."""

        async def change(found: ApprovalRequest | None) -> ApprovalChange:
            after = (found or request).close("dropped")
            parts = view.edit_parts(line.channel, after)
            failed = TurnSummary("failed", failure=text or GAVE_UP)
            address = request.address
            parts += line.channel.render(address, text, buttons=buttons, summary=failed)
            end = end_record(after.turn.entry, "failed", text)
            return ApprovalChange(after, parts, end_records=[end])

        await self._update(line, request.nonce, change)

    async def claim_expired(self, line: LineContext, nonce: str) -> ApprovalRequest | None:
        """Close a request that is due, so that its turn can resume; None if it is not due.

        Its timer is set again, or dropped where the request is gone.
        """

        async def expire(request: ApprovalRequest | None) -> ApprovalChange | None:
            if request is None:
                await self.retire(line, nonce)
                return None
            if request.closed:
                return None
            now, due = self.services.clock.wall(), request.due
            is_unseen = request.pending and not request.is_seen  # its question is not sent yet
            if is_unseen and now < request.expires_at + UNSEEN_SECONDS:
                due = max(due, now + UNSEEN_RETRY_SECONDS)
            if due > now:
                line.timers.set(nonce, due)
                return None
            after = request.close("expired")
            same = view.render(after) == view.render(request) and not view.buttons(request)
            parts = [] if same else view.edit_parts(line.channel, after)
            return ApprovalChange(after, parts, reschedule=False)

        request, _ = await self._update(line, nonce, expire)
        return request if request and request.closed else None

    async def refresh(self, line: LineContext, nonce: str) -> None:
        """Edit the message that shows a request which was decided while that was being sent."""

        async def render_again(request: ApprovalRequest | None) -> ApprovalChange | None:
            if request is None:
                return None
            return ApprovalChange(request, view.edit_parts(line.channel, request), reschedule=False)

        await self._update(line, nonce, render_again)

    async def on_undeliverable(self, line: LineContext, nonce: str) -> None:
        """Resume a turn whose question the chat does not accept; its agent is told why."""

        async def close(request: ApprovalRequest | None) -> ApprovalChange | None:
            if request is None or request.closed or request.is_seen or not request.pending:
                return None
            return ApprovalChange(request.close("unasked"), counter="approvals:unasked")

        await self._update(line, nonce, close)

    async def on_chat_migrated(self, line: LineContext, nonce: str, to: int) -> None:
        """Ask again in the supergroup what was asked in the group that it replaces.

        A question that is still in the outbox goes there by itself.
        """

        async def move(request: ApprovalRequest | None) -> ApprovalChange | None:
            if request is None or request.closed or request.address.chat == to:
                return None
            after = request.move_to_chat(to)
            parts = view.question_parts(line.channel, after) if request.messages else []
            return ApprovalChange(after, parts)

        await self._update(line, nonce, move)

    async def retire(self, line: LineContext, nonce: str) -> None:
        """Drop the timer of a request whose turn is over; it is kept a while for late presses."""
        line.timers.drop(nonce)
        await self.services.approvals.expire(line.fence, nonce)

    async def _update(
        self, line: LineContext, nonce: str, change: Change
    ) -> tuple[ApprovalRequest | None, bool]:
        """Apply `change` to a request and store the result, if it is still as it was read.

        If somebody else has changed it in the meantime, `change` is called again. Returns the
        request as it is now, and whether it was changed here.
        """
        store = self.services.approvals
        while True:
            request = await store.load(line.name, nonce) if nonce else None
            wanted = await change(request)
            if wanted is None:
                return request, False
            after, posted = wanted.request, await store.save(line.fence, wanted)
            if posted is None:
                continue
            if wanted.end_records:
                self.forget_transcript(line.name, after.turn)
                line.timers.drop(nonce)
            elif wanted.reschedule:
                line.timers.set(nonce, after.due)
            if wanted.counter:
                self.services.counters.add(wanted.counter)
            if wanted.parts:
                await line.channel.deliver(posted)
            return replace(after, version=after.version + 1), True

    def _as_pressed(self, request: ApprovalRequest, press: CallbackPress) -> ApprovalRequest | None:
        """The request as it is today in the chat of a press; None where that is another chat.

        The topic does not count: Telegram leaves it out where the message is too old.
        """
        request = self.services.with_current_approvers(request)
        asked, pressed = request.address, press.address
        if (asked.bot, asked.original_id) != (pressed.bot, pressed.original_id):
            return None
        has_moved = pressed.migrated_from is not None and pressed.chat != asked.chat
        return request.move_to_chat(pressed.chat) if has_moved else request

    async def _refuse(
        self, entry: LineEntry, press: CallbackPress, why: str, request: ApprovalRequest | None
    ) -> None:
        """Tell the person why; a message that shows an old state of the request is edited."""
        self.services.counters.add("refused:approval")
        log.info("press.refused", line=entry.line.name, person=press.person.id, why=why)
        channel = entry.line.channel
        parts = [channel.callback_answer(press, why)]
        if request and request.closed and press.message:
            parts += view.edit_parts(channel, replace(request, messages=()), press.message)
        await self.inbox.finish(entry, parts)


def _superseded(
    line: LineContext, request: ApprovalRequest, text: str = "", settles: str = ""
) -> ApprovalChange:
    """The end of a suspended turn: its calls are answered, and nothing more is done."""
    after, entry = request.close("dropped"), request.turn.entry
    denials = [
        result_record(entry, call.call_id, failed(view.denial_for_model(after, call)))
        for call in after.calls
    ]
    parts, end = view.edit_parts(line.channel, after), end_record(entry, "stopped", "")
    if text or request.address.stream:  # who reads a stream must hear that it is over
        stopped = TurnSummary("stopped")
        parts += line.channel.render(request.address, text, summary=stopped)
    return ApprovalChange(
        after, parts, settles, end_records=[*denials, end], counter="turns:superseded"
    )
