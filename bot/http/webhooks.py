"""`POST /telegram/<opaque>`: updates that Telegram pushes, stored before they are acknowledged."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bot.errors import StoreUnavailable
from bot.ops.counters import Counters

log = structlog.get_logger("webhooks")

SECRET_HEADER = "x-telegram-bot-api-secret-token"  # noqa: S105 a header's name
MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """A bot's way in: the word that Telegram must say, and what takes the update's JSON.

    `take` returns once the update is stored; it raises ValueError where that is no update, and
    StoreUnavailable where it cannot be stored now.
    """

    secret: str
    take: Callable[[bytes], Awaitable[None]]


def webhook_routes(doors: Mapping[str, WebhookEndpoint], counters: Counters) -> list[Route]:
    """A route for all doors, by path. Telegram pushes again whatever was not answered with 200."""

    async def pushed(request: Request) -> Response:
        status = await _outcome(request, doors.get(request.scope["path"]))
        counters.add(f"webhook:{status}")
        # What was not read must not be taken for the next request of this connection.
        headers = {} if status == 200 else {"Connection": "close"}
        return Response(status_code=status, headers=headers)

    return [Route("/telegram/{opaque}", pushed, methods=["POST"])]


async def _outcome(request: Request, door: WebhookEndpoint | None) -> int:
    """The status to answer with. The secret is judged before a byte of the body is read."""
    if door is None:
        return 404
    said = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(said.encode(), door.secret.encode()):
        return 401
    try:
        body = await _body(request)
    except ClientDisconnect:  # also where it was too slow for the port
        return 408
    return 413 if body is None else await _taken(door, body)


async def _body(request: Request) -> bytes | None:
    """The body, or None where it is over the cap."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


async def _taken(door: WebhookEndpoint, body: bytes) -> int:
    try:
        await door.take(body)
    except ValueError:
        return 400
    except StoreUnavailable as error:
        log.warning("webhook.store_away", error=str(error))
        return 503
    return 200
