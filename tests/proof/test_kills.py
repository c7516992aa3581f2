"""The host is killed: nothing is lost, nothing comes out of order, repeats carry the mark."""

from __future__ import annotations

import pytest

from bench.proof import kills
from bench.proof.order import Order

pytestmark = pytest.mark.timeout(240)


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


async def test_twelve_in_flight_and_eight_sent_while_down_are_twenty_answers(order: Order) -> None:
    tally = await kills.twenty(order)
    assert tally.broken == []
    assert tally.messages == 20
