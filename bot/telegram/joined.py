"""What there is of a bot while its line is ours: lanes, feed, channel and intake, joined."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

import orjson

from bot.dispatch.feed import Feed
from bot.dispatch.lanes import Lanes
from bot.dispatch.line import Line
from bot.dispatch.moves import Moves
from bot.events import Decoded
from bot.ports.fence import Fence
from bot.telegram.addressing import BotIdentity
from bot.telegram.channel import TelegramChannel
from bot.telegram.decode import decode
from bot.telegram.intake import Hook, Intake, Polls, Pushes
from bot.telegram.poller import Poller
from bot.telegram.station import Station
from bot.telegram.wire import Wire


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one bot: its wire, who it is there, and its webhook where it has one."""

    wire: Wire
    identity: BotIdentity
    token_hash: str
    hook: Hook | None


@dataclass(frozen=True, slots=True)
class Joined:
    """What there is while the line is ours; `lost` is set once it is another's."""

    line: Line
    lanes: Lanes
    feed: Feed
    channel: TelegramChannel
    intake: Intake
    lost: asyncio.Event


def joined(s: Station, way: Way, fence: Fence, moves: Moves, lost: asyncio.Event) -> Joined:
    """The parts of a line that was just acquired; nothing runs yet."""

    def lease() -> float:
        return s.leases.left(fence.line)

    def decoded(raw: bytes) -> Decoded:
        return moves.placed(decode(orjson.loads(raw), way.identity))

    channel = TelegramChannel(way.wire, s.outbox, fence, lease, s.clock, s.counters, s.secrets)
    line = Line(fence, way.identity.id, way.identity.username, way.token_hash, channel)
    channel.sender.overtaken = partial(s.router.overtaken, line)
    channel.sender.unasked = partial(s.router.undelivered, line)
    lanes = Lanes(line, s.router, s.inbox, decoded, s.clock, s.counters, s.turns_at_once)
    feed = Feed(fence, s.inbox, lanes, decoded, s.counters)
    return Joined(line, lanes, feed, channel, _intake(s, way, fence.line, feed), lost)


def _intake(s: Station, way: Way, line: str, feed: Feed) -> Intake:
    if way.hook is not None:
        return Pushes(line, way.wire, way.hook, s.clock)

    def poller() -> Poller:
        return Poller(line, way.wire, feed, s.clock, s.counters, s.poll_seconds)

    return Polls(poller, s.clock, s.counters, s.deaf_seconds)
