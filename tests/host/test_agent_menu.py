"""The agents as a menu: gone through with a thumb, alive after a restart, deaf to others."""

from __future__ import annotations

from simulators.testing.valkey import Valkey
from tests.host.menus import MenuUser
from tests.host.stage import Stage, until
from tests.host.test_versions import two_replicas


async def add(user: MenuUser, id: str, name: str, text: str = "You write.") -> None:
    document = f'{{"id": "{id}", "name": "{name}", "customInstructions": "{text}"}}'
    assert "Created agent" in await user.open(f"/addagent {document}")


async def test_an_admin_goes_through_the_agents_on_one_message(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("who are you?", system="You write.", again=True)
    here = MenuUser(stage, boss, bots[0])
    async with two_replicas(stage, valkey) as hosts:
        await add(here, "poet", "Poet")
        for number in range(9):
            await add(here, f"a{number}", f"Agent {number}")
        shown = await here.open("/agents")
        assert "• poet Poet · agent:definition:poet" in shown
        assert len(here.labels) == 8 + 1 + 2
        message = here.number
        assert "Poet · poet" not in here.labels
        await here.tap("More (4)")
        assert "Poet · poet" in here.labels
        await here.tap("Search")
        assert here.text == "Send a word of the agent's id or name."
        found = await here.write("POET")
        assert here.number > message
        assert "poet Poet" in found
        assert here.labels == ["Poet · poet", "All agents", "Search", "New agent"]
        message = here.number

        shown = await here.tap("Poet")
        assert here.number == message
        assert shown.startswith("Poet (poet)")
        assert "No tools" in shown
        assert "Not used today (UTC)" in shown
        assert "Version 1, " in shown
        assert f"by tg:{boss.id}" in shown
        assert "Nothing is bound to it." in shown

        await here.tap("Bind")
        await here.tap("This chat")
        assert here.word == "poet answers here now."
        assert await here.open("who are you?") is not None
        here.number = message
        await here.tap("Details")
        assert "customInstructions: You write. · agent:definition:poet" in here.text
        assert "1 model request" in await here.tap("‹ Back")

        await here.tap("Clone")
        assert here.labels == ["Name it poet-copy", "Cancel"]
        cloned = await here.write("poet-2")
        assert cloned.startswith("Poet (copy) (poet-2)")
        await until(lambda: "poet-2" in hosts[1].catalog.snapshot().agents)

        assert "answers nobody then" in await here.tap("Archive")
        assert here.labels == ["Archive", "Cancel"]
        await here.tap("Archive")
        assert here.word == "Archived poet-2."
        await until(lambda: "poet-2" not in hosts[1].catalog.snapshot().agents)
        await here.tap("Bring poet-2 back")
        assert here.word == "poet-2 is back."
        assert here.text.startswith("Poet (copy) (poet-2)")
