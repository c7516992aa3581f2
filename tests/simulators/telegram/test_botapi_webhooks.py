from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulators.http_server import serving

if TYPE_CHECKING:
    from tests.simulators.telegram.conftest import Api

BOUND = 5.0


class WebhookReceiver:
    """A webhook that keeps what it gets and answers as told."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[tuple[dict[str, Any], str | None]] = asyncio.Queue()
        self.answers: list[Response] = []

    async def take(self, request: Request) -> Response:
        secret = request.headers.get("x-telegram-bot-api-secret-token")
        self.got.put_nowait((orjson.loads(await request.body()), secret))
        return self.answers.pop(0) if self.answers else Response()

    async def next(self) -> tuple[dict[str, Any], str | None]:
        return await asyncio.wait_for(self.got.get(), BOUND)


@asynccontextmanager
async def hooked(api: Api, **more: Any) -> AsyncIterator[WebhookReceiver]:
    receiver = WebhookReceiver()
    app = Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])
    async with serving(app) as url:
        await api.call("setWebhook", url=f"{url}/hook", **more)
        yield receiver
        await api.call("deleteWebhook")


async def test_updates_are_pushed_with_the_secret(api: Api) -> None:
    api.world.say(api.ann, api.chat, "waited")
    async with hooked(api, secret_token="shh-1") as receiver:
        update, secret = await receiver.next()
        assert (update["message"]["text"], secret) == ("waited", "shh-1")
        api.world.say(api.ann, api.chat, "fresh")
        update, _ = await receiver.next()
        assert update["message"]["text"] == "fresh"


async def test_a_failed_push_is_told_and_made_again(api: Api) -> None:
    async with hooked(api) as receiver:
        receiver.answers = [Response(status_code=500)]
        api.world.say(api.ann, api.chat, "try twice")
        first, _ = await receiver.next()
        second, _ = await receiver.next()
        assert first == second
        info = await api.call("getWebhookInfo")
        assert info["last_error_message"] == (
            "Wrong response from the webhook: 500 Internal Server Error"
        )


async def test_an_answer_to_a_push_can_be_a_call(api: Api) -> None:
    async with hooked(api) as receiver:
        call = {"method": "sendMessage", "chat_id": api.ann.id, "text": "by the answer"}
        receiver.answers = [Response(orjson.dumps(call), media_type="application/json")]
        api.world.say(api.ann, api.chat, "hi")
        assert (await api.chat.wait_for_text("by the answer")).text == "by the answer"


async def test_a_webhook_elsewhere_and_a_strange_secret_are_refused(api: Api) -> None:
    refused = await api.refused("setWebhook", url="https://example.com/hook")
    assert refused.startswith("Bad Request: bad webhook: the sandbox pushes only to this machine")
    refused = await api.refused("setWebhook", url="http://127.0.0.1:9/x", secret_token="a b")
    assert refused == "Bad Request: secret token contains unallowed characters"
    refused = await api.refused("setWebhook", url="ftp://127.0.0.1/x")
    assert refused == "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"


async def test_pending_updates_can_be_dropped(api: Api) -> None:
    api.world.say(api.ann, api.chat, "old")
    assert (await api.call("getWebhookInfo"))["pending_update_count"] == 1
    await api.call("deleteWebhook", drop_pending_updates=True)
    assert (await api.call("getWebhookInfo"))["pending_update_count"] == 0
