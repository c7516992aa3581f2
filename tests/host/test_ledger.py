"""The ledger has a line for each model request, and no budget is overrun."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.app import App
from bot.usage.ledger import Ledger
from simulators.messages.turns import Call, HttpError, Text, Turn, turn
from tests.host.chat import HostChat
from tests.host.stage import Stage

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"
PRICES = '{"claude-haiku-5-5": {"input": 1, "output": 10, "cacheRead": 0.1, "cacheWrite": 1.25}}'


def counted(stage: Stage) -> Counter[str]:
    """What the simulator counts by itself, from now on."""
    total: Counter[str] = Counter()
    reply = stage.sim.reply

    def counting(asked: Any, given: Turn) -> Any:
        made = reply(asked, given)
        usage = made.whole()["usage"]
        total["in"] += usage["input_tokens"]
        total["out"] += usage["output_tokens"]
        total["cacheRead"] += usage["cache_read_input_tokens"]
        total["cacheWrite"] += usage["cache_creation_input_tokens"]
        total["requests"] += 1
        return made

    stage.sim.reply = counting  # type: ignore[method-assign,assignment]
    return total


def today() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d")


async def ledger(host: App) -> list[dict[str, Any]]:
    return await Ledger(host.store).lines(today(), count=100_000)


def summed(lines: list[dict[str, Any]]) -> dict[str, int]:
    kinds = ("in", "out", "cacheRead", "cacheWrite")
    return {kind: sum(line[kind] for line in lines) for kind in kinds} | {"requests": len(lines)}


def went_in(line: dict[str, Any]) -> int:
    return int(line["in"] + line["cacheRead"] + line["cacheWrite"])


def clerk(stage: Stage, **agent: Any) -> Any:
    log = stage.folder / "desk.log"
    server = {"command": sys.executable, "args": [str(DESK)], "env": {"DESK_LOG": str(log)}}
    stage.agents["mcpServers"]["desk"] = server
    return stage.bot("Clerk", mcpServers=["desk"], whitelistPatterns=["mcp:desk:*"], **agent)


@pytest.mark.timeout(180)
async def test_the_ledger_equals_the_simulators_own_count_to_the_token(stage: Stage) -> None:
    """Mixed turns of several people, with tools, and some people at once."""
    bot, seed = clerk(stage), random.Random(6)
    total = counted(stage)
    people = [stage.person(name) for name in ("Ann", "Ben", "Cid", "Dan")]
    turns = 40
    for number in range(turns):
        words = " ".join(seed.choices(["one", "two", "three"], k=seed.randint(1, 60)))
        steps = [turn(Call("desk__write", {"text": f"{number}.{n}"})) for n in range(number % 3)]
        stage.script.on(*steps, f"{number}: {words}", user=f"message {number} ")

    async def talk(person: Any, numbers: range) -> None:
        room = stage.world.private(person, bot)
        for number in numbers:
            await stage.ask(person, room, bot, f"message {number} {'x' * (number * 7)}")

    async with stage.host(PRICES=PRICES) as host:
        await asyncio.gather(*(talk(p, range(i, turns, 4)) for i, p in enumerate(people)))
        lines = await ledger(host)
        said = await stage.ask(people[0], stage.world.private(people[0], bot), bot, "/usage")
    assert summed(lines) == dict(total)
    assert {line["sure"] for line in lines} == {"own"}
    for line in lines:
        kinds = {"prompt": went_in(line), "completion": line["out"]}
        assert line["tokens"] == kinds | {"total": sum(kinds.values())}
        assert line["cost"] == line["micros"] / 1_000_000
    cost = total["in"] + total["out"] * 10 + total["cacheRead"] * 0.1 + total["cacheWrite"] * 1.25
    assert abs(sum(line["micros"] for line in lines) - cost) <= len(lines)
    assert {line["person"] for line in lines} == {str(p.id) for p in people}
    mine = [line for line in lines if line["person"] == str(people[0].id)]
    assert (
        f"you: {len(mine)} model requests, {sum(line['tokens']['total'] for line in mine)} tokens"
        in said
    )
    assert f"this agent: {len(lines)} model requests" in said


@pytest.mark.timeout(180)
async def test_the_log_has_a_line_for_each_turn_with_its_cost_and_nothing_that_was_said(
    stage: Stage,
) -> None:
    bot, ann = clerk(stage), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(turn(Call("desk__write", {"text": "x"})), "The heron flies at dusk.")
    count = counted(stage)
    with structlog.testing.capture_logs() as logs:
        async with stage.host():
            await stage.ask(ann, room, bot, "Where is the wombat?")
    (told,) = (one for one in logs if one["event"] == "turn.done")
    assert told["tokens_in"] == count["in"] + count["cacheRead"] + count["cacheWrite"]
    assert told["tokens_out"] == count["out"]
    assert 0 <= told["seconds"] < 60
    assert (told["line"], told["conversation"]) == (f"bot:{bot.id}", str(room.id))
    assert (told["outcome"], told["requests"], told["calls"]) == ("done", 2, 1)
    assert "wombat" not in str(logs)
    assert "heron" not in str(logs)


async def test_a_kill_between_requests_leaves_a_line_for_each_answer(stage: Stage) -> None:
    bot, ann = clerk(stage), stage.person("Ann")
    room = stage.world.private(ann, bot)
    total = counted(stage)
    stage.script.on(
        turn(Call("desk__write", {"text": "a"})),
        Turn((Text("never whole"),), gate="held"),
        "whole",
    )
    host = await stage.process()
    stage.world.say(ann, room, "go")
    await stage.sim.gates.reached("held")
    await host.kill()
    async with stage.host() as again:
        assert (await stage.answer(room, bot, seconds=45)).text == "whole"
        lines = await ledger(again)
    assert {line["turn"] for line in lines} == {lines[0]["turn"]}
    told = [line for line in lines if line["count"] == "told"]
    assert summed(told) == dict(total)
    (guessed,) = [line for line in lines if line["count"] == "guessed"]
    assert went_in(guessed) == went_in(told[-1])


async def test_a_price_that_nobody_knows_is_told_as_such(chat: HostChat) -> None:
    chat.script.on("hi")
    await chat.ask("hello")
    (line,) = await ledger(chat.host)
    assert (line["sure"], line["micros"], line["cost"]) == ("unknown", 0, None)
    assert (line["agent"], line["account"]) == ("echo", "default")
    assert line["model"].startswith("claude-haiku-5-5")
    assert line["conversation"] == str(chat.person.id)


@pytest.mark.parametrize("kind", ["turn", "person", "chat", "agent"])
async def test_an_agents_budget_that_has_not_enough_is_told_kindly_and_nothing_is_asked(
    stage: Stage, kind: str
) -> None:
    bot = stage.bot("Echo", costConfig={"budgets": {kind: {"tokens": 100}}})
    ann = stage.person("Ann")
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "hello")
    assert said.startswith("I have to stop here: ")
    assert stage.requests() == []


async def test_a_budget_in_dollars_counts_what_requests_cost(stage: Stage) -> None:
    budgets = {"person": {"usd": 0.011}}
    limits = {"maxTokensPerRequest": 500}
    bot = stage.bot("Echo", costConfig={"budgets": budgets, **limits})
    ann, ben = stage.person("Ann"), stage.person("Ben")
    room = stage.world.private(ann, bot)
    stage.script.on("word " * 1000, "more", "from ben")
    async with stage.host(PRICES=PRICES):
        await stage.ask(ann, room, bot, "hello")
        said = await stage.ask(ann, room, bot, "again")
        assert "one person may use in a day" in said
        other = stage.world.private(ben, bot)
        assert await stage.ask(ben, other, bot, "hello") == "more"


@pytest.mark.timeout(120)
async def test_no_budget_is_overrun_by_a_burst_and_the_admin_is_told_once(stage: Stage) -> None:
    most = 12_000
    config = {"budgets": {"agent": {"tokens": most}}, "maxTokensPerRequest": 500}
    bot = stage.bot("Echo", costConfig=config)
    boss = stage.person("Boss")
    people = [stage.person(f"P{n}") for n in range(30)]
    stage.script.on("word " * 300, again=True)
    async with stage.host(ADMINS=str(boss.id)) as host:
        own = stage.world.private(boss, bot)
        await stage.ask(boss, own, bot, "/start")
        rooms = [stage.world.private(person, bot) for person in people]
        said = await asyncio.gather(
            *(stage.ask(p, r, bot, "go") for p, r in zip(people, rooms, strict=True))
        )
        lines = await ledger(host)
        await stage.world.until(
            lambda: any("is used up" in text for text in stage.texts(own, bot.id))
        )
        await host.fleet.lines[0].idle()
    refused = [text for text in said if "this agent has used up" in text]
    assert 0 < len(lines) < 30
    assert len(refused) == 30 - len(lines)
    assert sum(line["tokens"]["total"] for line in lines) <= most
    assert len([t for t in stage.texts(own, bot.id) if "is used up" in t]) == 1


async def test_what_was_set_aside_for_a_request_that_failed_is_free_again(stage: Stage) -> None:
    config = {"budgets": {"person": {"tokens": 6_000}}, "maxTokensPerRequest": 2_000}
    bot = stage.bot("Echo", costConfig=config)
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)

    stage.script.on(*[turn(fault=HttpError(401))] * 5, "at last")
    async with stage.host():
        for _ in range(5):
            assert "fixed first" in await stage.ask(ann, room, bot, "hello")
        assert await stage.ask(ann, room, bot, "hello") == "at last"
