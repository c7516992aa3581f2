"""One MCP server, kept connected and shared: reconnects, limits on calls, and their outcomes.

Callers wait here, never inside the SDK: each call runs in a task of its own, so that no
cancellation of a connection can look like a caller's own.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import ToolFateUnknown, ToolUnavailable
from bot.mcp.result import CallLost, RequestState, ToolResult
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool, tool_named
from bot.messages import Clock
from bot.ops.tasks import TaskSet, backoff, wait_first
from bot.safety.text_safety import printable

if TYPE_CHECKING:
    from bot.mcp.connection import Connection

FIRST_PAUSE = 0.15
LONGEST_PAUSE = 30.0
FAILURES = 5
COOLDOWN_SECONDS = 20.0

_CONNECT_WAIT = 15.0
_JOIN_SECONDS = 2.0
_LAST_ANSWER_SECONDS = 1.0
_TOO_SHORT_TO_RETRY = 0.05
_STEADY_SECONDS = 30.0
_CLOSE_SECONDS = 10.0


class Breaker:
    """Counts failures in a row; times are seconds on the caller's monotonic clock."""

    def __init__(self, failures: int = FAILURES, cooldown: float = COOLDOWN_SECONDS) -> None:
        self._limit = failures
        self._cooldown = cooldown
        self._failures = 0
        self._open_until = 0.0
        self._is_tested = False

    def admits(self, now: float) -> bool:
        """Whether an attempt may be made; each cooldown is followed by one attempt."""
        if self._failures < self._limit:
            return True
        if now < self._open_until:
            return False
        self._open_until = now + self._cooldown
        self._is_tested = True
        return True

    def remaining(self, now: float) -> float:
        """Seconds until an attempt is admitted again."""
        return max(0.0, self._open_until - now) if self._failures >= self._limit else 0.0

    def succeeded(self) -> None:
        """An attempt succeeded: start counting again."""
        self._failures = 0
        self._is_tested = False

    def undecided(self, now: float) -> None:
        """An attempt ended without a verdict: if it followed a cooldown, the next is admitted."""
        if self._is_tested:
            self._is_tested = False
            self._open_until = now

    def failed(self, now: float) -> bool:
        """An attempt failed; True if that opened the breaker."""
        self._failures += 1
        self._is_tested = False
        if self._failures < self._limit:
            return False
        self._open_until = now + self._cooldown
        return self._failures == self._limit


@dataclass(frozen=True, slots=True)
class ServerCall:
    """One call: by the trust and limits of its `spec`, before `ends` on the loop's clock.

    With `pinned`, the digest of a tool, no other tool of that name is called.
    """

    spec: ServerSpec
    tool: str
    arguments: dict[str, Any]
    ends: float
    pinned: str = ""

    @property
    def seconds_left(self) -> float:
        """Seconds until it has to end."""
        return max(0.0, self.ends - _now())


