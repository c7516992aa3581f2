"""The record of Bot API calls and their answers: bounded, and without any token."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call; `answer` is the whole JSON body, None when the connection was cut before it."""

    at: float
    bot: int
    method: str
    params: Json
    status: int
    answer: Json | None
    seconds: float

    def show(self) -> Json:
        """The record as JSON."""
        return {
            "at": self.at,
            "bot": self.bot,
            "method": self.method,
            "params": self.params,
            "status": self.status,
            "answer": self.answer,
            "seconds": round(self.seconds, 6),
        }


class Calls:
    """The newest calls, oldest first, and how many there ever were."""

    def __init__(self) -> None:
        self._records: deque[CallRecord] = deque(maxlen=_KEPT)
        self.total = 0

    def add(self, record: CallRecord) -> None:
        """Keeps one record, forgetting the oldest of too many."""
        self._records.append(record)
        self.total += 1

    def of(self, *, bot: int | None = None, method: str | None = None) -> list[CallRecord]:
        """The records of one bot, of one method (any case), or of both."""
        wanted = method.lower() if method is not None else None
        return [
            r for r in self._records if bot in (None, r.bot) and wanted in (None, r.method.lower())
        ]

    def __iter__(self) -> Iterator[CallRecord]:
        return iter(self._records)

    def clear(self) -> None:
        """Forgets all records."""
        self._records.clear()
