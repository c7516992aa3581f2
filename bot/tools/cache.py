"""Results of tools that may be used again: in memory, bounded, each within its scope and time."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from bot.mcp.result import ToolFile
from bot.messages import Clock
from bot.ops.logging import Counters
from bot.ops.tasks import TaskSet
from bot.skills.api import SkillContext
from bot.tools.calls import NO_ANSWER, TIMED_OUT, Call, Result, WrappedTools, failed
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
class CachedResult:
    """A content as JSON, until when it is good, and the files that came with it."""

    raw: bytes
    until: float
    files: tuple[ToolFile, ...]
    size: int


@dataclass(slots=True)
class _RunningCall:
    task: asyncio.Task[Result]
    waiting: int = 0


@dataclass(slots=True, repr=False)
class ToolResultCache:
    """Results by key, `max_bytes` at most: the least recently used goes first.

    Equal calls at the same time share one run.
    """

    clock: Clock
    counters: Counters
    max_bytes: int = MAX_BYTES
    size: int = field(init=False, default=0)
    _results: OrderedDict[str, CachedResult] = field(init=False, default_factory=OrderedDict)
    _running: dict[str, _RunningCall] = field(init=False, default_factory=dict)
    _cancelled: TaskSet = field(init=False, default_factory=TaskSet)

    async def result(self, key: str, ttl: float, seconds: float, make: MakeCall) -> Result:
        """A cached result, that of an equal call that runs now, or one that is made and cached.

        `ttl` is how long a new result stays valid, `seconds` how long this caller may wait. A run
        continues while at least one caller waits for it. Its failure counts only for the caller
        that began it, which may have had less time: the others make the call once more, together.
        """
        ends = self.clock.monotonic() + seconds
        if (found := self.get(key)) is not None:
            return Result(found, files=self._results[key].files)
        if (run := self._running.get(key)) is not None:
            self.counters.add("tool_cache:joined")
            result = await self._wait(key, run, seconds)
            if not result.error or ends <= self.clock.monotonic():
                return _copied(result)
        left = ends - self.clock.monotonic()
        if (run := self._running.get(key)) is not None:
            return _copied(await self._wait(key, run, left))
        return await self._wait(key, self._start(key, ttl, make(left)))

    def get(self, key: str) -> Any | None:
        """The content cached under a key, None where there is none or its time is over."""
        found = self._results.get(key)
        if found is None or found.until <= self.clock.monotonic():
            self._drop(key)
            return None
        self.counters.add("tool_cache:hit")
        self._results.move_to_end(key)
        return orjson.loads(found.raw)

    def put(self, key: str, content: Any, ttl: float, files: tuple[ToolFile, ...] = ()) -> None:
        """Cache a content for `ttl` seconds; one that is too large is not cached."""
        raw = orjson.dumps(content)
        size = (
            len(raw) + len(key) + ENTRY_BYTES + sum(len(one.data) + len(one.text) for one in files)
        )
        self._drop(key)
        if size > self.max_bytes // MAX_SHARE:
            self.counters.add("tool_cache:too_large")
            return
        self._results[key] = CachedResult(raw, self.clock.monotonic() + ttl, files, size)
        self.size += size
        while self.size > self.max_bytes:
            self._drop(next(iter(self._results)))

    def _start(self, key: str, ttl: float, call: Coroutine[Any, Any, Result]) -> _RunningCall:
        self.counters.add("tool_cache:miss")
        run = self._running[key] = _RunningCall(asyncio.create_task(call))

        def ended(task: asyncio.Task[Result]) -> None:
            self._remove(key, run)
            if task.cancelled() or task.exception() is not None:
                return
            result = task.result()
            if not result.error and not result.fate_unknown and result.rest is None:
                self.put(key, result.content, ttl, result.files)

        run.task.add_done_callback(ended)
        return run

    async def _wait(self, key: str, run: _RunningCall, seconds: float | None = None) -> Result:
        """The result of a run, or that the time was up; the last one to leave cancels it."""
        run.waiting += 1
        try:
            await asyncio.wait({run.task}, timeout=seconds)
        finally:
            run.waiting -= 1
            if not run.waiting and not run.task.done():
                self._remove(key, run)
                self._cancelled.add(run.task)  # the loop holds tasks weakly
                run.task.cancel()
        answered = run.task.done() and not run.task.cancelled()
        return run.task.result() if answered else failed(TIMED_OUT, retry=True, note=NO_ANSWER)

    def _remove(self, key: str, run: _RunningCall) -> None:
        if self._running.get(key) is run:
            del self._running[key]

    def _drop(self, key: str) -> None:
        if found := self._results.pop(key, None):
            self.size -= found.size


def _copied(result: Result) -> Result:
    return replace(result, content=orjson.loads(orjson.dumps(result.content)))
