"""Every request that came, with secrets taken out: bounded, and something to wait on."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGES = "/v1/messages"
SECRET = ("authorization", "x-api-key", "proxy-authorization", "cookie")


@dataclass(slots=True)
class Record:
    """One request: `number` counts from 1 for its path; `outcome` is set at its end.

    Outcomes: "done", "refused", "dropped" (by the script) and "left" (the client went away).
    """

    number: int
    path: str
    headers: Mapping[str, str]
    body: Any
    size: int = 0
    status: int | None = None
    outcome: str | None = None
    _over: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def end(self, outcome: str) -> None:
        """Note how it ended; what was noted first stays."""
        self.outcome = self.outcome or outcome
        self._over.set()

    async def ended(self, timeout: float = 60.0) -> str:
        """The outcome, once there is one; TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            await self._over.wait()
        return self.outcome or ""

    def described(self) -> dict[str, Any]:
        """The record as JSON."""
        return {
            "number": self.number,
            "path": self.path,
            "headers": dict(self.headers),
            "body": self.body,
            "status": self.status,
            "outcome": self.outcome,
        }


class Records:
    """The last requests, at most `keep` of them and `most` bytes of bodies."""

    def __init__(self, keep: int = 500, most: int = 64_000_000) -> None:
        self._keep = keep
        self._most = most
        self._kept: deque[Record] = deque()
        self._held = 0
        self._total: Counter[str] = Counter()
        self._arrived = asyncio.Event()

    def add(self, path: str, headers: Mapping[str, str], body: Any, size: int) -> Record:
        """Keep a request that has just come."""
        self._total[path] += 1
        record = Record(self._total[path], path, redacted(headers), body, size)
        self._kept.append(record)
        self._held += size
        while len(self._kept) > self._keep or (self._held > self._most and len(self._kept) > 1):
            self._held -= self._kept.popleft().size
        self._arrived.set()
        self._arrived = asyncio.Event()
        return record

    def total(self, path: str = MESSAGES) -> int:
        """How many requests came to a path since the last clear."""
        return self._total[path]

    def all(self, path: str | None = MESSAGES) -> list[Record]:
        """The kept requests of a path (None: of all), oldest first."""
        return [record for record in self._kept if path is None or record.path == path]

    async def nth(self, number: int, timeout: float = 60.0, path: str = MESSAGES) -> Record:
        """The `number`-th request of a path, when it has come; TimeoutError if it does not."""
        async with asyncio.timeout(timeout):
            while self._total[path] < number:
                await self._arrived.wait()
        for record in self.all(path):
            if record.number == number:
                return record
        raise LookupError(f"request {number} to {path} is no longer kept")

    def clear(self) -> None:
        """Forget all, and count from 1 again."""
        self._kept.clear()
        self._held = 0
        self._total.clear()


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers with every secret replaced by a mark."""
    return {name: "[redacted]" if name in SECRET else value for name, value in headers.items()}
