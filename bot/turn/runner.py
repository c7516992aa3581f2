"""One turn: from the person's message to the recorded reply."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import structlog

from bot.errors import Poisoned, Suspected
from bot.ops.counters import Counters
from bot.ports.clock import Clock
from bot.ports.journal import Journal, Opened, OpenTurn
from bot.ports.model import Model
from bot.ports.rests import Rests
from bot.skills import SkillContext
from bot.tools.approvals import Sheet
from bot.tools.kept import Kept
from bot.tools.mcp.pool import Pool
from bot.tools.policy import Facts
from bot.tools.rests import Shelf
from bot.tools.skill import INSTANCE
from bot.tools.skills import Skills
from bot.tools.toolbox import Rights, Toolbox
from bot.turn import ending, prompt
from bot.turn.approvers import Approvers
from bot.turn.budget import Budget
from bot.turn.calls import Calls
from bot.turn.ending import Ending
from bot.turn.job import Job
from bot.turn.plan import Live
from bot.turn.progress import Progress
from bot.turn.prompt import Render
from bot.turn.purse import Bank, Purse
from bot.turn.rate import Rate
from bot.turn.recorder import Recorder, left_behind, person_record
from bot.turn.renders import Renders
from bot.turn.replies import Replies
from bot.turn.scopes import Budgets, Spender
from bot.turn.suspension import Approvals, Suspension
from bot.turn.transcripts import Transcript, Transcripts
from bot.turn.walk import Walk

log = structlog.get_logger("turn")


class Runner:
    """Runs turns; holds nothing of a turn that the store does not have."""

    def __init__(
        self,
        model: Model,
        pool: Pool,
        journal: Journal,
        transcripts: Transcripts,
        clock: Clock,
        counters: Counters,
        approvals: Approvals,
        live: Live,
        bank: Bank,
        skills: Skills,
        kept: Kept,
        rests: Rests,
        approvers: Approvers,
    ) -> None:
        self._approvers = approvers
        self._rests = rests
        self._skills = skills
        self._kept = kept
        self._bank = bank
        self._approvals = approvals
        self._live = live
        self._model = model
        self._pool = pool
        self._journal = journal
        self._transcripts = transcripts
        self._clock = clock
        self._counters = counters
        self._rate = Rate(clock)
        self._renders = Renders(journal, clock)
        self._replies = Replies(approvals, approvers, clock, counters)
        self._suspects = asyncio.Lock()

    async def run(
        self, job: Job, stop: asyncio.Event, sheet: Sheet | None = None
    ) -> OpenTurn | None:
        """Run a turn until its reply is sent or it waits for people; `stop` ends it early.

        `sheet` is given for a turn that has waited. Where another turn of the conversation is open
        nothing is done, and that turn comes back. Turns that were open at several ends of the host
        run one by one, so that a poisonous one does not take those beside it along.
        """
        try:
            return await self._run(job, stop, sheet)
        except Suspected as error:
            self._counters.add("turns:suspected")
            log.warning("turn.suspected", line=job.fence.line, turn=job.entry, why=str(error))
        async with self._suspects:
            return await self._run(replace(job, alone=True), stop, sheet)

    async def _run(
        self, job: Job, stop: asyncio.Event, sheet: Sheet | None = None
    ) -> OpenTurn | None:
        toolbox = self._toolbox(job)
        await toolbox.ready(approved=sheet is not None)
        transcript = self._transcripts.get(job.fence.line, job.ref)
        try:
            opened, render = await self._open(job, toolbox, transcript)
            if opened.held:
                return opened.turn
            if opened.turn.state == "sending":
                await job.channel.deliver([])  # this life may have recorded parts and failed then
            else:
                if opened.turn.ref.agent != job.plan.agent:
                    return await self._as_begun(job, opened.turn.ref.agent, stop)
                await self._walk(job, toolbox, transcript, opened, render, stop, sheet)
            await job.channel.sent(job.entry)
        except BaseException:
            self._transcripts.forget(job.fence.line, job.ref)
            self._renders.forget()
            raise
        return None

    async def _as_begun(self, job: Job, agent: str, stop: asyncio.Event) -> OpenTurn | None:
        """A turn goes on with the agent that began it, whoever is bound to the chat by now."""
        if plan := self._live(agent):
            return await self._run(replace(job, plan=plan), stop)
        gone = replace(job, plan=replace(job.plan, agent=agent, servers=(), skills=()))
        transcript = self._transcripts.get(job.fence.line, gone.ref)
        opened, render = await self._open(gone, self._toolbox(gone), transcript)
        recorder = self._recorder(gone, transcript, opened, render, self._purse(gone))
        end = Ending("refused", ending.AGENT_GONE)
        record = recorder.ended(end.outcome, end.text)
        await self._replies.tell(gone, recorder, end, [record], opened.turn.preview)
        await job.channel.sent(job.entry)
        return None

    def _toolbox(self, job: Job) -> Toolbox:
        def live() -> Rights | None:
            plan = self._live(job.plan.agent)
            return plan.rights if plan else None

        whom, where = job.incoming.person.id, job.incoming.address
        chat = "private" if where.private else "group"
        facts = Facts(role=job.role, person=whom, chat=chat, agent=job.plan.agent)
        conversation = f"{job.fence.line}/{where.conversation}"
        context = SkillContext(INSTANCE, str(whom), conversation, job.plan.agent)
        rights = job.plan.rights
        shelf = Shelf(self._rests, job.fence, job.ref, job.plan.limits.result_chars)
        hide = job.plan.filter.secrets.hidden
        return Toolbox(
            self._pool, rights, live, self._skills, self._kept, context, shelf, facts, hide
        )

    async def _walk(
        self,
        job: Job,
        toolbox: Toolbox,
        transcript: Transcript,
        opened: Opened,
        render: Render,
        stop: asyncio.Event,
        sheet: Sheet | None,
    ) -> None:
        purse = self._purse(job)
        recorder = self._recorder(job, transcript, opened, render, purse)
        address, clock = job.incoming.address, self._clock
        progress = Progress(
            job.channel,
            address,
            job.entry,
            clock,
            recorder.preview,
            job.plan.filter,
            link_previews=job.plan.link_previews,
        )
        progress.message = opened.turn.preview
        budget = Budget(job.plan.limits, clock)
        who = (job.fence.line, job.ref.conversation, job.incoming.person.id)

        def may_ask() -> bool:
            return self._rate.take(who, job.plan.limits.per_minute)

        async def grants() -> Collection[str]:
            found = await self._approvals.grants(job.fence.line, job.ref.conversation)
            today = self._live(job.plan.agent) or job.plan
            return self._approvers.standing(found, today, address.bot, job.incoming.person.id)

        calls = Calls(toolbox, render, recorder, budget, progress, grants, sheet)
        walk = Walk(
            self._model, job.plan, render, recorder, calls, budget, progress, clock, may_ask, purse
        )
        async with recorder.accounting():
            async with progress.showing():
                end, records = await walk.to_an_ending(stop)
            if isinstance(end, Suspension):
                await self._replies.ask(job, recorder, render, end, progress.message)
            else:
                await self._replies.tell(job, recorder, end, records, progress.message)

    def counts(self, line: str, conversation: str, person: int, most: int) -> bool:
        """Count something against the requests that a person may make in a minute.

        False where they have made so many already.
        """
        return self._rate.take((line, conversation, person), most)

    async def spent(self, spender: Spender, budgets: Budgets) -> dict[str, dict[str, int]]:
        """What was spent today by kind of scope, with the limits that there are."""
        return await self._bank.spent(spender, budgets, self._clock.wall())

    def _purse(self, job: Job) -> Purse:
        ref, person = job.ref, job.incoming.person.id
        spender = Spender(job.fence.line, ref.conversation, ref.agent, person, ref.entry)
        plan, now = job.plan, lambda: (self._live(ref.agent) or job.plan).budgets
        seconds = plan.limits.seconds
        return Purse(self._bank, job.fence, spender, now, self._clock, plan.model, seconds)

    def _recorder(
        self, job: Job, transcript: Transcript, opened: Opened, render: Render, purse: Purse
    ) -> Recorder:
        recorder = Recorder(self._journal, job.fence, opened.turn, transcript, purse, self._clock)
        purse.lost = opened.turn.lost if recorder.asks_next else 0
        limits = job.plan.limits
        recorder.start = transcript.trim(limits.history_turns, limits.history_chars)
        recorder.prefix = prompt.digest([render.digest, recorder.start, job.plan.model])
        recorder.head = prompt.digest([render.material, job.plan.model])
        return recorder

    async def _open(
        self, job: Job, toolbox: Toolbox, transcript: Transcript
    ) -> tuple[Opened, Render]:
        renders = self._renders
        render = renders.of(job.plan, toolbox, transcript)
        try:
            opened = await self._journal.begin(
                job.fence,
                job.ref,
                render.digest,
                person_record(job.entry, job.incoming, job.again),
                renders.to_keep(job.fence.line, render),
                known=transcript.known,
                turns=job.plan.limits.history_turns,
                alone=job.alone,
            )
        except Poisoned as error:
            await left_behind(self._journal, job.fence, error.opened, self._purse(job))
            raise
        if opened.held:
            return opened, render
        transcript.extend(opened.records)
        if opened.resumed:
            self._counters.add("turns:resumed")
            self._renders.forget()
            render = await renders.stored(job.fence.line, opened.turn.render) or render
        transcript.render = render
        return opened, render
