"""`switchboard reviews list | reject`: changes of agents that wait for a second person."""

from __future__ import annotations

from argparse import Namespace

from bot.cli.documents import said_why
from bot.cli.registry import ACTOR, Registry, Said, table, time_of, why_of
from registry.reviews import Reviews


async def list_reviews(registry: Registry, _given: Namespace) -> Said:
    """What waits, oldest first; a named person approves it in a chat or over HTTP."""
    waiting = Reviews(registry.catalog).open()
    rows = [
        [
            one.agent,
            time_of(one.at),
            one.by,
            f"waits for {' and '.join(one.missing)}",
            said_why(one.reason, one.ticket),
        ]
        for one in waiting
    ]
    data = [{**one.model_dump(mode="json"), "missing": [*one.missing]} for one in waiting]
    return Said([*table(rows)] or ["no change waits for a second person"], data)


async def reject(registry: Registry, given: Namespace) -> Said:
    """Drop a change; the agent stays as it is."""
    key, why = registry.key("reject"), why_of(given)
    await Reviews(registry.catalog).reject(ACTOR, given.agent, key=key, why=why)
    return Said([f"rejected the change of agent {given.agent}"], {"agent": given.agent})
