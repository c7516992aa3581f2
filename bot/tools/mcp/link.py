"""The calls of one server: slots, deadlines, the breaker, and what is known of a call's fate.

Callers wait here, never inside the SDK: each call runs in a task of its own, so that no
cancellation of a connection can look like a caller's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import ToolFateUnknown, ToolUnavailable
from bot.ports.clock import Clock
from bot.tools.mcp.breaker import Breaker
from bot.tools.mcp.connection import Connection
from bot.tools.mcp.fate import Departure, Lost
from bot.tools.mcp.results import ToolResult
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.supervisor import Supervisor, Tasks
from bot.tools.mcp.tool import printable

if TYPE_CHECKING:
    from bot.tools.mcp.connection import Connection
    from bot.tools.mcp.results import ToolResult

_CONNECT_WAIT = 15.0
_LAST_WORDS_SECONDS = 1.0
_TOO_SHORT_TO_RETRY = 0.05
_LEAVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LinkHealth:
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


class Link:
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
        except Lost as lost:
            may_repeat = not lost.left or self._is_repeatable(spec, tool)
            if not may_repeat or ends - _now() < _TOO_SHORT_TO_RETRY:
                raise self._error(tool, lost, left=lost.left) from None
            first = lost
        try:
            return await self._once(spec, tool, arguments, ends, pinned)
        except (Lost, ToolUnavailable) as error:
            left = first.left or (isinstance(error, Lost) and error.left)
            raise self._error(tool, error, left=left) from None

    async def close(self) -> None:
        """End the connection, its process and every task of this link."""
        await self.server.close()
        await self._tasks.end(_LEAVE_SECONDS)

    def health(self) -> LinkHealth:
        """How this server is doing now."""
        server = self.server
        is_up = server.connection is not None
        return LinkHealth(
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
            departure, began = Departure(), _now()
            call = self._tasks.spawn(
                connection.call(tool, arguments, _left(ends) + 5.0, spec.result_cap, departure)
            )
            try:
                await self._first(call, connection, ends)
                result = self._result(call, connection, departure)
            except Lost as lost:
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
        self, call: asyncio.Task[ToolResult], connection: Connection, departure: Departure
    ) -> ToolResult:
        if not call.done():
            if connection.lost.is_set():
                why = connection.reason or "the connection was closed"
                raise Lost(why, left=departure.left)
            raise Lost("no answer in time", left=departure.left, connection=False, silent=True)
        if call.cancelled():
            raise Lost("the connection broke", left=departure.left)
        error = call.exception()
        if error is None:
            return call.result()
        if isinstance(error, Lost):
            raise error
        self._log.warning("a call broke", why=type(error).__name__)
        raise Lost(f"the call broke ({type(error).__name__})", left=departure.left)

    def _failed(self, connection: Connection, lost: Lost, began: float) -> None:
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
