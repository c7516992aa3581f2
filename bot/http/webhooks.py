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
BODY_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """The webhook of one bot: the secret that Telegram must send, and what stores an update's JSON.

    `take` returns once the update is stored; it raises ValueError where that is no update, and
    StoreUnavailable where it cannot be stored now.
    """

    secret: str
    take: Callable[[bytes], Awaitable[None]]


def webhook_routes(endpoints: Mapping[str, WebhookEndpoint], counters: Counters) -> list[Route]:
    """One route for all endpoints, by path. Telegram repeats what is not answered with 200."""

    async def receive(request: Request) -> Response:
        status = await _outcome(request, endpoints.get(request.scope["path"]))
        counters.add(f"webhook:{status}")
        # An unread body must not be taken for the next request of this connection.
        headers = {} if status == 200 else {"Connection": "close"}
        return Response(status_code=status, headers=headers)

    return [Route("/telegram/{opaque}", receive, methods=["POST"])]


async def _outcome(request: Request, endpoint: WebhookEndpoint | None) -> int:
    """The status to answer with; the secret is checked before a byte of the body is read."""
    if endpoint is None:
        return 404
    given = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(given.encode(), endpoint.secret.encode()):
        return 401
    try:
        body = await _body(request)
    except ClientDisconnect:  # also where it was too slow for the port
        return 408
    return 413 if body is None else await _store(endpoint, body)


async def _body(request: Request) -> bytes | None:
    """The body, or None where it is over the limit."""
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_LIMIT:
        return None
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_LIMIT:
            return None
    return bytes(body)


async def _store(endpoint: WebhookEndpoint, body: bytes) -> int:
    try:
        await endpoint.take(body)
    except ValueError:
        return 400
    except StoreUnavailable as error:
        log.warning("webhook.store_unavailable", error=str(error))
        return 503
    return 200
