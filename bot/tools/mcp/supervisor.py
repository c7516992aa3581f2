"""One task that keeps one server connected: opens, waits until it is lost, waits a little, again.

It alone starts the task that enters and leaves a connection, so that no cancellation inside the SDK
reaches anybody else.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import ToolUnavailable
from bot.ports.clock import Clock
from bot.tools.mcp.breaker import Breaker
from bot.tools.mcp.connection import Connection
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.tool import Tool, printable

if TYPE_CHECKING:
    from bot.tools.mcp.connection import Connection

BACKOFF_FIRST = 0.2
BACKOFF_LIMIT = 30.0

_STEADY_SECONDS = 30.0
_JOIN_SECONDS = 2.0
_REFUSED = "Server returned an error response"
_CLOSED = frozenset({"BrokenResourceError", "ClosedResourceError", "EndOfStream"})
_LEAVE_SECONDS = 10.0
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
        await self._tasks.end(_LEAVE_SECONDS)

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
        sdk = await asyncio.to_thread(importlib.import_module, "bot.tools.mcp.connection")
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
            await asyncio.wait({child}, timeout=_LEAVE_SECONDS)
        finally:
            lost.cancel()
            child.cancel()
            await asyncio.wait({child}, timeout=_LEAVE_SECONDS)
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
