"""`python -m bench.proof [--seed N] [--rows F1,F2] [--kills N] [--write]`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import secrets
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path

import structlog
import uvloop

from bench.host import ROOT
from bench.proof.report import Tried, line, machine, page, renewed
from bench.proof.result import Result
from bench.proof.rows import ROWS, Row
from bench.proof.trial import Run

PAGE = ROOT / "docs" / "reliability.md"
REST = re.compile(r"^## Refusals\n.*", re.MULTILINE | re.DOTALL)
"""What follows the proof's own part of the page, and stays."""
LONGEST = 2400.0
KILLS = frozenset({"F1", "F2"})


def main() -> int:
    """Try the rows; 0 when every promise was kept."""
    given = _parser().parse_args()
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)  # a host may run in here
    structlog.configure(wrapper_class=quiet)
    seed = given.seed if given.seed is not None else secrets.randbelow(1_000_000)
    rows = [row for row in ROWS if not given.rows or row.name in given.rows.split(",")]
    print(f"seed {seed}", flush=True)
    here, began = machine(), time.monotonic()
    print(here, flush=True)
    results = uvloop.run(_tried(rows, seed, given.kills, given.each))
    minutes = (time.monotonic() - began) / 60
    if given.write:
        old = PAGE.read_text() if PAGE.exists() else ""
        if len(rows) == len(ROWS):
            kept = REST.search(old)
            worth = kept[0] if kept else ""
            new = page(results, seed, given.kills, given.each, minutes, here, worth)
        else:
            new = renewed(old, results, seed)
        PAGE.write_text(new.rstrip() + "\n")
        print(f"written: {PAGE}")
    broken = [row.name for row, result, _ in results if not result.holds]
    print(f"seed {seed}: " + (f"BROKEN: {', '.join(broken)}" if broken else "every promise held"))
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.proof")
    parser.add_argument("--seed", type=int, help="random when left out; it is printed")
    parser.add_argument("--rows", default="", help="F1,F2 …; all when left out")
    parser.add_argument("--kills", type=int, default=300, help="at random moments (F2)")
    parser.add_argument("--each", type=int, default=20, help="kills at each named point (F1)")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    return parser


async def _tried(rows: Sequence[Row], seed: int, kills: int, each: int) -> list[Tried]:
    """The kills beside the rows that mostly wait; then the rows that need the machine alone."""
    found: dict[str, Tried] = {}

    async def sequence(some: Iterable[Row]) -> None:
        for row in some:
            with tempfile.TemporaryDirectory(prefix="proof", ignore_cleanup_errors=True) as folder:
                run = Run(Path(folder), seed, short=False, kills=kills, at_each=each)
                found[row.name] = await _one(row, run)
            print(line(found[row.name]), flush=True)

    beside = [row for row in rows if not row.alone]
    await asyncio.gather(
        sequence(row for row in beside if row.name in KILLS),
        sequence(row for row in beside if row.name not in KILLS),
    )
    await sequence(row for row in rows if row.alone)
    return [found[row.name] for row in rows]


async def _one(row: Row, run: Run) -> Tried:
    began = time.monotonic()
    try:
        result = await asyncio.wait_for(row.trial(run), LONGEST)
    except Exception as error:  # noqa: BLE001 - the other rows still have to be tried
        traceback.print_exc(limit=-3, file=sys.stderr)
        result = Result()
        result.problem(f"the trial itself ended with {type(error).__name__}: {error}"[:400])
    return row, result, time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
