"""`switchboard presets`: the operator lists and exports what is private to everybody else."""

from __future__ import annotations

import json

from simulators.testing.valkey import Valkey
from tests.cli.console import Console

AGENT = {"id": "research_agent", "name": "Research", "template": True, "mcpServerEndpoints": []}
PRESETS = {
    "owner": "tg:5",
    "presets": [
        {
            "id": "0123456789ab",
            "instance_name": "deep-researcher",
            "base_agent_name": "research_agent",
            "primary_model": "gpt-4",
            "system_prompt_append": "Cite.",
            "created_at": 1.0,
            "updated_at": 1796083200.0,
        },
        {"id": "ba9876543210", "instance_name": "lost", "base_agent_name": "gone"},
    ],
    "default": "0123456789ab",
}


async def filled(console: Console, valkey: Valkey) -> None:
    async with valkey.client() as redis:
        await redis.set("agent:definition:research_agent", json.dumps(AGENT))
        await redis.set("agent:preset:tg:5", json.dumps(PRESETS))
        other = {**PRESETS, "owner": "api:acme:ann", "presets": PRESETS["presets"][:1]}
        await redis.set("agent:preset:api:acme:ann", json.dumps(other))


async def test_the_list_has_no_texts_and_the_export_has_them(
    console: Console, valkey: Valkey
) -> None:
    assert (await console.done("presets", "list")).out == "no presets\n"
    await filled(console, valkey)
    listed = (await console.done("presets", "list")).out.splitlines()
    assert [" ".join(line.split()) for line in listed] == [
        "api:acme:ann deep-researcher research_agent gpt-4 2026-12-01 00:00:00 default",
        "tg:5 deep-researcher research_agent gpt-4 2026-12-01 00:00:00 default",
        "tg:5 lost gone cannot answer",
    ]
    assert "Cite." not in "\n".join(listed)
    own = (await console.done("presets", "export", "--person", "5")).data
    assert [(one["owner"], one["instance_name"]) for one in own] == [
        ("tg:5", "deep-researcher"),
        ("tg:5", "lost"),
    ]
    assert own[0]["system_prompt_append"] == "Cite."
    assert (own[0]["is_default"], own[1]["is_default"]) == (True, False)
    said = (await console.done("presets", "export", str(console.folder / "p.json"))).out
    assert said.endswith(": 3 presets\n")
    assert console.mode("p.json") == 0o600
    assert len(json.loads(console.read("p.json"))) == 3
    wrong = await console.refused("presets", "list", "--person", "6")
    assert "there is no person with presets 'tg:6'; did you mean tg:5?" in wrong


async def test_presets_move_to_another_host_with_everything_else(
    console: Console, valkey: Valkey
) -> None:
    await filled(console, valkey)
    await console.done("export", str(console.folder / "all.json"))
    async with valkey.client() as redis:
        await redis.flushall()
    await console.done("import", str(console.folder / "all.json"), "--yes")
    assert len((await console.done("presets", "export")).data) == 3
    audit = (await console.done("audit", "list", "--json")).data
    assert all("Cite." not in json.dumps(one) for one in audit if one["kind"] == "preset")
