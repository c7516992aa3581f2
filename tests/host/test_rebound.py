"""A turn that was cut off goes on with the agent that began it."""

from __future__ import annotations

import pytest

from simulators.messages.turns import Text, Turn
from tests.host.stage import Stage


@pytest.mark.parametrize("removed", [False, True])
async def test_a_turn_resumes_as_the_agent_that_began_it_or_says_that_it_is_gone(
    stage: Stage, removed: bool
) -> None:
    one = stage.bot("One")
    stage.bot("Two")
    ann = stage.person("Ann")
    room = stage.world.private(ann, one)
    stage.script.on(
        Turn((Text("never whole"),), gate="held"), "One's answer", system="You are One."
    )
    stage.script.on("Two's answer", system="You are Two.", again=True)
    host = await stage.process()
    stage.world.say(ann, room, "hello")
    await stage.sim.gates.reached("held")
    await host.kill()
    stage.agents["bindings"][0]["agentId"] = "two"
    if removed:
        del stage.agents["agents"][0]
    again = await stage.process()
    said = (await stage.answer(room, one, seconds=30)).text
    assert said == (
        "The agent that began this answer was removed, so it ends here."
        if removed
        else "One's answer"
    )
    assert await stage.ask(ann, room, one, "and now?") == "Two's answer"
    await again.end()
