"""Tells the admins, once, when a source of agents goes bad."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from bot.ops.notices import Notices, key_of
from bot.ports.clock import Clock
from registry.errors import Problem

log = structlog.get_logger("troubles")

SOON = 0.2


class Troubles:
    """Looks at the errors after each change, and tells of a source that has some and had none.

    A source that is mended and breaks again is told of again.
    """

    def __init__(
        self, errors: Callable[[], Sequence[Problem]], notices: Notices, clock: Clock
    ) -> None:
        self._errors = errors
        self._notices = notices
        self._clock = clock
        self._bad: set[str] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None

    def look_soon(self) -> None:
        """Look once in a moment, however often this is called: bots come by the hundred."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self.look)

    def look(self) -> None:
        """Compare with the last look; never blocks."""
        self._forget_soon()
        errors = self._errors()
        news = [problem for problem in errors if _source(problem) not in self._bad]
        self._bad = {_source(problem) for problem in errors}
        if not news:
            return
        text = "\n".join(str(problem) for problem in news)
        log.error("agents.bad", problems=text)
        words = f"The agents have a problem; what was good before stays in force.\n\n{text}"
        told = asyncio.create_task(self._notices.tell(key_of(words, self._clock.wall()), words))
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Stop telling."""
        self._forget_soon()
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    def _forget_soon(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None


def _source(problem: Problem) -> str:
    """The document of a problem, without its line and column."""
    place = problem.place
    for _ in range(2):
        before, _, number = place.rpartition(":")
        place = before if before and number.isdecimal() else place
    return place
