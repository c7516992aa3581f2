"""Instances of accounts behind Telegram bots: what the model sees, and which of them answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from bot.http.accounts.conversations import Asker
from registry.binding import token_hash
from simulators.messages.turns import HttpError, Text, Turn
from simulators.telegram.people import Bot
from tests.host.stage import Stage, until
from tests.host.test_ledger import counted, ledger, summed

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"
MODEL = "claude-haiku-4-5"
"""A model that takes a temperature."""
ACME: Mapping[str, dict[str, Any]] = {
    "simple-chat-customer-support": {
        "agent_type": "simple_chat",
        "llm": {"temperature": 0.3, "max_tokens": 500},
        "tools": {"email": {"enabled": True}},
        "name": "Customer Support Chat",
        "description": "Answers questions about orders.",
    },
    "simple-chat-lead-qualification": {
        "agent_type": "simple_chat",
        "llm": {"temperature": 0.7},
        "tools": {"crm": {"enabled": True}},
    },
    "sales-enterprise": {
        "agent_type": "sales_agent",
        "llm": {"temperature": 0.5},
        "tools": {"crm": {"enabled": True}, "email": {"enabled": True}, "look": {"enabled": False}},
    },
    "sales-smb": {
        "agent_type": "sales_agent",
        "llm": {"temperature": 0.8, "model": "claude-haiku-4-5-20251001"},
        "tools": {"delete_note": {"enabled": True}},
    },
}
"""The four instances of document 3."""
CHOOSES = "You hand a person's message to the assistant"


def put(stage: Stage, id: str, **fields: Any) -> Path:
    """An instance's file; the hosts of the stage read its folder."""
    configs = stage.folder / "agent_configs"
    stage.environ["AGENT_CONFIGS_DIR"] = str(configs)
    stage.environ["LLM__MODEL"] = MODEL
    account, name = id.split("/")
    path = configs / id / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    own = {"agent_type": "simple_chat", "account": account, "instance_name": name, **fields}
    path.write_text(yaml.safe_dump(own))
    return path


def bound(stage: Stage, id: str) -> Bot:
    """A bot that an instance answers."""
    bot = stage.add_bot()
    binding = {"agentId": id, "type": "TelegramBot", "bindingKey": token_hash(bot.token)}
    stage.agents["bindings"].append(binding)
    return bot


def serve(stage: Stage, *names: str) -> None:
    """MCP servers at the top level."""
    environ = {"DESK_LOG": str(stage.folder / "desk.log")}
    desk = {"command": sys.executable, "args": [str(DESK)], "env": environ}
    stage.agents["mcpServers"] |= dict.fromkeys(names, desk)


def said(body: dict[str, Any]) -> list[tuple[str, str]]:
    """The texts of a request's messages with their roles, without the host's line."""
    return [
        (one["role"], block["text"].rpartition("\n")[2])
        for one in body["messages"]
        for block in one["content"]
        if block["type"] == "text"
    ]


def _tools(body: dict[str, Any]) -> list[str]:
    """The tools of servers that a request offers."""
    return sorted(one["name"] for one in body["tools"] if "__" in one["name"])


async def test_each_instance_of_an_account_has_its_own_settings_tools_and_ledger_lines(
    stage: Stage,
) -> None:
    serve(stage, "crm", "email")
    bots = {name: bound(stage, f"acme/{name}") for name in ACME}
    for name, fields in ACME.items():
        put(stage, f"acme/{name}", **fields)
    ann = stage.person("Ann")
    stage.script.on(*["ok"] * 4)
    async with stage.host() as host:
        await until(lambda: {one["state"] for one in host.report()["servers"]} == {"up"}, 30)
        for bot in bots.values():
            assert await stage.ask(ann, stage.world.private(ann, bot), bot, "hi") == "ok"
        lines = await ledger(host)
        report = host.report()
        put(
            stage,
            "acme/more",
            tools={"look": {"enabled": True}, "vector_search": {"enabled": True}},
        )
        await host.catalog.until(lambda now: now.instance("acme/more") is not None)
        told = host.report()["problems"]
    assert report["agents"] == []
    assert report["problems"] == []
    assert len(told) == 1
    assert "instance 'acme/more': no tool is named 'vector_search'" in told[0]
    seen = dict(zip(ACME, stage.requests(), strict=True))
    temperatures = {name: body["temperature"] for name, body in seen.items()}
    assert temperatures == {name: one["llm"]["temperature"] for name, one in ACME.items()}
    assert seen["simple-chat-customer-support"]["max_tokens"] == 500
    assert [body["model"] for body in seen.values()] == [MODEL] * 3 + [f"{MODEL}-20251001"]
    tools = {name: _tools(body) for name, body in seen.items()}
    every = ("delete_note", "look", "slow", "write")
    assert tools["simple-chat-customer-support"] == [f"email__{tool}" for tool in every]
    assert tools["simple-chat-lead-qualification"] == [f"crm__{tool}" for tool in every]
    some = [tool for tool in every if tool != "look"]
    both = [f"{server}__{tool}" for server in ("crm", "email") for tool in some]
    assert tools["sales-enterprise"] == both
    assert tools["sales-smb"] == ["crm__delete_note", "email__delete_note"]
    (_, own, *_) = (part["text"] for part in seen["simple-chat-customer-support"]["system"])
    assert own.startswith("You are Customer Support Chat. Answers questions about orders.\n\n")
    assert [(line["account"], line["agent_instance"], line["agent"]) for line in lines] == [
        ("acme", name, fields["agent_type"]) for name, fields in ACME.items()
    ]


