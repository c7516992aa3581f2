"""The other faults, each in a short version of what `make proof` does at length."""

from __future__ import annotations

import pytest

from bench.proof import (
    load_rows,
    neighbour_rows,
    other_rows,
    refusal_rows,
    replica_rows,
    store_rows,
    webhook_rows,
)
from bench.proof.trial import Run

pytestmark = pytest.mark.timeout(240)


async def test_a_store_that_is_killed_again_and_again_loses_no_acknowledged_write(
    run: Run,
) -> None:
    assert (await store_rows.store_killed(run)).broken == []


async def test_a_store_that_would_lose_data_is_refused_with_the_reason(run: Run) -> None:
    result = await store_rows.unfit_store(run)
    assert result.broken + result.not_built == []


async def test_while_the_store_is_away_nothing_is_confirmed_and_afterwards_all_is_answered(
    run: Run,
) -> None:
    result = await store_rows.store_away(run)
    assert result.broken + result.not_built == []


async def test_a_full_disk_and_a_full_memory_stop_the_intake_and_drop_nothing(run: Run) -> None:
    assert (await store_rows.store_full(run)).broken == []


async def test_after_much_work_the_store_is_at_idle_size_again(run: Run) -> None:
    assert (await load_rows.much_work(run)).broken == []


async def test_a_tool_server_that_dies_or_talks_garbage_hangs_no_turn(run: Run) -> None:
    assert (await neighbour_rows.bad_tools(run)).broken == []


async def test_a_model_that_is_busy_is_asked_again_within_bounds(run: Run) -> None:
    assert (await neighbour_rows.busy_model(run)).broken == []


async def test_a_broken_stream_is_made_again_and_half_a_call_never_runs(run: Run) -> None:
    assert (await neighbour_rows.broken_streams(run)).broken == []


async def test_when_telegram_fails_no_reply_is_dropped_and_none_repeated_unmarked(
    run: Run,
) -> None:
    assert (await neighbour_rows.telegram_fails(run)).broken == []


async def test_what_is_closed_to_us_is_left_alone_and_the_others_go_on(run: Run) -> None:
    assert (await neighbour_rows.closed_to_us(run)).broken == []


async def test_two_replicas_never_meet_and_a_stranger_is_survived(run: Run) -> None:
    assert (await replica_rows.two_pollers(run)).broken == []


async def test_a_write_of_a_frozen_owner_is_refused_after_its_lease(run: Run) -> None:
    assert (await replica_rows.frozen_owner(run)).broken == []


async def test_the_bots_of_a_killed_replica_are_owned_again_within_15_seconds(
    run: Run,
) -> None:
    assert (await replica_rows.replica_killed(run)).broken == []


async def test_sigterm_during_twenty_turns_ends_with_0_and_loses_none(run: Run) -> None:
    assert (await replica_rows.peaceful_end(run)).broken == []


async def test_poison_is_set_aside_with_word_and_the_next_message_answered(run: Run) -> None:
    assert (await other_rows.poison(run)).broken == []


async def test_a_broken_agents_file_takes_no_bot_down(run: Run) -> None:
    assert (await other_rows.broken_configuration(run)).broken == []


async def test_a_backlog_drains_in_order(run: Run) -> None:
    assert (await load_rows.backlog(run)).broken == []


async def test_a_clock_that_jumps_an_hour_changes_no_order_and_repeats_nothing(
    run: Run,
) -> None:
    assert (await other_rows.odd_clocks(run)).broken == []


async def test_falling_update_ids_are_accepted_and_the_same_one_is_not(run: Run) -> None:
    assert (await other_rows.odd_ids(run)).broken == []


async def test_a_stalled_poller_shows_in_health_and_hears_again(run: Run) -> None:
    assert (await other_rows.stalled_poller(run)).broken == []


async def test_webhooks_lose_nothing_while_replicas_end_and_are_killed(run: Run) -> None:
    assert (await webhook_rows.webhooks(run)).broken == []


async def test_a_change_from_polling_to_a_webhook_and_back_under_load_loses_nothing(
    run: Run,
) -> None:
    assert (await webhook_rows.polls_and_webhooks(run)).broken == []


async def test_a_flood_limit_of_an_hour_is_obeyed_through_a_stop_and_a_kill(run: Run) -> None:
    assert (await refusal_rows.long_flood(run)).broken == []


async def test_what_was_open_at_five_quick_kills_is_answered_and_not_set_aside(run: Run) -> None:
    assert (await refusal_rows.quick_kills(run)).broken == []


async def test_what_is_refused_while_hosts_are_killed_is_answered_or_becomes_a_letter(
    run: Run,
) -> None:
    assert (await refusal_rows.refused_and_killed(run)).broken == []
