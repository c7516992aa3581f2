"""Turns that wait for people: found again at a take-over, woken when due, and taken up."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import structlog

from bot.access.rules import Access
from bot.agents.runnable import CurrentAgent
from bot.approvals.service import AGENT_GONE, GAVE_UP, ApprovalService
from bot.approvals.store import ApprovalStore
from bot.conversations.chat_migrations import ChatMigrationStore
from bot.errors import FencedOut
from bot.line_context import LineContext
from bot.messages import ChatMigration, Clock, IncomingMessage, ResumeTurn
from bot.turn.results import TurnRequest
from bot.turn.runner import Runner

log = structlog.get_logger("suspended")

AGAIN_SECONDS = 1.0


class ResumeQueue(Protocol):
    """The lanes, as far as they take turns up."""

    @property
    def lost(self) -> asyncio.Event: ...  # noqa: D102

    def resume(self, entry: str, event: ResumeTurn) -> None:
        """Queue a turn that goes on."""
        ...


class SuspendedTurns:
    """Leads turns that have waited back into their lanes, and to their end."""

    def __init__(
        self,
        approvals: ApprovalStore,
        answering: ApprovalService,
        runner: Runner,
        live: CurrentAgent,
        access: Access,
        clock: Clock,
        register: ChatMigrationStore,
    ) -> None:
        self._register = register
        self._approvals = approvals
        self.answering = answering
        self._runner = runner
        self._live = live
        self._access = access
        self._clock = clock

    async def grants(self, line: LineContext, conversation: str) -> dict[str, dict[str, Any]]:
        """What was allowed for good in a conversation, by the grant's name."""
        return await self._approvals.grants(line.fence.line, conversation)

    async def revoke(self, line: LineContext, conversation: str, grant: str) -> None:
        """Take a permission back."""
        await self._approvals.revoke_grant(line.fence, conversation, grant)

    async def recover(self, line: LineContext, lanes: ResumeQueue) -> int:
        """Know what waits; what is due goes to the head of its lane, before any entry."""
        waiting = await self._approvals.due_times(line.fence.line)
        now = self._clock.wall()
        for nonce, due in waiting:
            if due <= now:
                await self._queue(line, lanes, nonce)
            else:
                line.timers.set(nonce, due)
        return len(waiting)

    async def wake_forever(self, line: LineContext, lanes: ResumeQueue) -> None:
        """Queue each turn when it is due, until cancelled."""
        while True:
            nonce = await line.timers.next(self._clock)
            try:
                await self._queue(line, lanes, nonce)
            except FencedOut:
                lanes.lost.set()
                return
            except Exception:
                log.exception("wake.failed", line=line.fence.line)
                line.timers.set(nonce, self._clock.wall() + AGAIN_SECONDS)

    async def take_up(self, line: LineContext, event: ResumeTurn, stop: asyncio.Event) -> None:
        """Let a turn go on as people decided.

        Where its agent was removed it ends with a word; where its asker may not talk any more, with
        none.
        """
        sheet = await self.answering.claim_expired(line, event.nonce)
        if sheet is None:
            return
        plan = self._live(sheet.turn.agent)
        if plan is None:
            await self.answering.abandon(line, sheet, AGENT_GONE)
            return
        if self._access.verdict(sheet.address, sheet.asker.id) != "admitted":
            await self.answering.abandon(line, sheet, "")
            return
        job = TurnRequest(
            fence=line.fence,
            entry=sheet.turn.entry,
            incoming=IncomingMessage(sheet.address, sheet.asker, sheet.message, 0),
            plan=plan,
            channel=line.channel,
            timers=line.timers,
            role=self._access.role(sheet.asker.id),
        )
        await self._runner.run(job, stop, sheet)
        await self.answering.retire(line, sheet.nonce)

    async def follow(self, line: LineContext, event: ChatMigration) -> None:
        """Let what is asked in a group go along to where the group is now."""
        await self._register.note(line.fence, event.address.chat, event.to)
        conversation = event.address.conversation  # a plain group has no topics
        if sheet := await self.answering.pending_in(line.fence.line, conversation):
            await self.answering.on_chat_migrated(line, sheet.nonce, event.to)

    async def give_up(self, line: LineContext, event: ResumeTurn) -> None:
        """End a turn that failed again and again."""
        sheet = await self._approvals.load(line.fence.line, event.nonce)
        if sheet is not None:
            await self.answering.abandon(line, sheet, GAVE_UP)
        line.timers.drop(event.nonce)

    async def _queue(self, line: LineContext, lanes: ResumeQueue, nonce: str) -> None:
        sheet = await self._approvals.load(line.fence.line, nonce)
        if sheet is None:
            await self.answering.retire(line, nonce)
        else:
            lanes.resume(sheet.turn.entry, ResumeTurn(sheet.address, nonce))
