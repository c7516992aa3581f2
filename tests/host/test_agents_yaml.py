"""`AGENTS_FILE` may be YAML: its agents answer, a save is felt, and a mistake names its line."""

from __future__ import annotations

import asyncio

from tests.host.stage import Stage

AGENTS = """\
agents:
  - id: echo
    name: Echo
    mcpServerEndpoints: []
    customInstructions: You are {name}.
defaultAgentId: echo
"""


async def test_the_agents_of_a_yaml_file_answer_and_a_save_is_felt(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    file = stage.folder / "agents.yaml"
    file.write_text(AGENTS.format(name="Echo"))
    stage.script.on("from Echo", system="You are Echo.")
    stage.script.on("from Nora", system="You are Nora.")
    stage.script.on("still from Nora", system="You are Nora.")
    room = stage.world.private(ann, echo)
    async with stage.host(AGENTS_FILE=str(file)) as host, asyncio.timeout(20):
        assert await stage.ask(ann, room, echo, "hi") == "from Echo"
        file.write_text(AGENTS.format(name="Nora"))
        await host.catalog.until(lambda s: "Nora" in str(s.agents["echo"].value))
        assert await stage.ask(ann, room, echo, "hi again") == "from Nora"
        file.write_text(AGENTS.format(name="Nora").replace("You", "&x You"))
        broken = await host.catalog.until(lambda s: bool(s.problems))
        assert broken.problems[0].place == f"{file}:5"
        assert await stage.ask(ann, room, echo, "and now?") == "still from Nora"
