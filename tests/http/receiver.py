"""Who hears of the end of tasks: a server that keeps what it is sent, and checks the signatures.

The check is written from the Standard Webhooks specification, and shares nothing with the host.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

MASTER = "a-master-secret-of-the-operator-0123456789"
WORDS = {
    "TASK_WEBHOOK_SECRET": MASTER,
    "INTERNAL_HOSTS": "127.0.0.1",
    "SWEEP_SECONDS": "0.05",
}
"""The settings of a host that sends webhooks, to this machine as well."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Whether one of the signatures in its header is right."""
        kind, _, key = secret.partition("_")
        assert kind == "whsec"
        content = b".".join(
            (
                self.headers["webhook-id"].encode(),
                self.headers["webhook-timestamp"].encode(),
                self.body,
            )
        )
        mac = hmac.new(base64.b64decode(key, validate=True), content, hashlib.sha256)
        wanted = base64.b64encode(mac.digest()).decode()
        found = (one.split(",", 1) for one in self.headers["webhook-signature"].split(" "))
        return any(version == "v1" and text == wanted for version, text in found)


@dataclass
class Receiver:
    """Answers 204, or what `answers` says next; None: it does not answer at all."""

    url: str = ""
    answers: list[int | None] = field(default_factory=list)
    heard: list[Delivery] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.heard.append(Delivery(headers, await request.read()))
        self.more.set()
        status = self.answers.pop(0) if self.answers else 204
        if status is None:
            await asyncio.Event().wait()
        headers = {"Location": f"{self.url}/elsewhere"} if status in (302, 307) else {}
        return web.Response(status=status or 204, headers=headers)

    async def until_heard(self, count: int, seconds: float = 30) -> list[Delivery]:
        """All that it was sent, once that is so much."""
        async with asyncio.timeout(seconds):
            while len(self.heard) < count:
                self.more.clear()
                await self.more.wait()
        return self.heard


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver, app = Receiver(), web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield receiver
    finally:
        await runner.cleanup()
