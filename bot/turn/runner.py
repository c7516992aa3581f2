"""One turn: from the person's message to the recorded reply."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from bot.approvals.request import Suspension
from bot.approvals.service import TurnServices
from bot.errors import CrashSuspect, PoisonMessage
from bot.messages import Model
from bot.store import keys
from bot.store.journal import SUSPECT_AFTER, Opened, OpenTurn, Record, new_call
from bot.store.sessions import is_http
from bot.tools.policy import CallContext
from bot.tools.toolset import ToolPermissions, Toolset, ToolsetFactory
from bot.turn import results
from bot.turn.loop import AgentLoop
from bot.turn.model_fallback import ModelCaller
from bot.turn.progress import Progress
from bot.turn.prompt import PromptCache, Specialized, no_specialization
from bot.turn.results import TurnResult, turn_result
from bot.turn.slots import TurnSlots
from bot.turn.tool_calls import ToolCalls
from bot.turn.transcript import Transcript, Transcripts, size_of
from bot.turn.turn import Turn, TurnRequest
from bot.usage.budgets import Budgets, RequestRate, Spender
from bot.usage.ledger import BudgetService
from bot.usage.reservation import TurnBudget

if TYPE_CHECKING:
    from bot.profiles.inbox import Earlier
    from bot.profiles.rules import Rules, TurnRules

log = structlog.get_logger("turn")

QUIET_SECONDS = 10.0


@dataclass(slots=True, repr=False)
class TurnRunner:
    """Runs turns; everything that it holds of a turn is also in the store.

    `_running` names the open turns that run, `_life` is an id of this life of the host. `rate`
    counts the model requests that people make in a minute. `slots` are as many as turns may run at
    once on this host; None is no limit. `specialized` gives the texts of a task's specialization.
    """

    services: TurnServices
    transcripts: Transcripts
    model: Model
    tools: ToolsetFactory
    budgets: BudgetService
    slots: TurnSlots | None = None
    specialized: Specialized = no_specialization
    rate: RequestRate = field(init=False)
    _prompts: PromptCache = field(init=False)
    _suspects: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _running: set[str] = field(init=False, default_factory=set)
    _life: str = field(init=False, default_factory=new_call)
    _may_begin: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.rate = RequestRate(self.services.clock)
        self._prompts = PromptCache(self.services.journal, self.services.clock, self.specialized)
        self._may_begin.set()

    async def run(self, request: TurnRequest, *, has_slot: bool = False) -> OpenTurn | None:
        """Run a turn until its reply is sent or it waits for approval.

        Where another turn of the conversation is open, nothing is done and that turn comes back.
        """
        line, ref, channel = request.entry.line.name, request.ref, request.entry.line.channel
        name = keys.open_turn(line, ref.conversation)
        try:
            async with contextlib.AsyncExitStack() as stack:
                if self.slots is not None and not has_slot:
                    entry = request.entry
                    await stack.enter_async_context(self.slots.slot(entry.id, entry.stop))
                loop = await self._open_isolated(request, stack)
                if isinstance(loop, OpenTurn):
                    return loop
                turn, progress = loop.turn, loop.progress
                if turn.opened.state == "sending":
                    await channel.deliver([])  # a try that failed may have recorded parts
                elif (began := turn.began_with) != turn.agent.names:  # another is bound by now
                    now = self.services.current_agent(*began)
                    agent = now or turn.agent.in_place_of(*began)
                    return await self.run(replace(turn.request, agent=agent), has_slot=True)
                elif self.services.current_agent(*began) is None:
                    await turn.finish(self._without_agent(turn), turn.opened.preview)
                else:
                    try:
                        async with progress.showing():
                            end = await loop.run()
                        if isinstance(end, Suspension):
                            await turn.suspend(end, progress.message)
                        else:
                            loop.close(end)
                            await turn.finish(end, progress.message)
                    except Exception:  # what failed has cost something as well
                        await turn.request_failed()
                        raise
                    self._prompts.used(line, ref, turn.prompt)
            self._running.discard(name)
            await channel.wait_until_sent(request.entry.id)
        except BaseException:
            self.transcripts.forget(line, ref)
            self._prompts.forget(line, ref)
            raise
        finally:
            self._running.discard(name)
        return None

    def _without_agent(self, turn: Turn) -> TurnResult:
        """The end of a turn that was cut off, and whose agent can answer no more."""
        agent, preset = turn.began_with
        if self.services.agents.lost(agent) is None:
            return TurnResult("refused", results.PRESET_GONE if preset else results.AGENT_GONE)
        broken = turn_result("failed", turn.said(goes_on=True), results.BROKEN)
        return replace(broken, can_retry=True, error=results.NO_PROFILE)

    async def _open_isolated(
        self, request: TurnRequest, stack: contextlib.AsyncExitStack
    ) -> AgentLoop | OpenTurn:
        """Open the turn; those that were open at several crashes of the host run one by one.

        So a turn that crashes the host is not blamed on the turns beside it, and several crashes
        within seconds count as one.
        """
        try:
            if not request.isolated:
                await self._may_begin.wait()
            return await self._open(request)
        except CrashSuspect as error:
            suspect, entry = error, request.entry
        self._running.discard(keys.open_turn(entry.line.name, request.ref.conversation))
        self.services.counters.add("turns:suspected")
        log.warning("turn.suspected", line=entry.line.name, turn=entry.id, why=str(suspect))
        await self.services.clock.sleep(suspect.again_in)
        await stack.enter_async_context(self._suspects)
        if suspect.attempts > SUSPECT_AFTER:
            await stack.enter_async_context(self._nothing_beside())
        return await self._open(replace(request, isolated=True))

    @contextlib.asynccontextmanager
    async def _nothing_beside(self) -> AsyncIterator[None]:
        """For some seconds let no other turn begin, and those that run come to their end.

        So a turn that crashes the host is met by the crash alone, however busy the host is.
        """
        clock = self.services.clock
        self._may_begin.clear()
        reopen = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._may_begin.set)
        try:
            until = clock.monotonic() + QUIET_SECONDS / 2
            while self._running and clock.monotonic() < until:
                await clock.sleep(0.05)
            yield
        finally:
            reopen.cancel()
            self._may_begin.set()

    async def _open(self, request: TurnRequest) -> AgentLoop | OpenTurn:
        """Begin the turn in the journal, or find it open; the other turn where that is open."""
        services, agent, fence = self.services, request.agent, request.entry.line.fence
        toolset = self._toolset(request)
        await toolset.mcp.connect(approved=request.approval is not None)
        transcript = self.transcripts.get(fence.line, request.ref)
        fixed, context = fixed_values(request), request.incoming.context
        prompt = self._prompts.current(fence.line, request.ref, agent, toolset, context, fixed)
        to_store = self._prompts.to_store(fence.line, prompt)
        budget = self._budget(request)
        name = keys.open_turn(fence.line, request.ref.conversation)
        self._running.add(name)
        try:
            opened = await services.journal.begin(
                fence,
                request.ref,
                prompt.digest,
                request.person_record(),
                to_store,
                known=transcript.newest,
                turns=agent.read_turns,
                isolated=request.isolated,
                attribution=agent.attribution,
                life=self._life,
            )
        except PoisonMessage as error:
            if isinstance(abandoned := error.opened, Opened):  # nothing else writes what it cost
                budget.unrecorded_attempts = abandoned.turn.unrecorded_attempts
                if lines := budget.usage_records([], sum(map(size_of, abandoned.records))):
                    await services.journal.append(fence, abandoned.turn, lines)
            raise
        if opened.blocked:
            return opened.turn
        transcript.load(opened.records)
        if opened.resumed:
            services.counters.add("turns:resumed")
            prompt = await self._prompts.load(fence.line, opened.turn.render) or prompt
        else:
            self._prompts.stored(fence.line, to_store)
        may_look = agent.has_rules or opened.resumed
        # Before the Turn is made, which drops the oldest turns.
        earlier = earlier_records(transcript, request) if may_look else []
        turn = Turn(services, request, opened.turn, transcript, prompt, budget)
        if turn.stream is not None and not opened.resumed:
            turn.stream.begin()
        progress = Progress(turn)
        model = ModelCaller(self.model, turn, progress)
        calls = ToolCalls(toolset, turn, progress)
        rules = rules_of(turn, fixed, earlier) if may_look and has_rules(turn) else None
        return AgentLoop(turn, model, calls, progress, self.rate, rules)

    def _toolset(self, request: TurnRequest) -> Toolset:
        agent, incoming = request.agent, request.incoming

        def current() -> ToolPermissions | None:
            found = self.services.current_agent(*agent.names)
            return found.tools if found else None

        context = CallContext(
            role=request.role,
            person=incoming.person.id,
            chat="private" if incoming.address.private else "group",
            agent=agent.id,
            account=agent.attribution.account,
            key=incoming.person.key or "",
        )
        return self.tools.make(
            agent.tools,
            current,
            context,
            fence=request.entry.line.fence,
            ref=request.ref,
            result_chars=agent.limits.result_chars,
            redact=agent.filter.secrets.redact,
        )

    def _budget(self, request: TurnRequest) -> TurnBudget:
        agent, fence, ref = request.agent, request.entry.line.fence, request.ref
        person, key = request.incoming.person.id, request.incoming.person.key
        spender = Spender(fence.line, ref.conversation, person, ref.entry, agent.attribution, key)

        def limits() -> Budgets:
            own = (self.services.current_agent(*agent.names) or agent).budgets
            return self.budgets.with_key(own, key)

        return TurnBudget(
            self.budgets,
            fence,
            spender,
            limits,
            self.services.clock,
            agent.model,
            agent.limits.seconds,
        )


# --- an agent with a profile ----------------------------------------------------------------------


class _Engine(NamedTuple):
    """The parts of `bot.profiles` that a turn begins with."""

    fixed: Callable[..., dict[str, Any]]
    rules: Callable[..., Rules]
    none: Rules
    earlier: Callable[..., Earlier]
    turn: type[TurnRules]


@cache
def _engine() -> _Engine:
    """These parts, loaded once an agent has a profile: an import in each turn costs more."""
    from bot.profiles.inbox import earlier_in
    from bot.profiles.rules import NO_RULES, TurnRules, rules_of
    from bot.profiles.state import fixed_values

    return _Engine(fixed_values, rules_of, NO_RULES, earlier_in, TurnRules)


def fixed_values(request: TurnRequest) -> dict[str, Any]:
    """What of the state of a turn stays the same; nothing where its agent has no profile."""
    if request.agent.effective.profile is None:
        return {}
    incoming, line = request.incoming, request.entry.line.name
    chat = "http" if is_http(line) else "private" if incoming.address.private else "group"
    person = (incoming.person.id, incoming.person.name)
    return _engine().fixed(request.agent, request.entry.id, request.role, person, chat)


def earlier_records(transcript: Transcript, request: TurnRequest) -> list[Sequence[Record]]:
    """The records of earlier turns: rules take over what those have left to be read."""
    return [one.records for one in transcript.turns if one.entry != request.entry.id]


def has_rules(turn: Turn) -> bool:
    """Whether a turn looks at rules: its agent has some, or had some when it began.

    What is recorded counts: a step that a rule has asked for is made also where the host has ended
    since then, and the agent has no rules by now.
    """
    return turn.agent.has_rules or any(record.kind == "rules" for record in turn.recorded())


def rules_of(
    turn: Turn, fixed: Mapping[str, Any], earlier: Sequence[Sequence[Record]]
) -> TurnRules:
    """The rules of a turn's profile, none where it has no profile by now."""
    agent, engine = turn.agent.effective, _engine()
    rules = engine.rules(agent.profile, agent.profile_mark) if agent.profile else engine.none
    left = engine.earlier(earlier)
    return engine.turn(rules, turn.id, fixed, turn.prompt.names, left, turn.made)
