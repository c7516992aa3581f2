"""The tool calls of a turn: judged, recorded, made side by side, and taken up after a crash."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from bot.approvals import view
from bot.approvals.approvers import grant_name
from bot.approvals.request import ApprovalRequest, PendingCall, ToolCallApproval
from bot.messages import Answer
from bot.store.journal import Record
from bot.tools.calls import FATE_UNKNOWN, Call, PolicyResult, Result, call_of
from bot.tools.toolset import Toolset
from bot.turn import history
from bot.turn.history import calls_of
from bot.turn.limits import TurnUsage
from bot.turn.progress import Progress
from bot.turn.prompt import RenderedPrompt
from bot.turn.turn import Recorder

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

HEAP = (
    "Not run: too many calls wait for people at once, who judge {} at most. "
    "Ask again for this one later if it is still needed."
)
MOST_ASKED = 10
"""Calls in one question: each needs its lines to be read, and its buttons."""

Grants = Callable[[], Awaitable[Collection[str]]]


class ToolCalls:
    """Makes the calls of one turn; `late` are results that are not recorded yet.

    `grants` tells what people allowed for good here; `sheet` holds what they decided of the calls
    for which the turn waited.
    """

    def __init__(
        self,
        toolbox: Toolset,
        render: RenderedPrompt,
        recorder: Recorder,
        budget: TurnUsage,
        progress: Progress,
        grants: Grants,
        sheet: ApprovalRequest | None = None,
    ) -> None:
        self._toolbox = toolbox
        self._names = render.names
        self._recorder = recorder
        self._budget = budget
        self._progress = progress
        self._grants = grants
        self._sheet = sheet
        self.late: list[Record] = []

    async def take(self, answer: Record) -> list[PendingCall]:
        """Record an answer whole before any of its tools runs, then run what may run.

        What needs a person first comes back.
        """
        return await self._begin(self._of(answer), [answer])

    async def take_cut(self, answer: Record) -> None:
        """Record an answer whose calls were cut off: none of them runs."""
        cut = [self._recorder.result(c, Result(CUT, error=True)) for c in self._of(answer)]
        await self._recorder.log([answer, *cut])

    def open(self) -> list[Call]:
        """Calls without a result: they waited for people, or an earlier life of the turn ended."""
        records = self._recorder.recorded()
        answered = {r.body["call"] for r in records if r.kind == "result"}
        last = next((r for r in reversed(records) if r.kind == "model"), None)
        return [call for call in self._of(last) if call.id not in answered] if last else []

    async def take_up(self, calls: Sequence[Call]) -> list[PendingCall]:
        """Open calls, by how far they came; what needs a person (again) comes back.

        Of those that were started, what may be repeated runs again, and of the rest nobody knows
        the outcome. All that runs is made as people decided, if today's rule still allows it.
        """
        started = {r.body["call"] for r in self._recorder.recorded() if r.kind == "started"}
        lost: list[Record] = []
        again: list[Call] = []
        asking: list[PendingCall] = []
        for call in [call for call in calls if call.id in started]:
            verdict = await self._judged(call)
            if refusal := self._not_again(call, verdict):
                lost.append(self._recorder.result(call, refusal))
            elif verdict.asks:
                asking.append(PendingCall(call, verdict.definition, verdict.always))
            else:
                again.append(call)
        fresh = [call for call in calls if call.id not in started]
        return [*asking, *await self._begin(fresh, lost, again)]

    def _not_again(self, call: Call, verdict: PolicyResult) -> Result | None:
        """What the model is told of a call that was cut off and is not repeated."""
        if not self._toolbox.repeatable(call):
            return Result(FATE_UNKNOWN, error=True, fate_unknown=True)
        if verdict.refusal is None:
            return None
        words = f"{FATE_UNKNOWN}\n{verdict.refusal.content}"
        return Result(words, error=True, fate_unknown=True)

    async def _begin(
        self, calls: Sequence[Call], records: Sequence[Record], again: Sequence[Call] = ()
    ) -> list[PendingCall]:
        made = self._made_before(calls)
        asking: list[PendingCall] = []
        firsts: list[Record] = []
        judged = [await self._judged(call) for call in calls]
        for call, verdict in zip(calls, judged, strict=True):
            if (
                not verdict.refusal
                and self._decided(call) is None
                and is_repeating(made, call.digest)
            ):
                self._budget.loops += 1
                verdict = PolicyResult(Result(LOOP, error=True))
            made.append(call.digest)
            if len(asking) >= MOST_ASKED and verdict.asks:
                verdict = PolicyResult(Result(HEAP.format(MOST_ASKED), error=True))
            if verdict.asks and not self._is_spent():
                self._budget.calls += 1
                asking.append(PendingCall(call, verdict.definition, verdict.always))
            else:
                firsts.append(self._first(call, verdict))
        if records or firsts:
            await self._recorder.log([*records, *firsts])
        started = {record.body["call"] for record in firsts if record.kind == "started"}
        await self._run([*again, *(call for call in calls if call.id in started)])
        return asking

    def _made_before(self, now: Sequence[Call]) -> list[str]:
        """Digests of the calls that the model wanted earlier in this turn."""
        ids = {call.id for call in now}
        answers = [r for r in self._recorder.recorded() if r.kind == "model"]
        return [c.digest for r in answers for c in self._of(r) if c.id not in ids]

    def _of(self, answer: Record) -> list[Call]:
        blocks = history.calls_of(answer.body["content"])
        return [call_of(block, self._names) for block in blocks]

    def _first(self, call: Call, verdict: PolicyResult) -> Record:
        """`started`, or at once the result of a call that may not run."""
        if verdict.refusal:
            return self._recorder.result(call, verdict.refusal)
        if self._is_spent():
            spent = LIMIT_REACHED.format(self._budget.limits.calls)
            return self._recorder.result(call, Result(spent, error=True))
        self._budget.calls += 1
        return self._recorder.started(call)

    def _is_spent(self) -> bool:
        return self._budget.calls >= self._budget.limits.calls

    async def _judged(self, call: Call) -> PolicyResult:
        """The verdict of today's rule, with what people said of this call."""
        verdict = self._toolbox.judge(call, self._doubtful())
        decided = self._decided(call)
        if decided is not None:
            return self._as_decided(call, verdict, decided)
        if verdict.asks and verdict.always and await self._is_granted(call, verdict):
            return self._pinned(call, verdict)
        return verdict

    def _pinned(self, call: Call, verdict: PolicyResult) -> PolicyResult:
        self._toolbox.pin(call, verdict.definition)
        return PolicyResult(definition=verdict.definition)

    def _decided(self, call: Call) -> ToolCallApproval | None:
        asked = self._sheet.calls if self._sheet else ()
        return next((one for one in asked if one.call_id == call.id), None)

    def _as_decided(
        self, call: Call, verdict: PolicyResult, decided: ToolCallApproval
    ) -> PolicyResult:
        assert self._sheet is not None
        if decided.state != "granted":
            return PolicyResult(Result(view.denial_for_model(self._sheet, decided), error=True))
        if verdict.refusal:
            return verdict
        same = decided.digest == call.digest and decided.fingerprint == verdict.definition
        return self._pinned(call, verdict) if same else PolicyResult(Result(CHANGED, error=True))

    async def _is_granted(self, call: Call, verdict: PolicyResult) -> bool:
        name = grant_name(self._recorder.turn.ref.agent, call.key, verdict.definition)
        return name in await self._grants()

    def _doubtful(self) -> frozenset[str]:
        """Digests of calls in this conversation whose outcome nobody knows."""
        return self._recorder.transcript.doubtful()

    async def _run(self, calls: Sequence[Call]) -> None:
        """Independent calls run side by side; each result is recorded as it comes."""
        if calls:
            self._progress.using(", ".join(_named(call) for call in calls))
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


