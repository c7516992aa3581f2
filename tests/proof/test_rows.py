"""The other faults, each in a short version of what `make proof` does at length."""

from __future__ import annotations

import pytest

from bench.proof import (
    door_rows,
    load_rows,
    model_rows,
    replica_rows,
    rest_rows,
    store_rows,
    telegram_rows,
    tool_rows,
)
from bench.proof.order import Order

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


async def test_a_store_that_is_killed_again_and_again_loses_no_acknowledged_write(
    order: Order,
) -> None:
    assert (await store_rows.store_killed(order)).broken == []


async def test_a_store_that_would_lose_data_is_refused_with_the_reason(order: Order) -> None:
    tally = await store_rows.unfit_store(order)
    assert tally.broken + tally.missing == []


async def test_while_the_store_is_away_nothing_is_confirmed_and_afterwards_all_is_answered(
    order: Order,
) -> None:
    tally = await store_rows.store_away(order)
    assert tally.broken + tally.missing == []


async def test_a_full_disk_and_a_full_memory_stop_the_intake_and_drop_nothing(order: Order) -> None:
    assert (await store_rows.store_full(order)).broken == []


async def test_after_much_work_the_store_is_at_idle_size_again(order: Order) -> None:
    assert (await load_rows.much_work(order)).broken == []


async def test_a_tool_server_that_dies_or_talks_garbage_hangs_no_turn(order: Order) -> None:
    assert (await tool_rows.bad_tools(order)).broken == []


async def test_a_model_that_is_busy_is_asked_again_within_bounds(order: Order) -> None:
    assert (await model_rows.busy_model(order)).broken == []


async def test_a_broken_stream_is_made_again_and_half_a_call_never_runs(order: Order) -> None:
    assert (await model_rows.broken_streams(order)).broken == []


async def test_when_telegram_fails_no_reply_is_dropped_and_none_repeated_unmarked(
    order: Order,
) -> None:
    assert (await telegram_rows.telegram_fails(order)).broken == []


async def test_what_is_closed_to_us_is_left_alone_and_the_others_go_on(order: Order) -> None:
    assert (await telegram_rows.closed_to_us(order)).broken == []


async def test_two_replicas_never_meet_and_a_stranger_is_survived(order: Order) -> None:
    assert (await replica_rows.two_pollers(order)).broken == []


async def test_a_write_of_a_frozen_owner_is_refused_after_its_lease(order: Order) -> None:
    assert (await replica_rows.frozen_owner(order)).broken == []


async def test_the_bots_of_a_killed_replica_are_owned_again_within_15_seconds(
    order: Order,
) -> None:
    assert (await replica_rows.replica_killed(order)).broken == []


async def test_sigterm_during_twenty_turns_ends_with_0_and_loses_none(order: Order) -> None:
    assert (await replica_rows.peaceful_end(order)).broken == []


async def test_poison_is_set_aside_with_word_and_the_next_message_answered(order: Order) -> None:
    assert (await rest_rows.poison(order)).broken == []


async def test_a_broken_agents_file_takes_no_bot_down(order: Order) -> None:
    assert (await rest_rows.broken_configuration(order)).broken == []


async def test_a_backlog_drains_in_order(order: Order) -> None:
    assert (await load_rows.backlog(order)).broken == []


async def test_a_clock_that_jumps_an_hour_changes_no_order_and_repeats_nothing(
    order: Order,
) -> None:
    assert (await rest_rows.odd_clocks(order)).broken == []


async def test_falling_update_ids_are_accepted_and_the_same_one_is_not(order: Order) -> None:
    assert (await rest_rows.odd_ids(order)).broken == []


async def test_a_deaf_poller_shows_in_health_and_hears_again(order: Order) -> None:
    assert (await rest_rows.deaf_poller(order)).broken == []


async def test_webhooks_lose_nothing_while_replicas_end_and_are_killed(order: Order) -> None:
    assert (await door_rows.webhooks(order)).broken == []


async def test_a_change_from_polling_to_a_webhook_and_back_under_load_loses_nothing(
    order: Order,
) -> None:
    assert (await door_rows.doors_changed(order)).broken == []
