"""Results that may be used again: in memory, bounded in bytes, each within its scope and its time.

Equal calls at once share one run. Knows nothing of policy: whoever asks has been allowed to make
the call.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bot.messages import Clock
from bot.ops.counters import Counters
from bot.skills.api import SkillContext
from bot.tools.calls import NO_ANSWER, Result
from registry.skill import Scope

BYTES_LIMIT = 16_000_000
SHARE = 16
"""One result may take up this part of the whole at most."""
ENTRY_BYTES = 200

Make = Callable[[float], Coroutine[Any, Any, Result]]
"""Makes the call within so many seconds."""


def cache_key(scope: Scope, context: SkillContext, *what: object) -> str:
    """The key of a result: `what` was called, under this definition, and who may share it."""
    shared = {
        "agent": (),
        "conversation": (context.conversation,),
        "person": (context.conversation, context.user_id),
    }[scope]
    who = [context.instance_id, context.agent, scope, *shared]
    body = orjson.dumps([who, what], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class _CachedResult:
    raw: bytes
    size: int
    until: float


@dataclass(slots=True)
class _Run:
    """A call that is being made, and how many wait for it."""

    task: asyncio.Task[Result]
    waiting: int = 0


class ToolResultCache:
    """Results by key; the ones used longest ago go first, `limit` is in bytes."""

    def __init__(self, clock: Clock, counters: Counters, limit: int = BYTES_LIMIT) -> None:
        self._clock = clock
        self._counters = counters
        self._limit = limit
        self._results: OrderedDict[str, _CachedResult] = OrderedDict()
        self._runs: dict[str, _Run] = {}
        self._leaving: set[asyncio.Task[Result]] = set()
        self.size = 0

    async def result(self, key: str, keep: float, seconds: float, make: Make) -> Result:
        """A kept result, that of an equal call that runs now, or one that is made and then kept.

        `keep` is for how many seconds it stands, `seconds` how long this caller has. A run goes on
        as long as anybody waits for it. Its failure belongs to whoever began it, who may have had
        less time: those who only waited make the call once more, together.
        """
        ends = self._clock.monotonic() + seconds
        if (found := self.get(key)) is not None:
            return Result(found)
        if (run := self._runs.get(key)) is not None:
            self._counters.add("tool_cache:joined")
            result = await self._awaited(key, run, seconds)
            if not result.error or ends <= self._clock.monotonic():
                return _copied(result)
        left = ends - self._clock.monotonic()
        if (run := self._runs.get(key)) is not None:
            return _copied(await self._awaited(key, run, left))
        return await self._awaited(key, self._begun(key, keep, make(left)))

    def get(self, key: str) -> Any | None:
        """The content that was kept under a key, None where there is none or its time is over."""
        found = self._results.get(key)
        if found is not None and found.until <= self._clock.monotonic():
            self._drop(key)
            found = None
        if found is None:
            return None
        self._counters.add("tool_cache:hit")
        self._results.move_to_end(key)
        return orjson.loads(found.raw)

    def put(self, key: str, content: Any, seconds: float) -> None:
        """Keep a content for so long; one that is too large is not kept."""
        raw = orjson.dumps(content)
        size = len(raw) + len(key) + ENTRY_BYTES
        self._drop(key)
        if size > self._limit // SHARE:
            self._counters.add("tool_cache:too_large")
            return
        self._results[key] = _CachedResult(raw, size, self._clock.monotonic() + seconds)
        self.size += size
        while self.size > self._limit:
            self._drop(next(iter(self._results)))

    def _begun(self, key: str, keep: float, call: Coroutine[Any, Any, Result]) -> _Run:
        self._counters.add("tool_cache:miss")
        run = _Run(asyncio.create_task(call))
        self._runs[key] = run

        def ended(task: asyncio.Task[Result]) -> None:
            self._over(key, run)
            if task.cancelled() or task.exception() is not None:
                return
            result = task.result()
            if not result.error and not result.fate_unknown and result.rest is None:
                self.put(key, result.content, keep)

        run.task.add_done_callback(ended)
        return run

    async def _awaited(self, key: str, run: _Run, seconds: float | None = None) -> Result:
        """What a run comes to, or that the time was over; who leaves last ends it."""
        run.waiting += 1
        try:
            await asyncio.wait({run.task}, timeout=seconds)
        finally:
            run.waiting -= 1
            if not run.waiting and not run.task.done():
                self._over(key, run)
                self._end(run.task)
        answered = run.task.done() and not run.task.cancelled()
        return run.task.result() if answered else Result(NO_ANSWER, error=True)

    def _end(self, task: asyncio.Task[Result]) -> None:
        """Cancel a run, and hold it until it has left."""
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        task.cancel()

    def _over(self, key: str, run: _Run) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]

    def _drop(self, key: str) -> None:
        if found := self._results.pop(key, None):
            self.size -= found.size


def _copied(result: Result) -> Result:
    """The same result, whose content is the caller's own."""
    return replace(result, content=orjson.loads(orjson.dumps(result.content)))
