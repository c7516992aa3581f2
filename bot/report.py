"""What `/health` says: the state of each part, from what happened and never from a wish."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from bot.telegram.fleet import Fleet
from bot.telegram.hosted import HostedBot
from bot.tools.mcp.pool import Pool, ServerHealth

VERSION = version("switchboard-bots")
GOOD = frozenset({"polling", "webhook", "waiting", "draining", "stopped"})


def bots(fleet: Fleet) -> list[dict[str, Any]]:
    """Each bot with its state, and the age of its last finished getUpdates in seconds."""
    return [_bot(bot) for bot in fleet.bots]


def servers(pool: Pool) -> list[dict[str, Any]]:
    """Each MCP server by its names, with the state of the way to it."""
    return [_server(health) for health in pool.health()]


def verdict(states: list[dict[str, Any]], store: dict[str, Any]) -> dict[str, Any]:
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


def _bot(bot: HostedBot) -> dict[str, Any]:
    age = bot.poll_age
    return {
        "id": bot.id,
        "username": bot.username,
        "state": bot.state,
        "last_poll_s": None if age is None else round(age, 1),
        "backlog": bot.backlog,
        **({"why": bot.why} if bot.why else {}),
    }


def _server(health: ServerHealth) -> dict[str, Any]:
    return {
        "names": list(health.names),
        "transport": health.transport,
        "state": health.link.state,
        "why": health.link.reason,
    }
