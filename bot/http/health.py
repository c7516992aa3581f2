"""`/health`: how the host is doing, without a secret in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bot.hosting.fleet import Fleet
from bot.hosting.line import HostedLine
from bot.mcp.pool import Pool
from bot.mcp.server import ServerHealth
from bot.ops.redaction import Secrets
from registry.urls import is_own_network

Report = Callable[[], dict[str, Any]]

_FOR_ALL = ("status", "version", "ready", "checks", "agents_available")
_HANDED_ON = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def http_app(
    report: Report, routes: Sequence[BaseRoute] = (), secrets: Secrets | None = None
) -> Starlette:
    """The web application.

    `report()["status"]` is `ok`, `degraded` or `down`; `report()["ready"]` a truth value. What is
    shown has none of the `secrets`, whoever wrote it.
    """

    def shown(status: int, body: dict[str, Any]) -> Response:
        text = orjson.dumps(body)
        if secrets is not None and secrets.found_in(text.decode()):
            text = orjson.dumps(secrets.redact_json(body))
        return Response(text, status, media_type="application/json")

    async def live(_request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def ready(request: Request) -> Response:
        body = report()
        return shown(200 if body["ready"] else 503, _for(request, body))

    async def health(request: Request) -> Response:
        body = report()
        return shown(200 if body["status"] == "ok" else 503, _for(request, body))

    own = [
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/health", health),
    ]
    return Starlette(routes=[*own, *routes])


def _for(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    """All of a report for this network, the least of it for strangers."""
    return body if _is_near(request) else {name: body[name] for name in _FOR_ALL if name in body}


def _is_near(request: Request) -> bool:
    """Whether a request comes from our own network, by a name of it, past no proxy."""
    if request.client is None or any(name in request.headers for name in _HANDED_ON):
        return False
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    named = is_own_network(name) or ("." not in name and ":" not in name and name != "")
    return named and is_own_network(request.client.host)


VERSION = version("switchboard-bots")
GOOD = frozenset({"polling", "webhook", "waiting", "draining", "stopped"})


def bot_states(fleet: Fleet) -> list[dict[str, Any]]:
    """Each bot with its state, and the age of its last finished getUpdates in seconds."""
    return [_bot_state(bot) for bot in fleet.lines]


def server_states(pool: Pool) -> list[dict[str, Any]]:
    """Each MCP server by its names, with the state of the way to it."""
    return [_server_state(health) for health in pool.health()]


def overall(states: list[dict[str, Any]], store: dict[str, Any]) -> dict[str, Any]:
    """`status` is ok, degraded or down; `ready` tells whether every check holds.

    A model or a tool server in trouble is shown, and is no check: updates are stored all the same,
    and only calls can tell that it is well again.
    """
    good = [bot for bot in states if bot["state"] in GOOD]
    checks = {"store": store["state"] == "ok", "bots": bool(good) or not states}
    ready = all(checks.values())
    whole = ready and len(good) == len(states) and not store["faults"]
    status = "ok" if whole else "degraded" if ready else "down"
    return {"status": status, "version": VERSION, "ready": ready, "checks": checks}


def _bot_state(bot: HostedLine) -> dict[str, Any]:
    age = bot.last_success_age
    return {
        "id": bot.identity.id,
        "username": bot.identity.username or "",
        "state": bot.state,
        "last_poll_s": None if age is None else round(age, 1),
        "backlog": bot.backlog,
        **({"why": bot.why} if bot.why else {}),
    }


def _server_state(health: ServerHealth) -> dict[str, Any]:
    return {
        "names": list(health.names),
        "transport": health.transport,
        "state": health.state,
        "why": health.reason,
    }
