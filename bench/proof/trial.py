"""One trial: a ground, its people, and a judgement at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.proof.crowd import Crowd, Sent
from bench.proof.ground import Ground, HostProcess, ground
from bench.proof.oracle import judge
from bench.proof.order import Order
from bench.proof.tally import Tally
from bench.proof.valkey import Valkey


@dataclass
class Trial:
    """A ground with people on it, and the tally so far."""

    place: Ground
    crowd: Crowd
    tally: Tally = field(default_factory=Tally)

    async def judged(self, among: list[Sent] | None = None) -> Tally:
        """The tally once all is answered, or nothing more comes."""
        await self.crowd.answered(among=among)
        await settled(self.place)
        left = self.crowd.open(among)
        return self.tally.add(await judge(self.place, self.crowd, left))


@contextlib.asynccontextmanager
async def trial(
    order: Order, name: str, bots: int = 2, valkey: Valkey | None = None
) -> AsyncIterator[Trial]:
    """A trial in a folder of its own."""
    async with ground(order.folder / name, order.seed, bots, valkey, order.nursery) as place:
        yield Trial(place, Crowd(place, order.seed))


@contextlib.asynccontextmanager
async def chatting(crowd: Crowd, every: float = 0.1) -> AsyncIterator[None]:
    """People keep writing while the block runs."""
    people = crowd.join(8)

    async def talk() -> None:
        while True:
            crowd.say(crowd.chance.choice(people))
            await asyncio.sleep(every * crowd.chance.uniform(0.5, 1.5))

    task = asyncio.create_task(talk())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settled(place: Ground, seconds: float = 5) -> None:
    """Give the last receipts their time: inboxes and outboxes become empty, or not."""
    deadline = time.monotonic() + seconds
    async with place.valkey.client() as store:
        while time.monotonic() < deadline:
            lengths = [
                await store.xlen(f"{{bot:{bot.id}}}:{box}")
                for bot in place.bots
                for box in ("inbox", "outbox")
            ]
            if not any(lengths):
                return
            await asyncio.sleep(0.05)


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Look often until something holds: for what no event tells."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def ends_by_itself(host: HostProcess, seconds: float) -> bool:
    """Whether the process ends within a time."""
    assert host.process is not None
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(host.process.wait(), seconds)
        return True
    return False


def resident(host: HostProcess) -> float:
    """Resident memory in MB."""
    for line in Path(f"/proc/{host.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0
