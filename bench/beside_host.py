"""What both simulators cost beside the host that they serve: `python -m bench.beside_host`.

The host is a process of its own with its bundled store; both simulators, and the persons who write,
share this one. CPU is user plus system time of each, for one answered message.
"""

from __future__ import annotations

import asyncio
import resource
import tempfile
from pathlib import Path

from bench.process import cpu_of
from simulators.telegram.people import Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, processes_in, staged

BOTS = 100
MESSAGES = 2000
WARM = 200


def main() -> None:
    """Prints one line for each side."""
    asyncio.run(_measure())


async def _measure() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-beside-") as folder:
        async with staged(Path(folder)) as stage:
            bots = [stage.bot(f"Bot{number}") for number in range(BOTS)]
            ann = stage.person("Ann")
            rooms = [stage.world.private(ann, bot) for bot in bots]
            stage.script.on("a short answer", again=True)
            host = await stage.process(
                LIMITS__REQUESTSPERMINUTE="1000000", LOG_LEVEL="WARNING", LEASE_SECONDS="10"
            )
            await _round(stage, ann, rooms, WARM)
            before = _own(), _host(Path(folder))
            await _round(stage, ann, rooms, MESSAGES)
            own, its = _own() - before[0], _host(Path(folder)) - before[1]
            await host.end()
    print(f"{BOTS} bots, {MESSAGES} messages, CPU for each:")
    print(f"  both simulators and their persons {own / MESSAGES * 1000:.2f} ms")
    print(f"  the host with its store           {its / MESSAGES * 1000:.2f} ms")
    print(f"  simulators against host           {own / its:.2f}×")


async def _round(stage: Stage, ann: Person, rooms: list[Room], count: int) -> None:
    """Every bot is written to; each chat waits for its answer before it goes on."""

    async def talk(room: Room) -> None:
        for _ in range(count // len(rooms)):
            asked = stage.world.say(ann, room, "hello")
            await room.wait_for(lambda message: message.author == room.bot, 60, after=asked.id)

    await asyncio.gather(*(talk(room) for room in rooms))


def _own() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _host(folder: Path) -> float:
    return sum(cpu_of(pid) for pid in processes_in(folder))


if __name__ == "__main__":
    main()
