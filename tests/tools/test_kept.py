"""Results that may be used again: how long, how many, and under which key."""

from __future__ import annotations

import pytest

from bot.ops.counters import Counters
from bot.skills import SkillContext
from bot.tools.kept import Kept, key_of
from registry.caching import Scope


class StoppedClock:
    """A clock that goes on when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_result_is_there_until_its_time_is_over() -> None:
    clock, counters = StoppedClock(), Counters()
    kept = Kept(clock, counters)
    kept.put("a", [{"type": "text", "text": "rain"}], 60)
    clock.now = 59.9
    assert kept.get("a") == [{"type": "text", "text": "rain"}]
    clock.now = 60.0
    assert kept.get("a") is None
    assert kept.size == 0
    assert counters.snapshot() == {"tool_cache:hit": 1, "tool_cache:miss": 1}


def test_what_is_kept_cannot_be_changed_by_who_got_it() -> None:
    kept = Kept(StoppedClock(), Counters())
    kept.put("a", [{"text": "rain"}], 60)
    found = kept.get("a")
    assert found is not None
    found[0]["text"] = "sun"
    assert kept.get("a") == [{"text": "rain"}]


def test_the_whole_stays_under_its_limit_and_the_longest_unused_goes_first() -> None:
    kept = Kept(StoppedClock(), Counters(), limit=16_000)
    for name in range(40):
        kept.put(str(name), "x" * 600, 60)
        kept.get("0")
        assert kept.size <= 16_000
    assert kept.get("0") is not None
    assert kept.get("1") is None
    assert kept.get("39") is not None


def test_a_result_that_is_too_large_is_not_kept_and_drops_nothing() -> None:
    counters = Counters()
    kept = Kept(StoppedClock(), counters, limit=16_000)
    kept.put("a", "small", 60)
    kept.put("b", "x" * 2_000, 60)
    assert (kept.get("a"), kept.get("b")) == ("small", None)
    assert counters["tool_cache:too_large"] == 1


ANN = SkillContext("default", "1", "bot:1/7", "clerk")


@pytest.mark.parametrize(
    ("scope", "other", "same"),
    [
        ("person", SkillContext("default", "2", "bot:1/7", "clerk"), False),
        ("person", SkillContext("default", "1", "bot:1/8", "clerk"), False),
        ("conversation", SkillContext("default", "2", "bot:1/7", "clerk"), True),
        ("conversation", SkillContext("default", "1", "bot:1/8", "clerk"), False),
        ("agent", SkillContext("default", "2", "bot:2/9", "clerk"), True),
        ("agent", SkillContext("default", "1", "bot:1/7", "other"), False),
        ("agent", SkillContext("acme", "1", "bot:1/7", "clerk"), False),
    ],
)
def test_a_key_is_shared_as_far_as_its_scope(scope: Scope, other: SkillContext, same: bool) -> None:
    assert (key_of(scope, ANN, "call", "id") == key_of(scope, other, "call", "id")) is same
    assert key_of(scope, ANN, "call", "id") != key_of(scope, ANN, "call", "other secret")
