"""The walk of one turn over its transcript.

Each step looks at what is recorded, does the next thing and records it; so a turn that was cut off
anywhere goes on from there by the same walk.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace

import orjson
import structlog

from bot.errors import (
    BrokenStream,
    ModelBusy,
    ModelError,
    ModelRefused,
    OutOfBudget,
    StaleThinking,
)
from bot.ops.aside import over
from bot.ports import Answer, Clock, Model, ModelRequest, Record, TextDelta, ToolChosen
from bot.turn import ending, history, prompt
from bot.turn.budget import Budget
from bot.turn.calls import Calls, without_calls
from bot.turn.ending import Ending, closing
from bot.turn.identity import ids_in, told_apart
from bot.turn.plan import Plan
from bot.turn.progress import Progress
from bot.turn.prompt import Render
from bot.turn.purse import Purse
from bot.turn.recorder import Recorder
from bot.turn.suspension import Asking, Suspension

log = structlog.get_logger("turn")

FIRST_PAUSE = 0.5


class Walk:
    """Asks the model and makes its calls until there is an ending."""

    def __init__(
        self,
        model: Model,
        plan: Plan,
        render: Render,
        recorder: Recorder,
        calls: Calls,
        budget: Budget,
        progress: Progress,
        clock: Clock,
        may_ask: Callable[[], bool],
        purse: Purse,
    ) -> None:
        self._purse = purse
        self._may_ask = may_ask
        self._model = model
        self._plan = plan
        self._asked = plan.model
        self._render = render
        self._recorder = recorder
        self._calls = calls
        self._budget = budget
        self._progress = progress
        self._clock = clock
        self._answers = [r for r in recorder.recorded() if r.kind == "model"]
        self._told = 0
        self._recall()

    def _recall(self) -> None:
        """Take up what an earlier life of this turn has recorded."""
        self._budget.requests = len(self._answers)
        records = self._recorder.recorded()
        started = [r for r in records if r.kind == "started"]
        asked = [i for i, r in enumerate(records) if r.kind == "asked"]
        self._told = sum(r.kind == "model" for r in records[: asked[-1]]) if asked else 0
        self._budget.calls = len(started)
        if self._answers:
            self._recorder.prefix = self._answers[-1].body["prefix"]
        self._progress.keep(self._said())

    async def to_an_ending(self, stop: asyncio.Event) -> tuple[Ending | Suspension, list[Record]]:
        """How the turn ends, or that it waits for people, and the records that go with that.

        The person's stop and the wall clock end it wherever it is; what was said stays.
        """
        walk = asyncio.ensure_future(self._to_an_ending())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait(
                {walk, stopped},
                return_when=asyncio.FIRST_COMPLETED,
                timeout=self._budget.seconds_left,
            )
            if not walk.done():
                walk.cancel()
                await asyncio.wait({walk})
            end = await self._broken_off(stopped.done()) if walk.cancelled() else walk.result()
            if isinstance(end, Suspension):
                return end, []
        finally:
            walk.cancel()
            stopped.cancel()
        return end, await self._unrecorded(end)

    async def _broken_off(self, by_person: bool) -> Ending:
        said = await self._words(self._progress.said)
        if by_person:
            return closing("stopped", said, ending.STOPPED if said else ending.STOPPED_EARLY)
        return closing("failed", said, ending.TIRED)

    async def _unrecorded(self, end: Ending) -> list[Record]:
        """Answers and results that are not in the journal yet, then the end."""
        logged = {id(record) for record in self._recorder.recorded()}
        records = [record for record in self._answers if id(record) not in logged]
        records += self._calls.late
        if partial := self._progress.said[len(self._said()) :].strip():
            partial = await self._words(partial)
            text = [{"type": "text", "text": partial}]
            records.append(self._recorder.partial(Answer(text, end.outcome)))
        return [*records, self._recorder.ended(end.outcome, end.text)]

    async def _words(self, said: str) -> str:
        """What was said before it broke off, as it may be kept."""
        return await over(len(said), lambda: self._plan.filter.words(said, cut=True))

    async def _to_an_ending(self) -> Ending | Suspension:
        try:
            while True:
                if end := await self._step():
                    return end
        except OutOfBudget as short:
            self._progress.again()
            return closing("refused", self._said(), ending.SPENT.format(short))
        except ModelRefused as error:
            log.error("model.refused", agent=self._plan.agent, error=str(error))
            return self._given_up(ending.BROKEN)
        except ModelError as error:
            log.warning("model.gave_up", agent=self._plan.agent, error=str(error))
            return replace(self._given_up(ending.BUSY), again=True)

    def _given_up(self, note: str) -> Ending:
        self._progress.again()  # a stream that broke leaves nothing
        return closing("failed", self._said(), note)

    async def _step(self) -> Ending | Suspension | None:
        """Take up calls that are open, or ask the model; an ending when there is one."""
        if calls := self._calls.open():
            return self._waits(await self._calls.take_up(calls))
        if not self._may_ask():
            return closing("refused", self._said(), ending.TOO_OFTEN)
        last = self._budget.spent() is not None
        answer = await self._ask(last=last)
        calls_made = bool(history.calls_of(answer.content))
        cut = answer.stop == "max_tokens" and calls_made and not self._was_cut()
        wanted = answer.stop == "tool_use" and calls_made
        if last or not (wanted or cut or answer.stop == "pause_turn"):
            return self._end_with(answer)
        return await self._go_on(self._keep(answer), wanted=wanted, cut=cut)

    async def _go_on(self, record: Record, *, wanted: bool, cut: bool) -> Suspension | None:
        """An answer that wants more steps is recorded, and its calls are made."""
        if wanted:
            return self._waits(await self._calls.take(record))
        if cut:
            await self._calls.take_cut(record)
        else:
            await self._recorder.log([record])
        return None

    def _waits(self, asking: list[Asking]) -> Suspension | None:
        return Suspension(tuple(asking), self._said()) if asking else None

    def _end_with(self, answer: Answer) -> Ending:
        """The last answer; its record goes out with the reply, in one step."""
        self._keep(without_calls(answer))
        said = self._said()
        if answer.stop == "refusal":
            return closing("refused", said, ending.REFUSED)
        if answer.stop == "max_tokens":
            return closing("done", said, ending.CUT)
        if answer.stop == "model_context_window_exceeded":
            return closing("failed", said, ending.FULL)
        return closing("done", said)

    def _keep(self, answer: Answer) -> Record:
        record = self._recorder.answered(answer)
        self._answers.append(record)
        self._progress.keep(self._said())
        return record

    async def _ask(self, *, last: bool) -> Answer:
        """One answer, of the agent's model or, where that one gives none, of its fallback."""
        try:
            return await self._tried(last=last)
        except (ModelBusy, BrokenStream) as error:
            if self._plan.fallback in (None, self._asked):
                raise
            log.warning("model.fallback", agent=self._plan.agent, error=str(error))
            self._asked = str(self._plan.fallback)
            self._recorder.prefix = prompt.digest([self._recorder.prefix, self._asked])
            self._recorder.head = prompt.digest([self._recorder.head, self._asked])
            self._progress.again()
        return await self._tried(last=last)

    async def _tried(self, *, last: bool) -> Answer:
        """One answer; a broken stream or a busy server is tried again, within bounds."""
        attempts = self._budget.limits.attempts
        for attempt in range(1, attempts + 1):
            self._budget.requests += 1
            try:
                return await self._stream(last=last)
            except StaleThinking:
                self._recorder.prefix = prompt.digest([self._recorder.prefix, attempt])
            except (ModelBusy, BrokenStream) as error:
                pause = _pause(error, attempt)
                if attempt == attempts or pause > self._budget.seconds_left:
                    raise
                log.info("model.again", error=str(error), attempt=attempt, pause=pause)
                self._progress.again()
                self._progress.using(ending.AGAIN)
                await self._clock.sleep(pause)
        raise ModelBusy("no usable answer in the allowed number of tries")

    async def _stream(self, *, last: bool) -> Answer:
        """One try, paid for: what it can cost is set aside before, what it did cost is written."""
        request = self._request(last=last)
        await self._purse.reserve(request, self._recorder.heard)
        await self._recorder.asks()
        try:
            return await self._streamed(request)
        except ModelError:
            await self._recorder.broke()
            raise

    async def _streamed(self, request: ModelRequest) -> Answer:
        async with contextlib.aclosing(self._model.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, TextDelta):
                    self._progress.add(piece.text)
                elif isinstance(piece, ToolChosen):
                    self._progress.using(": ".join(self._render.names.get(piece.name, [])))
                elif isinstance(piece, Answer):
                    return self._told_apart(await self._filtered(piece))
        raise BrokenStream("the stream ended without an answer")

    async def _filtered(self, answer: Answer) -> Answer:
        size = len(orjson.dumps(answer.content))
        return await over(size, lambda: self._plan.filter.answer(answer))

    def _told_apart(self, answer: Answer) -> Answer:
        """The answer, none of its calls with the id of another one."""
        if not history.calls_of(answer.content):
            return answer
        turns = self._recorder.transcript.turns
        return told_apart(answer, ids_in([r for turn in turns for r in turn.records]))

    def _request(self, *, last: bool) -> ModelRequest:
        plan = self._plan
        return ModelRequest(
            model=self._asked,
            max_tokens=min(plan.max_tokens, plan.limits.tokens),
            system=self._render.system,
            tools=self._render.tools,
            messages=self._recorder.transcript.messages(self._recorder.prefix),
            temperature=plan.temperature,
            reasoning_effort=plan.reasoning_effort,
            no_tools=last and bool(self._render.tools),
        )

    def _said(self) -> str:
        """All text of this turn's answers that was not told before the turn last waited."""
        texts = [history.text_of(r.body["content"]) for r in self._answers[self._told :]]
        return "\n\n".join(text for text in texts if text)

    def _was_cut(self) -> bool:
        return any(record.body["stop"] == "max_tokens" for record in self._answers)


def _pause(error: ModelError, attempt: int) -> float:
    """Seconds until the next try; turns that failed in one moment do not come back in one."""
    wanted = error.retry_after if isinstance(error, ModelBusy) else None
    return max(wanted or 0.0, FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(1.0, 1.5))  # noqa: S311
