"""A line's channel once its line has gone."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from bot.hosting.outbox_channel import ChannelServices
from bot.hosting.transport import Ownership
from bot.messages import Fence, OutboxItem, OutgoingPart
from bot.ops.logging import Counters
from bot.ops.redaction import Secrets
from bot.ops.tasks import SystemClock
from bot.telegram.channel import TelegramChannel


async def test_what_is_handed_over_after_the_end_is_left_to_the_next_owner() -> None:
    nothing = cast("Any", None)
    services = ChannelServices(nothing, SystemClock(), Counters(), Secrets(), nothing)
    owned = Ownership(Fence("bot:1", 1), lambda: 10.0, nothing, nothing)
    channel = TelegramChannel(nothing, owned, services)
    await channel.close()
    await channel.deliver([OutboxItem("1-1", OutgoingPart(5, "message", {"text": "late"}))])
    assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("send:")]
