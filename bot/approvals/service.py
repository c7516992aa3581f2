"""A turn that waits for people: what makes it wait, and where that is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import structlog

from bot.access.rules import HOST_ADMINS, Access
from bot.agents.runnable import CurrentAgent, RunnableAgent
from bot.approvals import view
from bot.approvals.request import (
    ApprovalDecision,
    ApprovalRequest,
    ToolCallApproval,
    apply_decision,
    close,
    grant_is_valid,
    is_named_approver,
    is_open_for,
    move_to_chat,
    new_grants,
    parse_callback,
    with_reason,
)
from bot.approvals.store import ApprovalStore
from bot.errors import StoreError
from bot.line_context import LineContext
from bot.messages import (
    CallbackPress,
    Channel,
    Clock,
    IncomingMessage,
    OutboxItem,
    OutgoingPart,
    TurnRef,
    User,
    new_nonce,
)
from bot.ops.counters import Counters
from bot.safety.output_filter import OutputFilter
from bot.store.inbox import UpdateInbox
from bot.store.journal import OpenTurn, Record, end_record
from bot.tools.calls import Call, Result, result_record


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that needs a person; `always` says whether it may be allowed for good."""

    call: Call
    definition: str
    always: bool


@dataclass(frozen=True, slots=True)
class Suspension:
    """The walk cannot go on without a person; `said` is what was not told yet."""

    asking: tuple[PendingCall, ...]
    said: str = ""


def new_request(
    suspension: Suspension,
    turn: OpenTurn,
    incoming: IncomingMessage,
    plan: RunnableAgent,
    approvers: tuple[int | str, ...],
    now: float,
) -> ApprovalRequest:
    """The sheet for calls that wait from now on."""
    limit = view.SHOWN_LIMIT // len(suspension.asking)
    return ApprovalRequest(
        nonce=new_nonce(),
        turn=turn.ref,
        address=incoming.address,
        asker=incoming.person,
        message=incoming.message,
        approvers=approvers,
        asked=tuple(_as_approval(one, limit, plan.filter) for one in suspension.asking),
        until=now + plan.approval_seconds,
    )


def _as_approval(asking: PendingCall, limit: int, guard: OutputFilter) -> ToolCallApproval:
    call = asking.call
    return ToolCallApproval(
        call=call.id,
        key=call.key,
        digest=call.digest,
        definition=asking.definition,
        always=asking.always,
        shown=view.describe_call(
            call.origin, call.tool or "", call.arguments, limit, guard.redact_approval
        ),
    )


def question_parts(
    channel: Channel, sheet: ApprovalRequest, reply_to: int | None = None
) -> list[OutgoingPart]:
    """The parts that show a sheet to people; the last one has its buttons."""
    text, buttons = view.render(sheet), view.buttons(sheet)
    parts = channel.render(sheet.address, text, reply_to, buttons=buttons)
    return [*parts[:-1], replace(parts[-1], shows=sheet.nonce)]


def redraw_parts(
    channel: Channel, sheet: ApprovalRequest, also: int | None = None
) -> list[OutgoingPart]:
    """Edits of every message that shows a sheet; `also` is one that a press came from."""
    messages = dict.fromkeys([*sheet.messages, *([also] if also else [])])
    text, buttons = view.render(sheet), view.buttons(sheet)
    return [
        replace(part, lapses=True)
        for message in messages
        for part in channel.render(sheet.address, text, edit=message, buttons=buttons)
    ]


log = structlog.get_logger("approvals")

UNSEEN_SECONDS = 600.0
LOOK_AGAIN_SECONDS = 2.0

Met = Literal["gone", "waits", "taken"]

AGENT_GONE = "The agent that asked this was removed, so nothing was done."
GAVE_UP = "Something went wrong, again and again, when I wanted to go on; nothing more was done."


