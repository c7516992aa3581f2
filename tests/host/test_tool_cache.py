"""Results used again: only where the operator says so, never across people, never past the rule."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from simulators.messages.turns import Call, turn
from simulators.telegram.people import Bot
from tests.host.stage import Stage, until

DESK = Path(__file__).parents[1] / "mcp" / "servers" / "desk.py"
READ = Call("desk__write", {"text": "rain"})


def clerk(stage: Stage, cache: dict[str, Any], name: str = "Clerk", **agent: Any) -> Bot:
    """A bot at a desk whose `write` stands for a tool that only reads; each run leaves a line."""
    log = stage.folder / "desk.log"
    log.touch()
    desk = {"command": sys.executable, "args": [str(DESK)], "env": {"DESK_LOG": str(log)}}
    stage.agents["mcpServers"]["desk"] = desk | {"cache": {"tools": ["wr*"]} | cache}
    return stage.bot(name, mcpServers=["desk"], **({"whitelistPatterns": ["mcp:desk:*"]} | agent))


def runs(stage: Stage) -> list[str]:
    return (stage.folder / "desk.log").read_text().splitlines()


def asks(stage: Stage, *words: str, call: Call = READ) -> None:
    """At each of these words the model makes the same call."""
    for word in words:
        stage.script.on(turn(call), f"answer to {word}", user=word)


def told(stage: Stage) -> str:
    (block,) = stage.requests()[-1]["messages"][-1]["content"]
    content = block["content"]
    return content if isinstance(content, str) else content[0]["text"]


async def test_a_result_is_used_again_for_the_same_call_of_the_same_person(stage: Stage) -> None:
    bot, ann, ben = clerk(stage, {"ttlSeconds": 600}), stage.person("Ann"), stage.person("Ben")
    asks(stage, "one", "two", "three")
    stage.script.on(turn(Call("desk__write", {"text": "sun"})), "sun", user="other")
    stage.script.on(turn(Call("desk__look", {}), Call("desk__look", {})), "looked", user="look")
    async with stage.host() as host:
        room, his = stage.world.private(ann, bot), stage.world.private(ben, bot)
        await stage.ask(ann, room, bot, "one")
        first = told(stage)
        await stage.ask(ann, room, bot, "two")
        assert (told(stage), runs(stage)) == (first, ["write rain"])
        counts = host.counters.snapshot()
        assert (counts["tool_cache:hit"], counts["tool_cache:miss"]) == (1, 1)
        await stage.ask(ben, his, bot, "three")
        assert runs(stage) == ["write rain"] * 2
        await stage.ask(ann, room, bot, "other")
        await stage.ask(ann, room, bot, "look")
        assert runs(stage) == [*["write rain"] * 2, "write sun", "look", "look"]


async def test_what_is_kept_is_asked_for_and_refused_as_any_other_call(stage: Stage) -> None:
    policy = {"requireConfirmation": ["write"]}
    bot = clerk(stage, {"ttlSeconds": 600}, toolPolicy=policy)
    ann = stage.person("Ann")
    asks(stage, "one", "two", "three")
    async with stage.host() as host:
        room = stage.world.private(ann, bot)
        for word, hits in (("one", 0), ("two", 1)):
            had = len(stage.texts(room, bot.id))
            stage.world.say(ann, room, word)
            question = await stage.answer(room, bot, had + 1)
            assert question.text.startswith("May I do this?")
            assert host.counters["tool_cache:hit"] == 0
            stage.world.press_button(ann, room, question.id, "Once")
            await stage.answer(room, bot, had + 2)
            assert (host.counters["tool_cache:hit"], runs(stage)) == (hits, ["write rain"])
        number = host.catalog.snapshot().number
        stage.agents["agents"][0]["toolPolicy"] = {"disabledTools": ["write"]}
        stage.write_agents()
        await until(lambda: host.catalog.snapshot().number > number)
        await stage.ask(ann, room, bot, "three")
        assert told(stage) == '{"error": "Unknown tool: desk__write"}'
        assert host.counters["tool_cache:hit"] == 1


class Prices:
    """A service that answers one call in two, and counts them."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[tuple[int, Any]] = []
        self.calls = 0
        self.open = asyncio.Event()
        self.open.set()

    async def answer(self, request: web.Request) -> web.Response:
        self.calls += 1
        await self.open.wait()
        status, body = self.answers.pop(0)
        return web.json_response(body, status=status)


