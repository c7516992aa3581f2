"""The tool calls of a turn: judged, recorded, made side by side, and taken up after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bot.ports import Answer, Record
from bot.tools.toolbox import FATE_UNKNOWN, Call, Result, Toolbox, call_of
from bot.turn import history
from bot.turn.budget import Budget
from bot.turn.progress import Progress
from bot.turn.prompt import Render
from bot.turn.recorder import Recorder

LIMIT_REACHED = "Not run: this turn has used up its {} tool calls. Answer now with what you have."
CUT = (
    "Not run: the call was cut off because the answer reached its length limit. "
    "Make it shorter, or do it in smaller steps."
)
INTERRUPTED = "The turn was stopped during this call; it may or may not have taken effect."


class Calls:
    """Makes the calls of one turn; `late` are results that are not recorded yet."""

    def __init__(
        self,
        toolbox: Toolbox,
        render: Render,
        recorder: Recorder,
        budget: Budget,
        progress: Progress,
    ) -> None:
        self._toolbox = toolbox
        self._names = render.names
        self._recorder = recorder
        self._budget = budget
        self._progress = progress
        self.late: list[Record] = []

    async def take(self, answer: Record) -> None:
        """Record an answer whole before any of its tools runs, then run what may run."""
        calls = self._of(answer)
        firsts = [self._first(call) for call in calls]
        await self._recorder.log([answer, *firsts])
        started = {record.body["call"] for record in firsts if record.kind == "started"}
        await self._run([call for call in calls if call.id in started])

    async def take_cut(self, answer: Record) -> None:
        """Record an answer whose calls were cut off: none of them runs."""
        cut = [self._recorder.result(c, Result(CUT, error=True)) for c in self._of(answer)]
        await self._recorder.log([answer, *cut])

    def open(self) -> list[Call]:
        """Calls without a result: an earlier life of this turn ended while they ran."""
        records = self._recorder.recorded()
        answered = {r.body["call"] for r in records if r.kind == "result"}
        last = next((r for r in reversed(records) if r.kind == "model"), None)
        return [call for call in self._of(last) if call.id not in answered] if last else []

    async def resume(self, calls: Sequence[Call]) -> None:
        """What may be repeated runs again; of the rest nobody knows the outcome."""
        unknown = Result(FATE_UNKNOWN, error=True, fate_unknown=True)
        again = [call for call in calls if self._toolbox.repeatable(call)]
        lost = [self._recorder.result(call, unknown) for call in calls if call not in again]
        if lost:
            await self._recorder.log(lost)
        await self._run(again)

    def _of(self, answer: Record) -> list[Call]:
        blocks = history.calls_of(answer.body["content"])
        return [call_of(block, self._names) for block in blocks]

    def _first(self, call: Call) -> Record:
        """`started`, or at once the result of a call that may not run."""
        if refusal := self._refusal(call):
            return self._recorder.result(call, refusal)
        self._budget.calls += 1
        return self._recorder.started(call)

    def _refusal(self, call: Call) -> Result | None:
        most = self._budget.limits.calls
        if self._budget.calls >= most:
            return Result(LIMIT_REACHED.format(most), error=True)
        return self._toolbox.refusal(call, self._doubtful())

    def _doubtful(self) -> frozenset[str]:
        """Digests of calls in this conversation whose outcome nobody knows."""
        records = self._recorder.transcript.records
        unknown = {r.body["call"] for r in records if r.kind == "result" and r.body.get("unknown")}
        started = (r.body for r in records if r.kind == "started")
        return frozenset(body["digest"] for body in started if body["call"] in unknown)

    async def _run(self, calls: Sequence[Call]) -> None:
        """Independent calls run side by side; each result is recorded as it comes."""
        if calls:
            self._progress.using(", ".join(f"{call.server}: {call.tool}" for call in calls))
        async with asyncio.TaskGroup() as group:
            for call in calls:
                group.create_task(self._run_one(call))

    async def _run_one(self, call: Call) -> None:
        try:
            result = await self._toolbox.run(call, self._budget.seconds_left)
        except asyncio.CancelledError:
            unknown = Result(INTERRUPTED, error=True, fate_unknown=True)
            self.late.append(self._recorder.result(call, unknown))
            raise
        await self._recorder.log([self._recorder.result(call, result)])


def without_calls(answer: Answer) -> Answer:
    """An answer that ends its turn: calls that will not be made are taken out."""
    content = [block for block in answer.content if block["type"] != "tool_use"]
    return Answer(content, answer.stop, answer.usage, answer.model)
