"""The pace of chats on a clock that the test turns."""

from __future__ import annotations

import pytest

from bot.telegram.rate_limit import ChatRateLimiter
from tests.clocks import StoppedClock

ANNA, TEAM = 7, -100200


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def pace(clock: StoppedClock) -> ChatRateLimiter:
    return ChatRateLimiter(clock)


def previews(pace: ChatRateLimiter, clock: StoppedClock, chat: int, count: int) -> list[float]:
    """The gaps between previews that take each slot as soon as it is there."""
    gaps = []
    for _ in range(count):
        assert pace.may_preview(chat)
        pace.record(chat, preview=True)
        gaps.append(pace.preview_in(chat))
        clock.now += gaps[-1]
    return gaps


def test_a_chat_that_was_never_called_has_a_slot(pace: ChatRateLimiter) -> None:
    assert pace.may_preview(ANNA)
    assert pace.may_preview(TEAM)
    assert pace.blocked_for(ANNA) == 0


@pytest.mark.parametrize(("chat", "gap"), [(ANNA, 1.0), (TEAM, 3.0)])
def test_a_call_takes_the_slot_of_its_chat_alone(
    pace: ChatRateLimiter, clock: StoppedClock, chat: int, gap: float
) -> None:
    pace.record(chat)
    assert not pace.may_preview(chat)
    assert pace.may_preview(chat - 1)
    clock.now += gap - 0.01
    assert not pace.may_preview(chat)
    clock.now += 0.01
    assert pace.may_preview(chat)


def test_finals_do_not_wait_but_push_previews_back(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    for _ in range(3):
        assert pace.blocked_for(TEAM) == 0
        pace.record(TEAM)
    assert pace.preview_in(TEAM) == 9.0


def test_the_debt_of_many_finals_is_at_most_a_minute(pace: ChatRateLimiter) -> None:
    for _ in range(100):
        pace.record(TEAM)
    assert pace.preview_in(TEAM) == 60.0


def test_edits_in_a_group_slow_down_from_three_to_five_seconds(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    pace.begin(TEAM)
    assert previews(pace, clock, TEAM, 7) == [3.0, 3.5, 4.0, 4.5, 5.0, 5.0, 5.0]
    pace.begin(TEAM)
    assert previews(pace, clock, TEAM, 1) == [3.0]


def test_drafts_go_on_each_second(pace: ChatRateLimiter, clock: StoppedClock) -> None:
    pace.begin(ANNA)
    assert previews(pace, clock, ANNA, 4) == [1.0] * 4


def test_a_group_never_takes_more_than_twenty_previews_a_minute(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    start, calls = clock.now, 0
    while clock.now < start + 60:
        if pace.may_preview(TEAM):
            pace.record(TEAM)
            calls += 1
        clock.now += 0.1
    assert calls <= 20


def test_a_freeze_closes_the_chat_for_everything_and_no_other(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    pace.block_until(ANNA, clock.now + 30)
    assert pace.blocked_for(ANNA) == 30
    assert not pace.may_preview(ANNA)
    assert pace.blocked_for(TEAM) == 0
    clock.now += 30
    assert pace.blocked_for(ANNA) == 0
    assert pace.may_preview(ANNA)


def test_a_shorter_freeze_does_not_end_a_longer_one(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    pace.block_until(ANNA, clock.now + 30)
    pace.block_until(ANNA, clock.now + 5)
    assert pace.blocked_for(ANNA) == 30


def test_after_a_freeze_a_chat_goes_at_half_speed_for_a_minute(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    pace.block_until(ANNA, clock.now + 10)
    clock.now += 10
    assert previews(pace, clock, ANNA, 30) == [2.0] * 30
    assert previews(pace, clock, ANNA, 1) == [1.0]


def test_idle_chats_are_forgotten_and_busy_ones_are_not(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    pace.block_until(TEAM, clock.now + 7200)
    for chat in range(1, 20_001):
        pace.record(chat)
        clock.now += 0.1
    assert len(pace) < 2500
    assert pace.blocked_for(TEAM) == pytest.approx(7200 - 2000)


def test_a_burst_of_chats_within_a_minute_is_remembered_whole(
    pace: ChatRateLimiter, clock: StoppedClock
) -> None:
    for chat in range(1, 3001):
        pace.record(chat)
    assert not any(pace.may_preview(chat) for chat in range(1, 3001))
