"""What the admins of this host hear unasked: how notices find them, and what is worth one."""

from __future__ import annotations

import contextlib

from bot import agents
from bot.assembled import Assembled
from bot.dispatch.admission import Admission
from bot.dispatch.line import Line
from bot.dispatch.router import AdminSeen
from bot.events import Person
from bot.ops.clock import SystemClock
from bot.ops.notices import Notices, key_of
from bot.ops.troubles import Troubles
from bot.ports import Outbox
from bot.redaction import Secrets
from bot.store.acquaintances import RedisAcquaintances
from bot.store.client import StoreClient


def admins_told(client: StoreClient, outbox: Outbox, host: Assembled, secrets: Secrets) -> Notices:
    """The way of a notice to the admins, over the lines that the host serves by then."""
    return Notices(
        outbox,
        RedisAcquaintances(client),
        lambda: host.grants.access.admins,
        SystemClock(),
        served=lambda: host.fleet.served(),
        nudge=lambda line: host.fleet.nudge(line),
        hide=secrets.hidden,
    )


def wrong_types_told(client: StoreClient, notices: Notices) -> None:
    """Admins hear of each key of the store that holds what does not belong there."""

    async def tell(words: str) -> None:
        told = f"The store has a problem. {words}"
        await notices.tell(key_of(told, SystemClock().wall()), told)

    client.tell = tell


def bad_agents_told(
    stack: contextlib.AsyncExitStack, host: Assembled, notices: Notices
) -> Troubles:
    """What tells admins of bad agents, for as long as the host lives."""
    troubles = Troubles(lambda: agents.errors(host.catalog, host.fleet), notices, SystemClock())
    stack.push_async_callback(troubles.close)
    stack.callback(host.catalog.subscribe(lambda _snapshot: troubles.look()))
    troubles.look()
    return troubles


def meeting(notices: Notices, host: Assembled, admission: Admission) -> AdminSeen:
    """What happens when an admin writes: notices and cards may go there, and the menu appears."""

    async def seen(person: Person, line: Line) -> None:
        if await notices.seen(person.id, line.fence.line):
            host.fleet.show_menu(line.fence.line, person.id)
            await admission.deliver(line, person.id)

    return seen