class ApprovalService:
    """Judges what people do about sheets, and records it."""

    def __init__(
        self,
        approvals: ApprovalStore,
        inbox: UpdateInbox,
        forget_transcript: Callable[[str, TurnRef], None],
        live: CurrentAgent,
        clock: Clock,
        counters: Counters,
        approvers: Approvers,
    ) -> None:
        self._approvers = approvers
        self._live = live
        self._approvals = approvals
        self._inbox = inbox
        self._forget_transcript = forget_transcript
        self._clock = clock
        self._counters = counters

    async def press(self, place: LineContext, entry: str, press: CallbackPress) -> None:
        """A press on a button that is ours, or pretends to be; whatever it is, it gets a word."""
        tap = parse_callback(press.data)
        while True:
            sheet = await self._today(place, tap.nonce) if tap else None
            if sheet and _has_moved(sheet, press):
                sheet = move_to_chat(sheet, press.address.chat)
            refusal = await self._refusal(place, sheet, tap, press)
            if refusal or sheet is None or tap is None:
                await self._refuse(place, entry, press, refusal, sheet)
                return
            after = apply_decision(sheet, tap, press.person, self._clock.wall())
            word = place.channel.word(press, view.acknowledgement(after, tap, press.person.id))
            parts = [word, *redraw_parts(place.channel, after, press.message)]
            admin = self._approvers.access.is_admin(press.person.id)
            grants = new_grants(sheet, after, self._clock.wall(), host_admin=admin)
            if await self._decide(place, entry, after, parts, grants):
                self._counters.add(f"approvals:{tap.choice}")
                return

    async def met(
        self, place: LineContext, entry: str, incoming: IncomingMessage, turn: OpenTurn
    ) -> Met:
        """A message came while a turn waits.

        That turn is gone now, or the message waits too, or it was a reason and is taken.
        """
        if turn.state == "sending":
            await place.channel.sent(turn.ref.entry)
            return "gone"
        while True:
            sheet = await self._of(place, turn)
            if sheet.wants_reason and incoming.person.id == sheet.reason_by:
                after = with_reason(sheet, incoming.text)
                parts = redraw_parts(place.channel, after)
                if await self._decide(place, entry, after, parts, {}):
                    return "taken"
            elif not sheet.pending or not await self._approvers.need_not_wait(
                place, sheet, incoming.person
            ):
                return "waits"
            elif await self._supersede(place, sheet, []):
                return "gone"

    async def end(
        self, place: LineContext, sheet: ApprovalRequest, word: str, settles: str = ""
    ) -> bool:
        """End a turn that waits, with a word and without going on; False if that was too late."""
        parts = place.channel.render(sheet.address, word) if word else []
        while not await self._supersede(place, sheet, parts, settles):
            found = await self._approvals.sheet(place.fence.line, sheet.nonce)
            if found is None or found.closed:
                return False
            sheet = found
        return True

    async def give_up(self, place: LineContext, sheet: ApprovalRequest, word: str) -> None:
        """End a turn that was taken up again and cannot go on, with a word."""
        after = close(sheet, "dropped")
        told = [*redraw_parts(place.channel, after), *place.channel.render(sheet.address, word)]
        records = [end_record(after.turn.entry, "failed", word)]
        posted = await self._approvals.supersede(place.fence, after, records, told)
        self._forget_transcript(place.fence.line, after.turn)
        place.timers.drop(sheet.nonce)
        await self._deliver(place, told, posted or [])

    async def waiting(self, line: str, conversation: str) -> ApprovalRequest | None:
        """The sheet for which a conversation waits, if it does."""
        nonce = await self._approvals.asked_in(line, conversation)
        sheet = await self._approvals.sheet(line, nonce) if nonce else None
        return None if sheet is None or sheet.closed else sheet

    async def ripe(self, place: LineContext, nonce: str) -> ApprovalRequest | None:
        """A sheet that is due, closed so that no press changes it any more; None where it is not.

        A sheet whose turn is over leaves the timers.
        """
        while True:
            sheet = await self._approvals.sheet(place.fence.line, nonce)
            if sheet is None:
                await self.forget(place, nonce)
                return None
            if sheet.closed:
                return sheet
            if (due := self._due(sheet)) > self._clock.wall():
                place.timers.set(nonce, due)
                return None
            after = close(sheet, "expired")
            same = view.render(after) == view.render(sheet)
            parts = [] if same and not view.buttons(sheet) else redraw_parts(place.channel, after)
            posted = await self._approvals.decide(place.fence, "", after, parts, {})
            if posted is not None:
                await self._deliver(place, parts, posted)

    def _due(self, sheet: ApprovalRequest) -> float:
        """When a sheet is due; one that nobody has seen yet (a frozen chat) waits longer."""
        unseen = sheet.pending and not sheet.messages
        if unseen and self._clock.wall() < sheet.until + UNSEEN_SECONDS:
            return max(sheet.due, self._clock.wall() + LOOK_AGAIN_SECONDS)
        return sheet.due

    async def redraw(self, place: LineContext, nonce: str) -> None:
        """Draw a sheet anew that was decided while the message that shows it was on its way."""
        while sheet := await self._approvals.sheet(place.fence.line, nonce):
            parts = redraw_parts(place.channel, sheet)
            posted = await self._approvals.decide(place.fence, "", sheet, parts, {})
            if posted is not None:
                await self._deliver(place, parts, posted)
                return

    async def unasked(self, place: LineContext, nonce: str) -> None:
        """Nobody can be asked: the turn goes on at once, and its agent is told why."""
        while sheet := await self._approvals.sheet(place.fence.line, nonce):
            if sheet.closed or sheet.messages or not sheet.pending:
                return
            after = close(sheet, "unasked")
            if await self._decide(place, "", after, [], {}):
                self._counters.add("approvals:unasked")
                return

    async def follow(self, place: LineContext, nonce: str, to: int) -> None:
        """A sheet's group became a supergroup: what was asked before is asked there anew.

        What was not sent yet goes there by itself.
        """
        while sheet := await self._approvals.sheet(place.fence.line, nonce):
            if sheet.closed or sheet.address.chat == to:
                return
            after = move_to_chat(sheet, to)
            parts = question_parts(place.channel, after) if sheet.messages else []
            if await self._decide(place, "", after, parts, {}):
                return

    async def forget(self, place: LineContext, nonce: str) -> None:
        """A sheet has done its work."""
        place.timers.drop(nonce)
        await self._approvals.forget(place.fence, nonce)

    async def _today(self, place: LineContext, nonce: str) -> ApprovalRequest | None:
        """A sheet with whom its agent lets approve now, where there still is that agent."""
        sheet = await self._approvals.sheet(place.fence.line, nonce)
        plan = self._live(sheet.turn.agent) if sheet else None
        if sheet is None or plan is None:
            return sheet
        return replace(sheet, approvers=self._approvers.of(plan, sheet.address.bot))

    async def _of(self, place: LineContext, turn: OpenTurn) -> ApprovalRequest:
        sheet = await self._today(place, turn.nonce) if turn.nonce else None
        if sheet is None:
            raise StoreError(f"the open turn {turn.ref.entry} waits for a sheet that is not there")
        return sheet

    async def _decide(
        self,
        place: LineContext,
        entry: str,
        after: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        grants: dict[str, bytes],
    ) -> bool:
        posted = await self._approvals.decide(place.fence, entry, after, parts, grants)
        if posted is None:
            return False
        place.timers.set(after.nonce, after.due)
        await self._deliver(place, parts, posted)
        return True

    async def _supersede(
        self,
        place: LineContext,
        sheet: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        settles: str = "",
    ) -> bool:
        """End a sheet's turn; its calls are answered. False if the sheet is another by now."""
        after = close(sheet, "dropped")
        told = [*redraw_parts(place.channel, after), *parts]
        records = [*_results(after), end_record(after.turn.entry, "stopped", "")]
        posted = await self._approvals.supersede(place.fence, after, records, told, settles)
        if posted is None:
            return False
        place.timers.drop(after.nonce)
        self._forget_transcript(place.fence.line, after.turn)
        self._counters.add("turns:superseded")
        await self._deliver(place, told, posted)
        return True

    async def _refusal(
        self,
        place: LineContext,
        sheet: ApprovalRequest | None,
        tap: ApprovalDecision | None,
        press: CallbackPress,
    ) -> str:
        """Why a press decides nothing; empty if it may."""
        if sheet is None or tap is None or not _same_chat(sheet, press):
            return view.NO_LONGER_OPEN
        if not await self._approvers.may_answer(place, sheet, press.person):
            return view.NOT_YOURS.format(view.approver_names(sheet))
        if not is_open_for(sheet, tap, self._clock.wall()):
            return view.already_decided(sheet, tap)
        return ""

    async def _refuse(
        self,
        place: LineContext,
        entry: str,
        press: CallbackPress,
        why: str,
        sheet: ApprovalRequest | None,
    ) -> None:
        """A word to whoever pressed; a message that shows an old state is drawn anew."""
        self._counters.add("refused:approval")
        log.info("press.refused", line=place.fence.line, person=press.person.id, why=why)
        parts = [place.channel.word(press, why)]
        if sheet and sheet.closed and _same_chat(sheet, press) and press.message:
            parts += redraw_parts(place.channel, replace(sheet, messages=()), press.message)
        posted = await self._inbox.settle(place.fence, [entry], parts)
        await place.channel.deliver(posted)

    async def _deliver(
        self, place: LineContext, parts: Sequence[OutgoingPart], posted: Sequence[OutboxItem]
    ) -> None:
        if parts:
            await place.channel.deliver(posted)


