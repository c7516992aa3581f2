"""What durability costs: turns a second with the store in a file, and with one in memory alone.

Three hosts run side by side, in mixed rounds of bursts: with the bundled server as it comes
(`everysec`), with `DATA_FSYNC=always`, and with a Valkey that keeps nothing on disk, which the
product refuses and which is here only to be compared with. `python -m bench.durability`.
"""

from __future__ import annotations

import asyncio
import os
from statistics import median

from bench.process import Process
from bench.stage import Stage, staged
from simulators.testing.valkey import Valkey

ROUNDS = int(os.environ.get("ROUNDS", "9"))
CHATS = int(os.environ.get("CHATS", "50"))
MODES = ("memory", "everysec", "always")


async def started(stage: Stage, mode: str, memory: str) -> tuple[Process, int]:
    """A host in one of the modes, polling."""
    if mode == "memory":
        return await stage.host(REDIS_URL=memory, ALLOW_VOLATILE_REDIS="1")
    return await stage.host(DATA_FSYNC=mode)


async def measured() -> dict[str, list[float]]:
    """Turns a second of each round, by mode."""
    async with staged() as stage:
        memory = Valkey(stage.folder / "memory", ("--appendonly", "no"))
        await memory.start()
        hosts = {mode: await started(stage, mode, memory.url) for mode in MODES}
        found: dict[str, list[float]] = {mode: [] for mode in MODES}
        try:
            for number in range(ROUNDS + 2):
                for mode, (_, bot) in hosts.items():
                    burst = await stage.control("burst", bot=bot, chats=CHATS, each=2)
                    if number > 1:  # the first two warm up
                        found[mode].append(2 * CHATS / burst["seconds"])
        finally:
            for process, _ in hosts.values():
                await process.end()
            await memory.stop()
        return found


def main() -> None:
    """Print the figures and the ratios, paired by round."""
    found = asyncio.run(measured())
    print(f"{ROUNDS} rounds of {CHATS} chats with 2 messages each; median of all rounds")
    for mode in MODES:
        pairs = zip(found[mode], found["memory"], strict=True)
        ratio = median(one / other for one, other in pairs)
        print(f"{mode:>9}: {median(found[mode]):6.1f} turns/s, {ratio:.2f} of memory")


if __name__ == "__main__":
    main()
