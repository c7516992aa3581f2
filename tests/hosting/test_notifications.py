"""Messages between replicas, also after the store was away."""

from __future__ import annotations

import asyncio

from bot.hosting.fleet import Notifications
from bot.hosting.leases import HostIdentity, Leases
from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient
from bot.store.inbox import Update, UpdateInbox
from tests.host.stage import until
from tests.store.engines import Engine


async def test_owners_hear_of_appends_and_of_lines_given_back_also_after_an_outage(
    engine: Engine, client: StoreClient
) -> None:
    valkey = engine.needs("process that can be killed")
    heard: list[str] = []
    unblocked: list[int] = []
    notifications = Notifications(client, SystemClock())
    listening = asyncio.create_task(
        notifications.listen_forever(heard.append, lambda: unblocked.append(1))
    )
    await until(lambda: len(unblocked) == 2)  # all subscriptions stand: look at what was missed
    await UpdateInbox(client).accept("bot:1", [Update(1, b"{}")])
    await until(lambda: heard == ["bot:1"])
    leases = Leases(client, HostIdentity.new("a", ""), SystemClock())
    fence = await leases.acquire("bot:1", lambda: None)
    assert fence is not None
    await leases.release(fence)
    await until(lambda: len(unblocked) == 3)
    await valkey.kill()
    await valkey.start()
    await until(lambda: len(unblocked) == 5)
    await client.retry_while_down(lambda: UpdateInbox(client).accept("bot:2", [Update(1, b"{}")]))
    await until(lambda: heard == ["bot:1", "bot:2"])
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_quiet_line_of_messages_does_not_time_out(
    engine: Engine, client: StoreClient
) -> None:
    engine.needs("socket whose time could run out")
    unblocked: list[int] = []
    notifications = Notifications(client, SystemClock())
    listening = asyncio.create_task(
        notifications.listen_forever(lambda _: None, lambda: unblocked.append(1))
    )
    await until(lambda: len(unblocked) == 2)
    await asyncio.sleep(5.5)  # longer than the socket's patience
    assert len(unblocked) == 2
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
