"""The calls of one server: slots, deadlines, the breaker, and what is known of a call's fate.

Callers wait here, never inside the SDK: each call runs in a task of its own, so that no
cancellation of a connection can look like a caller's own.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import ToolFateUnknown, ToolUnavailable
from bot.mcp.call_outcome import CallLost, RequestSent
from bot.mcp.connection import Connection
from bot.mcp.result import ToolResult
from bot.mcp.server_spec import ServerSpec
from bot.mcp.tool_spec import Tool
from bot.messages import Clock
from bot.safety.text_safety import printable

if TYPE_CHECKING:
    from bot.mcp.connection import Connection
    from bot.mcp.result import ToolResult

_CONNECT_WAIT = 15.0
_LAST_WORDS_SECONDS = 1.0
_TOO_SHORT_TO_RETRY = 0.05
_LEAVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ConnectionHealth:
    """How a server is doing: `state` is up, down or connecting, `reason` says why it is not up.

    `lives` counts its connections, `calls` those that run now, `resting` the seconds for which a
    breaker lets no call through.
    """

    state: str
    reason: str
    lives: int
    tools: int
    prompts: int
    calls: int
    resting: float


class ServerCalls:
    """One server, shared by all who call its tools."""

    def __init__(self, spec: ServerSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._tasks = Tasks()
        self._slots = asyncio.Semaphore(spec.max_calls)
        self._breaker = Breaker()
        self._broke_at = 0.0
        self._running = 0
        self.server = Supervisor(spec, clock)

    async def call(
        self, spec: ServerSpec, tool: str, arguments: Any, seconds: float, pinned: str = ""
    ) -> ToolResult:
        """The tool's answer within `seconds`, by the trust and limits of `spec`.

        With `pinned`, the digest of a tool, no other tool of that name is called. Raises
        ToolUnavailable where the call surely did not run, else ToolFateUnknown.
        """
        ends = _now() + seconds
        try:
            return await self._once(spec, tool, arguments, ends, pinned)
        except CallLost as lost:
            may_repeat = not lost.left or self._is_repeatable(spec, tool)
            if not may_repeat or ends - _now() < _TOO_SHORT_TO_RETRY:
                raise self._error(tool, lost, left=lost.left) from None
            first = lost
        try:
            return await self._once(spec, tool, arguments, ends, pinned)
        except (CallLost, ToolUnavailable) as error:
            left = first.left or (isinstance(error, CallLost) and error.left)
            raise self._error(tool, error, left=left) from None

    async def close(self) -> None:
        """End the connection, its process and every task of this link."""
        await self.server.close()
        await self._tasks.end(_LEAVE_SECONDS)

    def health(self) -> ConnectionHealth:
        """How this server is doing now."""
        server = self.server
        is_up = server.connection is not None
        return ConnectionHealth(
            state="up" if is_up else ("down" if server.settled.is_set() else "connecting"),
            reason="" if is_up else server.reason,
            lives=server.lives,
            tools=len(server.tools),
            prompts=len(server.prompts),
            calls=self._running,
            resting=max(self._breaker.remaining(self._clock.monotonic()), server.resting),
        )

    async def _once(
        self, spec: ServerSpec, tool: str, arguments: dict[str, Any], ends: float, pinned: str
    ) -> ToolResult:
        self._admit()
        try:
            return await self._admitted(spec, tool, arguments, ends, pinned)
        except (ToolUnavailable, asyncio.CancelledError):
            self._breaker.undecided(self._clock.monotonic())
            raise

    async def _admitted(
        self, spec: ServerSpec, tool: str, arguments: dict[str, Any], ends: float, pinned: str
    ) -> ToolResult:
        async with self._slot(ends):
            connection = await self.server.connected(min(_CONNECT_WAIT, _left(ends)))
            self._check(tool, pinned, connection)
            departure, began = RequestSent(), _now()
            call = self._tasks.spawn(
                connection.call(tool, arguments, _left(ends) + 5.0, spec.result_cap, departure)
            )
            try:
                await self._first(call, connection, ends)
                result = self._result(call, connection, departure)
            except CallLost as lost:
                self._failed(connection, lost, began)
                raise
            finally:
                call.cancel()
            self._breaker.succeeded()
            return result

    def _check(self, tool: str, pinned: str, connection: Connection) -> None:
        """Whether the connection still has this tool, and as it was pinned."""
        found = next((known for known in connection.listing.tools if known.name == tool), None)
        if found is None:
            raise ToolUnavailable(f"{self._spec.name} has no tool {printable(tool, 80)!r} now")
        if pinned and found.digest != pinned:
            raise ToolUnavailable(f"{printable(tool, 80)!r} is another tool by now; ask again")

    async def _first(
        self, call: asyncio.Task[ToolResult], connection: Connection, ends: float
    ) -> None:
        """Wait until the call is done, or its connection lost, or its time over."""
        loss = self._tasks.spawn(connection.lost.wait())
        try:
            await asyncio.wait(
                {call, loss}, timeout=_left(ends), return_when=asyncio.FIRST_COMPLETED
            )
            if loss.done() and not call.done():
                # An answer that came just before the end is still on its way to us.
                await asyncio.wait({call}, timeout=_LAST_WORDS_SECONDS)
        finally:
            loss.cancel()

    def _result(
        self, call: asyncio.Task[ToolResult], connection: Connection, departure: RequestSent
    ) -> ToolResult:
        if not call.done():
            if connection.lost.is_set():
                why = connection.reason or "the connection was closed"
                raise CallLost(why, left=departure.left)
            raise CallLost("no answer in time", left=departure.left, connection=False, silent=True)
        if call.cancelled():
            raise CallLost("the connection broke", left=departure.left)
        error = call.exception()
        if error is None:
            return call.result()
        if isinstance(error, CallLost):
            raise error
        self._log.warning("a call broke", why=type(error).__name__)
        raise CallLost(f"the call broke ({type(error).__name__})", left=departure.left)

    def _failed(self, connection: Connection, lost: CallLost, began: float) -> None:
        if lost.connection:
            connection.lose(str(lost))
        if not lost.silent:
            if began <= self._broke_at:  # many calls ended with one loss: that is one failure
                return
            self._broke_at = _now()
        if self._breaker.failed(self._clock.monotonic()) and not lost.connection:
            self._log.warning("too many failures: the server is left alone for a while")
            self._tasks.spawn(connection.probe())

    @asynccontextmanager
    async def _slot(self, ends: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(_left(ends)):
                await self._slots.acquire()
        except TimeoutError:
            raise ToolUnavailable(f"{self._spec.name} is busy: no free slot in time") from None
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._slots.release()

    def _admit(self) -> None:
        now = self._clock.monotonic()
        if not self._breaker.admits(now):
            rest = max(1, round(self._breaker.remaining(now)))
            raise ToolUnavailable(
                f"{self._spec.name} failed too often: it is left alone for {rest} seconds"
            )

    def _is_repeatable(self, spec: ServerSpec, tool: str) -> bool:
        known = next((known for known in self.server.tools if known.name == tool), None)
        hinted = known is not None and (known.read_only or known.idempotent)
        return spec.is_repeatable(tool) or (spec.trust_annotations and hinted)

    def _error(self, tool: str, why: Exception, *, left: bool) -> ToolUnavailable | ToolFateUnknown:
        name = f"{self._spec.name}: {printable(tool, 80)!r}"
        if left:
            return ToolFateUnknown(f"{name} may have run: {why}")
        return ToolUnavailable(f"{name} did not run: {why}")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _left(ends: float) -> float:
    return max(0.0, ends - _now())


if TYPE_CHECKING:
    from bot.mcp.connection import Connection

BACKOFF_FIRST = 0.2
BACKOFF_LIMIT = 30.0

_STEADY_SECONDS = 30.0
_JOIN_SECONDS = 2.0
_REFUSED = "Server returned an error response"
_CLOSED = frozenset({"BrokenResourceError", "ClosedResourceError", "EndOfStream"})
_CLOSE_SECONDS = 10.0
_WORDS = 4_000


class Tasks:
    """Tasks that nobody awaits by name: held while they run, and ended together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task; an error of it that nobody reads is no error of the loop."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return task

    async def end(self, seconds: float) -> None:
        """Cancel what still runs and wait for it, at most so long."""
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()