@pytest.mark.parametrize(("limit", "kept"), [(4, 2), (1, 0), (0, 0)])
async def test_the_model_reads_so_many_earlier_messages_as_the_instance_says(
    stage: Stage, limit: int, kept: int
) -> None:
    bot = bound(stage, "acme/short")
    put(stage, "acme/short", context_management={"history_limit": limit})
    ann = stage.person("Ann")
    stage.script.on(*(f"answer {n}" for n in range(5)))
    async with stage.host():
        for number in range(5):
            await stage.ask(ann, stage.world.private(ann, bot), bot, f"question {number}")
    for number, body in enumerate(stage.requests()):
        earlier = range(max(0, number - kept), number)
        pairs = [(("user", f"question {n}"), ("assistant", f"answer {n}")) for n in earlier]
        assert said(body) == [
            *(one for pair in pairs for one in pair),
            ("user", f"question {number}"),
        ]


async def test_a_binding_to_an_instance_waits_for_its_file_and_lives_with_it(stage: Stage) -> None:
    bot = stage.bot("Echo")
    stage.agents["defaultAgentId"] = "echo"
    stage.agents["bindings"][0]["agentId"] = "acme/new"
    put(stage, "acme/other")
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on("I am Echo", system="You are Echo.", again=True)
    stage.script.on("I am new", system="You are New.", again=True)
    async with stage.host() as host:
        assert await stage.ask(ann, room, bot, "who") == "I am Echo"
        assert "agent 'acme/new' does not exist" in " ".join(host.report()["problems"])
        path = put(stage, "acme/new")
        await host.catalog.until(lambda now: now.instance("acme/new") is not None)
        assert await stage.ask(ann, room, bot, "who") == "I am new"
        put(stage, "acme/new", agent_type="nobody")
        await host.catalog.until(lambda now: now.unknown_type("acme/new") is not None)
        assert "unknown agent type: nobody" in " ".join(host.report()["problems"])
        assert await stage.ask(ann, room, bot, "who") == "I am Echo"
        path.unlink()
        await host.catalog.until(lambda now: now.instance("acme/new") is None)
        assert await stage.ask(ann, room, bot, "who") == "I am Echo"


# --- the router ----------------------------------------------------------------------------------


def router(stage: Stage, **fields: Any) -> Bot:
    put(stage, "acme/router-auto", agent_type="router", name="Acme", **fields)
    put(stage, "beta/other")
    return bound(stage, "acme/router-auto")


