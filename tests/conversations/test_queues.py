"""Conversations and the reader of their inbox, on a real one: order, fairness, bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import orjson
import pytest

from bot.conversations import queue as module
from bot.conversations.queue import AT_ONCE, LOADED_PER_LINE, ConversationQueues, InboxReader
from bot.conversations.router import Router
from bot.conversations.turns import Outcome
from bot.errors import FencedOut, StoreError
from bot.hosting.leases import HostIdentity, Leases
from bot.messages import (
    Address,
    Channel,
    Decoded,
    Event,
    Fence,
    Ignored,
    IncomingMessage,
    LineContext,
    LineEntry,
    Signal,
    User,
)
from bot.ops.logging import Counters
from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient, connect
from bot.store.inbox import InboxEntry, Update, UpdateInbox
from registry.binding import BotIdentity
from simulators.testing.valkey import Valkey
from tests.host.stage import until

LINE = "bot:1"
ANN = User(1, "Ann")


class NothingIsSent:
    """A channel whose answers are all sent."""

    def is_sending(self, _entry: str) -> bool:
        return False


class StubRouter:
    """Entries are noted, perhaps after a wait, and leave the inbox."""

    def __init__(self, inbox: UpdateInbox, fence: Fence) -> None:
        self.inbox = inbox
        self.fence = fence
        self.done: list[tuple[int, str]] = []
        self.running = 0
        self.most_running = 0
        self.open = asyncio.Event()
        self.open.set()
        self.stopped: list[bool] = []
        self.fails: type[Exception] | None = None

    def is_concurrent(self, _event: Event) -> bool:
        return False

    def ends_what_runs(self, _event: Event) -> bool:
        return False

    async def show_seen(self, _line: LineContext, _event: Event) -> None:
        pass

    async def handle(self, entry: LineEntry, event: IncomingMessage) -> Outcome:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if self.fails:
                raise self.fails
            await self.open.wait()
            self.done.append((event.address.chat, event.text))
            await self.inbox.settle(self.fence, [entry.id])
        finally:
            self.running -= 1
        return Outcome.DONE

    async def stop(
        self, entry: LineEntry, signal: Signal, stop_running: Callable[[], bool]
    ) -> None:
        self.stopped.append(stop_running())
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
    """A line with its inbox, its reader and its conversations."""

    def __init__(self, client: StoreClient, fence: Fence) -> None:
        self.inbox = UpdateInbox(client)
        self.router = StubRouter(self.inbox, fence)
        self.lost = asyncio.Event()
        channel = cast("Channel", NothingIsSent())
        line = LineContext(fence, BotIdentity("hash", 1, "echo_bot"), channel)
        router = cast("Router", self.router)
        clock = SystemClock()
        self.queues = ConversationQueues(line, router, self.inbox, decoded, self.lost, clock)
        self.reader = InboxReader(self.queues, Counters())

    async def quiet(self, seconds: float = 30) -> None:
        await until(lambda: self.queues.backlog == 0, seconds)


@pytest.fixture
async def scene(valkey: Valkey) -> AsyncIterator[Scene]:
    client = StoreClient(connect(valkey.url), SystemClock())
    fence = await Leases(client, HostIdentity.new("a", ""), SystemClock()).acquire(
        LINE, lambda: None
    )
    assert fence is not None
    scene = Scene(client, fence)
    yield scene
    await scene.queues.close()
    await client.close()


async def test_thousands_that_wait_are_ids_and_drain_in_order(scene: Scene) -> None:
    scene.router.open.clear()
    hot = [update(n, 0, str(n)) for n in range(2000)]
    many = [update(2000 + n, 1 + n % 250, str(n // 250)) for n in range(2000)]
    for start in range(0, 2000, 500):
        await scene.inbox.accept(LINE, hot[start : start + 500])
    for start in range(0, 2000, 500):
        await scene.inbox.accept(LINE, many[start : start + 500])
    await scene.reader.read_pending()
    await until(lambda: scene.router.running == AT_ONCE)
    assert scene.queues.backlog == 4_000
    assert scene.queues.loaded <= LOADED_PER_LINE
    scene.router.open.set()
    await scene.quiet(50)
    assert scene.router.most_running <= AT_ONCE
    for chat in range(251):
        texts = [text for at, text in scene.router.done if at == chat]
        assert texts == [str(n) for n in range(2000 if chat == 0 else 8)]
    assert await scene.inbox.pending(LINE) == []
    assert scene.queues.loaded == 0


async def test_a_hot_conversation_does_not_starve_the_others(scene: Scene) -> None:
    await scene.inbox.accept(LINE, [update(n, 0, str(n)) for n in range(2000)])
    await scene.inbox.accept(LINE, [update(2000 + n, 1 + n, "hi") for n in range(50)])
    await scene.reader.read_pending()
    await until(lambda: sum(chat != 0 for chat, _ in scene.router.done) == 50)
    assert len(scene.router.done) < 1000
    await scene.quiet()


async def test_a_stop_reaches_the_running_turn_past_a_long_queue(scene: Scene) -> None:
    scene.router.open.clear()
    await scene.reader.accept([update(n, 5, str(n)) for n in range(100)])
    await until(lambda: scene.router.running == 1)
    await scene.reader.accept([update(200, 5, "/stop"), update(201, 6, "/stop")])
    await until(lambda: len(scene.router.stopped) == 2)
    assert scene.router.stopped == [True, False]
    scene.router.open.set()
    await scene.quiet()


async def test_entries_of_others_between_our_own_keep_their_place(scene: Scene) -> None:
    scene.router.open.clear()
    await scene.reader.accept([update(1, 5, "1")])
    await scene.inbox.accept(LINE, [update(2, 5, "2")])  # another replica's webhook
    await scene.reader.accept([update(3, 5, "3")])
    await scene.inbox.accept(LINE, [update(4, 5, "4")])
    await asyncio.gather(scene.reader.read_pending(), scene.reader.accept([update(5, 5, "5")]))
    await scene.reader.read_pending()
    scene.router.open.set()
    await scene.quiet()
    assert [text for _, text in scene.router.done] == ["1", "2", "3", "4", "5"]


async def test_what_a_rule_leaves_alone_never_stays_in_the_inbox(scene: Scene) -> None:
    await scene.inbox.accept(LINE, [update(n, 5, "ignored") for n in range(300)])
    await scene.inbox.accept(LINE, [update(300, 5, "hi")])
    assert await scene.reader.read_pending() == 301
    await scene.quiet()
    assert scene.router.done == [(5, "hi")]
    assert await scene.inbox.pending(LINE) == []


async def test_a_lost_line_is_told_from_a_turn_from_a_signal_and_from_the_inbox(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fenced(*_words: Any, **_more: Any) -> None:
        raise FencedOut("FENCED")

    async def tells(work: Any) -> bool:
        scene.lost.clear()
        await work
        try:
            async with asyncio.timeout(30):
                return await scene.lost.wait()
        except TimeoutError:
            return False

    monkeypatch.setattr(scene.router, "handle", fenced)
    monkeypatch.setattr(scene.router, "stop", fenced)
    assert await tells(scene.reader.accept([update(1, 5, "hi")]))
    assert await tells(scene.reader.accept([update(2, 6, "/stop")]))
    monkeypatch.setattr(UpdateInbox, "settle", fenced)
    await scene.inbox.accept(LINE, [update(3, 7, "ignored")])
    assert await tells(scene.reader.read_pending())


async def test_a_chat_waits_only_for_its_turn_when_many_are_busy(scene: Scene) -> None:
    assert module.LOADED_PER_CONVERSATION < 100
    began = time.monotonic()
    await scene.reader.accept([update(n, n, "hi") for n in range(1000)])
    await scene.quiet()
    assert len(scene.router.done) == 1000
    assert time.monotonic() - began < 20


async def test_a_cancellation_that_leaks_out_of_a_library_is_a_failed_try_and_ends_no_conversation(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, tries = scene.router.handle, []

    async def leaking(*words: Any) -> Outcome:
        tries.append(words)
        if len(tries) == 1:
            raise asyncio.CancelledError
        return await works(*words)

    monkeypatch.setattr(scene.router, "handle", leaking)
    await scene.reader.accept([update(1, 5, "one"), update(2, 5, "two")])
    await scene.quiet()
    assert scene.router.done == [(5, "one"), (5, "two")]
    assert len(tries) == 3


async def test_an_entry_that_cannot_be_read_for_a_while_holds_its_conversation_up_only_so_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSES", (0.01, 0.01))
    works, failures = scene.inbox.fetch, [StoreError("WRONG"), StoreError("WRONG")]

    async def fetch(_inbox: UpdateInbox, line: str, id: str) -> InboxEntry | None:
        if failures:
            raise failures.pop()
        return await works(line, id)

    monkeypatch.setattr(UpdateInbox, "fetch", fetch)
    await scene.reader.accept(
        [update(n, 5, str(n)) for n in range(2 * module.LOADED_PER_CONVERSATION)]
    )
    await scene.quiet()
    assert [text for _, text in scene.router.done] == [
        str(n) for n in range(2 * module.LOADED_PER_CONVERSATION)
    ]
    assert not failures


async def test_what_comes_in_after_the_end_stays_in_the_inbox_for_the_next_owner(
    scene: Scene,
) -> None:
    await scene.queues.close()
    await scene.reader.accept([update(1, 5, "hi"), update(2, 5, "/stop")])
    assert (scene.queues.backlog, scene.router.stopped) == (0, [])
    assert len(await scene.inbox.pending(LINE)) == 2
