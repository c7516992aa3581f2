"""The tool calls of a turn: decided, recorded, run side by side, and resumed after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from bot.approvals import view
from bot.approvals.approvers import grant_name
from bot.approvals.request import PendingCall, ToolCallApproval
from bot.messages import Json
from bot.store.journal import Record
from bot.tools.calls import FATE_UNKNOWN, Call, PolicyResult, Result, failed, refused
from bot.tools.toolset import Toolset
from bot.turn.progress import Progress
from bot.turn.turn import Turn

LIMIT_REACHED = "Not run: this turn has used up its {} tool calls. Answer now with what you have."
CUT = (
    "Not run: the call was cut off because the answer reached its length limit. "
    "Make it shorter, or do it in smaller steps."
)
INTERRUPTED = "The turn was stopped during this call; it may or may not have taken effect."
CHANGED = (
    "Not run: the tool is no longer the one that a person approved. "
    "Ask for it again if it is still needed."
)
LOOP = (
    "Not run: this turn has made this very call before, and it goes round in circles. "
    "Do something else, or answer with what you have."
)
TOO_MANY_PENDING = (
    "Not run: {} calls already wait for approval, and people are not asked about more at once. "
    "Ask again for this one later if it is still needed."
)
TOO_LONG_PENDING = (
    "Not run: together with the calls that already wait for approval this is more than people read "
    "at once. Ask again for this one after those."
)
MAX_PENDING = 10
"""Calls in one request for approval: each has its lines to be read, and its buttons."""
MAX_REPEATS = 3


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Runs the calls of one turn, as people decided about those that waited."""

    toolset: Toolset
    turn: Turn
    progress: Progress

    async def refuse_cut(self, answer: Record) -> None:
        """Record an answer whose calls were cut off: none of them runs."""
        turn, cut = self.turn, failed(CUT)
        await turn.record(*(turn.result_record(call, cut) for call in turn.calls(answer)))

    async def resume(self, calls: Sequence[Call]) -> list[PendingCall]:
        """Continue calls that have no result; those that need approval (again) are returned.

        Of those that were started, what may run twice runs again; the outcome of the others is
        unknown. Everything is decided again, by what people said and by today's rule.
        """
        started = {r.body["call"] for r in self.turn.recorded() if r.kind == "started"}
        results: list[Record] = []
        repeated: list[Call] = []
        pending: list[PendingCall] = []
        for call in (call for call in calls if call.id in started):
            decision = await self._decide(call)
            if not self.toolset.is_repeatable(call):
                results.append(self._unknown(call))
            elif decision.refusal:
                results.append(self._unknown(call, decision.refusal))
            elif decision.needs_approval:
                pending.append((call, decision))
            else:
                repeated.append(_bound(call, decision))
        new = [call for call in calls if call.id not in started]
        return [*pending, *await self.start(new, results, repeated)]

    def _unknown(self, call: Call, refusal: Result | None = None) -> Record:
        more = {"refusal": orjson.loads(refusal.content)} if refusal else {}
        return self.turn.result_record(call, failed(FATE_UNKNOWN, fate_unknown=True, **more))

    async def start(
        self, calls: Sequence[Call], results: Sequence[Record] = (), repeated: Sequence[Call] = ()
    ) -> list[PendingCall]:
        """Record the decision on each new call, then run what may run; returns what needs approval.

        `results` and `repeated` are of calls that were started before: those that run once more.
        """
        turn, ids = self.turn, {call.id for call in calls}
        turn.usage.malformed += any(call.invalid for call in calls)
        earlier = (call for answer in turn.answers for call in turn.calls(answer))
        made = [call.digest for call in earlier if call.id not in ids]
        pending: list[PendingCall] = []
        records = [*results]
        running = [*repeated]
        for call, decision in [(call, await self._decide(call)) for call in calls]:
            decision = self._bounded(call, decision, made, pending)
            made.append(call.digest)
            if decision.refusal:
                records.append(turn.result_record(call, decision.refusal))
                continue
            turn.usage.calls += 1
            if decision.needs_approval:
                pending.append((call, decision))
            else:
                body = {"turn": turn.id, "call": call.id}
                records.append(Record("started", body | {"key": call.key, "digest": call.digest}))
                running.append(_bound(call, decision))
        await self.turn.record(*records)
        await self._run(running)
        return pending

    def _bounded(
        self,
        call: Call,
        decision: PolicyResult,
        made: Sequence[str],
        pending: Sequence[PendingCall],
    ) -> PolicyResult:
        """The decision, or the refusal of a call that is one too many."""
        if decision.refusal:
            return decision
        if self._decided(call) is None and is_repeating(made, call.digest):
            self.turn.usage.loops += 1
            return refused(LOOP)
        if decision.needs_approval and len(pending) >= MAX_PENDING:
            return refused(TOO_MANY_PENDING.format(MAX_PENDING))
        if decision.needs_approval and decision.description and pending:
            shown = [decision.description, *(other.description for _, other in pending)]
            if sum(map(view.seen_length, shown)) > view.MOST_SHOWN:
                return refused(TOO_LONG_PENDING)
        if not self.turn.usage.has_calls_left:
            return refused(LIMIT_REACHED.format(self.turn.usage.limits.calls))
        return decision

    async def _decide(self, call: Call) -> PolicyResult:
        """Today's decision about a call, with what people said about it."""
        decision = self.toolset.decide(call, self.turn.transcript.uncertain())
        approval = self.turn.request.approval
        if approval and (decided := self._decided(call)):
            if decided.state != "granted":
                return refused(view.denial_for_model(approval, decided))
            if decision.refusal:
                return decision
            if (decided.digest, decided.fingerprint) != (call.digest, decision.definition):
                return refused(CHANGED)
            return replace(decision, needs_approval=False, approved=True)
        if decision.needs_approval and decision.always:
            name = grant_name(self.turn.opened.ref.agent, call.key, decision.definition)
            if name in await self.turn.grants():
                return replace(decision, needs_approval=False, approved=True)
        return await self.toolset.checked(call, decision)

    def _decided(self, call: Call) -> ToolCallApproval | None:
        approval = self.turn.request.approval
        calls = approval.calls if approval else ()
        return next((one for one in calls if one.call_id == call.id), None)

    async def _run(self, calls: Sequence[Call]) -> None:
        """Run independent calls side by side; each result is recorded as it comes."""
        if calls:
            names = (f"{c.origin}: {c.tool}" if c.origin else str(c.tool) for c in calls)
            self.progress.using(", ".join(names))
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(self._run_one(call))

    async def _run_one(self, call: Call) -> None:
        try:
            result = await self.toolset.call(call, self.turn.usage.seconds_left)
        except asyncio.CancelledError:
            self.turn.add_interrupted(call, failed(INTERRUPTED, fate_unknown=True))
            raise
        await self.turn.record(
            self.turn.result_record(call, result, await self._artifacts(call, result))
        )

    async def _artifacts(self, call: Call, result: Result) -> list[Json]:
        """What is kept of a result's files for clients over HTTP; elsewhere nothing is."""
        kept = self.turn.artifacts
        if kept is None or not result.files:
            return []
        try:
            return await kept.keep(call, result)
        except asyncio.CancelledError:  # the call itself came to its end
            self.turn.add_interrupted(call, result)
            raise


def _bound(call: Call, decision: PolicyResult) -> Call:
    return replace(call, approved=decision.definition) if decision.approved else call


def is_repeating(made: Sequence[str], call: str) -> bool:
    """Whether one more call makes a loop, by the digests of those made in this turn.

    A loop is the same call for the third time, or two calls in turns for the second time.
    """
    if made.count(call) >= MAX_REPEATS - 1:
        return True
    if len(made) < MAX_REPEATS:
        return False
    first, second, third = made[-MAX_REPEATS:]
    return second == call and first == third != call
