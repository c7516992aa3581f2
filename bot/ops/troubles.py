"""Tells the admins, once, when a source of agents goes bad."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

import structlog

from bot.ops.notices import Notices, key_of
from bot.ports import Clock
from registry.errors import Problem

log = structlog.get_logger("troubles")

_LINE = re.compile(r"(:\d+)+\Z")


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

    def look(self) -> None:
        """Compare with the last look; never blocks."""
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
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)


def _source(problem: Problem) -> str:
    """The document of a problem, without its line."""
    return _LINE.sub("", problem.place)