async def test_a_router_hands_each_message_to_the_instance_that_fits_in_one_dialogue(
    stage: Stage,
) -> None:
    bot = router(stage, llm={"model": "claude-haiku-4-5-20251001"})
    for name in ("billing", "support"):
        put(stage, f"acme/{name}", description=f"All about {name}.", capabilities=["Answer"])
    put(stage, "acme/second-router", agent_type="router")
    put(stage, "acme/broken", agent_type="nobody")
    ann = stage.person("Ann")
    room, total = stage.world.private(ann, bot), counted(stage)
    stage.script.on("Support.", "`billing`", system=CHOOSES)
    stage.script.on("It works now.", system="You are Support.")
    stage.script.on("You owe nothing.", system="You are Billing.")
    async with stage.host() as host:
        with capture_logs() as logs:
            assert await stage.ask(ann, room, bot, "It is broken") == "It works now."
            assert await stage.ask(ann, room, bot, "And what does it cost?") == "You owe nothing."
        lines = await ledger(host)
    choice, _, second, last = stage.requests()
    assert (choice["model"], choice["max_tokens"]) == ("claude-haiku-4-5-20251001", 30)
    assert "tools" not in choice
    assert said(choice) == [("user", "It is broken")]
    listed = [line for line in choice["system"][0]["text"].splitlines() if line.startswith("- ")]
    assert listed == [
        "- billing: Billing. All about billing. It can: Answer.",
        "- support: Support. All about support. It can: Answer.",
    ]
    assert "The assistant support answered last" in second["system"][0]["text"]
    assert [text for _, text in said(last)] == [
        "It is broken",
        "It works now.",
        "And what does it cost?",
    ]
    chosen = [one for one in logs if one["event"] == "route.chosen"]
    assert [(one["router"], one["instance"], one["how"]) for one in chosen] == [
        ("acme/router-auto", "support", "model"),
        ("acme/router-auto", "billing", "model"),
    ]
    assert [(line["account"], line["agent_instance"], line["agent"]) for line in lines] == [
        ("acme", "router-auto", "router"),
        ("acme", "support", "simple_chat"),
        ("acme", "router-auto", "router"),
        ("acme", "billing", "simple_chat"),
    ]
    assert summed(lines) == dict(total)


async def test_what_a_router_asks_counts_for_the_key_as_well(stage: Stage) -> None:
    router(stage)
    for name in ("billing", "support"):
        put(stage, f"acme/{name}")
    stage.script.on("support", system=CHOOSES)
    stage.script.on("ok", system="You are Support.")
    async with stage.host(API_KEYS__0__KEY="a" * 40) as host:
        assert host.api is not None
        await host.api.app()
        asker = Asker("api:acme:ann", "Ann", "key:k1:ann", "acme", "k1")
        talk = host.conversations
        answer = await talk.answer(await talk.send(asker, "acme/router-auto", "hi"))
        assert answer.text == "ok"
        spent = [one["scopes"] for one in await ledger(host)]
    assert [any(scope.startswith("key:k1:") for scope in scopes) for scopes in spent] == [True] * 2


@pytest.mark.parametrize("answer", ["neither of them", HttpError(500, "broken"), ""])
async def test_the_first_instance_answers_where_the_model_names_none(
    stage: Stage, answer: str | HttpError
) -> None:
    bot = router(stage)
    for name in ("billing", "support"):
        put(stage, f"acme/{name}")
    given = Turn(fault=answer) if isinstance(answer, HttpError) else answer
    stage.script.on(given, system=CHOOSES)
    stage.script.on("ok", system="You are Billing.")
    ann = stage.person("Ann")
    async with stage.host():
        with capture_logs() as logs:
            assert await stage.ask(ann, stage.world.private(ann, bot), bot, "hi") == "ok"
    (chosen,) = (one for one in logs if one["event"] == "route.chosen")
    assert chosen["instance"] == "billing"
    assert chosen["how"].startswith("first, as the model ")
    assert len(stage.requests()) == 2


async def test_the_only_instance_is_not_asked_for_and_without_one_nobody_answers(
    stage: Stage,
) -> None:
    bot = router(stage)
    path = put(stage, "acme/billing")
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on("ok", system="You are Billing.")
    async with stage.host(ADMINS=str(ann.id)) as host:
        assert await stage.ask(ann, room, bot, "hi") == "ok"
        path.unlink()
        await host.catalog.until(lambda now: now.instance("acme/billing") is None)
        refused = await stage.ask(ann, room, bot, "hi")
        assert "there is no other instance" in refused
    assert len(stage.requests()) == 1


async def test_a_turn_that_was_killed_goes_on_with_the_instance_that_was_chosen(
    stage: Stage,
) -> None:
    bot = router(stage)
    for name in ("billing", "support"):
        put(stage, f"acme/{name}")
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on("support", system=CHOOSES)
    stage.script.on(Turn((Text("half"),), gate="held"), "whole", system="You are Support.")
    host = await stage.process()
    stage.world.say(ann, room, "hi")
    await stage.sim.gates.reached("held")
    await host.kill()
    again = await stage.process()
    try:
        assert (await stage.answer(room, bot, seconds=30)).text == "whole"
    finally:
        await again.end()
    assert len(stage.requests()) == 3
    assert not stage.script.unanswered
