"""Values judged by JSON Schemas, so that nothing that others wrote holds up the loop.

What is surely quick is done at once. All else goes to a process of its own, one question at a time:
it is started when it is first needed, ended when it takes too long, and leaves when it is idle.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.ops.plain_json import LEVELS, is_deep
from bot.safety.text_safety import printable
from registry import schema_worker, tool_schema
from registry.errors import InvalidValue

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

log = structlog.get_logger("validation")

VALUE_LIMIT = 1_000_000
SECONDS = 2.0
WAIT_SECONDS = 10.0
START_SECONDS = 10.0
IDLE_SECONDS = 30.0
STEPS = 500_000
"""Parts of a schema times bytes of a value that are judged at once: 20 milliseconds at worst."""
STEPS_TOLD = 2_000
"""The same where each of several ways is told of in which a value does not fit: that is slow."""
REMEMBERED = 256
_LONG_NUMBER = re.compile(rb"\d{19}")
"""The library compares each of many such numbers with all others."""

Found = tuple[str, str] | None
"""What is wrong with a value, and where in it."""

TOO_LARGE = (f"it is larger than {VALUE_LIMIT} bytes", "$")
TOO_DEEP = (f"it is nested deeper than {LEVELS} levels", "$")
NOT_PLAIN = ("it is no plain JSON", "$")
TOO_SLOW = ("it cannot be judged by its schema in the time that there is", "$")


@dataclass(frozen=True, slots=True)
class _Plan:
    """How values are judged by one schema; without a `judge`, only by the process."""

    schema: Mapping[str, Any]
    parts: int = 0
    branches: bool = False
    judge: Draft202012Validator | None = None
    refusal: Found = None


class Validation:
    """Judges values; `seconds` is how long the process may take for one of them."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._plans: OrderedDict[int, _Plan] = OrderedDict()
        self._helper = _Helper()

    async def misfit(self, wanted: Mapping[str, Any], value: Any) -> str | None:
        """What is wrong with a value, in a sentence; None where it fits the schema."""
        found = await self._found(wanted, value)
        return None if found is None else f"{printable(found[0], 300)} at {found[1][:80]}"

    async def close(self) -> None:
        """End the process, if there is one."""
        await self._helper.end()

    async def _found(self, wanted: Mapping[str, Any], value: Any) -> Found:
        if is_deep(value):
            return TOO_DEEP
        try:
            raw = json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError):
            return NOT_PLAIN
        if len(raw) > VALUE_LIMIT:
            return TOO_LARGE
        plan = self._plan(wanted)
        slow = plan.parts * len(raw) > STEPS or _LONG_NUMBER.search(raw) is not None
        if plan.refusal or plan.judge is None or slow:
            return plan.refusal or await self._asked(plan, raw)
        try:
            if plan.judge.is_valid(value):
                return None
        except ValueError:  # half of a surrogate pair
            return NOT_PLAIN
        if plan.branches and plan.parts * len(raw) > STEPS_TOLD:
            return await self._asked(plan, raw)
        return schema_worker.misfit(plan.judge, value)

    async def _asked(self, plan: _Plan, raw: bytes) -> Found:
        question = b"[%b,%b]" % (json.dumps(plan.schema).encode(), raw)
        return await self._helper.found(question, self._seconds)

    def _plan(self, wanted: Mapping[str, Any]) -> _Plan:
        """How to judge by a schema, which is counted and made ready once while it is in use."""
        known = self._plans.get(id(wanted))
        if known is None or known.schema is not wanted:
            known = self._plans[id(wanted)] = _planned(wanted)
        self._plans.move_to_end(id(wanted))
        while len(self._plans) > REMEMBERED:
            self._plans.popitem(last=False)
        return known


def _planned(wanted: Mapping[str, Any]) -> _Plan:
    try:
        cost = tool_schema.cost(wanted)
        if cost.parts is None or cost.parts > STEPS:
            return _Plan(wanted)
        judge = schema_worker.validator(wanted)
    except (InvalidValue, ValueError):
        return _Plan(wanted, refusal=(schema_worker.UNUSABLE, "$"))
    return _Plan(wanted, cost.parts, cost.branches, judge)


class _Helper:
    """The process that judges what may take long."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Future[None] | None = None

    async def found(self, question: bytes, seconds: float) -> Found:
        """What the process finds within its time; it is not waited for without an end."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            return TOO_SLOW
        try:
            return await self._told(question, seconds)
        finally:
            self._turn.release()

    async def end(self) -> None:
        """Nothing of the process is left."""
        if self._leaving is not None and self._leaving is not asyncio.current_task():
            await self._leaving
        self._stay()
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _told(self, question: bytes, seconds: float) -> Found:
        self._stay()
        answer = b""
        try:
            async with asyncio.timeout(START_SECONDS):
                process = await self._started()
            async with asyncio.timeout(seconds + 1.0):  # it ends itself when its time is over
                answer = await _answer(process, question, seconds)
        except (TimeoutError, OSError) as error:
            log.warning("validation.failed", why=type(error).__name__)
        finally:
            if not answer.endswith(b"\n"):  # also where the asker leaves: its answer is not ours
                await self.end()
        if not answer.endswith(b"\n"):
            log.warning("validation.ended", seconds=seconds)
            return TOO_SLOW
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._leave)
        told = json.loads(answer)
        return None if told is None else (str(told[0]), str(told[1]))

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", schema_worker.__file__), stdin=PIPE, stdout=PIPE, env={}
            )
            if self._process.stdout is not None:
                await self._process.stdout.readline()  # it is ready
        return self._process

    def _stay(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave(self) -> None:
        self._leaving = asyncio.ensure_future(self.end())


async def _answer(process: Process, question: bytes, seconds: float) -> bytes:
    """The line that the process answers with; a part of one, or nothing, where it ended."""
    if process.stdin is None or process.stdout is None:
        return b""
    process.stdin.write(schema_worker.HEAD.pack(seconds, len(question)) + question)
    await process.stdin.drain()
    return await process.stdout.readline()