@pytest.fixture
async def prices() -> AsyncIterator[Prices]:
    made, app = Prices(), web.Application()
    app.router.add_post("/", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    made.open.set()
    await runner.cleanup()


def price(prices: Prices, **more: Any) -> dict[str, Any]:
    skill = {"name": "price", "description": "A price.", "inputSchema": {"type": "object"}}
    return skill | {"webhookUrl": prices.url, "cache": {"ttlSeconds": 600}} | more


PRICE = Call("skill__price", {"a": 1, "b": 2})


@pytest.mark.parametrize(("scope", "group", "elsewhere"), [
    ("person", 2, 3), ("conversation", 1, 2), ("agent", 1, 1),
])  # fmt: skip
async def test_a_result_goes_as_far_as_its_scope_and_never_to_another_agent(
    stage: Stage, prices: Prices, scope: str, group: int, elsewhere: int
) -> None:
    skill = price(prices, cache={"ttlSeconds": 600, "scope": scope})
    bot, other = stage.bot("Clerk", skills=[skill]), stage.bot("Other", skills=[skill])
    ann, ben = stage.person("Ann"), stage.person("Ben")
    asks(stage, "one", "two", "three", "four", call=PRICE)
    prices.answers = [(200, {"price": n}) for n in range(9)]
    async with stage.host():
        room = stage.world.group("Team", [ann, ben, bot])
        await stage.ask(ann, room, bot, f"@{bot.username} one")
        await stage.ask(ben, room, bot, f"@{bot.username} two")
        assert prices.calls == group
        await stage.ask(ann, stage.world.private(ann, bot), bot, "three")
        assert prices.calls == elsewhere
        await stage.ask(ann, stage.world.private(ann, other), other, "four")
        assert prices.calls == elsewhere + 1


async def test_equal_calls_at_once_are_made_once_and_a_stop_takes_nobody_along(
    stage: Stage, prices: Prices
) -> None:
    """Five people ask at once; the one whose call is made stops it."""
    skill = price(prices, cache={"ttlSeconds": 600, "scope": "agent"})
    bot = stage.bot("Clerk", skills=[skill])
    people = [stage.person(name) for name in ("Ann", "Ben", "Cid", "Dan", "Eve")]
    rooms = [stage.world.private(person, bot) for person in people]
    words = ["one", "two", "three", "four", "five"]
    asks(stage, *words, call=PRICE)
    prices.answers = [(200, {"price": n}) for n in range(9)]
    prices.open.clear()
    async with stage.host() as host:
        stage.world.say(people[0], rooms[0], words[0])
        await until(lambda: prices.calls == 1)
        others = list(zip(people, rooms, words, strict=True))[1:]
        answers = asyncio.gather(*(stage.ask(p, room, bot, word) for p, room, word in others))
        await until(lambda: host.counters["tool_cache:joined"] == 4)
        await stage.ask(people[0], rooms[0], bot, "/stop")
        prices.open.set()
        assert await answers == [f"answer to {word}" for word in words[1:]]
        assert prices.calls == 1
        assert told(stage) == '{"price": 0}'


async def test_a_result_that_is_kept_counts_as_a_call(stage: Stage, prices: Prices) -> None:
    skill, safety = price(prices), {"maxToolCallsPerTurn": 1}
    bot, ann = stage.bot("Clerk", skills=[skill], safetyConfig=safety), stage.person("Ann")
    asks(stage, "one", call=PRICE)
    stage.script.on(turn(PRICE, Call("skill__price", {"a": 1, "b": 2})), "two", user="two")
    prices.answers = [(200, {"price": 3})]
    async with stage.host() as host:
        room = stage.world.private(ann, bot)
        await stage.ask(ann, room, bot, "one")
        await stage.ask(ann, room, bot, "two")
        assert host.counters["tool_cache:hit"] == 1
    blocks = stage.requests()[-1]["messages"][-1]["content"]
    assert "used up its 1 tool calls" in json.dumps(blocks[1])
    assert prices.calls == 1


async def test_a_failure_is_never_kept_and_a_skills_result_is(stage: Stage, prices: Prices) -> None:
    bot, ann = stage.bot("Clerk", skills=[price(prices)]), stage.person("Ann")
    words = ("one", "two", "three", "four")
    asks(stage, *words[:3], call=PRICE)
    asks(stage, words[3], call=Call("skill__price", {"b": 2, "a": 1}))
    prices.answers = [(500, {}), (200, {"error": "closed"}), (200, {"price": 3})]
    results = []
    async with stage.host():
        room = stage.world.private(ann, bot)
        for word in words:
            await stage.ask(ann, room, bot, word)
            results.append(told(stage))
    assert results == [
        '{"error": "HTTP error: 500", "retry": true}',
        '{"error": "closed"}',
        '{"price": 3}',
        '{"price": 3}',
    ]
    assert prices.calls == 3
