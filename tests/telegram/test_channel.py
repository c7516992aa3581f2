"""A line's channel once its line has gone."""

from __future__ import annotations

import asyncio
from typing import cast

from bot.events import Outgoing
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.ports.fence import Fence
from bot.ports.outbox import Outbox, Posted
from bot.redaction import Secrets
from bot.telegram.channel import TelegramChannel
from bot.telegram.wire import Wire


async def test_what_is_handed_over_after_the_end_is_left_to_the_next_owner() -> None:
    wire, outbox = cast("Wire", None), cast("Outbox", None)
    fence, clock = Fence("bot:1", 1), SystemClock()
    channel = TelegramChannel(wire, outbox, fence, lambda: 10.0, clock, Counters(), Secrets())
    await channel.close()
    await channel.deliver([Posted("1-1", Outgoing(5, "sendMessage", {"text": "late"}))])
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("send:")]
