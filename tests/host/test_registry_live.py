"""Agents from file, environment and store, live while the host runs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from statistics import median
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.app import App
from registry.binding import token_hash
from simulators.telegram.rooms import Room
from simulators.testing.valkey import Valkey
from tests.host.stage import Stage, health, until
from tests.registry.test_registry_file import BROKEN

JACK = {
    "id": "jack",
    "name": "Jack",
    "mcpServerEndpoints": [],
    "customInstructions": "You are Jack.",
}


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client: Redis = Redis(unix_socket_path=valkey.url.removeprefix("unix://"))
    yield client
    await client.aclose()


async def known(host: App, agent: str, seconds: float = 20) -> None:
    """Return once a host knows an agent."""
    async with asyncio.timeout(seconds):
        await host.catalog.until(lambda snapshot: agent in snapshot.agents)


async def gone(host: App, agent: str, seconds: float = 20) -> None:
    """Return once a host knows an agent no more."""
    async with asyncio.timeout(seconds):
        await host.catalog.until(lambda snapshot: agent not in snapshot.agents)


# --- the spec's own examples ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "agent_id"),
    [
        ("Jack The First", "jack-the-first"),
        ("Ёж", "agent-d919b41f"),
        ("猫カフェ", "agent-"),
        ("№ 5 Ёж", "5"),
    ],
)
async def test_a_name_alone_makes_the_one_agent_of_all_bots(
    stage: Stage, name: str, agent_id: str
) -> None:
    echo = stage.bot("Echo")
    stage.agents |= {"agents": [], "bindings": []}
    stage.environ |= {"NAME": name}
    ann = stage.person("Ann")
    stage.script.on("as before")
    async with stage.host() as host:
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "as before"
        assert str(host.catalog.snapshot().default).startswith(agent_id)
        assert [one.name for one in host.catalog.get_all_agents()] == [name]
        assert any("single-agent mode made" in problem for problem in host.report()["problems"])


async def test_a_name_beside_configured_agents_changes_nothing(stage: Stage) -> None:
    stage.bot("Echo")
    stage.environ |= {"NAME": "Jack"}
    async with stage.host() as host:
        assert sorted(host.report()["agents"]) == ["echo"]
        assert host.catalog.snapshot().default is None


async def test_the_specs_environment_serves_an_agent_without_a_file(stage: Stage) -> None:
    echo = stage.bot("Echo")
    stage.agents |= {"agents": [], "bindings": []}
    stage.environ |= {
        "AGENTS__0__ID": "jack",
        "AGENTS__0__NAME": "Jack",
        "AGENTS__0__MCPSERVERENDPOINTS__0": "http://127.0.0.1:9/sse",
        "AGENTS__0__CUSTOMINSTRUCTIONS": "You are Jack...",
        "AGENTS__0__LLMOVERRIDES__MODEL": "claude-sonnet-5-5",
        "DEFAULTAGENTID": "jack",
    }
    ann = stage.person("Ann")
    stage.script.on("Jack here", system="You are Jack...", model="claude-sonnet-5-5")
    async with stage.host():
        room = stage.world.private(ann, echo)
        assert (await _said(stage, ann, room, echo, 30)) == "Jack here"


async def _said(stage: Stage, person: Any, room: Room, bot: Any, seconds: float) -> str:
    stage.world.say(person, room, "hi")
    return (await stage.answer(room, bot, seconds=seconds)).text


async def test_a_bot_is_bound_in_short_and_its_token_comes_from_a_file(stage: Stage) -> None:
    echo, other = stage.bot("Echo"), stage.bot("Other")
    stage.agents["bindings"].clear()
    secret = stage.folder / "token"
    secret.write_text(f"{other.token}\n")
    stage.environ |= {
        "BOTS__0__AGENTID": "other",
        "BOTS__1__TOKEN": "",
        "BOTS__1__TOKEN_FILE": str(secret),
        "BOTS__1__AGENTID": "echo",
    }
    ann = stage.person("Ann")
    stage.script.on("from Other", system="You are Other.")
    stage.script.on("from Echo", system="You are Echo.")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "from Other"
        assert await stage.ask(ann, stage.world.private(ann, other), other, "hi") == "from Echo"


async def test_env_file_and_environment_make_agents_of_a_process(stage: Stage) -> None:
    echo = stage.bot("Echo")
    stage.agents["bindings"].clear()
    (stage.folder / ".env").write_text(
        "DEFAULTAGENTID=echo\nAGENTS__0__ID=echo\nAGENTS__0__NAME=E\n"
    )
    ann = stage.person("Ann")
    stage.script.on("I am E")
    host = await stage.process()
    try:
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "I am E"
    finally:
        await host.end()


# --- the store ------------------------------------------------------------------------------------


async def test_a_raw_set_answers_the_next_message_on_two_replicas(
    stage: Stage, valkey: Valkey, redis: Redis
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    ann = stage.person("Ann")
    rooms = [stage.world.private(ann, bot) for bot in bots]
    for bot in bots:
        bound = {"agentId": "x", "type": "ChatId", "bindingKey": str(ann.id), "bot": str(bot.id)}
        await redis.set(f"agent:binding:chatid:{ann.id}:bot:{bot.id}", json.dumps(bound))
    for name in ("One", "Two"):
        stage.script.on(f"from {name}", system=f"You are {name}.", again=True)
    stage.script.on("from x", system="You are x.", again=True)
    x = JACK | {"id": "x", "customInstructions": "You are x."}
    shared = {"REDIS_URL": valkey.url}
    first = stage.host(**shared, BOTS__1__TOKEN="", REPLICA_NAME="a")
    second = stage.host(
        **shared, BOTS__0__TOKEN="", REPLICA_NAME="b", DATA_DIR=str(stage.folder / "other")
    )
    async with first as one, second as two:
        for bot, room, name in zip(bots, rooms, ("One", "Two"), strict=True):
            assert await stage.ask(ann, room, bot, "hi") == f"from {name}"
        await redis.set("agent:definition:x", json.dumps(x))
        await asyncio.gather(known(one, "x"), known(two, "x"))
        for bot, room in zip(bots, rooms, strict=True):
            assert await stage.ask(ann, room, bot, "hi") == "from x"
        await redis.delete("agent:definition:x")
        await asyncio.gather(gone(one, "x"), gone(two, "x"))
        for bot, room, name in zip(bots, rooms, ("One", "Two"), strict=True):
            assert await stage.ask(ann, room, bot, "hi") == f"from {name}"
        inactive = [p for p in two.report()["problems"] if "inactive" in p]
        assert len(inactive) == 2


async def test_a_bad_value_by_hand_keeps_the_last_good_agent(
    stage: Stage, valkey: Valkey, redis: Redis
) -> None:
    stage.bot("Echo")
    async with stage.host(REDIS_URL=valkey.url) as host:
        await redis.set("agent:definition:jack", json.dumps(JACK))
        await known(host, "jack")
        await redis.set("agent:definition:jack", '{"id": "jack"')
        await until(lambda: any("agent:definition:jack" in p for p in host.report()["problems"]))
        assert host.catalog.snapshot().agents["jack"].value.name == "Jack"


async def test_agents_of_the_store_survive_a_restart_with_the_bundled_server(
    stage: Stage,
) -> None:
    echo = stage.bot("Echo")
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    stage.script.on("from Jack", system="You are Jack.", again=True)
    async with stage.host():
        await stage.ask(boss, room, echo, f"/addagent {json.dumps(JACK)}")
        await stage.ask(boss, room, echo, "/bind jack")
    async with stage.host():
        assert await stage.ask(boss, room, echo, "hi") == "from Jack"


async def test_keys_that_hold_no_text_are_told_in_health_and_to_the_admins(
    stage: Stage, valkey: Valkey, redis: Redis
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    stage.script.on("still here", again=True)
    bound = f"agent:binding:chatid:{boss.id}"
    async with stage.host(REDIS_URL=valkey.url) as host:
        await stage.ask(boss, room, echo, "hi")
        await redis.rpush("agent:definition:jack", json.dumps(JACK))
        assert "agent:definition:jack" in (await stage.answer(room, echo, 2)).text
        await redis.hset("agent:default", "id", "jack")
        await redis.sadd(bound, "jack")
        places = ("agent:definition:jack: it holds a list", "agent:default: it holds a hash", bound)
        await until(lambda: all(_told(host, place) for place in places))
        shown = (await health(host.url))[1]["problems"]
        assert "delete it with DEL, then SET it to one JSON object" in str(shown)
        assert "jack holds a list" in await _answered(
            stage, room, echo, boss, f"/addagent {json.dumps(JACK)}"
        )
        assert await _answered(stage, room, echo, boss, "you?") == "still here"
        for key in ("agent:definition:jack", "agent:default", bound):
            await redis.delete(key)
        await redis.set("agent:definition:jack", json.dumps(JACK))
        await known(host, "jack")
        await until(lambda: _problems(host) == [])


async def _answered(stage: Stage, room: Room, bot: Any, person: Any, text: str) -> str:
    """What answers a message; what admins are told meanwhile is none."""

    def others() -> list[str]:
        return [one for one in stage.texts(room, bot.id) if "a problem" not in one]

    had = len(others())
    stage.world.say(person, room, text)
    await stage.world.until(lambda: len(others()) > had)
    return others()[had]


# --- the file -------------------------------------------------------------------------------------


async def test_bots_answer_on_while_the_file_is_broken_in_twenty_ways(stage: Stage) -> None:
    echo = stage.bot("A")
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    room, hers = stage.world.private(boss, echo), stage.world.private(ann, echo)
    stage.script.on("still here", again=True)
    async with stage.host() as host:
        path, felt = stage.folder / "agents.json", list[float]()
        await stage.ask(boss, room, echo, "hi")
        for number, (way, (content, line)) in enumerate(BROKEN.items()):
            path.write_text(content)
            await until(partial(_told, host, f"{path}{line}:"))
            assert await stage.ask(ann, hers, echo, way) == "still here"
            stage.agents["agents"][0]["name"] = f"Mended {number}"
            saved = time.monotonic()
            stage.write_agents()
            await until(partial(_named, host, f"Mended {number}"))
            felt.append(time.monotonic() - saved)
            assert _problems(host) == []
        assert median(felt) < 1
        path.unlink()
        await until(lambda: any("put it back" in problem for problem in _problems(host)))
        assert await stage.ask(ann, hers, echo, "no file") == "still here"


def _problems(host: App) -> list[str]:
    problems: list[str] = host.report()["problems"]
    return problems


def _told(host: App, place: str) -> bool:
    return any(problem.startswith(place) for problem in _problems(host))


def _named(host: App, name: str) -> bool:
    return host.catalog.snapshot().agents["a"].value.name == name


async def test_a_file_that_breaks_is_told_to_the_admins_once_and_shown_in_health(
    stage: Stage,
) -> None:
    echo = stage.bot("Echo")
    boss, mute = stage.person("Boss"), stage.person("Mute")
    stage.environ["ADMINS"] = f"{boss.id},{mute.id}"
    room = stage.world.private(boss, echo)
    stage.script.on("ok", again=True)
    async with stage.host() as host:
        await stage.ask(boss, room, echo, "hi")
        path = stage.folder / "agents.json"
        path.write_text('{\n"agents": 5}')
        told = await stage.answer(room, echo, 2)
        assert "The last good version stays in force" in told.text
        assert f"{path}:2" in told.text
        path.write_text('{\n\n"agents": 6}')
        await until(lambda: f"{path}:3" in str(_problems(host)))
        assert f"{path}:3" in str((await health(host.url))[1]["problems"])
        assert await stage.ask(boss, room, echo, "still there?") == "ok"
        stage.write_agents()
        await until(lambda: _problems(host) == [])
        assert len(stage.texts(room, echo.id)) == 3


async def test_two_replicas_tell_an_admin_of_one_broken_file_once(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    rooms = [stage.world.private(boss, bot) for bot in bots]
    other = str(stage.folder / "other")
    first = stage.host(REDIS_URL=valkey.url, BOTS__1__TOKEN="", REPLICA_NAME="a")
    second = stage.host(REDIS_URL=valkey.url, BOTS__0__TOKEN="", REPLICA_NAME="b", DATA_DIR=other)
    async with first as one, second as two:
        for bot, room in zip(bots, rooms, strict=True):
            await stage.ask(boss, room, bot, "/start")

        def told() -> int:
            texts = [t for b, r in zip(bots, rooms, strict=True) for t in stage.texts(r, b.id)]
            return sum("have a problem" in text for text in texts)

        (stage.folder / "agents.json").write_text("[]")
        await until(lambda: bool(_problems(one)) and bool(_problems(two)))
        await until(lambda: told() > 0)
        for bot, room in zip(bots, rooms, strict=True):
            await stage.ask(boss, room, bot, "/help")
        assert told() == 1


async def test_an_admin_who_wrote_to_an_earlier_process_is_known(stage: Stage) -> None:
    echo = stage.bot("Echo")
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    room = stage.world.private(boss, echo)
    async with stage.host():
        await stage.ask(boss, room, echo, "/start")
    stage.agents["agents"][0]["id"] = "A B"
    async with stage.host() as host:
        assert "is not a valid id" in (await stage.answer(room, echo, 2)).text
        assert host.report()["agents"] == []


async def test_two_names_of_one_bot_are_a_conflict_once_the_bot_has_said_its_name(
    stage: Stage,
) -> None:
    echo = stage.bot("Echo")
    stage.agents["agents"].append(JACK)
    stage.agents["bindings"].append(
        {"agentId": "jack", "type": "TelegramBot", "bindingKey": f"@{echo.username}"}
    )
    ann = stage.person("Ann")
    stage.script.on("from Echo", system="You are Echo.")
    async with stage.host() as host:
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "from Echo"
        (problem,) = _problems(host)
        assert "binds the same bot" in problem
        assert problem.endswith("remove one of the two")


async def test_a_bot_is_found_by_hash_whatever_its_token_file_ends_with(stage: Stage) -> None:
    echo = stage.bot("Echo")
    secret = stage.folder / "token"
    secret.write_text(f"  {echo.token}\r\n")
    stage.environ |= {"BOTS__0__TOKEN": "", "BOTS__0__TOKEN_FILE": str(secret)}
    async with stage.host() as host:
        found = host.fleet.lines[0]
        assert found.identity.token_hash == token_hash(echo.token)
