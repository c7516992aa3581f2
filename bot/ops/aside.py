"""Blocking work beside the loop, in threads of which none can hold up the end of the process."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

QUICK = 4_000
"""Characters of a text that anything may be done with on the loop."""

T = TypeVar("T")
_turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = (
    weakref.WeakKeyDictionary()
)


async def over(size: int, work: Callable[[], T]) -> T:
    """What work over so many characters comes to: made at once, or in a thread where that is long.

    There one such work follows the other, so that the loop never shares its time with more of them.
    """
    if size <= QUICK:
        return work()
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        found: T = await aside(work)
        return found


def aside(work: Callable[[], Any], ended: Callable[[], None] | None = None) -> asyncio.Future[Any]:
    """What `work` comes to, made in a thread of its own.

    A future that is given up leaves the thread to its own end; only then `ended` is called, on the
    loop.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def tell(result: Any, error: BaseException | None) -> None:
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
            failure = _tamed(error)
        if not loop.is_closed():
            _to_loop(loop, tell, result, failure)

    threading.Thread(target=run, name="aside", daemon=True).start()
    return future


def _tamed(error: BaseException) -> Exception:
    """Somebody's sys.exit() is no end of the host, and a future takes no StopIteration."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _to_loop(loop: asyncio.AbstractEventLoop, tell: Callable[..., None], *found: Any) -> None:
    try:
        loop.call_soon_threadsafe(tell, *found)
    except RuntimeError:  # the loop was closed meanwhile: nobody waits
        return
