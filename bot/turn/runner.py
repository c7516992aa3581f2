"""One turn: from the person's message to the recorded reply."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import structlog

from bot.agents.runnable import CurrentAgent
from bot.approvals.request import ApprovalRequest
from bot.approvals.service import Approvers, Suspension
from bot.approvals.store import ApprovalStore
from bot.errors import CrashSuspect, PoisonMessage
from bot.mcp.pool import Pool
from bot.messages import Clock, Model
from bot.ops.counters import Counters
from bot.skills.api import SkillContext
from bot.skills.runner import SkillRunner
from bot.skills.spec import INSTANCE
from bot.store.journal import Journal, Opened, OpenTurn
from bot.tools.cache import ToolResultCache
from bot.tools.policy import CallContext
from bot.tools.read_more import ReadMore, TruncatedResults
from bot.tools.toolset import ToolPermissions, Toolset
from bot.turn import prompt, results
from bot.turn.limits import RequestRate, TurnUsage
from bot.turn.loop import AgentLoop
from bot.turn.progress import Progress
from bot.turn.prompt import RenderedPrompt
from bot.turn.prompt_cache import PromptCache
from bot.turn.results import Responder, TurnRequest, TurnResult
from bot.turn.tool_calls import ToolCalls
from bot.turn.turn import Recorder, Transcript, Transcripts, person_record, record_abandoned
from bot.usage.limits import Budgets, Spender
from bot.usage.reservation import BudgetService, TurnBudget

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
        approvals: ApprovalStore,
        live: CurrentAgent,
        bank: BudgetService,
        skills: SkillRunner,
        kept: ToolResultCache,
        rests: TruncatedResults,
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
        self._rate = RequestRate(clock)
        self._renders = PromptCache(journal, clock)
        self._replies = Responder(approvals, approvers, clock, counters)
        self._suspects = asyncio.Lock()

    async def run(
        self, job: TurnRequest, stop: asyncio.Event, sheet: ApprovalRequest | None = None
    ) -> OpenTurn | None:
        """Run a turn until its reply is sent or it waits for people; `stop` ends it early.

        `sheet` is given for a turn that has waited. Where another turn of the conversation is open
        nothing is done, and that turn comes back. Turns that were open at several ends of the host
        run one by one, so that a poisonous one does not take those beside it along.
        """
        try:
            return await self._run(job, stop, sheet)
        except CrashSuspect as error:
            self._counters.add("turns:suspected")
            log.warning("turn.suspected", line=job.fence.line, turn=job.entry, why=str(error))
        async with self._suspects:
            return await self._run(replace(job, alone=True), stop, sheet)

    async def _run(
        self, job: TurnRequest, stop: asyncio.Event, sheet: ApprovalRequest | None = None
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

    async def _as_begun(self, job: TurnRequest, agent: str, stop: asyncio.Event) -> OpenTurn | None:
        """A turn goes on with the agent that began it, whoever is bound to the chat by now."""
        if plan := self._live(agent):
            return await self._run(replace(job, plan=plan), stop)
        gone = replace(job, plan=replace(job.plan, agent=agent, servers=(), skills=()))
        transcript = self._transcripts.get(job.fence.line, gone.ref)
        opened, render = await self._open(gone, self._toolbox(gone), transcript)
        recorder = self._recorder(gone, transcript, opened, render, self._purse(gone))
        end = TurnResult("refused", results.AGENT_GONE)
        record = recorder.ended(end.outcome, end.text)
        await self._replies.tell(gone, recorder, end, [record], opened.turn.preview)
        await job.channel.sent(job.entry)
        return None

    def _toolbox(self, job: TurnRequest) -> Toolset:
        def live() -> ToolPermissions | None:
            plan = self._live(job.plan.agent)
            return plan.rights if plan else None

        whom, where = job.incoming.person.id, job.incoming.address
        chat = "private" if where.private else "group"
        facts = CallContext(role=job.role, person=whom, chat=chat, agent=job.plan.agent)
        conversation = f"{job.fence.line}/{where.conversation}"
        context = SkillContext(INSTANCE, str(whom), conversation, job.plan.agent)
        rights = job.plan.rights
        shelf = ReadMore(self._rests, job.fence, job.ref, job.plan.limits.result_chars)
        hide = job.plan.filter.secrets.redact
        return Toolset(
            self._pool, rights, live, self._skills, self._kept, context, shelf, facts, hide
        )

    async def _walk(
        self,
        job: TurnRequest,
        toolbox: Toolset,
        transcript: Transcript,
        opened: Opened,
        render: RenderedPrompt,
        stop: asyncio.Event,
        sheet: ApprovalRequest | None,
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
        budget = TurnUsage(job.plan.limits, clock)
        who = (job.fence.line, job.ref.conversation, job.incoming.person.id)

        def may_ask() -> bool:
            return self._rate.take(who, job.plan.limits.per_minute)

        async def grants() -> Collection[str]:
            found = await self._approvals.grants(job.fence.line, job.ref.conversation)
            today = self._live(job.plan.agent) or job.plan
            return self._approvers.standing(found, today, address.bot, job.incoming.person.id)

        calls = ToolCalls(toolbox, render, recorder, budget, progress, grants, sheet)
        walk = AgentLoop(
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

    def _purse(self, job: TurnRequest) -> TurnBudget:
        ref, person = job.ref, job.incoming.person.id
        spender = Spender(job.fence.line, ref.conversation, ref.agent, person, ref.entry)
        plan, now = job.plan, lambda: (self._live(ref.agent) or job.plan).budgets
        seconds = plan.limits.seconds
        return TurnBudget(self._bank, job.fence, spender, now, self._clock, plan.model, seconds)

    def _recorder(
        self,
        job: TurnRequest,
        transcript: Transcript,
        opened: Opened,
        render: RenderedPrompt,
        purse: TurnBudget,
    ) -> Recorder:
        recorder = Recorder(self._journal, job.fence, opened.turn, transcript, purse, self._clock)
        purse.lost = opened.turn.lost if recorder.asks_next else 0
        limits = job.plan.limits
        recorder.start = transcript.trim(limits.history_turns, limits.history_chars)
        recorder.prefix = prompt.content_hash([render.digest, recorder.start, job.plan.model])
        recorder.head = prompt.content_hash([render.material, job.plan.model])
        return recorder

    async def _open(
        self, job: TurnRequest, toolbox: Toolset, transcript: Transcript
    ) -> tuple[Opened, RenderedPrompt]:
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
        except PoisonMessage as error:
            await record_abandoned(self._journal, job.fence, error.opened, self._purse(job))
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
