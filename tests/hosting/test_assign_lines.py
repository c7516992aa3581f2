"""The even spread of lines over hosts."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bot.hosting.fleet import assign_lines

LINES = [f"bot:{number}" for number in range(50)]


@given(st.sets(st.integers(0, 400)), st.sets(st.text(min_size=1), min_size=1, max_size=8))
def test_every_line_has_a_host_and_no_host_has_more_than_its_share(
    numbers: set[int], hosts: set[str]
) -> None:
    lines = {f"bot:{number}" for number in numbers}
    found = assign_lines(lines, hosts)
    load = Counter(found.values())
    assert found.keys() == lines
    assert max(load.values(), default=0) <= -(-len(lines) // len(hosts))


@given(st.permutations(["a", "b", "c"]), st.permutations(LINES))
def test_all_hosts_compute_the_same(hosts: list[str], lines: list[str]) -> None:
    assert assign_lines(lines, hosts) == assign_lines(LINES, ["a", "b", "c"])


def test_when_a_host_dies_most_lines_of_the_others_stay() -> None:
    before, after = assign_lines(LINES, ["a", "b", "c"]), assign_lines(LINES, ["a", "b"])
    kept = [line for line in LINES if before[line] != "c" and before[line] == after[line]]
    assert len(kept) >= 24


def test_without_a_host_nobody_has_a_line() -> None:
    assert assign_lines(LINES, []) == {}
