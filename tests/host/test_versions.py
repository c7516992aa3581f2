"""Versions, differences, restores, the audit and rollbacks from a chat."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from bot.app import App
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.testing.valkey import Valkey
from tests.host.stage import Stage, until

POET: dict[str, Any] = {"id": "poet", "name": "Poet", "mcpServerEndpoints": []}
FIRST = (
    "You are Poet the First. Answer in rhymes, whatever people may ask you on any day of the week, "
    "and however often they beg you for a plain answer; never write prose."
)
SECOND = FIRST.replace("rhymes", "short rhymes").replace("First", "Second")
AskBot = Callable[[str], Awaitable[str]]


def edited(text: str, **fields: Any) -> str:
    """The poet's JSON with these instructions."""
    return json.dumps(POET | {"customInstructions": text} | fields)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    client: Redis = Redis(unix_socket_path=valkey.url.removeprefix("unix://"))
    yield client
    await client.aclose()


@asynccontextmanager
async def two_replicas(stage: Stage, valkey: Valkey) -> AsyncIterator[tuple[App, App]]:
    """Two hosts of one store; each serves one of the stage's two bots."""
    shared = {"REDIS_URL": valkey.url}
    one = stage.host(**shared, BOTS__1__TOKEN="", REPLICA_NAME="a")
    folder = str(stage.folder / "other")
    two = stage.host(**shared, BOTS__0__TOKEN="", REPLICA_NAME="b", DATA_DIR=folder)
    async with one as first, two as second:
        yield first, second


def saying(stage: Stage, person: Person, room: Room, bot: Bot) -> AskBot:
    async def say(text: str) -> str:
        return await stage.ask(person, room, bot, text)

    return say


def numbers(answer: str) -> list[int]:
    """The numbers at the beginning of the lines of a list."""
    return [int(number) for number in re.findall(r"^• (\d+) ", answer, re.MULTILINE)]