class Supervisor:
    """Keeps a server connected, and knows what it offers, also while it is away.

    `settled` is set once the first attempt has succeeded or failed; `lives` counts connections,
    `reason` says why there is none.
    """

    def __init__(self, spec: ServerSpec, clock: Clock) -> None:
        self._spec = spec
        self._clock = clock
        self._log = structlog.get_logger("mcp").bind(server=spec.name)
        self._tasks = Tasks()
        self._breaker = Breaker()
        self._connection: Connection | None = None
        self._is_opening = False
        self._kick = asyncio.Event()
        self._attempt = _new_attempt()
        self.settled = asyncio.Event()
        self.lives = 0
        self.reason = "not connected yet"
        self.tools: tuple[Tool, ...] = ()
        self.prompts: tuple[str, ...] = ()
        self._task = asyncio.create_task(self._supervise(), name=f"mcp:{spec.name}")
        self._task.add_done_callback(self._ended)

    @property
    def connection(self) -> Connection | None:
        """The connection as it stands, None while there is none."""
        live = self._connection
        return None if live is None or live.lost.is_set() else live

    @property
    def resting(self) -> float:
        """Seconds for which no call may ask for a new attempt."""
        return self._breaker.remaining(self._clock.monotonic())

    async def connected(self, seconds: float) -> Connection:
        """The connection; where there is none, the outcome of the next attempt, begun now.

        Raises ToolUnavailable where it fails, takes longer, or has failed too often.
        """
        if (connection := self.connection) is not None:
            return connection
        seconds = min(seconds, self._admit())
        self._expect_attempt()
        self._kick.set()
        await asyncio.wait({self._attempt}, timeout=seconds)
        if (connection := self.connection) is None:
            raise ToolUnavailable(f"{self._spec.name} is not connected: {self.reason}")
        return connection

    async def close(self) -> None:
        """End the connection and its process; whoever waits for it is told."""
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._tasks.end(_CLOSE_SECONDS)

    def _admit(self) -> float:
        """For how many seconds a caller may wait for the next attempt."""
        if self._task.done():
            raise ToolUnavailable(f"{self._spec.name} is closed")
        if self._breaker.admits(self._clock.monotonic()):
            return math.inf
        if not (self._is_opening or self._kick.is_set()):
            raise ToolUnavailable(f"{self._spec.name} is not connected: {self.reason}")
        # It may be the attempt that succeeds: all who come meanwhile get its connection.
        return _JOIN_SECONDS

    async def _supervise(self) -> None:
        sdk = await asyncio.to_thread(importlib.import_module, "bot.mcp.connection")
        tries = 0
        while True:
            began = self._clock.monotonic()
            self._is_opening = True
            reason = await self._live(sdk.Connection(self._spec, self._listed))
            lasted = self._clock.monotonic() - began
            is_steady = self._connection is not None and lasted > _STEADY_SECONDS
            tries = 0 if is_steady else tries + 1
            self._went_down(reason)
            await self._pause(tries)

    async def _live(self, connection: Connection) -> str:
        """One life of a connection, from its first byte until it is gone; why it ended."""
        child = self._tasks.spawn(connection.run())
        lost = self._tasks.spawn(connection.lost.wait())
        try:
            await asyncio.wait({child, lost}, return_when=asyncio.FIRST_COMPLETED)
            self._expect_attempt()
            await asyncio.wait({child}, timeout=_CLOSE_SECONDS)
        finally:
            lost.cancel()
            child.cancel()
            await asyncio.wait({child}, timeout=_CLOSE_SECONDS)
        return self._why(child, connection)

    def _why(self, child: asyncio.Task[None], connection: Connection) -> str:
        error = child.exception() if child.done() and not child.cancelled() else None
        while isinstance(error, BaseExceptionGroup) and error.exceptions:
            error = error.exceptions[0]
        if isinstance(error, TimeoutError):
            return "the server did not answer in time"
        if error is None or type(error).__name__ in _CLOSED or "Connection closed" in str(error):
            words = connection.reason or "the connection was closed"
        else:
            words = f"{type(error).__name__}: {error}"
        if connection.trouble and _REFUSED in words:  # the SDK's word for what we know better
            words = ""
        told = self._spec.redact(f"{words} {connection.trouble}".strip()[:_WORDS])
        return printable(told, 500).replace("\n", " ")

    def _listed(self, connection: Connection) -> None:
        if connection.lost.is_set():
            return
        if self._connection is not connection:
            self._connection = connection
            self._is_opening = False
            self.lives += 1
            self.reason = ""
            self._breaker.succeeded()
            self._log.info("connected", tools=len(connection.listing.tools), life=self.lives)
        self.tools = connection.listing.tools
        self.prompts = connection.listing.prompts
        self._settle()

    def _went_down(self, reason: str) -> None:
        was_up, self._connection = self._connection is not None, None
        self._is_opening = False
        if was_up or reason != self.reason:
            self._log.warning("connection lost" if was_up else "no connection", why=reason)
        self.reason = reason
        if not was_up:
            self._breaker.failed(self._clock.monotonic())
            self._kick.clear()
            self._settle()

    def _expect_attempt(self) -> None:
        # Whoever sees first that there is no connection waits for the next outcome, not the last.
        if self._attempt.done():
            self._attempt = _new_attempt()

    def _settle(self) -> None:
        self.settled.set()
        if not self._attempt.done():
            self._attempt.set_result(None)

    async def _pause(self, tries: int) -> None:
        """Wait before the next attempt: longer each time, or until a call comes."""
        delay = min(BACKOFF_LIMIT, BACKOFF_FIRST * 2 ** min(tries - 1, 16)) if tries else 0.0
        jittered = delay * random.uniform(0.5, 1.0)  # noqa: S311
        sleep = self._tasks.spawn(self._clock.sleep(jittered))
        kick = self._tasks.spawn(self._kick.wait())
        try:
            await asyncio.wait({sleep, kick}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleep.cancel()
            kick.cancel()
            self._kick.clear()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.reason = "it was closed"
        if not task.cancelled() and (error := task.exception()) is not None:
            self.reason = f"its supervisor broke ({type(error).__name__})"
            self._log.error("the supervisor broke", exc_info=error)
        self._settle()


def _new_attempt() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


FAILURES = 5
REST_SECONDS = 20.0


class Breaker:
    """Counts failures in a row; times are seconds on the caller's monotonic clock."""

    def __init__(self, failures: int = FAILURES, rest: float = REST_SECONDS) -> None:
        self._limit = failures
        self._rest = rest
        self._failures = 0
        self._until = 0.0
        self._is_tried = False

    def admits(self, now: float) -> bool:
        """Whether a try may be made; after the rest one try passes, and then another rest."""
        if self._failures < self._limit:
            return True
        if now < self._until:
            return False
        self._until = now + self._rest
        self._is_tried = True
        return True

    def is_open(self, now: float) -> bool:
        """Whether tries are being refused."""
        return self._failures >= self._limit and now < self._until

    def remaining(self, now: float) -> float:
        """Seconds until a try is admitted again."""
        return max(0.0, self._until - now) if self.is_open(now) else 0.0

    def succeeded(self) -> None:
        """A try went well: all is forgotten."""
        self._failures = 0
        self._is_tried = False

    def undecided(self, now: float) -> None:
        """A try ended without a verdict: if it was the one after a rest, the next one passes."""
        if self._is_tried:
            self._is_tried = False
            self._until = now

    def failed(self, now: float) -> bool:
        """A try failed; True if that opened the breaker."""
        self._failures += 1
        self._is_tried = False
        if self._failures < self._limit:
            return False
        self._until = now + self._rest
        return self._failures == self._limit
