"""One stream of server-sent events for the page: the chats, the tape, the host, the trouble."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bot.sandbox.page.fault_injection import Trouble, switches
from bot.sandbox.page.timeline import Tape
from simulators.messages.records import Record
from simulators.messages.sim import MessagesSim
from simulators.telegram import snapshot
from simulators.telegram.events import Event
from simulators.telegram.wire import encode
from simulators.telegram.world import World

Json = dict[str, Any]

_BEAT = 10.0
_MOST_WAITING = 5_000
_OF_CHATS = frozenset({"message", "edit", "delete", "draft", "typing", "reaction", "callback"})


class Feed:
    """What the page hears. `about` is what the page should know of this sandbox from the start."""

    def __init__(self, world: World, sim: MessagesSim, trouble: Trouble, about: Json) -> None:
        self.tape = Tape()
        self.host: Json | None = None
        self._world = world
        self._sim = sim
        self._trouble = trouble
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
        """All that is there as one `hello`, then what happens; a comment as a heartbeat."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(_MOST_WAITING)
        self._listeners.add(queue)
        try:
            yield b"retry: 400\n\n" + _event("hello", self._hello())
            while True:
                try:
                    item = await asyncio.wait_for(queue.get(), _BEAT)
                except TimeoutError:
                    yield b": beat\n\n"
                    continue
                if item is None:
                    return
                yield item
        finally:
            self._listeners.discard(queue)

    def tell(self, kind: str, data: Any) -> None:
        """Tell every listener; one that is hopelessly behind is cut, and comes again."""
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

    def tell_host(self, shown: Json) -> None:
        """How the host is doing now."""
        self.host = shown
        self.tell("host", shown)

    def tell_trouble(self) -> None:
        """What is armed now, if that changed."""
        shown = self._trouble.show()
        if shown != self._shown:
            self._shown = shown
            self.tell("trouble", shown)

    def _hello(self) -> Json:
        return {
            "about": self._about,
            "world": snapshot.world_state(self._world),
            "tape": self.tape.heads(),
            "host": self.host,
            "trouble": self._trouble.show(),
        }

    async def _hear_world(self) -> None:
        with self._world.events.listen() as listener:
            async for happening in listener:
                self._hear(happening)

    def _hear(self, happening: Event) -> None:
        if happening.kind in _OF_CHATS:
            data = {"chat": happening.chat, "bot": happening.bot, "data": happening.data}
            self.tell(happening.kind, data)
            return
        head = self.tape.happened(happening)
        if head is not None:
            self.tell("tape", head)
            self.tell_trouble()

    async def _hear_model(self) -> None:
        while True:
            number = self._sim.records.total() + 1
            await self._sim.records.nth(number, 1e9)
            for record in self._sim.records.all():
                if record.number >= number:
                    self._asked(record)

    def _asked(self, record: Record) -> None:
        heads = self.tape.asked(record)
        for head in heads:
            self.tell("tape", head)
        task = asyncio.create_task(self._until_answered(heads[-1], record))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)

    async def _until_answered(self, head: Json, record: Record) -> None:
        await record.ended(1e9)
        self.tell("tape", self.tape.answered(head, record))
        self.tell_trouble()


def _event(kind: str, data: Any) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + encode(data) + b"\n\n"
