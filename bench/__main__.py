"""`python -m bench`: everything, side by side, and the page. `--quick`: the ratios in a minute."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench import (
    backlog,
    door,
    growth,
    idle,
    profiles,
    report,
    resolve,
    streaming,
    streams,
    turns,
)
from bench.quick import counted, quick
from bench.results import Section
from bench.stage import Stage, staged

Measure = Callable[[Stage], Awaitable[Section]]
MEASURES: dict[str, Measure] = {
    "turns": turns.measure,
    "idle": idle.measure,
    "streaming": streaming.measure,
    "resolve": resolve.measure,
    "growth": growth.measure,
    "backlog": backlog.measure,
    "door": door.measure,
    "streams": streams.measure,
    "profiles": profiles.measure,
}
DOCS = Path(__file__).parents[1] / "docs"


def main() -> int:
    """0 when every promise was kept, 1 when one was not, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the ratios to the floors, no page")
    parser.add_argument("--rounds", type=int, default=5, help="mixed rounds of full turns")
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(MEASURES)}; writes no page")
    given = parser.parse_args()
    if unknown := set(given.only) - set(MEASURES):
        print(f"no such measure: {', '.join(unknown)}; there are {', '.join(MEASURES)}")
        return 2
    return asyncio.run(_quick() if given.quick else _full(given.only, given.rounds))


async def _quick() -> int:
    began = time.perf_counter()
    if not await counted():
        print("This machine does not count instructions for us; CPU time stands in.")
    async with staged() as stage:
        print((await quick(stage)).markdown())
    print(f"{time.perf_counter() - began:.0f} s")
    return 0


async def _full(only: list[str], rounds: int) -> int:
    load = os.getloadavg()[0]
    measures = MEASURES | {"turns": partial(turns.measure, rounds=rounds)}
    sections = []
    for name, measure in measures.items():
        if only and name not in only:
            continue
        print(f"… {name}", file=sys.stderr, flush=True)
        async with staged() as stage:
            sections.append(await measure(stage))
        print(report.bars(sections[-1:]).markdown(), file=sys.stderr, flush=True)
    if only:
        print(report.text(sections, load))
    else:
        print(f"written: {report.write(sections, DOCS, load)}")
    return 0 if all(bar.reached for section in sections for bar in section.bars) else 1


if __name__ == "__main__":
    sys.exit(main())
