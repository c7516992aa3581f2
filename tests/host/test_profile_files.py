"""A profile in a file while a host runs: it comes, is broken, is corrected and goes."""

from __future__ import annotations

from pathlib import Path

from bot.turn.results import BROKEN
from simulators.testing.stage import PATIENCE, until
from tests.host.profiled import PARTNER, Agent, House, housed, write_profile

SAYS = """
system_prompt_construction:
  system_prompt_segments:
    - {type: static_text, content: "{{ agent.instructions }} Say it HOW."}
"""
LATE = ("Late", "", {"profile": "Late"})


async def follows(house: House, agent: Agent, how: str) -> bool:
    """Whether the agent answers, and is told how."""
    agent.script("Hi.")
    assert await agent.ask() == "Hi."
    return f"Say it {how}." in str(agent.requests[-1]["system"])


async def test_an_agent_answers_by_its_profile_from_the_moment_it_is_there(tmp_path: Path) -> None:
    async with housed(tmp_path, LATE) as house:
        agent, catalog = house["Late"], house.host.catalog
        assert await agent.ask() == BROKEN
        assert agent.requests == []
        (told,) = [one for one in house.host.report()["problems"] if "agents.json" in one]
        assert "agent 'late' does not answer: there is no profile 'Late'; " in told

        write_profile(house.stage, "Late", SAYS.replace("HOW", "slowly"))
        await until(lambda: catalog.snapshot().lost_profile("late") is None, PATIENCE)
        assert await follows(house, agent, "slowly")

        broken = SAYS.replace("HOW", "fast") + PARTNER.replace("True", "v[")
        write_profile(house.stage, "Late", broken)
        await until(lambda: bool(catalog.snapshot().document.errors), PATIENCE)
        assert await follows(house, agent, "slowly")
        (told,) = [one for one in house.host.report()["problems"] if "late.yaml" in one]
        assert "late.yaml:16: 'flow_decider[1].condition': cannot be parsed at column 2" in told
        assert "(the last good version stays in force)" in told

        write_profile(house.stage, "Late", SAYS.replace("HOW", "fast"))
        await until(lambda: not catalog.snapshot().document.errors, PATIENCE)
        assert await follows(house, agent, "fast")

        (house.stage.folder / "agent_profiles" / "profiles" / "late.yaml").unlink()
        await until(lambda: catalog.snapshot().lost_profile("late") is not None, PATIENCE)
        assert await agent.ask() != "Hi."
        assert len(agent.requests) == 3
