"""The agent loop: ask the model, run its tool calls, until the turn ends or is suspended.

Each step looks at what is recorded, does the next thing and records it; so a turn that was cut off
anywhere continues from there in the same loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from bot.approvals.request import PendingCall, Suspension
from bot.errors import (
    ModelError,
    ModelRefused,
    ModelTimeout,
    OutOfBudget,
    PromptTooLong,
    RequestRefused,
    StreamTimeout,
)
from bot.messages import Answer, Json, is_whole
from bot.ops.tasks import expiring_on, offload_if_long
from bot.store.journal import Record
from bot.turn import results
from bot.turn.model_fallback import ModelCaller
from bot.turn.progress import Progress
from bot.turn.results import Outcome, TurnResult, turn_result
from bot.turn.tool_calls import ToolCalls
from bot.turn.turn import Turn
from bot.usage.budgets import RequestRate

if TYPE_CHECKING:
    from bot.profiles.rules import Decision, TurnRules

log = structlog.get_logger("turn")

_OF_MODEL = frozenset({"model", "permission", "setting"})
"""The faults of a refusal that another model may not have."""
_ENDS: Mapping[str, tuple[Outcome, str, str]] = {
    "refusal": ("refused", results.REFUSED, "Refused"),
    "max_tokens": ("done", results.CUT, ""),
    "model_context_window_exceeded": ("failed", results.FULL, "PromptTooLong"),
}
"""How a turn ends by the stop reason of its last answer: the outcome, what is added, the error."""
OUT_OF_TIME = "OutOfTime"


def _kind_of(error: Exception) -> str:
    is_timeout = isinstance(error, ModelTimeout | StreamTimeout)
    return results.TIMEOUT if is_timeout else type(error).__name__


@dataclass(frozen=True, slots=True)
class AgentLoop:
    """Takes one turn to its end, or until people must approve something.

    `rules` are those of the agent's profile, None where it has none.
    """

    turn: Turn
    model: ModelCaller
    calls: ToolCalls
    progress: Progress
    rate: RequestRate
    rules: TurnRules | None = None

    async def run(self) -> TurnResult | Suspension:
        """How the turn ends; its last records are not written yet.

        The person's stop and the turn's time limit end it wherever it is; what was said stays.
        """
        stop, time_limit = self.turn.stop, asyncio.timeout(self.turn.usage.seconds_left)
        try:
            async with time_limit:
                with expiring_on(stop, time_limit):
                    while (end := await self.step()) is None:
                        pass
        except TimeoutError:
            if not time_limit.expired():
                raise
            return await self._interrupted(by_person=stop.is_set())
        except OutOfBudget as error:
            note = results.OUT_OF_BUDGET.format(error)
            return await self._gave_up("refused", note, error)
        except RequestRefused as error:
            log.error("model.refused", agent=self.turn.agent.id, error=str(error), cause="message")
            note = results.TOO_LONG if isinstance(error, PromptTooLong) else results.NOT_TAKEN
            return replace(await self._gave_up("failed", note, error), is_refused=True)
        except ModelRefused as error:
            cause, agent = error.cause, self.turn.agent.id
            log.error("model.refused", agent=agent, error=str(error), cause=cause)
            is_own = error.fault in _OF_MODEL and _is_of_preset(self.turn, self.model.asked)
            note = results.OWN_MODEL if is_own else results.BROKEN
            return await self._gave_up("failed", note, error)
        except ModelError as error:
            cause, agent = error.cause, self.turn.agent.id
            log.warning("model.gave_up", agent=agent, error=str(error), cause=cause)
            return replace(await self._gave_up("failed", results.BUSY, error), can_retry=True)
        return end

    def close(self, end: TurnResult) -> None:
        """Note what the rules leave to the next turn; it is recorded with the end of this one."""
        if self.rules is not None:
            left = self.rules.closing(is_refused=end.is_refused)
            self.turn.add(*([left] if left else []))

    async def step(self) -> TurnResult | Suspension | None:
        """Resume the calls that are open, or ask the model; the end if this was the last step."""
        turn = self.turn
        if open_calls := turn.open_calls():
            return self._suspension(await self.calls.resume(open_calls))
        if not self._looks_before() and turn.has_draft:  # the host ended, and its rule is gone
            return turn_result("done", turn.said(), turn.note)
        who = (turn.line.name, turn.opened.ref.conversation, turn.incoming.person.id)
        if not self.rate.take(who, turn.usage.limits.per_minute):
            return self._too_many(results.TOO_MANY_REQUESTS)
        if not await turn.budget.take_request(turn.usage.limits):
            return self._too_many(results.TOO_MUCH_AT_ONCE)
        last = turn.usage.is_last_request
        may_go_on = self.rules is not None and not last and self.rules.may_go_on()
        self.progress.begin_step(withheld=may_go_on)
        answer = await self.model.ask(last=last)
        has_calls = any(block["type"] == "tool_use" for block in answer.content)
        was_cut = any(earlier.body["stop"] == "max_tokens" for earlier in turn.answers)
        calls_cut = answer.stop == "max_tokens" and has_calls and not was_cut
        wants_calls = answer.stop == "tool_use" and has_calls
        if last or not (wants_calls or calls_cut or answer.stop == "pause_turn"):
            return await self._end_with(answer, last=last)
        record = turn.add_answer(answer)
        self._look_after(record, last=last)
        self.progress.end_step(goes_on=True)
        if wants_calls:
            return self._suspension(await self.calls.start(turn.calls(record)))
        if calls_cut:
            await self.calls.refuse_cut(record)
        else:
            await turn.record()
        return None

    def _too_many(self, note: str) -> TurnResult:
        said = self.turn.said(goes_on=True)
        return replace(turn_result("refused", said, note), error=results.TOO_MANY)

    def _suspension(self, pending: list[PendingCall]) -> Suspension | None:
        said = self.turn.said(goes_on=True)
        return Suspension(tuple(pending), said) if pending else None

    async def _end_with(self, answer: Answer, *, last: bool) -> TurnResult | None:
        """The last answer, without calls; its record is written with the reply, in one step.

        Unless a rule asks for another step: then it is a draft, and recorded now.
        """
        spoken = [block for block in answer.content if block["type"] != "tool_use"]
        record = self.turn.add_answer(replace(answer, content=spoken))
        decision = self._look_after(record, last=last)
        if decision is not None and decision.goes_on:
            self.progress.end_step(goes_on=True)
            await self.turn.record()
            return None
        self.progress.end_step()
        outcome, note, error = _ENDS.get(answer.stop, ("done", self.turn.note, ""))
        if decision is not None and (action := decision.action) and action.type == "end_agent_turn":
            is_error = action.outcome == "error"
            own = decision.message or (results.ENDED_BY_RULE if is_error else "")
            note = "\n\n".join(filter(None, (note, own)))
            outcome, error = ("failed", results.BY_RULE) if is_error else (outcome, error)
        said = self.turn.said(goes_on=not is_whole(spoken, answer.stop))
        return replace(turn_result(outcome, said, note), error=error)

    def _looks_before(self) -> bool:
        """Look at the rules before a request; whether it has something for the model to read."""
        if self.rules is None:
            return False
        self.turn.reading, self.turn.passing = self.rules.before()
        return bool(self.turn.reading)

    def _look_after(self, answer: Record, *, last: bool) -> Decision | None:
        """Look at the rules after an answer; what they did is recorded together with it."""
        if self.rules is None:
            return None
        decision, record = self.rules.after(answer, may_go_on=not last)
        self.turn.add(record)
        return decision

    async def _gave_up(self, outcome: Outcome, note: str, error: Exception) -> TurnResult:
        """The end of a turn that gets no answer; what was shown of one stays, and is marked."""
        facts = results.partial_facts(note, self.progress.chunks)
        said, has_partial = await self._keep_partial(outcome, facts)
        result = turn_result(outcome, said, note, facts if has_partial else None)
        return replace(result, error=_kind_of(error))

    async def _keep_partial(self, outcome: Outcome, facts: Json | None) -> tuple[str, bool]:
        """All that can have been seen, and whether some of it is of an answer that is not whole.

        That becomes a record of its own, with these facts. A draft, and what is withheld as it may
        become one, is nothing that was said.
        """
        shown, whole = self.progress.visible, self.turn.said(goes_on=True)
        said = await self._redacted(shown)
        if partial := shown[len(whole) :].strip():
            text = [{"type": "text", "text": await self._redacted(partial)}]
            self.turn.add_answer(Answer(text, outcome), partial=facts or {"partial": True})
        return said, bool(partial)

    async def _interrupted(self, *, by_person: bool) -> TurnResult:
        outcome: Outcome = "stopped" if by_person else "failed"
        why = results.STOPPED_BY_PERSON if by_person else results.OUT_OF_TIME
        facts = results.partial_facts(why, self.progress.chunks)
        said, has_partial = await self._keep_partial(outcome, facts)
        if by_person and not said and self.turn.request.entry.superseded:
            return TurnResult(outcome, "")
        if by_person:
            note = results.STOPPED if said else results.STOPPED_EARLY
            return turn_result(outcome, said, note)
        result = turn_result(outcome, said, results.OUT_OF_TIME, facts if has_partial else None)
        return replace(result, error=OUT_OF_TIME)

    async def _redacted(self, text: str) -> str:
        """What was said before the turn was interrupted, as it may be stored."""
        redact = self.turn.agent.filter.redact_text
        return await offload_if_long(len(text), lambda: redact(text, cut=True))


def _is_of_preset(turn: Turn, model: str) -> bool:
    """Whether the model that was asked is the choice of the person's own preset."""
    return turn.agent.effective.layers.get("model") == "L5" and model == turn.agent.model
