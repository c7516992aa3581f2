"""Agent instances of accounts from a chat: made, edited, bound, compared and taken back."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from pathlib import Path

from registry.snapshot import Snapshot
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.stage import Stage
from tests.host.test_versions import numbers, saying, two_replicas
from tests.host.tool_agent import ToolAgent

SMB = "acme/sales-smb"
PRINTED = """\
agent_type: "simple_chat"
account: "acme"
instance_name: "simple-chat-customer-support"

llm:
  temperature: 0.3
  max_tokens: 2000

tools:
  vector_search:
    enabled: true

context_management:
  history_limit: 10
"""


def with_file(stage: Stage, id: str, text: str) -> Path:
    """An instance in a file."""
    stage.environ["AGENT_CONFIGS_DIR"] = str(stage.folder / "configs")
    path = stage.folder / "configs" / id / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def warm(temperature: float, snapshot: Snapshot) -> bool:
    found = snapshot.instance(SMB)
    return found is not None and found.settings.temperature == temperature


async def test_an_admin_of_an_account_makes_an_instance_that_answers_on_two_replicas(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.add_bot("One"), stage.bot("Two")]
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ |= {"ADMINS": str(boss.id), "LLM__MODEL": "claude-sonnet-4-6"}
    stage.script.on("what do you sell?", system="You advise people", again=True)
    here, there = [saying(stage, ann, stage.world.private(ann, bot), bot) for bot in bots]
    say = saying(stage, boss, stage.world.private(boss, bots[0]), bots[0])
    async with two_replicas(stage, valkey) as hosts:
        await say(f"/roles grant {ann.id} instance_admin account acme because she runs it")
        assert "no agent instances that you may see" in await here("/instances")
        made = await here(f"/newinstance {SMB} sales-agent-default because we need one #OPS-1")
        assert made.startswith(f"Created agent instance Sales smb ({SMB}).")
        assert f"/editinstance {SMB} temperature 0.3 changes a setting" in made
        taken = await there(f"/newinstance {SMB} sales_agent")
        assert taken == f"Nothing was changed: there is already an agent instance '{SMB}'."
        assert f"• {SMB} Sales smb · sales_agent · agent:instance:{SMB}" in await there(
            "/instances"
        )

        shown = await there(f"/instance {SMB}")
        assert shown.startswith(f"Sales smb ({SMB})\n")
        key = f"agent:instance:{SMB}"
        assert f"• agent_type: sales_agent · {key}" in shown
        assert f"• llm.temperature: 0.5 · {key}" in shown
        assert "• llm.model: " in shown
        assert "· LLM__MODEL" in shown
        assert "• tools: – · as agent sales_agent has it" in shown
        assert f"• context_management.history_limit: 20 · {key}" in shown
        assert "• name: Sales smb · its slug" in shown
        assert "• capabilities: – · default" in shown
        assert "Nothing is bound to it." in shown

        edited = await there(f"/editinstance {SMB} temperature 0.2 because too wild")
        assert edited == f"Changed Sales smb ({SMB}): llm.temperature."
        async with asyncio.timeout(1):
            for host in hosts:
                await host.catalog.until(partial(warm, 0.2))
        edited = await here(f"/editinstance {SMB} tools.crm off")
        assert edited.startswith(f"Changed Sales smb ({SMB}): tools.\n\n⚠ ")
        assert "no tool is named 'crm'" in edited
        again = await here(f"/editinstance {SMB} tools.crm off")
        assert again.startswith(f"Sales smb ({SMB}) says so already.")
        await here(f"/editinstance {SMB} tools none")
        await here(f"/editinstance {SMB} name Small & medium shops")
        shown = await there(f"/instance {SMB}")
        assert shown.startswith(f"Small & medium shops ({SMB})")
        assert f"• name: Small & medium shops · {key}" in shown

        assert "instance_admin or spokestack_engineer" in await there(f"/bind {SMB} bot")
        bound = await say(f"/bind {SMB} bot")
        assert bound.startswith(f"{SMB} now answers for this whole bot")
        assert await here("hello") == "what do you sell?"
        assert stage.requests()[-1]["temperature"] == 0.2
        assert "every chat of @" in await here(f"/instance {SMB}")
        assert (await here("/instance")).startswith("Small & medium shops (")
        await here(f"/editinstance {SMB} description Sells to shops.")
        assert (await here("/help")).startswith("I am Small & medium shops. Sells to shops.")

        listed = await here(f"/versions {SMB}")
        assert numbers(listed) == [6, 5, 4, 3, 2, 1]
        assert "because too wild: llm.temperature" in listed
        assert "because we need one #OPS-1: created" in listed
        assert numbers(await here("/versions")) == numbers(listed)
        compared = await there(f"/diff {SMB} 1 2")
        assert "llm.temperature: 0.5 → 0.2" in compared
        restored = await there(f"/restore {SMB} 1 because it sold more")
        assert restored.startswith(f"Restored version 1 of {SMB}, as version 7.")
        audit = await here(f"/audit {SMB}")
        assert "update instance acme/sales-smb: llm.temperature" in audit
        (number,) = re.findall(r"^• (\d+) .*llm.* because it sold more", audit, re.MULTILINE)
        assert "Took back record" in await here(f"/rollback {number}")
        assert warm(0.2, hosts[0].catalog.snapshot())

        gone = await here(f"/deleteinstance {SMB} because it is retired")
        assert gone == (
            f"Deleted agent instance {SMB}. Still bound to it, inactive until you /unbind: "
            "1 binding."
        )
        assert await there(f"/instance {SMB}") == (
            f"There is no agent instance '{SMB}'; /instances lists them."
        )
        await there(f"/restore {SMB} 2")
        assert await here("hello") == "what do you sell?"


async def test_an_instance_is_pasted_as_yaml_or_json_or_sent_as_a_file(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    say = saying(stage, boss, room, echo)
    support = "acme/simple-chat-customer-support"
    async with stage.host() as host:

        def temperature(id: str) -> float | None:
            found = host.catalog.snapshot().instance(id)
            return found.settings.temperature if found else None

        created = await say(f"/newinstance {support} because of #OPS-2\n{PRINTED}")
        assert created.startswith(f"Created agent instance Simple chat customer support ({support}")
        assert "no tool is named 'vector_search'" in created
        assert temperature(support) == 0.3
        colder = PRINTED.replace("0.3", "0.1")
        fenced = f"/editinstance {support} because of #3\n```yaml\n{colder}```"
        assert "llm.temperature." in await say(fenced)
        assert temperature(support) == 0.1
        curly = "/newinstance default/curly {“agent_type”: “sales_agent”,\n“name”: “Curly”}"
        assert "Created agent instance Curly (default/curly)." in await say(curly)
        file, before = (
            b"agent_type: simple_chat\nllm: {temperature: 0.9}\n",
            stage.texts(room, echo.id),
        )
        caption = "/editinstance default/curly"
        stage.world.attach(boss, room, "document", file, name="config.yaml", caption=caption)
        answer = await stage.answer(room, echo, len(before) + 1)
        assert answer.text.startswith("Changed Curly (default/curly): name, agent_type, llm.")
        assert temperature("default/curly") == 0.9
        compared = await say("/diff default/curly")
        assert "agent_type: sales_agent simple_chat" in compared
        said = await say("/editinstance default/curly\nagent_type: x\nllm:\n  temperatur: 3\n")
        assert "✗ line 3: unknown field 'temperatur'; did you mean 'temperature'?" in said
        said = await say("/editinstance default/curly temprature 3")
        assert (
            "✗ default/curly: unknown field 'temprature'; did you mean 'llm.temperature'?" in said
        )
        said = await say("/editinstance default/curly temperature hot")
        assert "'llm.temperature' must be a number" in said
        said = await say("/newinstance default/other agent_type: x\naccount: acme")
        assert "'account' is 'acme', and not 'default'" in said
        said = await say("/newinstance default/other sales-agent")
        assert "There is no template and no agent type 'sales-agent'; templates are" in said
        said = await say("/newinstance default/other")
        assert "Templates: sales-agent-default, simple-chat-default." in said
        assert "Agent types: router, sales_agent, simple_chat." in said
        assert "Write a field and its value" in await say("/editinstance default/curly")
        for command in ("instance", "editinstance", "deleteinstance"):
            assert "Which instance?" in await say(f"/{command} curly")
        assert temperature("default/curly") == 0.9
        # An engineer of the host is support in another account.
        assert "say why" in await say(f"/editinstance {support} temperature 0.5")
        assert "comes with the package" in await say("/deleteinstance default/simple-chat")
        edited = await say("/editinstance default/simple-chat temperature 0.4")
        assert "llm.temperature." in edited
        assert temperature("default/simple-chat") == 0.4
        said = await say("/deleteinstance default/simple-chat")
        assert "the one that comes with the package answers again" in said
        assert temperature("default/simple-chat") == 0.3


async def test_people_see_and_change_only_the_accounts_that_their_role_names(
    stage: Stage,
) -> None:
    echo, boss, max_, eve = (stage.bot("Echo"), *map(stage.person, ("Boss", "Max", "Eve")))
    stage.environ["ADMINS"] = str(boss.id)
    path = with_file(stage, "acme/filed", "agent_type: x\naccount: acme\ninstance_name: filed\n")
    say, his, hers = [
        saying(stage, one, stage.world.private(one, echo), echo) for one in (boss, max_, eve)
    ]
    async with stage.host() as host:
        await say(f"/roles grant {max_.id} instance_manager account acme")
        await say(f"/roles grant {eve.id} instance_admin account beta")
        await say(f"/newinstance {SMB} sales_agent because Max asked")
        assert numbers(await his("/audit acme/sales-smb"))
        everything = await say("/instances")
        assert f"• acme/filed Filed · x · {path}:1" in everything
        assert "• default/simple-chat Simple chat · simple_chat · the package" in everything
        listed = await his("/instances")
        assert (SMB in listed, "default/" in listed) == (True, False)
        assert await his("/instances default") == (
            "There are no agent instances in account default that you may see."
        )
        shown = await his("/instance acme/filed")
        assert f"• agent_type: x · {path}:1" in shown
        assert "unknown agent type: x" in shown
        for one in ("acme/nothing", "default/simple-chat"):
            assert await hers(f"/instance {one}") == (
                f"There is no agent instance '{one}'; /instances lists them."
            )
        assert "may send this" in await his(f"/editinstance {SMB} temperature 1")
        assert "There is no agent instance" in await hers(f"/editinstance {SMB} temperature 1")
        for command in (f"/newinstance {SMB} sales_agent", f"/deleteinstance {SMB}"):
            denied = await hers(command)
            assert (
                "it takes the role instance_admin or spokestack_engineer in account acme" in denied
            )
        assert "may not read the history" in await hers(f"/versions {SMB}")
        owned = f"acme/filed is set in {path} and is changed only there."
        because = "because I try"
        for command in ("editinstance acme/filed temperature 1", "deleteinstance acme/filed"):
            assert owned in await say(f"/{command} {because}")
        refused = {one.action for one in await audit_of(host) if one.change_type == "refused"}
        assert refused >= {"refused: /editinstance", "refused: delete instance"}
        assert host.catalog.snapshot().instance(SMB) is not None


async def test_the_tools_of_an_instance_are_those_that_its_own_account_may_use(
    stage: Stage,
) -> None:
    condition = {"tools": ["write"], "when": "account == 'acme'"}
    desk = ToolAgent(stage, toolPolicy={"conditions": [condition]})
    boss = stage.person("Boss")
    for account in ("acme", "beta"):
        text = f"agent_type: clerk\naccount: {account}\ninstance_name: filed\n"
        with_file(stage, f"{account}/filed", text)
    say = saying(stage, boss, stage.world.private(boss, desk.bot), desk.bot)
    async with desk.host(ADMINS=str(boss.id)):
        assert "write" in await say("/instance acme/filed")
        assert "write" not in await say("/instance beta/filed")
