"""With `REVIEW__CORE=two`, a new prompt is in force once a second, named person approves it."""

from __future__ import annotations

import re

from tests.host.stage import Stage


async def test_a_prompt_of_one_admin_is_in_force_once_a_named_other_has_approved_it(
    stage: Stage,
) -> None:
    echo, ann, ben = stage.bot("Echo"), stage.person("Ann"), stage.person("Ben")
    office, desk = stage.world.private(ann, echo), stage.world.private(ben, echo)
    async with stage.host(ADMINS=f"{ann.id},{ben.id}", REVIEW__CORE="two") as host:

        async def ann_says(text: str) -> str:
            return await stage.ask(ann, office, echo, text)

        async def ben_says(text: str) -> str:
            return await stage.ask(ben, desk, echo, text)

        made = '/addagent because a poet is wanted\n{"id": "jack", "name": "Jack", %s}'
        said = await ann_says(made % '"customInstructions": "Rhyme."')
        assert "Kept, not yet in force" in said
        assert "/reviews" in said
        assert host.catalog.get_agent("jack") is None
        listed = await ben_says("/reviews")
        assert "waits for qa" in listed
        assert "a poet is wanted" in listed
        assert "Rhyme." in listed
        (mark,) = re.findall(r"\b[0-9a-f]{8}\b", listed)
        approve = f"/reviews approve jack {mark}"
        assert "another person must approve it" in await ann_says(approve)
        assert "named for qa" in await ben_says(approve)
        assert "look at it again" in await ben_says("/reviews approve jack 00000000")
        await ann_says(f"/roles grant {ben.id} spokestack_engineer host qa")
        assert "is in force" in await ben_says(approve)
        agent = host.catalog.get_agent("jack")
        assert agent is not None
        assert agent.custom_instructions == "Rhyme."
        assert await ben_says("/reviews") == "No change waits for a second person."
        assert "approved by" in await ann_says("/versions jack")
        assert "no change of agent" in (await ben_says("/reviews reject jack")).lower()
