"""Answers over ASGI: paced, held at gates, cut off by the script, or left by the client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulators.http_server import until_disconnected
from simulators.messages.gates import Gates
from simulators.messages.stream import Event, HangUp, Hold, Step

Ended = Callable[[str], None]
DROPPED = "dropped"


class PlayedResponse(Response):
    """A response that plays steps, then calls `ended` with "done", "dropped" or "left".

    `headers` None: the connection closes before any header. `pace` is in tokens a second.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        gates: Gates,
        ended: Ended,
        *,
        headers: Mapping[str, str] | None,
        pace: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__(status_code=200, headers=headers)
        self._steps = steps
        self._gates = gates
        self._ended = ended
        self._silent = headers is None
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Play until the end, or until the client has left."""
        outcome = None
        try:
            outcome = await unless_disconnected(self._play(receive, send), receive)
        finally:
            self._ended(outcome or "left")
        if outcome == DROPPED:
            await until_disconnected(receive)

    async def _play(self, receive: Receive, send: Send) -> str:
        if self._silent:
            return hang_up(receive)
        headers = [pair for pair in self.raw_headers if pair[0] != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for step in self._steps:
            if isinstance(step, HangUp):
                return hang_up(receive)
            if isinstance(step, Hold):
                await self._gates.wait(step.gate)
            else:
                await self._send(step, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return "done"

    async def _send(self, event: Event, send: Send) -> None:
        pace = self._pace()
        if pace and event.tokens:
            await asyncio.sleep(event.tokens / pace)
        await send({"type": "http.response.body", "body": event.data, "more_body": True})


async def unless_disconnected(work: Coroutine[Any, Any, str], receive: Receive) -> str | None:
    """The result of `work`, or None if the client closes the connection before that."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(until_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def hang_up(receive: Receive) -> str:
    """Close the connection, once what was written is out.

    ASGI has no word for this, so the server's own transport is closed; behind anything that
    wraps `receive` an error does it, which a server answers with 500 before the headers.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionAbortedError("the script drops this connection")
    transport.close()
    return DROPPED