class McpServer:
    """A server, connected again after each loss; a call brings the next attempt forward.

    `names` are those that agents give it, `connects` counts its connections, `calls` those that run
    now. `tools` and `prompts` are what it offers, also while it is away; `reason` says why it is.
    `instructions` is what it says of itself.
    `notes` say what was left out of its lists, and why.
    `settled` is set once the first attempt has succeeded or failed. Connecting and calling have a
    breaker each: a server that accepts every connection may still fail every call.
    """

    def __init__(self, spec: ServerSpec, clock: Clock) -> None:
        self.names = [spec.name]
        self.tools: tuple[Tool, ...] = ()
        self.prompts: tuple[str, ...] = ()
        self.instructions = ""
        self.notes: tuple[str, ...] = ()
        self.connects = 0
        self.reason = "not connected yet"
        self.settled = asyncio.Event()
        self.calls = 0
        self.transport = spec.definition.transport
        self._spec = spec
        self._clock = clock
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._tasks = TaskSet()
        self._connection: Connection | None = None
        self._is_opening = False
        self._retry_now = asyncio.Event()
        self._attempt: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connect_breaker = Breaker()
        self._call_breaker = Breaker()
        self._call_failed_at = 0.0
        self._slots = asyncio.Semaphore(spec.max_calls)
        self._task = asyncio.create_task(self._stay_connected(), name=f"mcp:{spec.name}")
        self._task.add_done_callback(self._on_end)

    @property
    def connection(self) -> Connection | None:
        """The connection, None while there is none."""
        current = self._connection
        return None if current is None or current.state.lost.is_set() else current

    @property
    def state(self) -> str:
        """`up`, `down` or `connecting`."""
        if self.connection is not None:
            return "up"
        return "down" if self.settled.is_set() else "connecting"

    async def close(self) -> None:
        """End the connection, its process and every task; who waits for it gets an error."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._tasks.end(_CLOSE_SECONDS)

    async def call(self, call: ServerCall) -> ToolResult:
        """The tool's answer; for what is raised, see `Pool.call`."""
        sent, why, timed_out, status = False, "", False, 0
        for may_retry in (True, False):
            try:
                return await self._try_call(call)
            except ToolUnavailable as error:
                if may_retry:
                    raise
                why = str(error)
            except CallLost as lost:
                sent, why = sent or lost.sent, str(lost)
                timed_out, status = lost.silent, lost.status
                known = tool_named(call.tool, self.tools)
                repeatable = not lost.sent or call.spec.is_repeatable(call.tool, known)
                if not (may_retry and repeatable and call.seconds_left >= _TOO_SHORT_TO_RETRY):
                    break
        name = f"{self._spec.name}: {printable(call.tool, 80)!r}"
        if sent:
            why = f"{name} may have run: {why}"
            raise ToolFateUnknown(why, timed_out=timed_out, status=status)
        raise ToolUnavailable(f"{name} did not run: {why}", timed_out=timed_out, status=status)

    async def _try_call(self, call: ServerCall) -> ToolResult:
        now = self._clock.monotonic()
        if not self._call_breaker.admits(now):
            seconds = max(1, round(self._call_breaker.remaining(now)))
            raise ToolUnavailable(
                f"{self._spec.name} failed too often: the next try is in {seconds} seconds"
            )
        try:
            async with self._slot(call):
                connection = await self._connected(min(_CONNECT_WAIT, call.seconds_left))
                found = tool_named(call.tool, connection.tools)
                if found is None:
                    name = printable(call.tool, 80)
                    raise ToolUnavailable(f"{self._spec.name} has no tool {name!r}")
                if call.pinned and found.digest != call.pinned:
                    raise ToolUnavailable(f"{found.name!r} has changed in the meantime; ask again")
                result = await self._call_on(connection, call)
        except (ToolUnavailable, asyncio.CancelledError):
            self._call_breaker.undecided(self._clock.monotonic())
            raise
        self._call_breaker.succeeded()
        return result

    @asynccontextmanager
    async def _slot(self, call: ServerCall) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(call.seconds_left):
                await self._slots.acquire()
        except TimeoutError:
            why = f"{self._spec.name} is busy: no free slot in time"
            raise ToolUnavailable(why, timed_out=True) from None
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self._slots.release()

    async def _call_on(self, connection: Connection, call: ServerCall) -> ToolResult:
        request, began, lost = RequestState(), _now(), connection.state.lost
        seconds, cap = call.seconds_left + 5.0, call.spec.result_cap
        task = self._tasks.spawn(connection.call(call.tool, call.arguments, seconds, cap, request))
        try:
            await wait_first(task, lost, timeout=call.seconds_left)
            if lost.is_set() and not task.done():
                # An answer that came just before the end is still on its way to us.
                await asyncio.wait({task}, timeout=_LAST_ANSWER_SECONDS)
            return self._outcome(task, connection, request)
        except CallLost as error:
            error.status = request.status
            self._call_lost(connection, error, began)
            raise
        finally:
            task.cancel()

    def _outcome(
        self, task: asyncio.Task[ToolResult], connection: Connection, request: RequestState
    ) -> ToolResult:
        if not task.done():
            if connection.state.lost.is_set():
                why = connection.state.reason or "the connection was closed"
                raise CallLost(why, sent=request.sent)
            raise CallLost("no answer in time", sent=request.sent, connection=False, silent=True)
        if task.cancelled():
            raise CallLost("the connection broke", sent=request.sent)
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, CallLost):
            raise error
        self._log.warning("a call broke", why=type(error).__name__)
        raise CallLost(f"the call broke ({type(error).__name__})", sent=request.sent)

    def _call_lost(self, connection: Connection, lost: CallLost, began: float) -> None:
        if lost.connection:
            connection.state.lose(str(lost))
        if not lost.silent:
            if began <= self._call_failed_at:  # many calls that one loss ended are one failure
                return
            self._call_failed_at = _now()
        if self._call_breaker.failed(self._clock.monotonic()) and not lost.connection:
            self._log.warning("too many failures: the server is not called for a while")
            self._tasks.spawn(connection.probe())

    async def _connected(self, seconds: float) -> Connection:
        """The connection; where there is none, the outcome of the next attempt, begun now.

        Raises ToolUnavailable where it fails, takes longer, or has failed too often.
        """
        if (connection := self.connection) is not None:
            return connection
        if self._task.done():
            raise ToolUnavailable(f"{self._spec.name} is closed")
        if not self._connect_breaker.admits(self._clock.monotonic()):
            if not (self._is_opening or self._retry_now.is_set()):
                raise ToolUnavailable(f"{self._spec.name} is not connected: {self.reason}")
            # It may be the attempt that succeeds: all who come in the meantime get its connection.
            seconds = min(seconds, _JOIN_SECONDS)
        self._expect_attempt()
        self._retry_now.set()
        await asyncio.wait({self._attempt}, timeout=seconds)
        if (connection := self.connection) is None:
            raise ToolUnavailable(f"{self._spec.name} is not connected: {self.reason}")
        return connection

    async def _stay_connected(self) -> None:
        sdk = await asyncio.to_thread(importlib.import_module, "bot.mcp.connection")
        failures = 0
        while True:
            began = self._clock.monotonic()
            self._is_opening = True
            reason = await self._until_lost(sdk.Connection(self._spec, self._on_listing))
            lasted = self._clock.monotonic() - began
            is_steady = self._connection is not None and lasted > _STEADY_SECONDS
            failures = 0 if is_steady else failures + 1
            self._on_loss(reason)
            pause = backoff(failures, FIRST_PAUSE, LONGEST_PAUSE)
            await wait_first(self._clock.sleep(pause), self._retry_now)
            self._retry_now.clear()

    async def _until_lost(self, connection: Connection) -> str:
        running = self._tasks.spawn(connection.run())
        try:
            await wait_first(running, connection.state.lost)
            self._expect_attempt()
            await asyncio.wait({running}, timeout=_CLOSE_SECONDS)
        finally:
            running.cancel()
            await asyncio.wait({running}, timeout=_CLOSE_SECONDS)
        error = running.exception() if running.done() and not running.cancelled() else None
        return connection.why(error)

    def _on_listing(self, connection: Connection) -> None:
        if connection.state.lost.is_set():
            return
        if self._connection is not connection:
            self._connection = connection
            self._is_opening = False
            self.connects += 1
            self.reason = ""
            self._connect_breaker.succeeded()
            self._log.info("connected", tools=len(connection.tools), connects=self.connects)
        self.tools, self.prompts = connection.tools, connection.prompts
        self.instructions = connection.instructions
        self.notes = connection.notes
        self._settle()

    def _on_loss(self, reason: str) -> None:
        was_up, self._connection = self._connection is not None, None
        self._is_opening = False
        if was_up or reason != self.reason:
            self._log.warning("connection lost" if was_up else "no connection", why=reason)
        self.reason = reason
        if not was_up:
            self._connect_breaker.failed(self._clock.monotonic())
            self._retry_now.clear()
            self._settle()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self.reason = "it was closed"
        if not task.cancelled() and (error := task.exception()) is not None:
            self.reason = f"its task broke ({type(error).__name__})"
            self._log.error("the connecting task broke", exc_info=error)
        self._settle()

    def _expect_attempt(self) -> None:
        # The first to see that there is no connection waits for the next outcome, not the last.
        if self._attempt.done():
            self._attempt = asyncio.get_running_loop().create_future()

    def _settle(self) -> None:
        self.settled.set()
        if not self._attempt.done():
            self._attempt.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
