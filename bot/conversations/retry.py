"""A press on "Try again": the message whose answer failed gets another turn, and only one."""

from __future__ import annotations

import asyncio

from bot.access.rules import Access
from bot.agents.resolver import AgentResolver
from bot.agents.runnable import RunnableAgent
from bot.approvals.service import ApprovalService
from bot.line_context import LineContext
from bot.messages import CallbackPress, Clock, IncomingMessage, OutgoingPart, TurnRef
from bot.store.inbox import InboxEntry, UpdateInbox
from bot.store.journal import Journal
from bot.store.outbox import Outbox
from bot.turn import retry
from bot.turn.results import TurnRequest
from bot.turn.retry import Retry
from bot.turn.runner import Runner

OPEN_QUESTION = "Something waits for an answer here. Please answer that first."


class Retries:
    """Runs a failed turn's message again, in its conversation's lane."""

    def __init__(
        self,
        plans: AgentResolver,
        runner: Runner,
        journal: Journal,
        inbox: UpdateInbox,
        outbox: Outbox,
        answering: ApprovalService,
        access: Access,
        clock: Clock,
    ) -> None:
        self._plans = plans
        self._runner = runner
        self._journal = journal
        self._inbox = inbox
        self._outbox = outbox
        self._answering = answering
        self._access = access
        self._clock = clock

    async def press(
        self,
        line: LineContext,
        entry: InboxEntry,
        press: CallbackPress,
        turn: str,
        stop: asyncio.Event,
    ) -> None:
        """One press to its outcome: a turn, or a word why there is none."""
        plan = self._plans.plan(self._plans.resolution(line, press.address, press.person))
        found = await self._sought(line, entry, press, turn, plan)
        if plan is None or isinstance(found, str):
            word = retry.TOO_FAR if plan is None else str(found)
            said = line.channel.callback_answer(press, word)
            posted = await self._inbox.settle(line.fence, [entry.id], [said])
            await line.channel.deliver(posted)
            return
        await self._taken(line, entry, press)
        job = self._job(line, entry, press, found, plan)
        while held := await self._runner.run(job, stop):
            await line.channel.wait_until_sent(held.ref.entry)

    async def _sought(
        self,
        line: LineContext,
        entry: InboxEntry,
        press: CallbackPress,
        turn: str,
        plan: RunnableAgent | None,
    ) -> Retry | str:
        conversation = press.address.conversation
        if plan is None:
            return retry.TOO_FAR
        if await self._answering.pending_in(line.fence.line, conversation):
            return OPEN_QUESTION
        ref = TurnRef(entry.id, conversation, plan.agent)
        records = await self._journal.newest(line.fence.line, ref)
        private = press.address.private
        return retry.find_retry(records, turn, entry.id, press.person.id, private=private)

    async def _taken(self, line: LineContext, entry: InboxEntry, press: CallbackPress) -> None:
        """Tell that the press was felt, and take the button away; once, also after a crash."""
        parts = [line.channel.callback_answer(press, retry.TRYING)]
        if press.message is not None:
            bare = {"message_id": press.message}
            parts.append(OutgoingPart(press.address.chat, "clear_keyboard", bare))
        posted = await self._outbox.post(line.fence.line, f"again:{entry.id}", parts)
        if posted:
            await line.channel.deliver(posted)

    def _job(
        self,
        line: LineContext,
        entry: InboxEntry,
        press: CallbackPress,
        found: Retry,
        plan: RunnableAgent,
    ) -> TurnRequest:
        message = (
            0 if press.address.migrated_from else found.message
        )  # it may be one of the old chat
        incoming = IncomingMessage(
            press.address, press.person, message, sent_at=int(self._clock.wall())
        )
        role = self._access.role(press.person.id)
        return TurnRequest(
            line.fence, entry.id, incoming, plan, line.channel, line.timers, role, again=found
        )
