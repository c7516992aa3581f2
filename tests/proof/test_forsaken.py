"""An open turn that nobody will go on with does not hold its conversation up."""

from __future__ import annotations

from typing import Any

import pytest

from bench.proof.trial import Run, Trial, trial
from bot.store import keys
from simulators.testing.stage import until

pytestmark = pytest.mark.timeout(120)

OPEN: dict[str, Any] = {
    "agent": "echo",
    "render": "",
    "writes": 0,
    "tries": 1,
    "left": 1,
    "entry": "1-1",
}
STATES: tuple[dict[str, Any], ...] = (
    {"state": "running"},
    {"state": "suspended", "nonce": "gone"},
    {"state": "sending"},
)


async def test_a_turn_that_is_neither_in_the_inbox_nor_asks_anybody_holds_up_no_conversation(
    run: Run,
) -> None:
    async with trial(run, "forsaken", 1) as t:
        await t.started_host()
        line = f"bot:{t.bots[0].id}"
        people = t.crowd.join(len(STATES))
        async with t.valkey.client() as store:
            for (_, room), state in zip(people, STATES, strict=True):
                await store.hset(keys.open_turn(line, str(room.id)), mapping=OPEN | state)
        for whom in people:
            t.crowd.say(whom, "quick")
        assert (await t.judged()).broken == []
        await _group_of_a_renamed_bot(t)


async def _group_of_a_renamed_bot(t: Trial) -> None:
    """What was said to the old name is no message to the bot when it is found after the crash."""
    (host,), (bot,) = t.hosts, t.bots
    whom = t.crowd.gather(bot)
    t.model.gate = "held"
    t.crowd.say(whom, "plain")
    await until(lambda: t.crowd.sent[-1].nonce in t.model.asked)
    await host.kill()
    t.crowd.sent.pop()
    t.model.gate, bot.username = None, "renamed_bot"
    await host.start()
    one = t.crowd.say(whom, "quick")
    assert await t.crowd.answered(among=[one]) == []
