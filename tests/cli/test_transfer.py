"""`switchboard export` and `import`: from one store into another, to the same hashes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from registry.sources.stored_values import is_document
from simulators.testing.valkey import Valkey, running_valkey
from tests.cli.console import Console


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Valkey]:
    """A second store, with nothing in it."""
    async with running_valkey(tmp_path / "w") as valkey:
        yield valkey


async def state(valkey: Valkey) -> dict[str, Any]:
    """The documents of a store, word for word."""
    async with valkey.client() as redis:
        found: Any = [key.decode() async for key in redis.scan_iter(match="agent:*")]
        keys = sorted(key for key in found if is_document(key))
        return dict(zip(keys, await redis.mget(keys), strict=True)) if keys else {}


async def written(valkey: Valkey) -> tuple[Any, Any]:
    """The end of the audit, and those of all histories."""
    async with valkey.client() as redis:
        return await redis.get("agent:audit:head"), await redis.hgetall("agent:heads")


async def fill(console: Console, valkey: Valkey) -> None:
    """A store as a sandbox has it after a while: fifty agents, and something of every kind."""
    agents = [
        {
            "id": f"agent-{number}",
            "name": f"Agent {number} «ё»",
            "customInstructions": f"You are number {number}.\nBe brief.",
            "llmOverrides": {"temperature": 0.1 * number / 10},
        }
        for number in range(50)
    ]
    async with valkey.client() as redis:  # some as a host writes them, some as people do
        for number, agent in enumerate(agents):
            text = (
                json.dumps(agent, ensure_ascii=False) if number % 5 else json.dumps(agent, indent=2)
            )
            await redis.set(f"agent:definition:agent-{number}", text)
        await redis.set("agent:default", "agent-7")
    await console.done("bindings", "set", "agent-1", "--bot", "@first_bot")
    await console.done("bindings", "set", "agent-2", "--chat", "-1005")
    await console.done("roles", "grant", "5", "instance_manager", "--account", "acme")
    await console.done("access", "let-in", "5")
    await console.done("keys", "create", "--account", "acme")


async def test_an_export_of_fifty_agents_fills_an_empty_store_with_the_same_hashes_once(
    console: Console, valkey: Valkey, empty: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(console, valkey)
    said = await console.done("export", "all.json")
    assert said.out == "exported to all.json: 50 agent, 2 binding, 1 default, 1 role, 1 access\n"
    assert console.mode("all.json") == 0o600
    assert (await console.done("export")).out == console.read("all.json")
    assert "sbk_" not in console.read("all.json")
    monkeypatch.setenv("REDIS_URL", empty.url)
    planned = await console.done("import", "all.json", "--dry-run")
    assert planned.out.splitlines()[-1] == "55 to create"
    assert await state(empty) == {}
    assert "nothing was imported; add --yes" in await console.refused("import", "all.json")
    done = await console.done("import", "all.json", "--yes")
    assert done.out.splitlines()[-1] == "imported: 55 created"
    sent = await state(valkey)
    assert len(sent) == 56  # with the API key, which stays
    assert await state(empty) == {k: v for k, v in sent.items() if ":key:" not in k}
    assert (await console.done("export")).out == console.read("all.json")
    (newest,) = (await console.done("audit", "list", "--count", "1", "--json")).data
    assert (newest["changed_by"], newest["change_reason"]) == ("operator", "import of all.json")
    before = await written(empty)
    again = await console.done("import", "all.json", "--yes", "--json")
    assert again.data == {"steps": [], "unchanged": 55, "imported": False}
    assert await written(empty) == before
    assert (await console.done("audit", "verify")).code == 0


async def test_an_import_names_what_it_changes_and_deletes_only_when_told(
    console: Console, valkey: Valkey
) -> None:
    await put(valkey, "poet", name="Poet", customInstructions="Short.")
    await put(valkey, "jack", name="Jack")
    await console.done("export", "all.json")
    await put(valkey, "poet", name="Bard", customInstructions="Long.")
    await put(valkey, "new", name="New")
    await console.done("keys", "create")
    planned = await console.done("import", "all.json", "--dry-run", "--prune")
    assert planned.out.splitlines() == [
        "change  agent  poet  name, customInstructions",
        "delete  agent  new",
        "1 to change, 1 to delete, 1 unchanged",
    ]
    kept = await console.done("import", "all.json", "--yes", "--json", "--reason", "back to it")
    assert [step["act"] for step in kept.data["steps"]] == ["change"]
    assert "agent:definition:new" in await state(valkey)
    await console.done("import", "all.json", "--yes", "--prune")
    assert "agent:definition:new" not in await state(valkey)
    assert len((await console.done("keys", "list", "--json")).data) == 1
    history = (await console.done("agents", "history", "poet", "--json")).data
    assert history[0]["reason"] == "back to it"


async def put(valkey: Valkey, id: str, **fields: Any) -> None:
    """An agent, as a hand puts it into the store."""
    async with valkey.client() as redis:
        await redis.set(f"agent:definition:{id}", json.dumps({"id": id, **fields}))


async def test_every_problem_of_every_document_is_told_before_anything_is_written(
    console: Console, valkey: Valkey
) -> None:
    await put(valkey, "poet", name="Poet")
    body = (await console.done("export")).data
    good, bad = body["documents"]["agent"][0], {"id": "bad", "value": {"id": "bad", "nmae": "B"}}
    command = {"id": "c", "name": "C", "mcpServers": {"s": {"command": "sh"}}}
    body["documents"]["agent"] = [
        good | {"value": {"id": "poet", "name": "Bard"}},
        bad,
        {"id": "c", "value": command, "from": "agents.json:3"},
        {"id": "other", "value": {"id": "poet", "name": "Poet"}},
    ]
    body["documents"]["role"] = [{"id": "tg:x", "value": {"person": "tg:x", "grants": []}}]
    before = await state(valkey)
    said = await console.refused("import", console.write("bad.json", body), "--yes")
    for words in (
        "agent bad: unknown field 'nmae'; did you mean 'name'?",
        "agent bad: 'name' is missing",
        "agent c: a command may come only from the file or the environment",
        "agent other: its key does not match its value",
        "role tg:x: ",
        "nothing was imported",
    ):
        assert words in said
    assert await state(valkey) == before


async def test_what_the_file_of_the_target_sets_is_reported_and_left_alone(
    console: Console, valkey: Valkey
) -> None:
    server = {"s": {"command": "sh", "env": {"KEY": "${S_KEY}"}}}
    agents = [{"id": "filed", "name": "Filed", "mcpServers": server}, {"id": "b", "name": "B"}]
    console.write("agents.json", {"agents": agents})
    await put(valkey, "poet", name="Poet")
    exported = (await console.done("export")).data["documents"]["agent"]
    assert [one["id"] for one in exported] == ["b", "filed", "poet"]
    assert [one.get("from", "")[:11] for one in exported] == ["agents.json", "agents.json", ""]
    assert "${S_KEY}" in json.dumps(exported)
    await console.done("export", "all.json")
    planned = await console.done("import", "all.json", "--yes")
    assert planned.out.splitlines() == [
        "skip  agent  b      agents.json:15 sets it",
        "skip  agent  filed  agents.json:3 sets it",
        "2 skipped, 1 unchanged",
    ]
    console.write("agents.json", {"agents": []})
    assert "a command may come only from" in await console.refused("import", "all.json", "--yes")
    stored = await console.done("import", "all.json", "--yes", "--stored-only")
    assert stored.out == "1 unchanged\n"


async def test_an_agent_of_the_file_with_a_secret_in_plain_text_is_not_exported(
    console: Console,
) -> None:
    server = {"s": {"command": "sh", "args": ["--api-key", "hunter2plain"]}}
    agents = [{"id": "leaky", "name": "Leaky", "mcpServers": server}, {"id": "b", "name": "B"}]
    console.write("agents.json", {"agents": agents})
    exported = await console.done("export")
    assert [one["id"] for one in exported.data["documents"]["agent"]] == ["b"]
    assert "hunter2" not in exported.out + exported.err
    assert "left out: agent leaky (agents.json:3): " in exported.err
    assert "looks like a secret" in exported.err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "it is not JSON"),
        ({"agents": []}, "it is no export; make one with `switchboard export`"),
        ({"format": "switchboard export", "version": 2}, "update the older of the two hosts"),
        ({"format": "switchboard export", "version": 1}, "'documents' is missing"),
        ({"key": [{"id": "a", "value": {}}]}, "documents.key: documents of this kind cannot be"),
        ({"agent": {}}, "documents.agent: it is not a list"),
        ({"agent": [{"value": {}}]}, "documents.agent[0]: it has no 'id'"),
        ({"agent": [{"id": "a"}]}, "it needs a 'value' or a 'text', and not both"),
        ({"agent": [{"id": "a", "value": 1, "txt": ""}]}, "unknown field 'txt'; known: id, value"),
        ({"agent": [{"id": "a", "value": 1}] * 2}, "documents.agent[1]: 'a' is there twice"),
    ],
)
async def test_a_file_that_is_no_export_is_refused_with_its_place(
    console: Console, body: Any, said: str
) -> None:
    if isinstance(body, dict) and not {"format", "agents"} & body.keys():
        body = {"format": "switchboard export", "version": 1, "documents": body}
    assert said in await console.refused("import", console.write("x.json", body), "--yes")


async def test_an_import_on_a_host_with_reviews_leaves_prompts_waiting_for_a_second_person(
    console: Console, valkey: Valkey, empty: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(valkey, "poet", name="Poet", customInstructions="Short.")
    await console.done("roles", "grant", "5", "instance_manager")
    await console.done("export", "all.json")
    monkeypatch.setenv("REDIS_URL", empty.url)
    monkeypatch.setenv("REVIEW__CORE", "two")
    said = await console("import", "all.json", "--yes")
    assert said.code == 1
    assert said.out.splitlines()[-1] == "imported: 1 created"
    assert "waiting for a second person: poet" in said.err
    assert sorted(await state(empty)) == ["agent:proposal:poet", "agent:role:tg:5"]


async def test_an_import_over_a_document_that_changed_meanwhile_stops_there(
    console: Console, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(valkey, "poet", name="Poet")
    await console.done("export", "all.json")
    await put(valkey, "poet", name="Bard")
    from bot.cli import transfer

    apply = transfer._apply  # between the plan and the first write

    async def late(*given: Any) -> Any:
        redis = Redis.from_url(valkey.url)
        await redis.set("agent:definition:poet", '{"id": "poet", "name": "Quick"}')
        await redis.aclose()
        return await apply(*given)

    monkeypatch.setattr(transfer, "_apply", late)
    said = await console.refused("import", "all.json", "--yes")
    assert "agent poet: somebody changed it meanwhile; 0 of 1 changes were made" in said
    assert b"Quick" in (await state(valkey))["agent:definition:poet"]


async def answered(text: str, monkeypatch: pytest.MonkeyPatch, console: Console) -> Any:
    """An import at a terminal, where somebody types an answer."""
    typed, terminal = os.openpty()
    with os.fdopen(typed, "w") as keyboard, os.fdopen(terminal) as stdin:
        keyboard.write(text)
        keyboard.flush()
        monkeypatch.setattr(sys, "stdin", stdin)
        return await console("import", "all.json")


async def test_an_import_at_a_terminal_shows_the_plan_and_asks(
    console: Console, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(valkey, "poet", name="Poet")
    await console.done("export", "all.json")
    await put(valkey, "poet", name="Bard")
    no = await answered("\n", monkeypatch, console)
    assert (no.code, no.out) == (1, "")
    assert "change  agent  poet  name\n1 to change\nImport this? [y/N]" in no.err
    assert "switchboard: nothing was imported" in no.err
    assert b"Bard" in (await state(valkey))["agent:definition:poet"]
    yes = await answered("y\n", monkeypatch, console)
    assert (yes.code, yes.out) == (0, "imported: 1 changed\n")
    assert b"Poet" in (await state(valkey))["agent:definition:poet"]


async def test_a_change_that_needs_a_second_person_waits_and_can_be_dropped(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVIEW__CORE", "two")
    poet = {"id": "poet", "name": "Poet", "customInstructions": "Short."}
    said = await console.refused("agents", "put", console.write("p.json", poet))
    assert "waits for a second person, who is named for qa" in said
    assert "there is no agent 'poet'" in await console.refused("agents", "show", "poet")
    assert "waits for qa" in (await console.done("reviews", "list")).out
    await console.done("reviews", "reject", "poet")
    assert "no change waits" in (await console.done("reviews", "list")).out
