"""`/health`: how the host is doing, without a secret in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bot.hosting.fleet import Fleet
from bot.mcp.server import McpServer
from bot.ops.redaction import Secrets
from registry.stored_bot import StoredBot
from registry.urls import is_own_network

Report = Callable[[], dict[str, Any]]

_PUBLIC = ("status", "version", "ready", "checks", "agents_available")
INTAKE = ("store", "bots")
"""The checks that must hold for updates to be taken in, whether or not they can be answered."""
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


def http_app(
    report: Report, routes: Sequence[BaseRoute] = (), secrets: Secrets | None = None
) -> Starlette:
    """The web application.

    `report()["status"]` is `healthy`, `degraded` or `unhealthy`; `report()["ready"]` is true or
    false. No answer contains one of the `secrets`.
    """

    def answer(request: Request, body: dict[str, Any], *, good: bool) -> Response:
        """All of a report for this network, its public part for others."""
        if not _is_own_network(request):
            body = {name: body[name] for name in _PUBLIC if name in body}
        text = orjson.dumps(body)
        if secrets is not None and secrets.found_in(text.decode()):
            text = orjson.dumps(secrets.redact_json(body))
        return Response(text, 200 if good else 503, media_type="application/json")

    async def live(_request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def ready(request: Request) -> Response:
        body = report()
        good = body["ready"]
        if request.query_params.get("for") == "intake":
            good = all(body["checks"][name] for name in INTAKE)
        return answer(request, {**body, "ready": good}, good=good)

    async def health(request: Request) -> Response:
        body = report()
        return answer(request, body, good=body["status"] != "unhealthy")

    pages = {"/health/live": live, "/health/ready": ready, "/health": health}
    own = [Route(prefix + path, page) for prefix in ("", "/api/v1") for path, page in pages.items()]
    return Starlette(routes=[*own, *routes])


def _is_own_network(request: Request) -> bool:
    """Whether a request comes from our own network, to a name of it, through no proxy."""
    if request.client is None or any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    is_own_name = is_own_network(name) or ("." not in name and ":" not in name and name != "")
    return is_own_name and is_own_network(request.client.host)


VERSION = version("switchboard-bots")
HEALTHY_STATES = frozenset({"polling", "webhook", "waiting", "draining", "stopped", "paused"})
WORKING_STATES = HEALTHY_STATES | {"contested"}


def bot_states(
    fleet: Fleet, resting: Iterable[tuple[StoredBot, str, str]] = ()
) -> list[dict[str, Any]]:
    """Each bot with its state, and the age of its last finished getUpdates in seconds.

    `resting` are those of the store without a line here, with their state and why.
    """
    idle = {"last_poll_s": None, "backlog": 0}
    rest = [
        {"id": bot.number, "username": bot.username, "state": state, **idle}
        | ({"why": why} if why else {})
        for bot, state, why in resting
    ]
    served = [
        {
            "id": bot.identity.id,
            "username": bot.identity.username or "",
            "state": bot.state,
            "last_poll_s": None if (age := bot.last_success_age) is None else round(age, 1),
            "backlog": bot.backlog,
            **({"why": bot.why} if bot.why else {}),
            **({"frozen": _frozen(seconds)} if (seconds := bot.frozen) else {}),
        }
        for bot in fleet.lines
    ]
    return served + rest


def _frozen(seconds: Sequence[float]) -> dict[str, int]:
    """How many chats were told to wait, and for how many seconds at most."""
    return {"chats": len(seconds), "seconds": round(max(seconds))}


def server_states(servers: Iterable[McpServer]) -> list[dict[str, Any]]:
    """Each MCP server by its names, with the state of the connection and what is left out."""
    return [
        {
            "names": list(server.names),
            "transport": server.transport,
            "state": server.state,
            "why": server.reason,
            **({"notes": list(server.notes)} if server.notes else {}),
        }
        for server in servers
    ]


def overall(
    states: list[dict[str, Any]],
    store: dict[str, Any],
    model: dict[str, Any],
    *,
    dead: bool,
    api: bool = False,
    wanting: bool = False,
) -> dict[str, Any]:
    """`status` is healthy, degraded or unhealthy; `ready` tells whether every check holds.

    Where the HTTP API is open (`api`), a host is of use without a bot that works. A model that is
    `dead` refuses everybody. Without it the host is degraded: updates are stored anyway. One that
    is only busy is shown, but does not count, nor does a tool server. Agents are `wanting` where
    the file of agents cannot be used, or a bot has no agent.
    """
    good = [bot for bot in states if bot["state"] in HEALTHY_STATES]
    active = [bot for bot in states if bot["state"] != "paused"]
    works = any(bot["state"] in WORKING_STATES for bot in active)
    checks = {
        "store": store["state"] == "ok",
        "bots": works or not active,
        "model": not dead,
    }
    faults = [*store["faults"], *model.get("problems", ())]
    whole = len(good) == len(states) and not faults and not wanting
    status = "healthy" if whole and all(checks.values()) else "degraded"
    is_of_use = checks["store"] and (checks["bots"] or api)
    if not is_of_use:
        status = "unhealthy"
    ready = is_of_use and checks["model"]
    return {"status": status, "version": VERSION, "ready": ready, "checks": checks}


def starting(waits_for: str, why: str | None) -> dict[str, Any]:
    """The report of a host that is not ready yet, what it waits for, and why, if that is known."""
    checks = dict.fromkeys((*INTAKE, "model"), False)
    state = {"status": "unhealthy", "version": VERSION, "ready": False, "checks": checks}
    return state | {"bots": [], "starting": waits_for, "why": why}
