"""A line's channel once its line has gone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bot.messages import Fence, OutboxItem, OutgoingPart
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.ops.redaction import Secrets
from bot.store.outbox import Outbox
from bot.telegram.channel import TelegramChannel


async def test_what_is_handed_over_after_the_end_is_left_to_the_next_owner() -> None:
    wire, outbox = cast("Any", None), cast("Outbox", None)
    fence, clock = Fence("bot:1", 1), SystemClock()
    channel = TelegramChannel(wire, outbox, fence, lambda: 10.0, clock, Counters(), Secrets())
    await channel.close()
    await channel.deliver([OutboxItem("1-1", OutgoingPart(5, "message", {"text": "late"}))])
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("send:")]
