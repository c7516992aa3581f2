"""`switchboard profiles`, `llm-configs` and `schema` over a real store, files and the package."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.cli.console import Console

WAITER = """\
name: "Waiter_One"
type: "partner"
llm_config_ref: "quick"
flow_decider:
  - id: "wait"
    condition: "True" # This is a catch-all rule
    action: {type: "await_user_input"}
"""
QUICK = "name: quick\ntemperature: 0.2\n"
POET = {"id": "poet", "name": "Poet", "profile": "Waiter_One", "mcpServerEndpoints": []}


async def put(console: Console, verb: str, text: str, *more: str) -> Any:
    words = (verb, "put", console.write("one.yaml", text), "--json", *more)
    return (await console.done(*words)).data


async def test_profiles_and_what_they_refer_to_are_put_shown_compared_and_restored(
    console: Console,
) -> None:
    said = await console.refused("profiles", "put", console.write("w.yaml", WAITER))
    assert "there is no model configuration 'quick'" in said
    made = await put(console, "llm-configs", QUICK, "--reason", "a quick one", "--ticket", "OPS-7")
    assert made == {"kind": "llm-config", "id": "quick", "change": "created", "revision": 1}
    made = await put(console, "profiles", WAITER)
    assert made == {"kind": "profile", "id": "Waiter_One", "change": "created", "revision": 1}
    changed = await put(console, "profiles", WAITER.replace("partner", "waiter"))
    assert (changed["change"], changed["fields"]) == ("changed", ["type"])
    again = await put(console, "profiles", WAITER.replace("partner", "waiter"))
    assert again["change"] == "unchanged"
    shown = (await console.done("profiles", "show", "Waiter_One")).data
    assert (shown["name"], shown["type"]) == ("Waiter_One", "waiter")
    assert (await console.done("profiles", "diff", "Waiter_One")).out.splitlines() == [
        "profile Waiter_One, revision 1 to 2:",
        "  type: [-partner-]{+waiter+}",
    ]
    restored = await console.done("profiles", "restore", "Waiter_One", "1")
    assert restored.out == "restored profile Waiter_One to revision 1, as revision 3\n"
    history = (await console.done("llm-configs", "history", "quick", "--json")).data
    assert [(one["revision"], one["reason"], one["ticket"]) for one in history] == [
        (1, "a quick one", "OPS-7")
    ]
    (newest,) = (await console.done("audit", "list", "--count", "1", "--json")).data
    assert (newest["action"], newest["kind"]) == ("restore profile", "profile")
    said = await console.refused("profiles", "show", "waiter_one")
    assert "there is no profile 'waiter_one'; did you mean Waiter_One?" in said


async def test_what_is_used_is_not_deleted_and_the_list_says_by_whom(console: Console) -> None:
    await put(console, "llm-configs", QUICK)
    await put(console, "profiles", WAITER)
    await console.done("agents", "put", console.write("poet.json", POET))
    listed = (await console.done("profiles", "list")).out
    rows = {line.split()[0]: re.split(r" {2,}", line) for line in listed.splitlines()}
    assert rows["Waiter_One"] == ["Waiter_One", "partner", "poet", "store", "revision 1"]
    assert rows["Partner"][2:] == ["not used", "package"]
    configs = (await console.done("llm-configs", "list", "--json")).data
    assert [(one["id"], one["used_by"]) for one in configs] == [("quick", ["Waiter_One"])]
    for verb, id, by in (
        ("profiles", "Waiter_One", "agent poet"),
        ("llm-configs", "quick", "profile Waiter_One"),
    ):
        assert f"is used by {by}" in await console.refused(verb, "delete", id)
    assert "comes with the package" in await console.refused("profiles", "delete", "Researcher")
    for words in (("history",), ("diff",), ("restore", "1")):
        said = await console.refused("profiles", words[0], "Partner", *words[1:])
        assert "profile 'Partner' comes with the package and has no versions here" in said
    lost = json.dumps({**POET, "profile": "Waiter_Two"})
    said = await console.refused("agents", "put", console.write("lost.json", lost))
    assert "there is no profile 'Waiter_Two'; did you mean Waiter_One?" in said
    await console.done("agents", "delete", "poet")
    await console.done("profiles", "delete", "Waiter_One")
    deleted = await console.done("llm-configs", "delete", "quick")
    assert deleted.out == "deleted model configuration quick\n"
    said = await console.refused("profiles", "restore", "Waiter_One", "1")
    assert "there is no model configuration 'quick'" in said
    own = 'name: "Partner"\ntype: "mine"\n'
    await put(console, "profiles", own)
    assert "is in force again" in (await console.done("profiles", "delete", "Partner")).err


async def test_files_are_over_the_store_and_are_changed_only_there(console: Console) -> None:
    folder = console.folder / "agent_profiles"
    for kind, name, text in (
        ("profiles", "w.yaml", WAITER),
        ("llm_configs", "q.yml", QUICK),
        ("profiles", "odd.yaml", "name: Odd\ntyp: x\n"),
    ):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / name).write_text(text)
    listed = await console.done("profiles", "list", "--json")
    (own,) = [one for one in listed.data if one["id"] == "Waiter_One"]
    assert (own["owner"], own["place"]) == ("file", "agent_profiles/profiles/w.yaml:1")
    assert "agent_profiles/profiles/odd.yaml:2: unknown field 'typ'" in listed.err
    for words in (("delete", "Waiter_One"), ("put", console.write("w.yaml", WAITER))):
        said = await console.refused("profiles", *words)
        assert "is set in agent_profiles/profiles/w.yaml and is changed only there" in said


async def test_an_export_takes_profiles_along_and_comes_back_in_an_order_that_holds(
    console: Console,
) -> None:
    await put(console, "llm-configs", QUICK)
    await put(console, "profiles", WAITER)
    await console.done("agents", "put", console.write("poet.json", POET))
    exported = await console.done("export", "all.json")
    assert exported.out == "exported to all.json: 1 llm-config, 1 profile, 1 agent\n"
    documents = json.loads(console.read("all.json"))["documents"]
    console.write("turned.json", {  # whatever the order in the file
        "format": "switchboard export",
        "version": 1,
        "documents": dict(reversed(documents.items())),
    })  # fmt: skip
    for verb, id in (("agents", "poet"), ("profiles", "Waiter_One"), ("llm-configs", "quick")):
        await console.done(verb, "delete", id)
    planned = await console.done("import", "turned.json", "--dry-run")
    assert [line.split()[1:3] for line in planned.out.splitlines()[:-1]] == [
        ["llm-config", "quick"],
        ["profile", "Waiter_One"],
        ["agent", "poet"],
    ]
    await console.done("import", "turned.json", "--yes")
    shown = (await console.done("agents", "show", "poet")).data
    assert shown["profile"] == "Waiter_One"
    again = await console.done("import", "turned.json", "--yes", "--json")
    assert again.data["unchanged"] == 3
    del documents["llm-config"][0]
    for verb, id in (("agents", "poet"), ("profiles", "Waiter_One"), ("llm-configs", "quick")):
        await console.done(verb, "delete", id)
    without = {"format": "switchboard export", "version": 1, "documents": documents}
    said = await console.refused("import", console.write("without.json", without), "--yes")
    assert "profile Waiter_One: there is no model configuration 'quick'" in said
    assert "nothing was imported" in said
    await console.done("import", "turned.json", "--yes")
    nothing = {"format": "switchboard export", "version": 1}
    nothing["documents"] = {kind: [] for kind in documents}
    pruned = await console.done("import", console.write("none.json", nothing), "--yes", "--prune")
    assert "3 deleted" in pruned.out


async def test_with_reviews_by_two_the_command_line_points_to_the_files(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVIEW__CORE", "two")
    said = await console.refused("llm-configs", "put", console.write("q.yaml", QUICK))
    assert "profiles and model configurations are changed in files alone" in said
    assert "AGENT_PROFILES_DIR" in said


@pytest.mark.parametrize("kind", ["profile", "llm-config"])
async def test_a_schema_is_printed_without_a_host_and_names_every_field(
    bare_console: Console, kind: str
) -> None:
    from registry.profile import NamedLlmConfig, Profile

    schema = (await bare_console.done("schema", kind)).data
    model = Profile if kind == "profile" else NamedLlmConfig
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert set(schema["properties"]) == set(model.model_fields)
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert "there is no 'agent'; there are profile, llm-config" in (
        await bare_console.refused("schema", "agent", code=2)
    )
