"""Values checked against JSON Schemas, so that no stranger's schema or value holds up the loop.

What is certain to be quick is checked at once. The rest goes to a process, one value at a time: it
is started when first needed, killed if it takes too long, and ended when idle.
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

from bot.ops.lenient_json import MAX_DEPTH, is_too_deep
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
MAX_STEPS = 500_000
"""Parts of a schema times bytes of a value that are checked at once: 20 milliseconds at worst."""
MAX_EXPLAINED_STEPS = 2_000
"""The same where alternatives are explained one by one, which is slow."""
CACHED_SCHEMAS = 256
_LONG_NUMBER = re.compile(rb"\d{19}")
"""The library compares each of many such numbers with all others."""

Mismatch = tuple[str, str] | None
"""What is wrong with a value, and where in it."""

TOO_LARGE = (f"it is larger than {VALUE_LIMIT} bytes", "$")
TOO_DEEP = (f"it is nested deeper than {MAX_DEPTH} levels", "$")
NOT_JSON = ("it is not plain JSON", "$")
TOO_SLOW = ("it cannot be checked against its schema in time", "$")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One schema, ready to be used; without a `validator` only the process uses it."""

    schema: Mapping[str, Any]
    parts: int = 0
    has_branches: bool = False
    validator: Draft202012Validator | None = None
    error: Mismatch = None


class SchemaValidator:
    """Checks values; `seconds` is how long the process may take for one of them."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._cache: OrderedDict[int, _Prepared] = OrderedDict()
        self._process = _ValidatorProcess()

    async def mismatch(
        self, schema: Mapping[str, Any], value: Any, *, lenient: bool = False
    ) -> str | None:
        """What is wrong with a value, in a sentence; None where it fits the schema.

        `lenient`: any value fits a schema that cannot be used.
        """
        found = await self._mismatch(schema, value)
        if found and found[0] == schema_worker.UNUSABLE and lenient:
            return None
        return None if found is None else f"{printable(found[0], 300)} at {found[1][:80]}"

    async def close(self) -> None:
        """End the process, if there is one."""
        await self._process.end()

    async def _mismatch(self, schema: Mapping[str, Any], value: Any) -> Mismatch:
        if is_too_deep(value):
            return TOO_DEEP
        try:
            raw = json.dumps(value, allow_nan=False).encode()
        except (TypeError, ValueError):
            return NOT_JSON
        if len(raw) > VALUE_LIMIT:
            return TOO_LARGE
        prepared = self._prepared(schema)
        if prepared.error:
            return prepared.error
        steps = prepared.parts * len(raw)
        if prepared.validator is None or steps > MAX_STEPS or _LONG_NUMBER.search(raw):
            return await self._process.check(schema, raw, self._seconds)
        try:
            if prepared.validator.is_valid(value):
                return None
        except ValueError:  # half of a surrogate pair
            return NOT_JSON
        if prepared.has_branches and steps > MAX_EXPLAINED_STEPS:
            return await self._process.check(schema, raw, self._seconds)
        return schema_worker.misfit(prepared.validator, value)

    def _prepared(self, schema: Mapping[str, Any]) -> _Prepared:
        """The schema, measured and compiled once while it is in use."""
        known = self._cache.get(id(schema))
        if known is None or known.schema is not schema:
            known = self._cache[id(schema)] = _prepare(schema)
        self._cache.move_to_end(id(schema))
        while len(self._cache) > CACHED_SCHEMAS:
            self._cache.popitem(last=False)
        return known


def _prepare(schema: Mapping[str, Any]) -> _Prepared:
    try:
        cost = tool_schema.cost(schema)
        if cost.parts is None or cost.parts > MAX_STEPS:
            return _Prepared(schema)
        validator = schema_worker.validator(schema)
    except (InvalidValue, ValueError):
        return _Prepared(schema, error=(schema_worker.UNUSABLE, "$"))
    return _Prepared(schema, cost.parts, cost.branches, validator)


class _ValidatorProcess:
    """The process that checks what may take long."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Future[None] | None = None

    async def check(self, schema: Mapping[str, Any], raw: bytes, seconds: float) -> Mismatch:
        """What the process says within `seconds`; waits for its turn, but not without an end."""
        request = b"[%b,%b]" % (json.dumps(schema).encode(), raw)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._lock.acquire()
        except TimeoutError:
            return TOO_SLOW
        try:
            return await self._answer(request, seconds)
        finally:
            self._lock.release()

    async def end(self) -> None:
        """End the process."""
        if self._leaving is not None and self._leaving is not asyncio.current_task():
            await self._leaving
        self._stop_idling()
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _answer(self, request: bytes, seconds: float) -> Mismatch:
        self._stop_idling()
        answer = b""
        try:
            async with asyncio.timeout(START_SECONDS):
                process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(seconds + 1.0):  # it ends itself when its time is over
                process.stdin.write(schema_worker.HEAD.pack(seconds, len(request)) + request)
                await process.stdin.drain()
                answer = await process.stdout.readline()
        except (TimeoutError, OSError) as error:
            log.warning("validation.failed", why=type(error).__name__)
        finally:
            if not answer.endswith(b"\n"):  # also where the caller leaves: its answer is not ours
                await self.end()
        if not answer.endswith(b"\n"):
            log.warning("validation.ended", seconds=seconds)
            return TOO_SLOW
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._leave)
        found = json.loads(answer)
        return None if found is None else (str(found[0]), str(found[1]))

    async def _started(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", schema_worker.__file__), stdin=PIPE, stdout=PIPE, env={}
            )
            if self._process.stdout is not None:
                await self._process.stdout.readline()  # it is ready
        return self._process

    def _stop_idling(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _leave(self) -> None:
        self._leaving = asyncio.ensure_future(self.end())