def _same_chat(sheet: ApprovalRequest, press: CallbackPress) -> bool:
    """Whether a press comes from the chat that was asked.

    Its topic does not count: Telegram leaves it out where the message is too old. A group that
    became a supergroup is the same chat.
    """
    return (sheet.address.bot, sheet.address.home) == (press.address.bot, press.address.home)


def _has_moved(sheet: ApprovalRequest, press: CallbackPress) -> bool:
    """Whether a press comes from where the sheet's group is now, and the sheet does not know."""
    here = sheet.address.chat == press.address.chat
    return press.address.was is not None and _same_chat(sheet, press) and not here


def _results(sheet: ApprovalRequest) -> list[Record]:
    """What becomes of a sheet's calls when its turn ends without going on."""
    return [
        result_record(
            sheet.turn.entry, one.call, Result(view.denial_for_model(sheet, one), error=True)
        )
        for one in sheet.asked
    ]


Names = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Approvers:
    """Judges who may approve: by id, as who asked, as an admin of the chat or of the host."""

    access: Access

    def of(self, plan: RunnableAgent, bot: int) -> Names:
        """Who may approve what this agent wants to do at a bot."""
        return self.access.approvers(plan.approvers, bot)

    def standing(
        self, found: Mapping[str, Mapping[str, Any]], plan: RunnableAgent, bot: int, person: int
    ) -> list[str]:
        """Which of the things allowed for good hold today, for a turn of this person."""
        approvers = self.of(plan, bot)
        return [
            name
            for name, grant in found.items()
            if grant_is_valid(grant, approvers, person) and self._may_still(grant, bot)
        ]

    def _may_still(self, grant: Mapping[str, Any], bot: int) -> bool:
        """Whether whoever allowed it is still an admin, if they did so as one, and not blocked."""
        by = int(grant.get("by", 0))
        if self.access.is_admin(by):
            return True
        return grant.get("as") != HOST_ADMINS and not self.access.is_blocked("person", by, bot)

    async def may_answer(self, place: LineContext, sheet: ApprovalRequest, person: User) -> bool:
        """Whether somebody may decide a sheet."""
        if is_named_approver(sheet, person.id):
            return True
        if HOST_ADMINS in sheet.approvers and self.access.is_admin(person.id):
            return True
        if "admins" not in sheet.approvers:
            return False
        return await place.channel.administers(sheet.address, person.id)

    async def need_not_wait(self, place: LineContext, sheet: ApprovalRequest, person: User) -> bool:
        """Whether a message of this person means that the turn need not wait any more."""
        if sheet.address.private or person.id == sheet.asker.id:
            return True
        if await self.may_answer(place, sheet, person):
            return True
        return await self._is_abandoned(place, sheet)

    async def _is_abandoned(self, place: LineContext, sheet: ApprovalRequest) -> bool:
        """Whether everybody who may answer has left the chat."""
        if "admins" in sheet.approvers:
            return False
        people = {one for one in sheet.approvers if isinstance(one, int)}
        people |= {sheet.asker.id} if "asker" in sheet.approvers else set()
        people |= self.access.admins if HOST_ADMINS in sheet.approvers else set()
        for one in people:
            if not await place.channel.has_left(sheet.address, one):
                return False
        return True
