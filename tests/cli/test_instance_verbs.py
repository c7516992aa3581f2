"""`switchboard instances` over a real store, files and the package."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import pytest

from simulators.testing.valkey import Valkey
from tests.cli.console import Console

SMB = "acme/sales-smb"
WHY = ("--reason", "they asked for it")
YAML = """\
agent_type: "sales_agent"
account: "acme"
instance_name: "sales-smb"
llm:
  temperature: 0.8
tools:
  crm:
    enabled: true
"""


def in_file(console: Console, id: str, text: str) -> None:
    """An instance in the folder where the command line looks for them."""
    folder = console.folder / "config/agent_configs" / id
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(text)


async def put(console: Console, text: str = YAML) -> Any:
    words = ("instances", "put", console.write("i.yaml", text), *WHY, "--json")
    return (await console.done(*words)).data


async def test_an_instance_is_created_changed_left_alone_shown_and_deleted(
    console: Console,
) -> None:
    created = {"kind": "instance", "id": SMB, "change": "created", "revision": 1}
    assert await put(console) == created
    changed = await put(console, YAML.replace("0.8", "0.2"))
    assert (changed["change"], changed["fields"]) == ("changed", ["llm.temperature"])
    assert (await put(console, YAML.replace("0.8", "0.2")))["change"] == "unchanged"
    shown = (await console.done("instances", "show", SMB)).data
    assert shown == {
        "agent_type": "sales_agent",
        "account": "acme",
        "instance_name": "sales-smb",
        "llm": {"temperature": 0.2},
        "tools": {"crm": {"enabled": True}},
    }
    await console.done("bindings", "set", SMB, "--bot", "@shop_bot")
    assert "inactive" not in (await console.done("bindings", "list")).out
    key = ("keys", "create", "--account", "acme", "--agent", "sales-smb", "--json")
    assert (await console.done(*key)).data["agent"] == "sales-smb"
    assert "say why you delete an instance: give a reason or a ticket, with --reason" in (
        await console.refused("instances", "delete", SMB)
    )
    deleted = await console.done("instances", "delete", SMB, *WHY)
    assert deleted.out == f"deleted agent instance {SMB}\n"
    assert "still naming it, and inactive: telegrambot:@shop_bot" in deleted.err
    assert "inactive" in (await console.done("bindings", "list")).out
    assert "there is no agent instance 'acme/sales-smb'" in await console.refused(
        "instances", "show", SMB
    )
    history = (await console.done("instances", "history", SMB, "--json")).data
    assert [(one["revision"], one["deleted"]) for one in history] == [
        (3, True),
        (2, False),
        (1, False),
    ]
    assert history[0]["reason"] == "they asked for it"


async def test_what_show_prints_put_takes_back_and_a_diff_and_a_restore_name_its_fields(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(console)
    text = (await console.done("instances", "show", SMB)).out.replace("0.8", "0.3")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))
    said = await console.done("instances", "put", "-", *WHY)
    assert said.out == f"changed agent instance {SMB}, revision 2: llm.temperature\n"
    assert (await console.done("instances", "diff", SMB)).out.splitlines() == [
        f"agent instance {SMB}, revision 1 to 2:",
        "  llm.temperature: 0.8 -> 0.3",
    ]
    assert "give a reason" in (await console("instances", "restore", SMB, "1")).err
    said = await console.done("instances", "restore", SMB, "1", *WHY)
    assert said.out == f"restored agent instance {SMB} to revision 1, as revision 3\n"
    (newest,) = (await console.done("audit", "list", "--count", "1", "--json")).data
    assert (newest["action"], newest["field_changed"]) == ("restore instance", "llm.temperature")
    assert newest["support"] is True


async def test_instances_of_files_the_package_and_the_store_are_listed_with_their_owner(
    console: Console,
) -> None:
    filed = YAML.replace("sales-smb", "sales-filed")
    in_file(console, "acme/sales-filed", filed)
    in_file(console, "acme/broken", "agent_type: [\n")
    await put(console)
    listed = await console.done("instances", "list")
    rows = [re.split(r" {2,}", line) for line in listed.out.splitlines()]
    place = "config/agent_configs/acme/sales-filed/config.yaml:1"
    assert rows == [
        ["acme/sales-filed", "Sales filed", "sales_agent", place],
        [SMB, "Sales smb", "sales_agent", "store", "revision 1"],
        ["default/simple-chat", "Simple chat", "simple_chat", "package"],
    ]
    assert "config/agent_configs/acme/broken/config.yaml:2" in listed.err
    own = (await console.done("instances", "list", "--account", "acme", "--json")).data
    assert [(one["id"], one["owner"]) for one in own] == [
        ("acme/sales-filed", "file"),
        (SMB, "store"),
    ]
    for words in (
        ("delete", "acme/sales-filed"),
        ("put", console.write("f.yaml", filed)),
        ("create", "acme/sales-filed", "sales_agent"),
    ):
        said = await console.refused("instances", *words, *WHY)
        assert "is set in config/agent_configs/acme/sales-filed/config.yaml" in said


async def test_an_instance_is_made_from_a_template_or_a_type_and_the_package_is_replaced(
    console: Console,
) -> None:
    templates = (await console.done("instances", "templates", "--json")).data
    assert [one["name"] for one in templates] == ["sales-agent-default", "simple-chat-default"]
    made = await console.done("instances", "create", SMB, "sales-agent-default", *WHY)
    assert made.out == f"created agent instance {SMB} from sales-agent-default, revision 1\n"
    shown = (await console.done("instances", "show", SMB)).data
    assert shown == templates[0]["value"] | {"account": "acme", "instance_name": "sales-smb"}
    await console.done("instances", "create", "acme/plain", "simple_chat", *WHY)
    assert "already" in await console.refused("instances", "create", SMB, "sales_agent", *WHY)
    assert "templates are sales-agent-default, simple-chat-default" in await console.refused(
        "instances", "create", "acme/odd", "sales", *WHY
    )
    assert "write ACCOUNT/INSTANCE" in await console.refused(
        "instances", "create", "odd", "sales_agent", code=2
    )
    packaged = ("instances", "delete", "default/simple-chat")
    assert "comes with the package" in await console.refused(*packaged)
    own = {"agent_type": "sales_agent", "account": "default", "instance_name": "simple-chat"}
    await put(console, json.dumps(own))
    assert "is in force again" in (await console.done(*packaged)).err


async def test_a_mistake_is_told_with_its_line_and_an_export_takes_instances_along(
    console: Console, valkey: Valkey
) -> None:
    wrong = YAML.replace("temperature: 0.8", "temperatur: 9")
    said = await console.refused("instances", "put", console.write("w.yaml", wrong), *WHY)
    assert "w.yaml, line 5: unknown field 'temperatur'; did you mean 'temperature'?" in said
    await put(console)
    exported = await console.done("export", "all.json")
    assert exported.out == "exported to all.json: 1 instance\n"
    async with valkey.client() as redis:
        before = await redis.get(f"agent:instance:{SMB}")
    await console.done("instances", "delete", SMB, *WHY)
    planned = await console.done("import", "all.json", "--dry-run")
    assert planned.out.splitlines() == [f"create  instance  {SMB}", "1 to create"]
    await console.done("import", "all.json", "--yes")
    async with valkey.client() as redis:
        assert await redis.get(f"agent:instance:{SMB}") == before
    text = console.read("all.json").replace('"temperature": 0.8', '"model": "nobody-named-it"')
    said = await console.refused("import", console.write("m.json", text), "--yes")
    assert "the model 'nobody-named-it' is not allowed here" in said
    assert "nothing was imported" in said
