"""A host whose agent has rules is killed: no item twice, none lost, no rule acts twice."""

from __future__ import annotations

import pytest

from bench.proof import rules_rows
from bench.proof.trial import Run

pytestmark = pytest.mark.timeout(120)


async def test_a_kill_between_observer_model_flow_and_answer_loses_no_item_and_repeats_none(
    run: Run,
) -> None:
    result = await rules_rows.named_moments(run)
    assert result.broken == []
    assert result.tries == len(rules_rows.SHORT)
