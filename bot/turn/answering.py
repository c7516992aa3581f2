"""What people do while a turn waits for them: a press, a typed reason, a new message, a stop.

Nothing runs here. Each is judged, recorded in one step, and answered; the turn goes on by its
timer, which is due at once when nothing is open any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import structlog

from bot.errors import StoreError
from bot.events import Incoming, Outgoing, Press
from bot.ops.counters import Counters
from bot.ports.clock import Clock
from bot.ports.inbox import Inbox
from bot.ports.journal import OpenTurn, Record
from bot.ports.outbox import Posted
from bot.tools import sheets
from bot.tools.approvals import Sheet, Tap, closed, fits, grants_of, moved, reasoned, tap_of, tapped
from bot.tools.calls import Result
from bot.turn.approvers import Approvers
from bot.turn.plan import Live
from bot.turn.recorder import end_record, result_record
from bot.turn.suspension import Approvals, Place, asking, redrawn
from bot.turn.transcripts import Transcripts

log = structlog.get_logger("approvals")

UNSEEN_SECONDS = 600.0
LOOK_AGAIN_SECONDS = 2.0

Met = Literal["gone", "waits", "taken"]

AGENT_GONE = "The agent that asked this was removed, so nothing was done."
GAVE_UP = "Something went wrong, again and again, when I wanted to go on; nothing more was done."


class Answering:
    """Judges what people do about sheets, and records it."""

    def __init__(
        self,
        approvals: Approvals,
        inbox: Inbox,
        transcripts: Transcripts,
        live: Live,
        clock: Clock,
        counters: Counters,
        approvers: Approvers,
    ) -> None:
        self._approvers = approvers
        self._live = live
        self._approvals = approvals
        self._inbox = inbox
        self._transcripts = transcripts
        self._clock = clock
        self._counters = counters

    async def press(self, place: Place, entry: str, press: Press) -> None:
        """A press on a button that is ours, or pretends to be; whatever it is, it gets a word."""
        tap = tap_of(press.data)
        while True:
            sheet = await self._today(place, tap.nonce) if tap else None
            if sheet and _has_moved(sheet, press):
                sheet = moved(sheet, press.address.chat)
            refusal = await self._refusal(place, sheet, tap, press)
            if refusal or sheet is None or tap is None:
                await self._refuse(place, entry, press, refusal, sheet)
                return
            after = tapped(sheet, tap, press.person, self._clock.wall())
            word = place.channel.word(press, sheets.noted(after, tap, press.person.id))
            parts = [word, *redrawn(place.channel, after, press.message)]
            admin = self._approvers.access.is_admin(press.person.id)
            grants = grants_of(sheet, after, self._clock.wall(), host_admin=admin)
            if await self._decide(place, entry, after, parts, grants):
                self._counters.add(f"approvals:{tap.choice}")
                return

    async def met(self, place: Place, entry: str, incoming: Incoming, turn: OpenTurn) -> Met:
        """A message came while a turn waits.

        That turn is gone now, or the message waits too, or it was a reason and is taken.
        """
        if turn.state == "sending":
            await place.channel.sent(turn.ref.entry)
            return "gone"
        while True:
            sheet = await self._of(place, turn)
            if sheet.wants_reason and incoming.person.id == sheet.reason_by:
                after = reasoned(sheet, incoming.text)
                parts = redrawn(place.channel, after)
                if await self._decide(place, entry, after, parts, {}):
                    return "taken"
            elif not sheet.pending or not await self._approvers.need_not_wait(
                place, sheet, incoming.person
            ):
                return "waits"
            elif await self._supersede(place, sheet, []):
                return "gone"

    async def end(self, place: Place, sheet: Sheet, word: str, settles: str = "") -> bool:
        """End a turn that waits, with a word and without going on; False if that was too late."""
        parts = place.channel.render(sheet.address, word) if word else []
        while not await self._supersede(place, sheet, parts, settles):
            found = await self._approvals.sheet(place.fence.line, sheet.nonce)
            if found is None or found.closed:
                return False
            sheet = found
        return True

    async def give_up(self, place: Place, sheet: Sheet, word: str) -> None:
        """End a turn that was taken up again and cannot go on, with a word."""
        after = closed(sheet, "dropped")
        told = [*redrawn(place.channel, after), *place.channel.render(sheet.address, word)]
        records = [end_record(after.turn.entry, "failed", word)]
        posted = await self._approvals.supersede(place.fence, after, records, told)
        self._transcripts.forget(place.fence.line, after.turn)
        place.timers.drop(sheet.nonce)
        await self._deliver(place, told, posted or [])

    async def waiting(self, line: str, conversation: str) -> Sheet | None:
        """The sheet for which a conversation waits, if it does."""
        nonce = await self._approvals.asked_in(line, conversation)
        sheet = await self._approvals.sheet(line, nonce) if nonce else None
        return None if sheet is None or sheet.closed else sheet

    async def ripe(self, place: Place, nonce: str) -> Sheet | None:
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
            after = closed(sheet, "expired")
            same = sheets.question(after) == sheets.question(sheet)
            parts = [] if same and not sheets.rows(sheet) else redrawn(place.channel, after)
            posted = await self._approvals.decide(place.fence, "", after, parts, {})
            if posted is not None:
                await self._deliver(place, parts, posted)

    def _due(self, sheet: Sheet) -> float:
        """When a sheet is due; one that nobody has seen yet (a frozen chat) waits longer."""
        unseen = sheet.pending and not sheet.messages
        if unseen and self._clock.wall() < sheet.until + UNSEEN_SECONDS:
            return max(sheet.due, self._clock.wall() + LOOK_AGAIN_SECONDS)
        return sheet.due

    async def redraw(self, place: Place, nonce: str) -> None:
        """Draw a sheet anew that was decided while the message that shows it was on its way."""
        while sheet := await self._approvals.sheet(place.fence.line, nonce):
            parts = redrawn(place.channel, sheet)
            posted = await self._approvals.decide(place.fence, "", sheet, parts, {})
            if posted is not None:
                await self._deliver(place, parts, posted)
                return

    async def unasked(self, place: Place, nonce: str) -> None:
        """Nobody can be asked: the turn goes on at once, and its agent is told why."""
        while sheet := await self._approvals.sheet(place.fence.line, nonce):
            if sheet.closed or sheet.messages or not sheet.pending:
                return
            after = closed(sheet, "unasked")
            if await self._decide(place, "", after, [], {}):
                self._counters.add("approvals:unasked")
                return

    async def follow(self, place: Place, nonce: str, to: int) -> None:
        """A sheet's group became a supergroup: what was asked before is asked there anew.

        What was not sent yet goes there by itself.
        """
        while sheet := await self._approvals.sheet(place.fence.line, nonce):
            if sheet.closed or sheet.address.chat == to:
                return
            after = moved(sheet, to)
            parts = asking(place.channel, after) if sheet.messages else []
            if await self._decide(place, "", after, parts, {}):
                return

    async def forget(self, place: Place, nonce: str) -> None:
        """A sheet has done its work."""
        place.timers.drop(nonce)
        await self._approvals.forget(place.fence, nonce)

    async def _today(self, place: Place, nonce: str) -> Sheet | None:
        """A sheet with whom its agent lets approve now, where there still is that agent."""
        sheet = await self._approvals.sheet(place.fence.line, nonce)
        plan = self._live(sheet.turn.agent) if sheet else None
        if sheet is None or plan is None:
            return sheet
        return replace(sheet, approvers=self._approvers.of(plan, sheet.address.bot))

    async def _of(self, place: Place, turn: OpenTurn) -> Sheet:
        sheet = await self._today(place, turn.nonce) if turn.nonce else None
        if sheet is None:
            raise StoreError(f"the open turn {turn.ref.entry} waits for a sheet that is not there")
        return sheet

    async def _decide(
        self,
        place: Place,
        entry: str,
        after: Sheet,
        parts: Sequence[Outgoing],
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
        place: Place,
        sheet: Sheet,
        parts: Sequence[Outgoing],
        settles: str = "",
    ) -> bool:
        """End a sheet's turn; its calls are answered. False if the sheet is another by now."""
        after = closed(sheet, "dropped")
        told = [*redrawn(place.channel, after), *parts]
        records = [*_results(after), end_record(after.turn.entry, "stopped", "")]
        posted = await self._approvals.supersede(place.fence, after, records, told, settles)
        if posted is None:
            return False
        place.timers.drop(after.nonce)
        self._transcripts.forget(place.fence.line, after.turn)
        self._counters.add("turns:superseded")
        await self._deliver(place, told, posted)
        return True

    async def _refusal(
        self, place: Place, sheet: Sheet | None, tap: Tap | None, press: Press
    ) -> str:
        """Why a press decides nothing; empty if it may."""
        if sheet is None or tap is None or not _same_chat(sheet, press):
            return sheets.NO_LONGER_OPEN
        if not await self._approvers.may_answer(place, sheet, press.person):
            return sheets.NOT_YOURS.format(sheets.who_may(sheet))
        if not fits(sheet, tap, self._clock.wall()):
            return sheets.answered_already(sheet, tap)
        return ""

    async def _refuse(
        self, place: Place, entry: str, press: Press, why: str, sheet: Sheet | None
    ) -> None:
        """A word to whoever pressed; a message that shows an old state is drawn anew."""
        self._counters.add("refused:approval")
        log.info("press.refused", line=place.fence.line, person=press.person.id, why=why)
        parts = [place.channel.word(press, why)]
        if sheet and sheet.closed and _same_chat(sheet, press) and press.message:
            parts += redrawn(place.channel, replace(sheet, messages=()), press.message)
        posted = await self._inbox.settle(place.fence, [entry], parts)
        await place.channel.deliver(posted)

    async def _deliver(
        self, place: Place, parts: Sequence[Outgoing], posted: Sequence[Posted]
    ) -> None:
        if parts:
            await place.channel.deliver(posted)


def _same_chat(sheet: Sheet, press: Press) -> bool:
    """Whether a press comes from the chat that was asked.

    Its topic does not count: Telegram leaves it out where the message is too old. A group that
    became a supergroup is the same chat.
    """
    return (sheet.address.bot, sheet.address.home) == (press.address.bot, press.address.home)


def _has_moved(sheet: Sheet, press: Press) -> bool:
    """Whether a press comes from where the sheet's group is now, and the sheet does not know."""
    here = sheet.address.chat == press.address.chat
    return press.address.was is not None and _same_chat(sheet, press) and not here


def _results(sheet: Sheet) -> list[Record]:
    """What becomes of a sheet's calls when its turn ends without going on."""
    return [
        result_record(
            sheet.turn.entry, one.call, Result(sheets.result_words(sheet, one), error=True)
        )
        for one in sheet.asked
    ]
