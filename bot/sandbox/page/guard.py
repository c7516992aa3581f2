"""The page is for this machine alone: other hosts' names and other sites' requests are refused."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulators.guard import foreign, is_json

_WITH_TOKEN = ("/bot", "/file/bot", "/v1/")
_SAFE = frozenset({"GET", "HEAD"})

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """Middleware before everything; only routes that ask for a token accept other bodies.

    The sandbox's tokens are known to everybody, so a token alone keeps no page of another site out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 403, or pass on and add the page's headers to the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        tokened = scope["path"].startswith(_WITH_TOKEN)
        reason = foreign(Request(scope)) if tokened else refusal(scope)
        if reason is not None:
            await JSONResponse({"error": reason}, 403)(scope, receive, send)
            return
        if tokened:
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, guarded)


def refusal(scope: Scope) -> str | None:
    """Why a request is not from this machine's own page, or None."""
    request = Request(_entering(scope))
    reason = foreign(request)
    if reason is None and request.method not in _SAFE and not is_json(request):
        return "send JSON with Content-Type: application/json"
    return reason


def _entering(scope: Scope) -> Scope:
    """The scope, where a link on any other page may lead to our front door."""
    if scope["path"] != "/" or scope["method"] not in _SAFE:
        return scope
    headers = [(k, v) for k, v in scope["headers"] if k != b"sec-fetch-site"]
    return {**scope, "headers": headers}
