"""Internal skills, run within a deadline, on the loop or in a thread; none takes the host down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError, to_jsonable_python

from bot.ops.tasks import run_in_daemon_thread
from bot.skills.api import InvalidArguments, SkillContext, SkillError
from bot.skills.spec import SkillResult, SkillSpec, skill_error, timed_out, unread

log = structlog.get_logger("skills")

THREADS = 16
WORDS_LIMIT = 2000

TIMED_OUT = "Skill timed out"
NOT_STARTED = "Skill was not started: too many calls of slow skills are still running"
NOT_JSON = "Skill gave back what is no JSON"


class PythonSkillRunner:
    """Runs functions of installed packages; plain ones in threads, a bounded number of them."""

    def __init__(self, threads: int = THREADS) -> None:
        self._free = asyncio.Semaphore(threads)
        self._left: set[asyncio.Future[Any]] = set()

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], context: SkillContext, seconds: float
    ) -> SkillResult:
        """What the function comes to within `seconds`; whatever goes wrong is an answer as well."""
        assert skill.handler is not None
        try:
            work = skill.handler.bound(arguments, context)
        except InvalidArguments as wrong:
            return skill_error(f"Invalid input: {wrong}")
        made = self._on_loop if skill.handler.is_async else self._in_thread
        try:
            return _answer(await made(work, seconds))
        except _NotStarted:
            return skill_error(NOT_STARTED, retry=True)
        except TimeoutError:
            return timed_out(TIMED_OUT)
        except SkillError as error:
            return skill_error(str(error)[:WORDS_LIMIT], **({"retry": True} if error.retry else {}))
        except Exception as error:  # anybody's code: its end is a result
            # Its words may hold what no model should read: they are for the log alone.
            log.error("skill.failed", skill=skill.name, exc_info=error)
            kind = type(error).__name__
            return skill_error(f"Skill failed: {kind}", unknown=True, type=kind)

    async def _on_loop(self, work: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        return await self._within(asyncio.ensure_future(_tamely(work)), seconds)

    async def _in_thread(self, work: Callable[[], Any], seconds: float) -> Any:
        begun = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._free.acquire()
        except TimeoutError:
            raise _NotStarted from None
        left = max(0.0, seconds - (time.monotonic() - begun))
        return await self._within(run_in_daemon_thread(work, self._free.release), left)

    async def _within(self, future: asyncio.Future[Any], seconds: float) -> Any:
        """Its result; one that does not heed its cancellation is left behind, not waited for."""
        try:
            done, _ = await asyncio.wait([future], timeout=seconds)
        except asyncio.CancelledError:
            self._leave(future)
            raise
        if not done:
            self._leave(future)
            raise TimeoutError
        if future.cancelled():
            raise RuntimeError("the function cancelled itself")
        return future.result()

    def _leave(self, future: asyncio.Future[Any]) -> None:
        self._left.add(future)
        future.add_done_callback(self._left.discard)
        future.add_done_callback(_retrieve_exception)
        future.cancel()


class _NotStarted(Exception):
    """No thread came free in time."""


async def _tamely(work: Callable[[], Awaitable[Any]]) -> Any:
    """Somebody's sys.exit() would end the loop, and with it the host."""
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _answer(result: Any) -> SkillResult:
    try:
        return SkillResult(to_jsonable_python(result))
    except (PydanticSerializationError, ValueError, TypeError):
        return unread(NOT_JSON)


def _retrieve_exception(future: asyncio.Future[Any]) -> None:
    """Somebody looked at its error, so that nothing complains of it."""
    if not future.cancelled():
        future.exception()