def _named(call: Call) -> str:
    return f"{call.origin}: {call.tool}" if call.origin else str(call.tool)


def without_calls(answer: Answer) -> Answer:
    """An answer that ends its turn: calls that will not be made are taken out."""
    content = [block for block in answer.content if block["type"] != "tool_use"]
    return Answer(content, answer.stop, answer.usage, answer.model)


_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


def call_ids(records: Sequence[Record]) -> set[str]:
    """The ids of all calls in these records."""
    answers = (record for record in records if record.kind == "model")
    return {block["id"] for record in answers for block in calls_of(record.body["content"])}


def ensure_unique_call_ids(answer: Answer, taken: Collection[str]) -> Answer:
    """The answer, with a new id for each call whose own is `taken`, there twice, or no id."""
    seen, content = set(taken), []
    for block in answer.content:
        if block["type"] == "tool_use":
            if not _is_free(block.get("id"), seen):
                block = {**block, "id": f"toolu_{secrets.token_hex(12)}"}
            seen.add(block["id"])
        content.append(block)
    return replace(answer, content=content)


def _is_free(given: Any, seen: Collection[str]) -> bool:
    return isinstance(given, str) and _ID.match(given) is not None and given not in seen


MAX_REPEATS = 3


def is_repeating(made: Sequence[str], call: str) -> bool:
    """Whether one more call makes a loop of those that were made in this turn, by their digests."""
    if made.count(call) >= MAX_REPEATS - 1:
        return True
    if len(made) < MAX_REPEATS:
        return False
    first, second, third = made[-MAX_REPEATS:]
    return second == call and first == third != call
