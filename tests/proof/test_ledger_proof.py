"""The ledger beside the simulator's own count, with hosts that are killed in between."""

from __future__ import annotations

import pytest

from bench.proof.ledger import proved
from bench.proof.trial import Run


@pytest.mark.timeout(180)
async def test_every_request_that_was_served_has_its_line_whatever_was_killed(
    run: Run,
) -> None:
    """`python -m bench.proof.ledger` is the long form: a thousand turns and twenty kills."""
    result = await proved(run, turns=60, kills=2, people=16)
    assert result.problems == []
    assert result.messages >= 60