async def test_an_admin_edits_an_agent_and_takes_it_back_on_two_replicas(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on("from the first", system="You are Poet the First.", again=True)
    stage.script.on("from the second", system="You are Poet the Second.", again=True)
    here, there = [saying(stage, boss, stage.world.private(boss, bot), bot) for bot in bots]
    async with two_replicas(stage, valkey) as hosts:
        await here(f"/addagent {edited(FIRST)}")
        await here("/bind poet because it writes better")
        await there("/bind poet")
        assert "so far" in await here("/diff")
        updated = await here(f"/addagent replace because too long #OPS-12\n{edited(SECOND)}")
        assert updated.startswith("Updated agent Poet")
        warm = edited(SECOND, llmOverrides={"temperature": 0.5})
        await there(f"/addagent replace\n{warm}")

        listed = await there("/versions poet")
        assert numbers(listed) == [3, 2, 1]
        lines = listed.split("\n")
        assert re.search(rf"^• 3 (?:just now|\d+ \w+ ago) by tg:{boss.id}: llmOverrides$", lines[1])
        assert lines[2].endswith("because too long #OPS-12: customInstructions")
        assert lines[3].endswith(": created")

        compared = await here("/diff poet 1")
        assert compared.startswith("poet, from version 1 to 3:\n\nTexts\n")
        assert "Poet the First Second. Answer in short rhymes, whatever people" in compared
        assert "prose" not in compared  # far from any change
        assert "Model\n• llmOverrides: {" in compared
        assert "customInstructions" not in await here("/diff")
        part = stage.world.calls.of(method="sendMessage")[-2].params
        assert {one["type"] for one in part["entities"]} >= {"bold", "strikethrough"}

        assert await here("hello") == "from the second"
        done = await here("/restore poet 1 because the second was worse")
        assert done.startswith("Restored version 1 of poet, as version 4.")
        async with asyncio.timeout(1):
            for host in hosts:
                await host.catalog.until(
                    lambda snapshot: snapshot.agents["poet"].value.custom_instructions == FIRST
                )
        answers = await asyncio.gather(here("hello"), there("hello"))
        assert set(answers) == {"from the first"}

        audit = await there("/audit poet")
        assert "update agent poet: customInstructions" in audit
        assert "create agent poet" in audit.split("\n\n")[0].split("\n")[-1]
        (ticket,) = re.findall(r"^• (\d+) .*#OPS-12", audit, re.MULTILINE)
        refused = await here(f"/rollback {ticket}")
        assert "changed the same field after record" in refused
        newest = next(
            line for line in audit.split("\n") if "restore" in line and "customInst" in line
        )
        number = numbers(newest)[0]
        back = await here(f"/rollback {number} because of #7")
        assert back.startswith(f"Took back record {number}: customInstructions of agent poet")
        assert await there("hello") == "from the second"
        assert "because of #7" in await here("/versions poet")


async def test_what_other_hands_wrote_has_versions_too(
    stage: Stage, valkey: Valkey, redis: Redis
) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host(REDIS_URL=valkey.url) as host:
        await say(f"/addagent {edited(FIRST)}")
        before = host.catalog.get_agent("poet")
        await redis.set("agent:definition:poet", edited(SECOND))
        async with asyncio.timeout(10):
            await host.catalog.until(lambda snapshot: snapshot.agent("poet") != before)
        by_hand = await say("/versions poet")
        assert "set by hand in the store: customInstructions" in by_hand
        assert numbers(by_hand) == [2, 1]
        assert (await say("/restore poet 1")).startswith(
            "Restored version 1 of poet, as version 3."
        )

        stage.agents["agents"][0]["customInstructions"] = "You are Echo again."
        stage.write_agents()
        async with asyncio.timeout(10):
            await host.catalog.until(
                lambda snapshot: (
                    snapshot.agents["echo"].value.custom_instructions != "You are Echo."
                )
            )
        from_file = await say("/versions echo")
        assert numbers(from_file) == [2, 1]
        assert "agents.json" in from_file
        assert ": customInstructions" in from_file
        assert "put it back there" in await say("/restore echo 1")
        assert host.catalog.get_agent("echo").custom_instructions == "You are Echo again."  # type: ignore[union-attr]

        await say("/default poet")
        await say("/default none because nobody needs it")
        assert numbers(await say("/versions default")) == [2, 1]
        assert "poet" in await say("/diff default")
        assert (await say("/restore default 1")).startswith("Restored version 1 of the default")
        assert host.catalog.snapshot().default == "poet"
        await say("/bind poet")
        slot = f"chatid:{boss.id}:bot:{echo.id}"
        assert "created" in await say(f"/versions binding {slot}")
        await say("/unbind")
        assert (await say(f"/restore binding {slot} 1")).startswith("Restored version 1 of binding")
        assert slot in {binding.slot for binding in host.catalog.snapshot().bindings}
        await say("/deleteagent poet because it rhymes badly")
        assert "because it rhymes badly: deleted" in await say("/versions poet")
        await say("/restore poet 1")
        assert "poet" in host.catalog.snapshot().agents


async def test_the_audit_is_read_page_by_page_and_by_person(stage: Stage) -> None:
    echo, boss, eve = stage.bot("Echo"), stage.person("Boss"), stage.person("Eve")
    stage.environ["ADMINS"] = str(boss.id)
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host() as host:
        await say(f"/addagent {edited(FIRST)}")
        for number in range(20):
            await say(f"/default {'none' if number % 2 else 'poet'}")
        stage.world.say(eve, stage.world.private(eve, echo), "/addagent {}")
        await until(lambda: host.counters["refused:admin"] == 1)
        await host.fleet.lines[0].idle()
        first = await say("/audit")
        assert len(numbers(first)) == 15
        assert "refused: /addagent" in first.split("\n")[0]
        (more,) = re.findall(r"/audit (\d+ more)", first)
        second = await say(f"/audit {more}")
        assert numbers(first)[-1] == numbers(second)[0] + 1
        assert "shows older" not in second
        hers = await say(f"/audit {eve.id}")
        assert hers.count("•") == 1
        assert f"by tg:{eve.id}" in hers
        assert await say("/audit poet nobody") == (
            "Write /audit [AGENT | PERSON | bot ID] [N more]; N more are those before record N."
        )
