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

from bot.errors import BrokenStream, ModelBusy, ModelError, StaleThinking
from bot.messages import Answer, Model, ModelRequest, TextDelta, ToolChosen
from bot.ops.tasks import offload_if_long
from bot.turn.progress import Progress
from bot.turn.prompt import content_hash
from bot.turn.results import TRYING_AGAIN
from bot.turn.turn import Turn

log = structlog.get_logger("turn")

FIRST_PAUSE = 0.5
_CALL_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


@dataclass(slots=True, repr=False)
class ModelCaller:
    """Asks the agent's model for a turn, and its fallback model once that one gives no answer."""

    model: Model
    turn: Turn
    progress: Progress
    _model_name: str = field(init=False)

    def __post_init__(self) -> None:
        self._model_name = self.turn.agent.model

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
            messages=turn.transcript.messages(turn.prefix),
            temperature=llm.temperature,
            reasoning_effort=llm.reasoning_effort,
            no_tools=last and bool(turn.prompt.tools),
        )

    async def _cleaned(self, answer: Answer) -> Answer:
        """The answer without secrets, and with no call that has the id of another one."""
        size, redact = len(orjson.dumps(answer.content)), self.turn.agent.filter.redact_answer
        answer = await offload_if_long(size, partial(redact, answer))
        if all(block["type"] != "tool_use" for block in answer.content):
            return answer
        return ensure_unique_call_ids(answer, self.turn.transcript.call_ids())

    async def _next_attempt(self, error: ModelError, attempt: int) -> int:
        """The number of the next attempt, after a pause; raises where there is none.

        The fallback model begins with the first one again.
        """
        if not isinstance(error, ModelBusy | BrokenStream | StaleThinking):
            raise error
        turn = self.turn
        has_more = attempt < turn.usage.limits.attempts
        if isinstance(error, StaleThinking):
            turn.prefix = content_hash([turn.prefix, attempt])
            if has_more:
                return attempt + 1
            error = ModelBusy("no usable answer in the allowed number of tries")
        elif has_more and (pause := _pause(error, attempt)) <= turn.usage.seconds_left:
            log.info("model.retry", error=str(error), attempt=attempt, pause=pause)
            self.progress.restart_step()
            self.progress.using(TRYING_AGAIN)
            await turn.services.clock.sleep(pause)
            return attempt + 1
        fallback = turn.agent.effective.llm.fallback_model
        if fallback in (None, self._model_name):
            raise error
        log.warning("model.fallback", agent=turn.agent.id, error=str(error))
        self._model_name = str(fallback)
        turn.prefix = content_hash([turn.prefix, fallback])
        turn.head = content_hash([turn.head, fallback])
        self.progress.restart_step()
        return 1


def _pause(error: ModelError, attempt: int) -> float:
    """Seconds until the next attempt; turns that failed together do not come back together."""
    wanted = error.retry_after if isinstance(error, ModelBusy) else None
    return max(wanted or 0.0, FIRST_PAUSE * 2.0 ** (attempt - 1) * random.uniform(1.0, 1.5))  # noqa: S311


def ensure_unique_call_ids(answer: Answer, taken: Collection[str]) -> Answer:
    """The answer, with a new id for each call whose own is `taken`, there twice, or no id."""
    seen, content = set(taken), []
    for block in answer.content:
        if block["type"] == "tool_use":
            id = block.get("id")
            if not isinstance(id, str) or not _CALL_ID.match(id) or id in seen:
                block = {**block, "id": f"toolu_{secrets.token_hex(12)}"}
            seen.add(block["id"])
        content.append(block)
    return replace(answer, content=content)
