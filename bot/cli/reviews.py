"""`switchboard reviews list | reject`: changes of agents that wait for a second person."""

from __future__ import annotations

from argparse import Namespace

from bot.cli.documents import said_why
from bot.cli.door import ACTOR, Door, Said, table, time_of, why_of
from registry.reviews import Reviews


async def list_reviews(door: Door, _given: Namespace) -> Said:
    """What waits, oldest first; a named person approves it in a chat or over HTTP."""
    waiting = Reviews(door.catalog).open()
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


async def reject(door: Door, given: Namespace) -> Said:
    """Drop a change; the agent stays as it is."""
    key, why = door.key("reject"), why_of(given)
    await Reviews(door.catalog).reject(ACTOR, given.agent, key=key, why=why)
    return Said([f"rejected the change of agent {given.agent}"], {"agent": given.agent})
