"""Plain counters of events, by name."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Counts events such as `ignored:service`; health shows a snapshot."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        """Count."""
        self._counts[name] += amount

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """All counts so far, by name."""
        return dict(sorted(self._counts.items()))
