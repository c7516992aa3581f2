"""Answers that take long: what waits for a turn, and streams of server-sent events.

The application only begins them. The gate sends the rest when the application has let go of the
request, so that an open stream costs a socket, two tasks and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from bot.errors import StoreError
from bot.http.api.problems import ApiError, fault, unavailable
from bot.ops.tasks import RETRY_CANCEL_SECONDS, cancel_and_wait

log = structlog.get_logger("api")


class Later(Response):
    """An answer that `send_rest` sends; `gone` is called where the client goes before its end."""

    def __init__(
        self,
        send_rest: Callable[[Send], Coroutine[Any, Any, None]],
        gone: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__()
        self._send_rest = send_rest
        self._gone = gone

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Hand the answer over to the gate."""
        scope["state"]["later"] = self

    async def run(self, receive: Receive, send: Send) -> None:
        """Send the answer; ends where it ends, where the client goes, and where the host stops.

        Raises ApiError where it fails before it has begun.
        """
        sending = _Sending(receive, send)
        watching = asyncio.create_task(sending.watch(), name="api.watching")
        try:
            await self._send_rest(sending.send)
        except asyncio.CancelledError:
            await cancel_and_wait([watching])
            if not sending.client_left():
                raise
            await self._leave()
        except ApiError as refusal:
            await sending.fail(refusal)
        except StoreError as error:
            log.warning("answer.cut_off", error=str(error))
            await sending.fail(unavailable())
        except Exception:
            log.exception("api.fault")
            await sending.fail(fault())
        finally:
            await cancel_and_wait([watching])

    async def _leave(self) -> None:
        """The client has gone; nobody is there to be told where what follows from it fails."""
        if self._gone is None:
            return
        try:
            await self._gone()
        except StoreError as error:
            log.warning("answer.not_stopped", error=str(error), so="its turn continues")
        except Exception:
            log.exception("api.fault")


class _Sending:
    """An answer on its way, in the task that makes this; `watch` ends it where the client goes."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._began = self._ended = False
        self._cancelled = 0
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        self._began = True
        self._ended = message["type"] == "http.response.body" and not message.get("more_body")
        await self._send(message)

    async def watch(self) -> None:
        """Cancel the task once the client has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        while not self._ended:
            self._cancelled += 1
            self._task.cancel()
            # The store's library loses a cancellation that comes while it connects.
            await asyncio.sleep(RETRY_CANCEL_SECONDS)

    def client_left(self) -> bool:
        """Whether the task was cancelled for that alone; it is as if it had not been."""
        for _ in range(self._cancelled):
            self._task.uncancel()
        return self._cancelled > 0 and not self._task.cancelling()

    async def fail(self, refusal: ApiError) -> None:
        """Raise a refusal; where the answer has begun, end it: its reader asks again."""
        if not self._began:
            raise refusal from None
        if not self._ended:
            await self._send({"type": "http.response.body"})


def event(kind: str, data: str, id: str = "") -> bytes:
    """One event of a stream: each line of the data is a line of its own."""
    lines = [f"id: {id}"] if id else []
    lines += [f"event: {kind}", *(f"data: {line}" for line in _lines(data))]
    return ("\n".join(lines) + "\n\n").encode()


def data_event(data: str, id: str = "") -> bytes:
    """One event without a name of its own; the data is a single line."""
    place = f"id: {id}\n" if id else ""
    return f"{place}data: {data}\n\n".encode()


def _lines(data: str) -> list[str]:
    # A CR would end a line as well, and the client would read it as LF.
    return data.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def place(id: str) -> bytes:
    """The id from which a client that breaks now reads on; this is no event."""
    return f"id: {id}\n\n".encode()


HEARTBEAT = b": \n\n"
