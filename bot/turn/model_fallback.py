"""One answer of the model, or of its fallback: asked again where that may help, and paid for."""

from __future__ import annotations

import contextlib
import random
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial

import orjson
import structlog

from bot.errors import (
    BrokenStream,
    ModelBusy,
    ModelError,
    ModelTimeout,
    RequestRefused,
    StaleThinking,
    StreamTimeout,
)
from bot.messages import Answer, Model, ModelRequest, TextDelta, ToolChosen
from bot.ops.tasks import offload_if_long
from bot.store.sessions import is_task
from bot.turn.narrowing import is_at_end, narrowed
from bot.turn.progress import Progress
from bot.turn.results import TRYING_AGAIN
from bot.turn.transcript import with_passing
from bot.turn.turn import Turn

log = structlog.get_logger("turn")

FIRST_PAUSE = 0.5
TRIES_IN_TIME = 3
"""How often a model is asked that does not answer in time; document 5, 15.3."""
FIRST_PAUSE_IN_TIME = 2.0
NO_THINKING = "none"
UNKNOWN_TOOL = "unknown_tool"
"""The name under which a call is recorded whose own name no server takes back."""
_LEGAL = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


@dataclass(slots=True, repr=False)
class ModelCaller:
    """Asks the agent's model for a turn, and its fallback model once that one gives no answer."""

    model: Model
    turn: Turn
    progress: Progress
    _model_name: str = field(init=False)
    _effort: str | None = field(init=False)
    _narrowed: int = field(init=False, default=0)
    _broken: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._model_name = self.turn.agent.model
        self._effort = self.turn.agent.effective.llm.reasoning_effort

    @property
    def asked(self) -> str:
        """The model that is asked now."""
        return self._model_name

    async def ask(self, *, last: bool) -> Answer:
        """One answer, without tool calls where it is the `last`; raises ModelError, OutOfBudget."""
        turn, attempt = self.turn, 1
        while True:
            turn.usage.requests += 1
            request = self._request(last=last)
            await turn.budget.reserve(request, turn.known_prompt)
            await turn.before_request()
            try:
                async with contextlib.aclosing(self.model.stream(request)) as pieces:
                    async for piece in pieces:
                        if isinstance(piece, Answer):
                            return await self._cleaned(piece)
                        if isinstance(piece, TextDelta):
                            self.progress.add(piece.text)
                        elif isinstance(piece, ToolChosen):
                            self.progress.using(": ".join(turn.prompt.names.get(piece.name, [])))
                    raise BrokenStream("the stream ended without an answer")
            except ModelError as error:
                await turn.request_failed()
                attempt = await self._next_attempt(error, attempt)

    def _request(self, *, last: bool) -> ModelRequest:
        turn, llm = self.turn, self.turn.agent.effective.llm
        return ModelRequest(
            model=self._model_name,
            max_tokens=turn.agent.max_tokens,
            system=turn.prompt.system,
            tools=turn.prompt.tools,
            messages=with_passing(turn.transcript.messages(turn.prefix, turn.view), turn.passing),
            temperature=llm.temperature,
            reasoning_effort=self._effort,
            no_tools=last and bool(turn.prompt.tools),
            passing=len(turn.passing),
        )

    async def _cleaned(self, answer: Answer) -> Answer:
        """The answer without secrets, and with calls as they can be sent back."""
        size, redact = len(orjson.dumps(answer.content)), self.turn.agent.filter.redact_answer
        answer = await offload_if_long(size, partial(redact, answer))
        if all(block["type"] != "tool_use" for block in answer.content):
            return answer
        return mended_calls(answer, self.turn.transcript.call_ids())

    async def _next_attempt(self, error: ModelError, attempt: int) -> int:
        """The number of the next attempt, after a pause; raises where there is none.

        The fallback model begins with the first one again.
        """
        turn, limits = self.turn, self.turn.usage.limits
        is_timeout = isinstance(error, ModelTimeout | StreamTimeout)
        most = min(limits.attempts, TRIES_IN_TIME) if is_timeout else limits.attempts
        has_more = attempt < most
        if isinstance(error, RequestRefused):
            self._narrow(error)
            return attempt
        if not isinstance(error, ModelBusy | BrokenStream | StaleThinking):
            raise error
        if self.progress.is_final or (turn.stream and self._has_broken(error)):
            raise error
        if isinstance(error, StaleThinking):
            turn.drop_thinking(attempt)
            if turn.answers:  # the thinking of this loop is gone: the API may insist on it
                self._effort = NO_THINKING
            if has_more:
                return attempt + 1
            error = ModelBusy("no usable answer in the allowed number of tries")
        elif has_more and (pause := _pause(error, attempt)) <= turn.usage.seconds_left:
            log.info("model.retry", error=str(error), attempt=attempt, pause=pause)
            self.progress.restart_step()
            if turn.stream is None:
                self.progress.using(TRYING_AGAIN)
            await turn.services.clock.sleep(pause)
            return attempt + 1
        fallback = turn.agent.effective.llm.fallback_model
        if fallback in (None, self._model_name):
            raise error
        log.warning("model.fallback", agent=turn.agent.id, error=str(error))
        self._model_name = str(fallback)
        turn.fall_back(str(fallback))
        self.progress.restart_step()
        return 1

    def _has_broken(self, error: ModelError) -> bool:
        """Whether a stream has broken off for the second time; over HTTP it is asked for once more.

        Spec 3, error handling: once, as long as nothing was shown. A task is tried as spec 5 says.
        """
        if isinstance(error, BrokenStream) and not is_task(self.turn.line.name):
            self._broken += 1
        return self._broken > 1

    def _narrow(self, error: RequestRefused) -> None:
        """Leave something out of the turn's next request; raises the error where nothing helps."""
        turn = self.turn
        messages = turn.transcript.messages(turn.prefix, turn.view)
        if turn.passing and is_at_end(error.place, messages):
            if messages[-1]["role"] != "user":  # a draft: without what it is to be read with, none
                raise error
            log.warning("rules.item_refused", agent=turn.agent.id, error=str(error))
            turn.passing = ()
            return
        view = narrowed(error, turn.transcript, turn.prefix, turn.view, self._narrowed)
        if view is None:
            raise error
        self._narrowed += 1
        turn.leave_out(view, error)
        self.progress.restart_step()


def _pause(error: ModelError, attempt: int) -> float:
    """Seconds until the next attempt; turns that failed together do not come back together."""
    wanted = error.retry_after if isinstance(error, ModelBusy) else None
    if isinstance(error, ModelTimeout | StreamTimeout):
        return max(wanted or 0.0, FIRST_PAUSE_IN_TIME * 2.0 ** (attempt - 1))
    return max(wanted or 0.0, FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(1.0, 1.5))  # noqa: S311


def mended_calls(answer: Answer, taken: Collection[str]) -> Answer:
    """The answer with calls that every server takes back.

    A call whose id is `taken`, there twice or no id gets a new one; a name that no tool can have
    becomes `unknown_tool`.
    """
    seen, content = set(taken), []
    for block in answer.content:
        if block["type"] == "tool_use":
            id, name = block.get("id"), block["name"]
            if not isinstance(id, str) or not _LEGAL.match(id) or id in seen:
                id = f"toolu_{secrets.token_hex(12)}"
            block = block | {"id": id, "name": name if _LEGAL.match(name) else UNKNOWN_TOOL}
            seen.add(id)
        content.append(block)
    return replace(answer, content=content)
