"""Tries the attacks of the table again, and says which of them held: `make attack`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

import pytest

from tests.attacks.table import PAGE, Attack, Table, holds, load, named_tests, renewed

WORKERS = "3"
MARKS = {"held": "held", "broken": "BROKEN", "pending": "pending", "untried": "not tried"}


class Outcomes:
    """A plugin of pytest: what became of each test, and the seconds that it took."""

    def __init__(self) -> None:
        self.failed: set[str] = set()
        self.passed: set[str] = set()
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of a test."""
        test = report.nodeid
        self.seconds[test] = self.seconds.get(test, 0.0) + report.duration
        if report.failed:
            self.failed.add(test)
        elif report.when == "call" and report.passed:
            self.passed.add(test)

    def try_again(self, tests: Sequence[str]) -> None:
        """Forget that these failed: they are about to run alone."""
        self.failed.difference_update(tests)
        self.passed.difference_update(tests)

    def of(self, attack: Attack) -> str:
        """Whether an attack held: each of its names has a test that ran, and none failed."""
        if attack.state != "shown":
            return attack.state
        broken = any(holds(name, test) for name in attack.tests for test in self.failed)
        ran = all(any(holds(name, test) for test in self.passed) for name in attack.tests)
        return "held" if ran and not broken else "broken"

    def status(self, attacks: Iterable[Attack]) -> int:
        """The exit status: 0 where every attack that was tried held."""
        return int(any(self.of(attack) == "broken" for attack in attacks))

    def took(self, attack: Attack) -> float:
        """The seconds that the tests of an attack took together."""
        return sum(
            seconds
            for test, seconds in self.seconds.items()
            if any(holds(name, test) for name in attack.tests)
        )


def tried(attacks: Sequence[Attack]) -> Outcomes:
    """Run the tests of these attacks; what failed beside others runs once more, alone."""
    outcomes = Outcomes()
    tests = named_tests(attacks)
    _run(outcomes, tests, WORKERS if len(tests) > 1 else "0")
    if failed := sorted(outcomes.failed):
        sys.stdout.write("What failed beside other tests runs once more, alone:\n")
        outcomes.try_again(failed)
        _run(outcomes, failed, "0")
    return outcomes


def _run(outcomes: Outcomes, tests: Sequence[str], workers: str) -> None:
    if tests:
        flags = ["--attacks", "-q", "-n", workers, "--dist", "loadscope"]
        pytest.main([*flags, *tests], plugins=[outcomes])


def told(table: Table, attacks: Sequence[Attack], outcomes: Outcomes, seconds: float) -> str:
    """The table for a terminal, and the counts below it."""
    lines, counts = [], dict.fromkeys(MARKS, 0)
    for group, title in table.groups.items():
        rows = [one for one in attacks if one.group == group]
        lines += ["", title] if rows else []
        for one in rows:
            state = outcomes.of(one)
            counts[state] += 1
            took = f"{outcomes.took(one):5.1f} s" if one.state == "shown" else ""
            why = f" ({one.untried or one.pending})" if state in ("pending", "untried") else ""
            lines.append(f"  {one.id:>8}  {MARKS[state]:<10}{took:>7}  {one.attack}{why}")
    summary = ", ".join(f"{number} {MARKS[state]}" for state, number in counts.items())
    return "\n".join([*lines, "", f"{summary}; {seconds:.0f} s", ""])


def main(words: Sequence[str] | None = None) -> int:
    """Try what was asked for, or write the page; the exit status."""
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__)
    parser.add_argument("--rows", default="", help="groups, threats or numbers, with commas")
    parser.add_argument("--write", action="store_true", help="write the table in docs/security.md")
    options, table = parser.parse_args(words), load()
    if options.write:
        PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
        return 0
    try:
        attacks = table.chosen(options.rows.split(","))
    except ValueError as error:
        sys.stderr.write(f"make attack: {error}\n")
        return 2
    began = time.monotonic()
    outcomes = tried(attacks)
    sys.stdout.write(told(table, attacks, outcomes, time.monotonic() - began))
    return outcomes.status(attacks)


if __name__ == "__main__":
    sys.exit(main())
