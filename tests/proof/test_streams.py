"""Answers over HTTP whose host or client goes away, in a short version of `make proof`."""

from __future__ import annotations

import pytest

from bench.proof import leaving_rows, stream_rows
from bench.proof.trial import Run

pytestmark = pytest.mark.timeout(120)


async def test_a_client_whose_host_is_killed_reads_on_at_the_other_and_misses_nothing(
    run: Run,
) -> None:
    assert (await stream_rows.shortly(run)).broken == []


async def test_of_clients_that_go_away_nothing_is_left(run: Run) -> None:
    assert (await leaving_rows.clients_leave(run)).broken == []
