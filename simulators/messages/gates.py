"""Named gates: each holds an answer until a test, or the control API, opens it."""

from __future__ import annotations

import asyncio
from collections import Counter

from simulators.messages.turns import EventOrName


class Gates:
    """Gates by name; one that was opened stays open until it is shut again."""

    def __init__(self) -> None:
        self._open: dict[str, asyncio.Event] = {}
        self._reached: dict[str, asyncio.Event] = {}
        self._waiting: Counter[str] = Counter()

    def open(self, name: str) -> None:
        """Let everything pass that waits at this gate, now and later."""
        self._event(name).set()

    def shut(self, name: str) -> None:
        """Make the gate hold again."""
        self._event(name).clear()

    def open_all(self) -> None:
        """Let everything pass that waits anywhere now."""
        for name in self.waiting():
            self.open(name)

    def waiting(self) -> dict[str, int]:
        """How many answers wait at which gate."""
        return {name: count for name, count in self._waiting.items() if count}

    async def reached(self, name: str, timeout: float = 60.0) -> None:
        """Return when an answer has come to this gate; TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            await self._reached.setdefault(name, asyncio.Event()).wait()

    async def wait(self, gate: EventOrName | None) -> None:
        """Wait at a gate; without one, forever."""
        if isinstance(gate, asyncio.Event):
            await gate.wait()
            return
        name = gate or ""
        self._waiting[name] += 1
        self._reached.setdefault(name, asyncio.Event()).set()
        try:
            await self._event(name).wait()
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                self._reached[name].clear()

    def _event(self, name: str) -> asyncio.Event:
        return self._open.setdefault(name, asyncio.Event())
