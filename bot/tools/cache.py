"""Results of tools that may be used again: in memory, bounded, each within its scope and time."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson

from bot.messages import Clock
from bot.ops.logging import Counters
from bot.skills.api import SkillContext
from bot.tools.calls import NO_ANSWER, Call, Result
from bot.tools.sources import WrappedTools
from registry.skill import Scope

MAX_BYTES = 16_000_000
MAX_SHARE = 16
"""One result may take up this part of the whole at most: a sixteenth."""
ENTRY_BYTES = 200

MakeCall = Callable[[float], Coroutine[Any, Any, Result]]
"""Makes the call within so many seconds."""


@dataclass(frozen=True, slots=True)
class CachedTools(WrappedTools):
    """Uses results again, of tools that the operator said only read.

    Knows nothing of policy: the call has been allowed before it comes here.
    """

    cache: ToolResultCache
    context: SkillContext

    async def call(self, call: Call, seconds: float) -> Result:
        """A result that is still good, else the call is made."""
        tool = self.tools.find(call)
        if tool is None or tool.cache is None:
            return await self.tools.call(call, seconds)
        key = cache_key(tool.cache.scope, self.context, call.digest, *tool.identity)
        make = partial(self.tools.call, call)
        return await self.cache.result(key, tool.cache.ttl_seconds, seconds, make)


def cache_key(scope: Scope, context: SkillContext, *called: object) -> str:
    """The key of a result: what was `called`, for whom, and who else may share it."""
    shared = {
        "agent": (),
        "conversation": (context.conversation,),
        "person": (context.conversation, context.user_id),
    }[scope]
    who = [context.instance_id, context.agent, scope, *shared]
    body = orjson.dumps([who, called], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class _CachedResult:
    raw: bytes
    size: int
    until: float


@dataclass(slots=True)
class _RunningCall:
    task: asyncio.Task[Result]
    waiting: int = 0


class ToolResultCache:
    """Results by key, `max_bytes` at most: the least recently used goes first.

    Equal calls at the same time share one run.
    """

    def __init__(self, clock: Clock, counters: Counters, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._counters = counters
        self._max_bytes = max_bytes
        self._results: OrderedDict[str, _CachedResult] = OrderedDict()
        self._running: dict[str, _RunningCall] = {}
        self._cancelled: set[asyncio.Task[Result]] = set()
        self.size = 0

    async def result(self, key: str, ttl: float, seconds: float, make: MakeCall) -> Result:
        """A cached result, that of an equal call that runs now, or one that is made and cached.

        `ttl` is how long a new result stays valid, `seconds` how long this caller may wait. A run
        goes on while at least one caller waits for it. Its failure belongs to whoever began it, who
        may have had less time: the others make the call once more, together.
        """
        ends = self._clock.monotonic() + seconds
        if (found := self.get(key)) is not None:
            return Result(found)
        if (run := self._running.get(key)) is not None:
            self._counters.add("tool_cache:joined")
            result = await self._wait(key, run, seconds)
            if not result.error or ends <= self._clock.monotonic():
                return _copied(result)
        left = ends - self._clock.monotonic()
        if (run := self._running.get(key)) is not None:
            return _copied(await self._wait(key, run, left))
        return await self._wait(key, self._start(key, ttl, make(left)))

    def get(self, key: str) -> Any | None:
        """The content cached under a key, None where there is none or its time is over."""
        found = self._results.get(key)
        if found is not None and found.until <= self._clock.monotonic():
            self._drop(key)
            found = None
        if found is None:
            return None
        self._counters.add("tool_cache:hit")
        self._results.move_to_end(key)
        return orjson.loads(found.raw)

    def put(self, key: str, content: Any, ttl: float) -> None:
        """Cache a content for `ttl` seconds; one that is too large is not cached."""
        raw = orjson.dumps(content)
        size = len(raw) + len(key) + ENTRY_BYTES
        self._drop(key)
        if size > self._max_bytes // MAX_SHARE:
            self._counters.add("tool_cache:too_large")
            return
        self._results[key] = _CachedResult(raw, size, self._clock.monotonic() + ttl)
        self.size += size
        while self.size > self._max_bytes:
            self._drop(next(iter(self._results)))

    def _start(self, key: str, ttl: float, call: Coroutine[Any, Any, Result]) -> _RunningCall:
        self._counters.add("tool_cache:miss")
        run = self._running[key] = _RunningCall(asyncio.create_task(call))

        def ended(task: asyncio.Task[Result]) -> None:
            self._remove(key, run)
            if task.cancelled() or task.exception() is not None:
                return
            result = task.result()
            if not result.error and not result.fate_unknown and result.rest is None:
                self.put(key, result.content, ttl)

        run.task.add_done_callback(ended)
        return run

    async def _wait(self, key: str, run: _RunningCall, seconds: float | None = None) -> Result:
        """The result of a run, or that the time was over; the last one to leave cancels it."""
        run.waiting += 1
        try:
            await asyncio.wait({run.task}, timeout=seconds)
        finally:
            run.waiting -= 1
            if not run.waiting and not run.task.done():
                self._remove(key, run)
                self._cancelled.add(run.task)  # the loop holds tasks weakly
                run.task.add_done_callback(self._cancelled.discard)
                run.task.cancel()
        answered = run.task.done() and not run.task.cancelled()
        return run.task.result() if answered else Result(NO_ANSWER, error=True)

    def _remove(self, key: str, run: _RunningCall) -> None:
        if self._running.get(key) is run:
            del self._running[key]

    def _drop(self, key: str) -> None:
        if found := self._results.pop(key, None):
            self.size -= found.size


def _copied(result: Result) -> Result:
    """The same result, with a content of the caller's own."""
    return replace(result, content=orjson.loads(orjson.dumps(result.content)))
