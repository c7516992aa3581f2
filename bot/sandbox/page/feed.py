"""One stream of server-sent events for the page: chats, timeline, host and armed faults."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.sandbox.page.fault_injection import FaultInjector, switches
from bot.sandbox.page.timeline import Timeline
from simulators.messages.records import Record
from simulators.messages.sim import MessagesSim
from simulators.telegram import snapshot
from simulators.telegram.events import Event
from simulators.telegram.wire import encode
from simulators.telegram.world import World

Json = dict[str, Any]

_HEARTBEAT_SECONDS = 10.0
_QUEUE_LIMIT = 5_000
_CHAT_EVENTS = frozenset({"message", "edit", "delete", "draft", "typing", "reaction", "callback"})


class PageFeed:
    """The page's source of events; `about` describes this sandbox in the first of them."""

    def __init__(self, world: World, sim: MessagesSim, faults: FaultInjector, about: Json) -> None:
        self.timeline = Timeline()
        self.host: Json | None = None
        self._world = world
        self._sim = sim
        self._faults = faults
        self._about = about | {"boot": secrets.token_hex(4), "switches": switches()}
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._shown: Json = {}
        self._ends: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the context is open."""
        tasks = [
            asyncio.create_task(self._hear_world(), name="feed.world"),
            asyncio.create_task(self._hear_model(), name="feed.model"),
        ]
        try:
            yield
        finally:
            for queue in self._listeners:
                queue.put_nowait(None)
            tasks += self._ends
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stream(self) -> AsyncIterator[bytes]:
        """The present state as one `hello`, then each event; comments as heartbeats."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_QUEUE_LIMIT)
        self._listeners.add(queue)
        try:
            yield b"retry: 400\n\n" + _event("hello", self._hello())
            while True:
                try:
                    item = await asyncio.wait_for(queue.get(), _HEARTBEAT_SECONDS)
                except TimeoutError:
                    yield b": beat\n\n"
                    continue
                if item is None:
                    return
                yield item
        finally:
            self._listeners.discard(queue)

    def publish(self, kind: str, data: Any) -> None:
        """Send an event to every listener; one that is far behind is cut off, and reconnects."""
        if not self._listeners:
            return
        event = _event(kind, data)
        for queue in list(self._listeners):
            if queue.full():
                self._listeners.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(event)

    def publish_host(self, shown: Json) -> None:
        """Send the state of the host."""
        self.host = shown
        self.publish("host", shown)

    def publish_faults(self) -> None:
        """Send the armed faults, if they have changed."""
        shown = self._faults.show()
        if shown != self._shown:
            self._shown = shown
            self.publish("trouble", shown)

    def _hello(self) -> Json:
        return {
            "about": self._about,
            "world": snapshot.world_state(self._world),
            "timeline": self.timeline.heads(),
            "host": self.host,
            "trouble": self._faults.show(),
        }

    async def _hear_world(self) -> None:
        with self._world.events.listen() as listener:
            async for happening in listener:
                self._hear(happening)

    def _hear(self, happening: Event) -> None:
        if happening.kind in _CHAT_EVENTS:
            data = {"chat": happening.chat, "bot": happening.bot, "data": happening.data}
            self.publish(happening.kind, data)
            return
        head = self.timeline.add_event(happening)
        if head is not None:
            self.publish("timeline", head)
            self.publish_faults()

    async def _hear_model(self) -> None:
        while True:
            number = self._sim.records.total() + 1
            await self._sim.records.nth(number, 1e9)
            for record in self._sim.records.all():
                if record.number >= number:
                    self._asked(record)

    def _asked(self, record: Record) -> None:
        heads = self.timeline.add_request(record)
        for head in heads:
            self.publish("timeline", head)
        task = asyncio.create_task(self._until_answered(heads[-1], record))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _until_answered(self, head: Json, record: Record) -> None:
        await record.ended(1e9)
        self.publish("timeline", self.timeline.end_request(head, record))
        self.publish_faults()


def _event(kind: str, data: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + encode(data) + b"\n\n"
