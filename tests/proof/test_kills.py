"""The host is killed: nothing is lost, nothing comes out of order, repeats carry the mark."""

from __future__ import annotations

import pytest

from bench.proof import asking, growing, kills
from bench.proof.order import Order

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


async def test_kill_9_at_each_named_point_loses_nothing_and_repeats_only_with_the_mark(
    order: Order,
) -> None:
    tally = await kills.named_points(order)
    assert tally.broken == []
    assert tally.tries == len(kills.POINTS)


async def test_kill_9_at_random_moments_loses_nothing_and_repeats_only_with_the_mark(
    order: Order,
) -> None:
    tally = await kills.random_moments(order)
    assert tally.broken == []
    assert tally.messages >= 9 * order.kills


async def test_a_kill_between_question_tap_and_call_never_makes_an_allowed_call_twice(
    order: Order,
) -> None:
    tally = await asking.killed_while_asking(order)
    assert tally.broken == []
    assert tally.tries == len(asking.WAITS)


async def test_a_kill_while_an_answer_grows_in_a_group_leaves_one_whole_answer(
    order: Order,
) -> None:
    assert (await growing.killed_while_growing(order)).broken == []


async def test_twelve_in_flight_and_eight_sent_while_down_are_twenty_answers(order: Order) -> None:
    tally = await kills.twenty(order)
    assert tally.broken == []
    assert tally.messages == 20
