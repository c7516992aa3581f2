"""Health of the model, as its last calls show it; no call is made to find out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from bot.errors import ModelError
from bot.messages import Answer, Clock, Model, ModelRequest, Piece


class WatchedModel:
    """A `Model` that passes requests on to another, and notes how they end."""

    def __init__(self, model: Model, clock: Clock) -> None:
        self._model = model
        self._clock = clock
        self._answered_at: float | None = None
        self._failed_at: float | None = None
        self._failure = ""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of the other model's answer."""
        try:
            async with contextlib.aclosing(self._model.stream(request)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Answer):
                        self._answered_at = self._clock.monotonic()
                    yield piece
        except ModelError as error:
            self._failed_at = self._clock.monotonic()
            self._failure = type(error).__name__
            raise

    def report(self) -> dict[str, Any]:
        """`unused`, `ok` or `failing`, with the age of the last answer and failure in seconds."""
        now, answered, failed = self._clock.monotonic(), self._answered_at, self._failed_at
        state = "unused" if answered is None else "ok"
        if failed is not None and (answered is None or failed > answered):
            state = "failing"
        failure = {"last_failure": self._failure} if self._failure else {}
        ages = {"last_answer_s": _age(now, answered), "last_failure_s": _age(now, failed)}
        return {"state": state} | ages | failure


def _age(now: float, at: float | None) -> float | None:
    return None if at is None else round(now - at, 1)
