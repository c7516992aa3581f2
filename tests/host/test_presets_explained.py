"""What people are told of their presets: who answers and why, what was replaced, how to go back."""

from __future__ import annotations

import json
from typing import Any

from bot.turn.results import OWN_MODEL
from registry.roles import OPERATOR_ACTOR
from simulators.messages.models import also_known
from simulators.messages.turns import HttpError, Turn
from simulators.testing.valkey import Valkey
from tests.host.menus import MenuUser
from tests.host.stage import CLOCK_SERVER, Stage
from tests.host.test_presets_in_chat import APA, RESEARCH, asked, prepared
from tests.host.test_versions import saying, two_replicas
from tests.http.api import OPERATOR, client_of

GONE = "The preset 'mine' cannot answer: its agent 'research_agent' was removed."
CLOSED = "The preset 'mine' cannot answer: its agent 'research_agent' is no longer offered."
LEAVE = "Send /presets to choose another one, or /presets use none for the agent itself."


async def test_a_preset_that_cannot_answer_is_said_wherever_one_asks(stage: Stage) -> None:
    bot = stage.add_bot("Free")
    prepared(stage)
    ann, boss = stage.person("Ann"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.agents["agents"].remove(RESEARCH)
    say = saying(stage, ann, stage.world.private(ann, bot), bot)
    admin = saying(stage, boss, stage.world.private(boss, bot), bot)
    menu = MenuUser(stage, ann, bot)

    async def replace(**fields: Any) -> None:
        await admin(f"/addagent replace {json.dumps({**RESEARCH, **fields})}")

    with also_known("gpt-4"):
        async with stage.host():
            await admin(f"/addagent {json.dumps(RESEARCH)}")
            await say(f"/presets new mine research_agent\n{APA}")
            await say("/presets use mine")
            await say("/model gpt-4")
            assert (await say("/model")).startswith("Your model here is gpt-4.")
            await replace(presets={"models": ["claude-sonnet-4-6"]})
            shown = await say("/model")
            assert shown.startswith(
                "You chose gpt-4, which is not allowed here now. "
                "The agent's own model answers you here: claude-sonnet-4-6."
            )
            await say("hello")
            assert asked(stage)[0] == "claude-sonnet-4-6"

            await say("/presets use none")
            await replace(template=False)
            assert await say("/presets default mine") == CLOSED
            assert await say("/presets use mine") == CLOSED
            card = await menu.open("/presets")
            await menu.tap("Mine")
            refused = await menu.tap("Make it the default")
            assert "it cannot be your default: the preset 'mine' cannot answer" in refused
            assert "your default" not in await say("/presets")
            assert "cannot answer" in card

            await replace()
            await say("/presets use mine")
            await admin("/deleteagent research_agent")
            assert await menu.open("/model") == f"No model answers you here. {GONE} {LEAVE}"
            assert menu.labels == ["Use none here"]
            for change in ("/style Be brief.", "/style none", "/model default"):
                assert await say(change) == f"Nothing was changed. {GONE} {LEAVE}"
            assert await say("/style") == f"Your style here: {APA}\n\n{GONE} {LEAVE}"
            assert await say("/start") == f"Hello Ann!\n\n{GONE} {LEAVE}"
            assert (await say("/help")).startswith(f"{GONE} {LEAVE}")
            await menu.open("/model")
            await menu.tap("Use none here")
            assert (await say("/start")).startswith("Hello Ann! I am Plain.")


async def test_a_replaced_text_is_shown_and_put_back_by_a_tap(stage: Stage) -> None:
    bot = stage.bot("Open", template=True)
    prepared(stage)
    ann = MenuUser(stage, stage.person("Ann"), bot)
    long = "Write in *long* sentences. " * 100
    async with stage.host():
        assert await ann.open("/style Be brief.") == (
            "Changed your style, in preset My open (my-open)."
        )
        shown = await ann.open(f"/style {long}")
        assert shown.endswith("The style before was:\n\nBe brief.")
        assert ann.labels == ["Put it back"]
        assert (await ann.tap("Put it back")).startswith("It is back, in preset My open (my-open).")
        await ann.open("hello")
        assert asked(stage)[1] == "You are Open.\n\nBe brief."
        await ann.open(f"/presets edit my-open append {long}")
        assert "Be brief." in ann.text
        taken = await ann.open("/style none")
        assert "The style before was:\n\nWrite in *long* sentences." in taken
        await ann.tap("Put it back")
        await ann.open("hello")
        assert asked(stage)[1] == f"You are Open.\n\n{long.strip()}"
        await ann.open("/presets")
        await ann.tap("My open")
        await ann.tap("Style")
        await ann.write("Rhyme.")
        assert ann.labels[0] == "Put it back"
        await ann.tap("Put it back")
        assert "It is back" in ann.text


async def test_names_tools_and_fields_are_said_as_people_say_them(stage: Stage) -> None:
    bot = stage.add_bot("Free")
    prepared(stage)
    rich: dict[str, Any] = {**RESEARCH, "id": "rich", "name": "Rich"}
    rich |= {"mcpServers": {"clock": CLOCK_SERVER}, "llmOverrides": {"maxTokens": 2000}}
    stage.agents["agents"].append({k: v for k, v in rich.items() if k != "mcpServerEndpoints"})
    stage.environ["MODELS__ALLOWED"] = "claude-opus-4-8"
    person = stage.person("Ann")
    say = saying(stage, person, stage.world.private(person, bot), bot)
    async with stage.host():
        for word in ("none", "new", "default"):
            refused = await say(f"/presets new {word} rich")
            assert f"'{word}' is a word of the commands for presets; choose another name" in refused
        made = await say("/presets new поэт rich")
        assert made.startswith("Created preset поэт (preset).")
        assert "поэт" in await say("/presets new поэт rich")
        assert (await say("/presets new повар rich")).startswith("Created preset повар (preset-2).")
        assert (await say("/presets use поэт")).startswith("поэт (preset) answers you here now.")
        assert "did you mean" in (near := await say("/presets use prset"))
        assert near.endswith("?")
        menu = MenuUser(stage, person, bot)
        await menu.open("/presets")
        await menu.tap("New preset")
        await menu.tap("Rich")
        assert (await menu.write("Художник")).startswith("Художник (preset-3)")

        await say("hello")
        tools = [one["name"] for one in stage.requests()[-1]["tools"]]
        assert "clock__get_current_time" in tools
        for names in ("clock__get_current_time", "get_current_time", "mcp:clock:get_*"):
            changed = await say(f"/presets edit preset tools {names}")
            assert changed == "Changed поэт (preset): tools."
            await say("hello")
            tools = [one["name"] for one in stage.requests()[-1]["tools"]]
            assert "clock__get_current_time" in tools, names
            assert "clock__convert_time" not in tools, names
        wrong = await say("/presets edit preset tools weather__now")
        assert "the agent has no tool 'weather__now'; use some of: mcp:clock:" in wrong
        await say("/presets edit preset tools off")
        assert "• tools: off" in await say("/presets preset")
        await say("hello")
        assert not stage.requests()[-1].get("tools")
        back = await say("/presets edit preset tools none")
        assert back.endswith("It has all tools of its agent again.")
        assert "• tools:" not in await say("/presets preset")
        await say("hello")
        assert "clock__convert_time" in [one["name"] for one in stage.requests()[-1]["tools"]]

        wrong = await say("/presets edit preset max_tokens many")
        assert wrong == "Nothing was changed.\n✗ preset: 'max_tokens' must be a whole number"
        wrong = await say(f"/presets edit preset append {'x' * 3000}\n{'y' * 900}")
        assert wrong.startswith("Changed")
        await say("/presets edit preset max_tokens 9000")
        shown = await say("/presets preset")
        assert "⚠ The agent allows 2000 max_tokens at most: these count." in shown
        await say("/presets edit preset model claude-opus-4-8")
        await say("/presets edit preset temperature 0.3")
        shown = await say("/presets preset")
        assert "⚠ claude-opus-4-8 does not support temperature: it is dropped" in shown


async def test_a_model_of_ones_own_that_is_refused_says_how_to_go_back(stage: Stage) -> None:
    bot = stage.bot("Open", template=True)
    stage.script.on(Turn(fault=HttpError(404, "model: gpt-4")), user="are you there")
    prepared(stage)
    person = stage.person("Ann")
    say = saying(stage, person, stage.world.private(person, bot), bot)
    with also_known("gpt-4"):
        async with stage.host():
            await say("/model gpt-4")
            assert await say("are you there") == OWN_MODEL.replace("`", "")
            await say("/model default")
            assert await say("hello") == "Answered."


async def test_templates_have_the_same_tools_on_every_replica(stage: Stage, valkey: Valkey) -> None:
    stage.add_bot("One"), stage.add_bot("Two")
    prepared(stage)
    stage.agents["mcpServers"] = {"clock": CLOCK_SERVER}
    stored = {**RESEARCH, "id": "timely", "mcpServers": ["clock"]}
    stage.environ |= OPERATOR
    async with two_replicas(stage, valkey) as hosts:
        kept = await hosts[0].catalog.parse(json.dumps(stored))
        await hosts[0].catalog.put_document(
            OPERATOR_ACTOR, "agent", "timely", kept.to_text(), key="make"
        )
        found = []
        for host in hosts:
            await host.catalog.until(lambda snapshot: "timely" in snapshot.agents)
            async with client_of(host) as client:
                answer = await client.get("/api/v1/agent-instances/templates")
            found.append({one["name"]: one["tools"] for one in answer.json["agents"]})
        assert found[0] == found[1]
        assert "get_current_time" in found[0]["timely"]
