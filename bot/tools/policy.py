"""Who may run what: one small pure module that decides; everything else obeys it.

Tools are named `mcp:<server>:<tool>` (later also `skill:<name>`). A pattern is matched segment by
segment, case counts, and `*` stands for any characters of its own segment: a name can never reach
into another segment, whatever it contains.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from enum import Enum

SEGMENTS = 2


class Decision(Enum):
    """What happens to a call."""

    RUN = "run"
    ASK = "ask"


def decide(key: str, whitelist: Iterable[str]) -> Decision:
    """RUN where a whitelist pattern matches the tool's key, else ASK a person."""
    return Decision.RUN if any(matches(pattern, key) for pattern in whitelist) else Decision.ASK


def matches(pattern: str, key: str) -> bool:
    """Whether a pattern covers a tool's key."""
    wanted, found = pattern.split(":", SEGMENTS), key.split(":", SEGMENTS)
    return len(wanted) == len(found) and all(map(_segment, wanted, found))


def _segment(pattern: str, text: str) -> bool:
    return _expression(pattern).fullmatch(text) is not None


@functools.lru_cache(maxsize=4096)
def _expression(pattern: str) -> re.Pattern[str]:
    """A segment's pattern; runs of stars are one star, so that matching stays linear enough."""
    parts = re.split(r"\*+", pattern)
    return re.compile(r"[^\x00-\x1f\x7f]*".join(map(re.escape, parts)))
