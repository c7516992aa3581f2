"""Which host should serve which line: an even spread that all hosts reckon alike."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable


def assign_lines(lines: Iterable[str], hosts: Collection[str]) -> dict[str, str]:
    """The host for each line: the one that it prefers among those with room.

    A line prefers hosts in an order of its own, so that few lines move when a host comes or goes.
    """
    wanted = sorted(set(lines), key=_rank)
    most = -(-len(wanted) // len(hosts)) if hosts else 0
    load: Counter[str] = Counter()
    found: dict[str, str] = {}
    for line in wanted if hosts else []:
        with_room = (host for host in hosts if load[host] < most)
        found[line] = min(with_room, key=lambda host: _rank(f"{line} {host}"))
        load[found[line]] += 1
    return found


def _rank(word: str) -> bytes:
    return hashlib.blake2b(word.encode(), digest_size=8).digest()
