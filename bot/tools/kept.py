"""Results that may be used again: in memory, bounded in bytes, each within its scope and its time.

Knows nothing of policy: whoever asks has been allowed to make the call.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson

from bot.ops.counters import Counters
from bot.ports import Clock
from bot.skills import SkillContext
from registry.caching import Scope

BYTES_LIMIT = 16_000_000
SHARE = 16
"""One result may take up this part of the whole at most."""
ENTRY_BYTES = 200


def key_of(scope: Scope, context: SkillContext, *what: object) -> str:
    """The key of a result: `what` was called, under this definition, and who may share it."""
    shared = {
        "agent": (),
        "conversation": (context.conversation,),
        "person": (context.conversation, context.user_id),
    }[scope]
    who = [context.instance_id, context.agent, scope, *shared]
    body = orjson.dumps([who, what], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()


@dataclass(frozen=True, slots=True)
class _Kept:
    raw: bytes
    size: int
    until: float


class Kept:
    """Results by key; the ones used longest ago go first, `limit` is in bytes."""

    def __init__(self, clock: Clock, counters: Counters, limit: int = BYTES_LIMIT) -> None:
        self._clock = clock
        self._counters = counters
        self._limit = limit
        self._results: OrderedDict[str, _Kept] = OrderedDict()
        self.size = 0

    def get(self, key: str) -> Any | None:
        """The content that was kept under a key, None where there is none or its time is over."""
        found = self._results.get(key)
        if found is not None and found.until <= self._clock.monotonic():
            self._drop(key)
            found = None
        self._counters.add("tool_cache:miss" if found is None else "tool_cache:hit")
        if found is None:
            return None
        self._results.move_to_end(key)
        return orjson.loads(found.raw)

    def put(self, key: str, content: Any, seconds: float) -> None:
        """Keep a content for so long; one that is too large is not kept."""
        raw = orjson.dumps(content)
        size = len(raw) + len(key) + ENTRY_BYTES
        self._drop(key)
        if size > self._limit // SHARE:
            self._counters.add("tool_cache:too_large")
            return
        self._results[key] = _Kept(raw, size, self._clock.monotonic() + seconds)
        self.size += size
        while self.size > self._limit:
            self._drop(next(iter(self._results)))

    def _drop(self, key: str) -> None:
        if found := self._results.pop(key, None):
            self.size -= found.size
