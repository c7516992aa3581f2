"""What counts as going round in circles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.turn.tool_calls import is_repeating
from bot.usage.budgets import RequestRate
from registry.agent_limits import CostConfig, SafetyConfig, TurnLimits
from tests.clocks import StoppedClock


@pytest.mark.parametrize(
    ("made", "call", "round_"),
    [
        ("", "a", False),
        ("a", "a", False),
        ("aa", "a", True),
        ("axa", "a", True),
        ("abc", "d", False),
        ("aba", "b", True),
        ("aba", "c", False),
        ("xaba", "b", True),
        ("ab", "a", False),
    ],
)
def test_the_third_of_a_kind_and_two_in_turns_are_a_loop(
    made: str, call: str, round_: bool
) -> None:
    assert is_repeating(list(made), call) is round_


def test_a_minute_has_so_many_requests_and_then_a_new_one_begins() -> None:
    clock = StoppedClock()
    rate = RequestRate(clock)
    ann, ben = ("bot:1", "5", 1), ("bot:1", "5", 2)
    assert [rate.take(ann, 3) for _ in range(5)] == [True, True, True, False, False]
    assert rate.take(ben, 3)
    clock.now += 59.9
    assert not rate.take(ann, 3)
    clock.now += 0.1
    assert rate.take(ann, 3)


def test_who_has_asked_nothing_for_a_minute_is_forgotten() -> None:
    clock = StoppedClock()
    rate = RequestRate(clock)
    for number in range(5_000):
        clock.now += 1
        assert rate.take((f"api:acme:{number}", "0", "api:acme:ann"), 1)
    assert len(rate._made) <= 600
    assert not rate.take(("api:acme:4999", "0", "api:acme:ann"), 1)


@given(*[st.none() | st.integers(1, 1000)] * 5)
def test_an_agent_can_lower_every_limit_and_raise_none(
    requests: int | None,
    calls: int | None,
    seconds: int | None,
    tokens: int | None,
    per_minute: int | None,
) -> None:
    safety = SafetyConfig(
        max_iterations=requests, max_tool_calls_per_turn=calls, max_seconds_per_turn=seconds
    )
    cost = CostConfig(max_tokens_per_request=tokens, max_requests_per_minute=per_minute)
    own = TurnLimits().lowered(safety, cost)
    assert own.requests == min(25, requests or 25)
    assert own.calls == min(10, calls or 10)
    assert own.seconds == min(600, seconds or 600)
    assert own.tokens == min(8000, tokens or 8000)
    assert own.per_minute == min(60, per_minute or 60)
