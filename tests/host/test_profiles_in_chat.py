"""Profiles from a chat: added, shown, given to agents, taken back, and kept while in use."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from bot.menus.menu import PAGE
from bot.turn.results import BROKEN
from registry.snapshot import Snapshot
from simulators.testing.stage import PATIENCE
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.menus import MenuUser
from tests.host.stage import Stage
from tests.host.test_versions import numbers, saying, two_replicas
from tests.http.api import client_of

WAITER = """\
name: "Waiter_One"
type: "partner"
description: "Waits for the person."
flow_decider:
  # If a tool was called, execute it.
  - id: "rule_tool_call_exists"
    condition: "v['state.current_action']"
    action:
      type: "continue_with_tool"
  - id: "rule_no_tool_call_fallback"
    condition: "True" # This is a catch-all rule
    action:
      type: "await_user_input"
"""
POET = '{"id": "poet", "name": "Poet", "mcpServerEndpoints": []}'


def has_type(wanted: str, snapshot: Snapshot) -> bool:
    found = snapshot.profile("Waiter_One")
    return found is not None and found.value.type == wanted


def filed(stage: Stage, kind: str, name: str, text: str) -> Path:
    """A file of the folder of profiles."""
    folder = stage.folder / "agent_profiles"
    stage.environ["AGENT_PROFILES_DIR"] = str(folder)
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / name).write_text(text)
    return folder / kind / name


async def test_an_admin_adds_a_profile_that_is_live_on_two_replicas_and_takes_it_back(
    stage: Stage, valkey: Valkey
) -> None:
    bots, boss = [stage.bot("One"), stage.bot("Two")], stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    here, there = [saying(stage, boss, stage.world.private(boss, bot), bot) for bot in bots]
    async with two_replicas(stage, valkey) as hosts:
        made = await here(f"/addprofile because we need one #OPS-7\n{WAITER}")
        assert made.startswith("Created profile Waiter_One.")
        assert "/edit AGENT profile Waiter_One gives it to an agent." in made
        async with asyncio.timeout(1):
            for host in hosts:
                await host.catalog.until(partial(has_type, "partner"))
        key = "agent:profile:Waiter_One"
        assert f"• Waiter_One · partner · 2 rules · not used · {key}" in await there("/profiles")
        shown = await there("/profiles Waiter_One")
        assert shown.startswith("Profile Waiter_One\n\nWaits for the person.")
        assert f"• type: partner · {key}" in shown
        assert "• llm_config_ref: – · default" in shown
        assert (
            "• rule_tool_call_exists goes on with the tool, if v['state.current_action']" in shown
        )
        assert "• rule_no_tool_call_fallback ends the turn, and waits for the person, if True" in (
            shown
        )
        assert "Nobody uses it." in shown
        assert "/addprofile replace changes it" in await there(f"/addprofile {WAITER}")
        assert "did you mean 'Waiter_One'?" in await there("/profiles waiter_one")

        changed = WAITER.replace("partner", "waiter")
        said = await there(f"/addprofile replace because of the word\n{changed}")
        assert said.startswith("Replaced profile Waiter_One.")
        async with asyncio.timeout(1):
            for host in hosts:
                await host.catalog.until(partial(has_type, "waiter"))
        assert await here(f"/addprofile replace {changed}") == (
            "Profile Waiter_One says so already."
        )
        listed = await here("/versions profile Waiter_One")
        assert numbers(listed) == [2, 1]
        assert "because we need one #OPS-7" in listed
        assert "type: partner waiter" in await here("/diff profile Waiter_One")
        assert "Restored version 1" in await there("/restore profile Waiter_One 1")
        record = numbers(await here("/audit profile Waiter_One"))[0]
        taken = await here(f"/rollback {record}")
        assert taken.startswith(f"Took back record {record}: type of profile Waiter_One")
        async with asyncio.timeout(1):
            for host in hosts:
                await host.catalog.until(partial(has_type, "waiter"))
        assert "There never was profile Nobody; /profiles lists" in await here(
            "/versions profile Nobody"
        )
        packaged = "Profile 'Partner' comes with the package and has no versions here."
        for text in ("/versions profile Partner", "/diff profile Partner"):
            assert await here(text) == packaged
        assert packaged in await here("/restore profile Partner 1")
        (one,) = hosts[0].catalog.snapshot().document.instances
        assert await here(f"/versions {one}") == (
            f"Instance '{one}' comes with the package and has no versions here."
        )
        assert await here("/removeprofile Waiter_One because it is over") == (
            "Removed profile Waiter_One."
        )
        assert "There is no profile 'Waiter_One'" in await here("/removeprofile Waiter_One")


async def test_an_agent_gets_a_profile_by_a_draft_and_its_card_names_it(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    for number in range(PAGE):
        filed(stage, "profiles", f"{number}.yaml", f"name: Zoo_{number}\n")
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host() as host:
        await say(f"/addprofile {WAITER}")
        await say(f"/addagent {POET}")
        said = await say("/edit poet profile Waiter_Two")
        assert "there is no profile 'Waiter_Two'; did you mean Waiter_One?" in said
        assert "profile" in await say("/edit poet profile Waiter_One")
        assert "Published agent Poet (poet)" in await say("/publish poet")
        await host.catalog.until(lambda one: one.agents["poet"].value.profile == "Waiter_One")
        assert "• profile: Waiter_One · agent:definition:poet" in await say("/agent poet")
        user = MenuUser(stage, boss, echo)
        await user.open("/agents poet")
        assert "• Profile: Waiter_One" in await user.tap("Poet")
        assert "Agents that use it: poet" in await say("/profiles Waiter_One")
        assert "used by 1 agent" in await say("/profiles")
        kept = await say("/removeprofile Waiter_One")
        assert kept == (
            "Nothing was changed: profile 'Waiter_One' is used by agent poet; let them name "
            "another one first."
        )
        await user.open("/agents poet")
        for label in ("Poet", "Edit", "Other settings", "profile"):
            await user.tap(label)
        assert {"Partner", "Researcher", "Waiter_One"} <= set(user.labels)
        assert f"Zoo_{PAGE - 1}" not in user.labels
        await user.tap("More (3) ›")
        assert f"Zoo_{PAGE - 1}" in user.labels
        await user.tap("‹ Back")
        assert "• profile: Waiter_One Partner" in await user.tap("Partner")
        await say("/edit poet instructions Speak in verse.")
        await say("/publish poet")
        await host.catalog.until(lambda one: one.agents["poet"].value.profile == "Partner")
        card = await say("/agent poet")
        assert "• customInstructions: Speak in verse. · agent:definition:poet" in card
        count = len(host.catalog.snapshot().all_profiles.profiles["Partner"].value.segments)
        built = f"the prompt is built from {count} segments of profile Partner"
        assert f"• segments: {built} · the package" in card
        await user.open("/agents poet")
        assert f"• Profile: Partner, {built}" in await user.tap("Poet")
        await say("/edit poet profile none")
        await say("/publish poet")
        await host.catalog.until(lambda one: one.agents["poet"].value.profile is None)
        assert "Removed" in await say("/removeprofile Waiter_One")
        lost = await say("/restore agent poet 2")
        assert "there is no profile 'Waiter_One'" in lost
        assert "it was deleted; /restore profile Waiter_One 1 brings it back" in lost
        assert "Restored version 1" in await say("/restore profile Waiter_One 1")


async def test_a_profile_comes_as_a_file_a_reply_or_pasted_and_every_mistake_has_its_line(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    say = saying(stage, boss, room, echo)
    async with stage.host():
        before = len(stage.texts(room, echo.id))
        data = WAITER.encode()
        stage.world.attach(boss, room, "document", data, name="w.yaml", caption="/addprofile")
        answer = await stage.answer(room, echo, before + 1)
        assert answer.text.startswith("Created profile Waiter_One.")
        fenced = f"/addprofile replace\n```yaml\n{WAITER.replace('partner', 'fenced')}```"
        assert (await say(fenced)).startswith("Replaced profile Waiter_One.")
        long = " or ".join(["v['message.text'] == 'a rather long word to look for'"] * 6)
        await say(f"/addprofile replace {WAITER.replace('True', long)}")
        assert f"if {long}" in await say("/profiles Waiter_One")
        said = await say("/addprofile name: waiter_one")
        assert "⚠ " in said
        assert "'waiter_one' and profile 'Waiter_One' differ in letter case alone" in said
        await say("/removeprofile waiter_one")
        as_json = '/addprofile {"name": "Curly", “type”: “json”}'
        assert "Created profile Curly." in await say(as_json)
        wrong = WAITER.replace("flow_decider", "flow_deciders").replace('type: "partner', 'typ: "x')
        said = await say(f"/addprofile {wrong}")
        assert "✗ line 2: unknown field 'typ'; did you mean 'type'?" in said
        assert "✗ line 4: unknown field 'flow_deciders'; did you mean 'flow_decider'?" in said
        odd = WAITER.replace("v['state.current_action']", "v.x")
        said = await say(f"/addprofile {odd}")
        assert "✗ line 7: " in said
        assert "at column 1" in said
        said = await say(f"/addprofile replace {WAITER}llm_config_ref: nowhere\n")
        assert "there is no model configuration 'nowhere'" in said
        assert "Send the profile's YAML or JSON" in await say("/addprofile")
        assert "Which profile?" in await say("/removeprofile")
        assert "There is no profile 'Two' to replace" in await say(
            '/addprofile replace {"name": "Two"}'
        )


async def test_what_files_set_is_shown_and_an_agent_without_its_profile_says_so(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo", profile="Filed"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    path = filed(stage, "profiles", "any.yaml", 'name: "Filed"\nllm_config_ref: "quick"\n')
    config = filed(stage, "llm_configs", "q.yaml", 'name: "quick"\ntemperature: 0.3\n')
    stage.script.on("hello from a profile", again=True)
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host(LLM__MODEL="claude-sonnet-4-6") as host:
        assert await say("hello") == "hello from a profile"
        assert stage.requests()[-1]["temperature"] == 0.3
        assert f"• Filed · model settings quick · used by 1 agent · {path}:1" in await say(
            "/profiles"
        )
        assert f"• quick · temperature 0.3 · used by 1 profile · {config}:1" in await say(
            "/llmconfigs"
        )
        shown = await say("/llmconfigs quick")
        assert f"• temperature: 0.3 · {config}:2" in shown
        assert "• model: – · default" in shown
        assert "Profiles that use it: Filed" in shown
        assert f"• temperature: 0.3 · {config}:2" in await say("/agent echo")
        assert numbers(await say("/versions llm-config quick")) == [1]
        owned = f"Filed is set in {path} and is changed only there."
        for command in ("/removeprofile Filed", '/addprofile replace {"name": "Filed"}'):
            assert owned in await say(command)
        path.unlink()
        await host.catalog.until(lambda one: one.lost_profile("echo") == "Filed")
        told, at = "agent 'echo' does not answer", stage.world.private(boss, echo)
        await stage.world.until(lambda: told in str(stage.texts(at, echo.id)), PATIENCE)
        gone = await say("/agent echo")
        assert gone.startswith("echo does not answer: there is no profile Filed.")
        assert gone.endswith(f"set another one in {stage.folder / 'agents.json'}:3.")
        async with client_of(host) as client:
            key = await client.make_key(account="default")
            body = {"agent_type": "echo", "task": "go", "tenant_id": "default", "user_id": "u"}
            refused = await client.ask("POST", "/api/v1/agent/execute", key, json=body)
            assert (refused.status, refused.json["detail"].startswith(BROKEN)) == (503, True)
            assert "there is no profile 'Filed'" in refused.json["detail"]
        user = MenuUser(stage, boss, echo)
        await user.open("/agents echo")
        assert "does not answer: there is no profile Filed." in await user.tap("Echo")
        assert "History" in user.labels
        assert "There is no profile 'Filed'" in await say("/profiles Filed")


async def test_a_draft_on_test_without_its_profile_says_so_and_nobody_answers_in_its_place(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("from the model", again=True)
    path = filed(stage, "profiles", "any.yaml", 'name: "Filed"\n')
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host() as host:
        await say(f"/addagent {POET}")
        await say("/bind poet")
        await say("/addprofile name: Kept")
        await say("/edit poet profile Kept")
        refused = await say("/removeprofile Kept")
        assert f"profile 'Kept' is used by draft of poet by tg:{boss.id}; " in refused
        assert "/discard drops your own draft" in refused
        await say("/edit poet profile Filed")
        assert "now answers you in this chat" in await say("/test poet")
        assert (await say("hi")).endswith("Draft of Poet, not published")
        path.unlink()
        await host.catalog.until(lambda one: one.profile("Filed") is None)
        gone = "Your draft of 'poet', which you test here, cannot answer: there is no profile"
        count = len(stage.requests())
        for text in ("hi", "/start"):
            said = await say(text)
            assert f"{gone} 'Filed'." in said
            assert "/edit AGENT profile NAME gives it another one, /test off ends" in said
        assert len(stage.requests()) == count
        for text in ("/test", "/edit poet"):
            assert "⚠ It cannot answer: there is no profile Filed." in await say(text)
        assert "there is no profile 'Filed'" in await say("/test poet")
        (told,) = [one for one in host.catalog.snapshot().problems if "draft" in one.message]
        assert told.message == "the draft of 'poet' cannot answer: there is no profile 'Filed'"
        assert "is over; your draft is kept." in await say("/test off")
        assert await say("hi") == "from the model"


async def test_people_without_the_role_see_and_change_no_profile(stage: Stage) -> None:
    echo, boss, max_, eve = (stage.bot("Echo"), *map(stage.person, ("Boss", "Max", "Eve")))
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("from the model", again=True)
    say, his, hers = [
        saying(stage, one, stage.world.private(one, echo), echo) for one in (boss, max_, eve)
    ]
    async with stage.host() as host:
        await say(f"/roles grant {max_.id} instance_admin")
        await say(f"/addprofile {WAITER}")
        assert "Waiter_One" in await his("/profiles")
        assert "There are no model configurations." in await his("/llmconfigs")
        denied = await his(f"/addprofile replace {WAITER}")
        assert "Only admins of this host may send this." in denied
        assert "may send this" in await his("/removeprofile Waiter_One")
        stage.world.say(max_, stage.world.private(max_, echo), "/removeprofile Waiter_One")
        assert "only admins of the host may" in await his("/restore profile Waiter_One 1")
        assert "may send this" in await hers("/profiles")
        refused = {one.action for one in await audit_of(host) if one.change_type == "refused"}
        wanted = {"refused: /addprofile", "refused: /removeprofile", "refused: restore profile"}
        assert refused >= wanted
        assert host.catalog.snapshot().profile("Waiter_One") is not None


async def test_with_reviews_by_two_a_profile_is_changed_in_files_and_an_agents_own_is_reviewed(
    stage: Stage,
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "REVIEW__CORE": "two"}
    filed(stage, "profiles", "w.yaml", WAITER)
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host() as host:
        other = WAITER.replace("Waiter_One", "Waiter_Two")
        refused = await say(f"/addprofile {other}")
        assert "profiles and model configurations are changed in files alone" in refused
        assert "AGENT_PROFILES_DIR" in refused
        assert host.catalog.snapshot().profile("Waiter_Two") is None
        with_profile = POET.replace('"mcp', '"profile": "Waiter_One", "mcp')
        kept = await say(f"/addagent {with_profile}")
        assert "waits for a second person, who is named for qa and security" in kept
        assert host.catalog.get_agent("poet") is None
        async with client_of(host) as client:
            key = await client.make_key(role="spokestack_engineer", scope="host")
            listed = (await client.ask("GET", "/api/v1/profiles", key)).json["profiles"]
            assert {one["owner"] for one in listed} == {"file", "package"}
            assert all(one["read_only"] for one in listed)
            shown = await client.ask("GET", "/api/v1/profiles/Partner", key)
            assert shown.json["read_only"] is True
