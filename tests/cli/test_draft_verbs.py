"""`switchboard drafts` over a real store."""

from __future__ import annotations

from tests.cli.console import Console

JACK = '{"id": "jack", "name": "Jack", "customInstructions": "Be a pirate."}'


async def test_a_draft_is_set_shown_updated_and_published(console: Console) -> None:
    await console.done("agents", "put", console.write("jack.json", JACK))
    said = await console.done("drafts", "set", "jack", "instructions", "Be formal.")
    assert said.out.startswith("draft of agent jack by operator:\n")
    assert "Be [-a pirate-]{+formal+}." in said.out
    assert (await console.done("agents", "show", "jack")).data["customInstructions"] == (
        "Be a pirate."
    )
    assert "operator" in (await console.done("drafts", "list")).out
    await console.done("agents", "put", console.write("j.json", JACK.replace("Jack", "Jim")))
    refused = await console.refused("drafts", "publish", "jack")
    assert "operator changed agent 'jack' since your draft was made (name)" in refused
    shown = (await console.done("drafts", "show", "jack", "--json")).data
    assert (shown["overtaken_by"], shown["overlapping"]) == ("operator", [])
    await console.done("drafts", "update", "jack")
    done = (await console.done("drafts", "publish", "jack", "--reason", "guests", "--json")).data
    assert done == {"kind": "agent", "id": "jack", "change": "published", "revision": 3}
    now = (await console.done("agents", "show", "jack")).data
    assert (now["name"], now["customInstructions"]) == ("Jim", "Be formal.")
    assert (await console.done("drafts", "list")).out == "no drafts\n"


async def test_a_new_agent_is_drafted_and_a_draft_is_dropped(console: Console) -> None:
    assert "there is no agent 'poet'" in await console.refused("drafts", "set", "poet", "name", "P")
    await console.done("drafts", "set", "poet", "name", "Poet", "--new")
    put = console.write("poet.json", '{"id": "poet", "name": "Poet", "customInstructions": "R"}')
    assert "customInstructions" in (await console.done("drafts", "put", put)).out
    gone = await console.refused("drafts", "discard", "poet", "--by", "5")
    assert "tg:5 has no draft of agent 'poet'" in gone
    assert "names no person" in await console.refused("drafts", "discard", "poet", "--by", "x")
    dropped = await console.done("drafts", "discard", "poet")
    assert dropped.out == "dropped the draft of agent poet by operator\n"
    assert "you have no draft of agent 'poet'" in await console.refused("drafts", "publish", "poet")
