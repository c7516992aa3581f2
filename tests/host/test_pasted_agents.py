"""An agent that is added from a chat, as people write, paste and send it."""

from __future__ import annotations

import json
from typing import Any

from tests.host.stage import Stage

POET: dict[str, Any] = {"id": "poet", "name": "Poet", "mcpServerEndpoints": []}


async def test_an_agent_is_added_as_telephones_and_people_write_it(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    forms = [
        "“id”: “a1”, “name”: “One”, “description”: “Is\nfirst.”, “mcpServerEndpoints”: []".join(
            "{}"
        ),
        "```json\n" + json.dumps(POET | {"id": "a2"}, indent=1) + "\n```",
        "\nid: a3\nname: Three\nmcpServerEndpoints: []",
        "```yaml\nid: a4\nname: no\nmcpServerEndpoints: []\n```",
    ]
    async with stage.host() as host:
        for form in forms:
            assert "Created agent" in await stage.ask(boss, room, echo, f"/addagent {form}")
        wrong = '/addagent {"id": "a5",\n"name": 5,\n"llmModel": "x",\n"mcpServerEndpoints": [],}'
        said = await stage.ask(boss, room, echo, wrong)
        assert "✗ line 2: 'name'" in said
        assert "✗ line 3: unknown field 'llmModel'" in said
        assert "message:" not in said
        assert "column" not in said
        other = json.dumps(POET | {"id": "a6"})
        forms = [f"[{other}]", f'{{"agents": [{other}]}}', f"here is my agent: {other}"]
        for form in forms:
            assert "Created agent Poet (a6)" in await stage.ask(
                boss, room, echo, f"/addagent {form}"
            )
            await stage.ask(boss, room, echo, "/deleteagent a6")
        said = await stage.ask(boss, room, echo, f"/addagent {other}\n{other}")
        assert "send one agent at a time" in said
        said = await stage.ask(boss, room, echo, "/addagent []")
        assert 'write {"id": "jack", "name": "Jack"}, or' in said
        again = f"/addagent Replace {json.dumps(POET | {'id': 'a2', 'name': 'Better'})}"
        assert "Updated agent Better (a2)." in await stage.ask(boss, room, echo, again)
        agents = host.catalog.snapshot().agents
    assert {"a1", "a2", "a3", "a4"} < set(agents)
    assert (agents["a1"].value.description, agents["a4"].value.name) == ("Is\nfirst.", "no")


async def test_a_file_with_the_caption_addagent_is_read_by_admins_alone(stage: Stage) -> None:
    echo, boss, eve = stage.bot("Echo"), stage.person("Boss"), stage.person("Eve")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("from the model", again=True)
    room, hers = stage.world.private(boss, echo), stage.world.private(eve, echo)
    content, yaml = json.dumps(POET).encode(), b"id: poet\nname: Bard\nmcpServerEndpoints: []\n"

    def send(data: bytes, caption: str, kind: str = "document", name: str = "poet.json") -> None:
        stage.world.attach(boss, room, kind, data, name=name, caption=caption)

    async with stage.host() as host:
        stage.world.attach(eve, hers, "document", content, caption="/addagent")
        assert "Only admins" in (await stage.answer(hers, echo)).text
        send(content, "/addagent")
        assert "Created agent Poet (poet)." in (await stage.answer(room, echo, 1)).text
        send(yaml, f"/addagent@{echo.username} replace", name="poet.yaml")
        assert "Updated agent Bard (poet)." in (await stage.answer(room, echo, 2)).text
        send(b'{"id": "x",\n"name": 5}', "/addagent")
        assert "poet.json, line 2: 'name'" in (await stage.answer(room, echo, 3)).text
        send(b" " * 300_000, "/addagent")
        assert "over 256 KB" in (await stage.answer(room, echo, 4)).text
        # Other commands, and other kinds of files, take no caption.
        send(content, "/deleteagent poet")
        assert "from the model" in (await stage.answer(room, echo, 5)).text
        send(content, "/addagent replace", "photo")
        assert "from the model" in (await stage.answer(room, echo, 6)).text
        assert host.catalog.snapshot().agents["poet"].value.name == "Bard"
