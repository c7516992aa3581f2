"""Tasks and time: awaiting, cancelling, threads, the system's clock and back-off."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

RETRY_CANCEL_SECONDS = 0.5
SHORT_TEXT = 4_000
"""Characters of a text that anything may be done with on the loop."""

T = TypeVar("T")
_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
    weakref.WeakKeyDictionary()
)


async def wait_first(
    *ends: asyncio.Event | asyncio.Future[Any] | Coroutine[Any, Any, Any],
    timeout: float | None = None,
) -> None:
    """Return once one of them is set, done or returned, or after `timeout` seconds.

    Coroutines are cancelled at the end; tasks and futures go on.
    """
    waits = [
        asyncio.create_task(end.wait() if isinstance(end, asyncio.Event) else end)
        for end in ends
        if not isinstance(end, asyncio.Future)
    ]
    futures = [end for end in ends if isinstance(end, asyncio.Future)]
    try:
        await asyncio.wait({*waits, *futures}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(waits)


async def cancel_and_wait(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and return once they have ended.

    The store's library loses a cancellation that comes while it connects: it is repeated then.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=RETRY_CANCEL_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


class TaskSet:
    """Background tasks: referenced while they run, and ended together."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task; nothing complains of an error that nobody reads."""
        task = asyncio.create_task(work)
        self.add(task)
        return task

    def add(self, future: asyncio.Future[Any]) -> None:
        """Keep a future that is already running."""
        self._running.add(future)
        future.add_done_callback(self._ended)

    async def wait(self, seconds: float) -> None:
        """Return once all that runs now has ended, or after `seconds`."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)

    async def end(self, seconds: float) -> None:
        """Cancel what still runs and wait for it, at most `seconds`."""
        for task in tuple(self._running):
            task.cancel()
        await self.wait(seconds)

    def _ended(self, future: asyncio.Future[Any]) -> None:
        self._running.discard(future)
        if not future.cancelled():
            future.exception()


async def offload_if_long(size: int, work: Callable[[], T]) -> T:
    """The result of work on so many characters: done at once, or in a thread where they are many.

    One such thread runs after the other, so that the loop never shares its time with several.
    """
    if size <= SHORT_TEXT:
        return work()
    async with _locks.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        return await run_in_daemon_thread(work)


def run_in_daemon_thread(
    work: Callable[[], T], ended: Callable[[], None] | None = None
) -> asyncio.Future[T]:
    """The result of `work`, done in a thread of its own.

    A future that is cancelled leaves the thread running; `ended` is called, on the loop, when that
    ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def resolve(result: Any, error: BaseException | None) -> None:
        if ended is not None:
            ended()
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001  (it is raised again on the loop)
            failure = _holdable(error)
        try:
            loop.call_soon_threadsafe(resolve, result, failure)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits
            return

    threading.Thread(target=run, name="daemon", daemon=True).start()
    return future


def _holdable(error: BaseException) -> Exception:
    """Convert exceptions that a Future cannot hold, or that would end the host (sys.exit)."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


class SystemClock:
    """The clocks of a real machine."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since boot, counting the machine's sleep where the system can tell."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(max(0.0, seconds))


def backoff(failures: int, first: float, longest: float, jitter: float = 0.2) -> float:
    """Seconds to wait after so many failures in a row: `first`, doubled each time, up to `longest`.

    `jitter` is the share by which the wait varies around that, so that many do not retry at once.
    0 without a failure.
    """
    if failures <= 0:
        return 0.0
    seconds = min(longest, first * 2.0 ** min(failures - 1, 32))
    return min(longest, seconds * random.uniform(1 - jitter, 1 + jitter))  # noqa: S311


@contextlib.contextmanager
def expiring_on(stop: asyncio.Event, time_limit: asyncio.Timeout) -> Iterator[None]:
    """Inside the block a time limit is over as soon as `stop` is set."""
    loop = asyncio.get_running_loop()

    def expire(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the time limit is over already
            time_limit.reschedule(loop.time())

    stopped = asyncio.create_task(stop.wait())
    stopped.add_done_callback(expire)
    try:
        yield
    finally:
        stopped.remove_done_callback(expire)
        stopped.cancel()
