"""Lanes and their feed, on a real inbox: order, fairness, bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import orjson
import pytest

from bot.conversations import queue as module
from bot.conversations.inbox_reader import InboxReader
from bot.conversations.queue import AT_ONCE, WHOLE, ConversationQueues
from bot.conversations.router import Router
from bot.errors import FencedOut, StoreError
from bot.hosting.leases import HostIdentity, Leases
from bot.line_context import LineContext
from bot.messages import (
    Address,
    Channel,
    Decoded,
    Event,
    Fence,
    Ignored,
    IncomingMessage,
    Signal,
    User,
)
from bot.ops.clock import SystemClock
from bot.ops.counters import Counters
from bot.store.client import StoreClient, connect
from bot.store.inbox import InboxEntry, Update, UpdateInbox
from simulators.testing.valkey import Valkey
from tests.host.stage import until

LINE = "bot:1"
ANN = User(1, "Ann")


class Desk:
    """What becomes of entries: they are noted, perhaps after a wait, and leave the inbox."""

    def __init__(self, inbox: UpdateInbox, fence: Fence) -> None:
        self.inbox = inbox
        self.fence = fence
        self.done: list[tuple[int, str]] = []
        self.now = 0
        self.most = 0
        self.open = asyncio.Event()
        self.open.set()
        self.stopped: list[bool] = []
        self.fails: type[Exception] | None = None

    def runs_beside(self, _event: Event) -> bool:
        return False

    async def handle(
        self, line: LineContext, entry: InboxEntry, event: IncomingMessage, stop: asyncio.Event
    ) -> bool:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.fails:
                raise self.fails
            await self.open.wait()
            self.done.append((event.address.chat, event.text))
            await self.inbox.settle(self.fence, [entry.id])
        finally:
            self.now -= 1
        return True

    async def admits(self, line: LineContext, entry: InboxEntry, event: Event) -> bool:
        return True

    async def stop_waiting(self, line: LineContext, entry: InboxEntry, signal: Signal) -> bool:
        return False

    async def signalled(
        self, line: LineContext, entry: InboxEntry, signal: Signal, *, running: bool
    ) -> None:
        self.stopped.append(running)
        await self.inbox.settle(self.fence, [entry.id])


def decoded(raw: bytes) -> Decoded:
    body = orjson.loads(raw)
    address = Address(1, body["chat"])
    if body["text"] == "/stop":
        return Signal(address, "stop", ANN)
    if body["text"] == "ignored":
        return Ignored("a rule")
    return IncomingMessage(address, ANN, 1, 1, body["text"])


def update(number: int, chat: int, text: str) -> Update:
    return Update(number, orjson.dumps({"update_id": number, "chat": chat, "text": text}))


class Scene:
    """A line with its inbox, feed and lanes."""

    def __init__(self, client: StoreClient, fence: Fence) -> None:
        self.inbox = UpdateInbox(client)
        self.desk = Desk(self.inbox, fence)
        line = LineContext(fence, 1, "echo_bot", "hash", cast("Channel", None))
        counters, router = Counters(), cast("Router", self.desk)
        self.lanes = ConversationQueues(line, router, self.inbox, decoded, SystemClock(), counters)
        self.feed = InboxReader(fence, self.inbox, self.lanes, decoded, counters)

    async def quiet(self, seconds: float = 30) -> None:
        await until(lambda: self.lanes.backlog == 0, seconds)


@pytest.fixture
async def scene(valkey: Valkey) -> AsyncIterator[Scene]:
    client = StoreClient(connect(valkey.url), SystemClock())
    fence = await Leases(client, HostIdentity.new("a", ""), SystemClock()).acquire(
        LINE, lambda: None
    )
    assert fence is not None
    scene = Scene(client, fence)
    yield scene
    await scene.lanes.close()
    await client.close()


async def test_ten_thousand_that_wait_are_ids_and_drain_in_order(scene: Scene) -> None:
    scene.desk.open.clear()
    hot = [update(n, 0, str(n)) for n in range(5000)]
    many = [update(5000 + n, 1 + n % 500, str(n // 500)) for n in range(5000)]
    for start in range(0, 5000, 500):
        await scene.inbox.accept(LINE, hot[start : start + 500])
    for start in range(0, 5000, 500):
        await scene.inbox.accept(LINE, many[start : start + 500])
    await scene.feed.look()
    await until(lambda: scene.desk.now == AT_ONCE)
    assert scene.lanes.backlog == 10_000
    assert scene.lanes.whole <= WHOLE
    scene.desk.open.set()
    await scene.quiet(50)
    assert scene.desk.most <= AT_ONCE
    for chat in range(501):
        texts = [text for at, text in scene.desk.done if at == chat]
        assert texts == [str(n) for n in range(5000 if chat == 0 else 10)]
    assert await scene.inbox.pending(LINE) == []
    assert scene.lanes.whole == 0


async def test_a_hot_conversation_does_not_starve_the_others(scene: Scene) -> None:
    await scene.inbox.accept(LINE, [update(n, 0, str(n)) for n in range(2000)])
    await scene.inbox.accept(LINE, [update(2000 + n, 1 + n, "hi") for n in range(50)])
    await scene.feed.look()
    await until(lambda: sum(chat != 0 for chat, _ in scene.desk.done) == 50)
    assert len(scene.desk.done) < 1000
    await scene.quiet()


async def test_a_stop_reaches_the_running_turn_past_a_long_queue(scene: Scene) -> None:
    scene.desk.open.clear()
    await scene.feed.accept([update(n, 5, str(n)) for n in range(100)])
    await until(lambda: scene.desk.now == 1)
    await scene.feed.accept([update(200, 5, "/stop"), update(201, 6, "/stop")])
    await until(lambda: len(scene.desk.stopped) == 2)
    assert scene.desk.stopped == [True, False]
    scene.desk.open.set()
    await scene.quiet()


async def test_entries_of_others_between_our_own_keep_their_place(scene: Scene) -> None:
    scene.desk.open.clear()
    await scene.feed.accept([update(1, 5, "1")])
    await scene.inbox.accept(LINE, [update(2, 5, "2")])  # another replica's webhook
    await scene.feed.accept([update(3, 5, "3")])
    await scene.inbox.accept(LINE, [update(4, 5, "4")])
    await asyncio.gather(scene.feed.look(), scene.feed.accept([update(5, 5, "5")]))
    await scene.feed.look()
    scene.desk.open.set()
    await scene.quiet()
    assert [text for _, text in scene.desk.done] == ["1", "2", "3", "4", "5"]


async def test_what_a_rule_leaves_alone_never_stays_in_the_inbox(scene: Scene) -> None:
    await scene.inbox.accept(LINE, [update(n, 5, "ignored") for n in range(300)])
    await scene.inbox.accept(LINE, [update(300, 5, "hi")])
    assert await scene.feed.look() == 301
    await scene.quiet()
    assert scene.desk.done == [(5, "hi")]
    assert await scene.inbox.pending(LINE) == []


async def test_a_lost_line_is_told_from_a_turn_from_a_signal_and_from_the_feed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fenced(*_words: Any, **_more: Any) -> None:
        raise FencedOut("FENCED")

    async def told(work: Any) -> bool:
        scene.lanes.lost.clear()
        await work
        try:
            async with asyncio.timeout(30):
                return await scene.lanes.lost.wait()
        except TimeoutError:
            return False

    monkeypatch.setattr(scene.desk, "handle", fenced)
    monkeypatch.setattr(scene.desk, "signalled", fenced)
    assert await told(scene.feed.accept([update(1, 5, "hi")]))
    assert await told(scene.feed.accept([update(2, 6, "/stop")]))
    monkeypatch.setattr(scene.inbox, "settle", fenced)
    await scene.inbox.accept(LINE, [update(3, 7, "ignored")])
    assert await told(scene.feed.look())


async def test_a_chat_waits_only_for_its_turn_when_many_are_busy(scene: Scene) -> None:
    assert module.AHEAD < 100
    began = time.monotonic()
    await scene.feed.accept([update(n, n, "hi") for n in range(1000)])
    await scene.quiet()
    assert len(scene.desk.done) == 1000
    assert time.monotonic() - began < 20


async def test_a_cancellation_that_leaks_out_of_a_library_is_a_failed_try_and_ends_no_lane(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, tries = scene.desk.handle, []

    async def leaking(*words: Any) -> bool:
        tries.append(words)
        if len(tries) == 1:
            raise asyncio.CancelledError
        return await works(*words)

    monkeypatch.setattr(scene.desk, "handle", leaking)
    await scene.feed.accept([update(1, 5, "one"), update(2, 5, "two")])
    await scene.quiet()
    assert scene.desk.done == [(5, "one"), (5, "two")]
    assert len(tries) == 3


async def test_an_entry_that_cannot_be_read_for_a_while_holds_its_lane_up_only_so_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEAD_LETTER_PAUSES", (0.01, 0.01))
    works, failures = scene.inbox.fetch, [StoreError("WRONG"), StoreError("WRONG")]

    async def fetch(line: str, id: str) -> InboxEntry | None:
        if failures:
            raise failures.pop()
        return await works(line, id)

    monkeypatch.setattr(scene.inbox, "fetch", fetch)
    await scene.feed.accept([update(n, 5, str(n)) for n in range(2 * module.AHEAD)])
    await scene.quiet()
    assert [text for _, text in scene.desk.done] == [str(n) for n in range(2 * module.AHEAD)]
    assert not failures


async def test_what_comes_in_after_the_end_stays_in_the_inbox_for_the_next_owner(
    scene: Scene,
) -> None:
    await scene.lanes.close()
    await scene.feed.accept([update(1, 5, "hi"), update(2, 5, "/stop")])
    assert (scene.lanes.backlog, scene.desk.stopped) == (0, [])
    assert len(await scene.inbox.pending(LINE)) == 2
