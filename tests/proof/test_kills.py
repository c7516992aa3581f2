"""The host is killed: nothing is lost, nothing comes out of order, repeats carry the mark."""

from __future__ import annotations

import pytest

from bench.proof import kill_rows
from bench.proof.trial import Run

pytestmark = pytest.mark.timeout(240)


async def test_kill_9_at_each_named_point_loses_nothing_and_repeats_only_with_the_mark(
    run: Run,
) -> None:
    result = await kill_rows.named_points(run)
    assert result.broken == []
    assert result.tries == len(kill_rows.POINTS)


async def test_kill_9_at_random_moments_loses_nothing_and_repeats_only_with_the_mark(
    run: Run,
) -> None:
    result = await kill_rows.random_moments(run)
    assert result.broken == []
    assert result.messages >= 9 * run.kills


async def test_a_kill_between_question_tap_and_call_never_makes_an_allowed_call_twice(
    run: Run,
) -> None:
    result = await kill_rows.killed_while_asking(run)
    assert result.broken == []
    assert result.tries == len(kill_rows.APPROVALS)


async def test_a_kill_while_an_answer_grows_in_a_group_leaves_one_whole_answer(
    run: Run,
) -> None:
    assert (await kill_rows.killed_while_growing(run)).broken == []


async def test_twelve_in_flight_and_eight_sent_while_down_are_twenty_answers(run: Run) -> None:
    result = await kill_rows.twenty(run)
    assert result.broken == []
    assert result.messages == 20
