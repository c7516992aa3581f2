"""Rate limits a minute, as buckets that fill again steadily, and the headers that tell of them.

Nothing is refused until a budget is set; the headers are there from the start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from simulators.messages.refusals import Refusal

NAMES = ("requests", "input_tokens", "output_tokens")
_USUAL: Mapping[str, int] = {"requests": 4_000, "input_tokens": 4_000_000, "output_tokens": 800_000}
_MINUTE = 60.0


@dataclass(slots=True)
class _Bucket:
    most: int
    left: float
    at: float
    strict: bool = False

    def fill(self, now: float) -> None:
        self.left = min(self.most, self.left + (now - self.at) * self.most / _MINUTE)
        self.at = now

    def spend(self, amount: int) -> None:
        self.left = self.left - amount if self.strict else max(0.0, self.left - amount)

    def seconds_until(self, amount: float) -> float:
        return max(0.0, (amount - self.left) * _MINUTE / self.most)


class Limits:
    """The budgets of one account; `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self.clear()

    def clear(self) -> None:
        """The usual budgets, none of which refuses anything."""
        for name in NAMES:
            self.allow(name, None)

    def allow(self, name: str, most: int | None) -> None:
        """Refuses what goes over `most` a minute of one of `NAMES`; None refuses nothing."""
        size = _USUAL[name] if most is None else most
        self._buckets[name] = _Bucket(size, size, self._clock(), strict=most is not None)

    def enter(self, input_tokens: int) -> None:
        """Charges one request; raises 429 with retry-after where a budget is used up."""
        now = self._clock()
        asked = {"requests": 1, "input_tokens": input_tokens, "output_tokens": 1}
        for name, bucket in self._buckets.items():
            bucket.fill(now)
            wait = bucket.seconds_until(min(asked[name], bucket.most))
            if bucket.strict and wait > 0:
                raise self._refused(name, bucket, wait)
        self._buckets["requests"].spend(1)
        self._buckets["input_tokens"].spend(input_tokens)

    def wrote(self, output_tokens: int) -> None:
        """Charges what an answer holds."""
        self._buckets["output_tokens"].spend(output_tokens)

    def _refused(self, name: str, bucket: _Bucket, wait: float) -> Refusal:
        words = (
            f"This request would exceed your organization's rate limit of {bucket.most:,} "
            f"{name.replace('_', ' ')} per minute."
        )
        headers = self.headers() | {"retry-after": str(math.ceil(wait))}
        return Refusal(429, words, headers=headers)

    def headers(self) -> dict[str, str]:
        """`anthropic-ratelimit-…`: limit, what remains, and when it is full again."""
        now, found = datetime.now(UTC), {}
        for name, bucket in self._buckets.items():
            head = f"anthropic-ratelimit-{name.replace('_', '-')}"
            full = now + timedelta(seconds=bucket.seconds_until(bucket.most))
            found[f"{head}-limit"] = str(bucket.most)
            found[f"{head}-remaining"] = str(max(0, int(bucket.left)))
            found[f"{head}-reset"] = full.strftime("%Y-%m-%dT%H:%M:%SZ")
        return found
