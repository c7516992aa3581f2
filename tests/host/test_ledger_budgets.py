"""Budgets of everybody together: the operator's ceilings, bursts against each, and what is said."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from simulators.messages.turns import Call, turn
from tests.host.stage import Stage, settings_of
from tests.host.test_ledger import PRICES, clerk, ledger

KINDS = {
    "turn": "one answer may cost",
    "person": "one person may use",
    "chat": "this chat has used up",
    "agent": "this agent has used up",
    "account": "all agents here together",
    "host": "everybody together",
}
BURSTS = {"person": 2_500, "account": 10_000, "host": 10_000}


def most(kind: str, tokens: int) -> dict[str, str]:
    return {f"BUDGETS__{kind.upper()}__TOKENS": str(tokens)}


@pytest.mark.parametrize("kind", BURSTS)
@pytest.mark.timeout(120)
async def test_no_ceiling_of_the_host_is_overrun_by_a_burst(stage: Stage, kind: str) -> None:
    """Six people write to each of four bots at the same moment."""
    config = {"maxTokensPerRequest": 500}
    bots = [stage.bot(name, costConfig=config) for name in ("Ant", "Bee", "Cow", "Doe")]
    people = [stage.person(f"P{n}") for n in range(6)]
    stage.script.on("word " * 300, again=True)
    async with stage.host(**most(kind, BURSTS[kind])) as host:
        asked = [stage.ask(p, stage.world.private(p, b), b, "go") for p in people for b in bots]
        said = await asyncio.gather(*asked)
        lines = await ledger(host)
    spent: Counter[str] = Counter()
    for line in lines:
        for scope in line["scopes"]:
            spent[scope] += line["tokens"]["total"]
    refused = [text for text in said if KINDS[kind] in text]
    assert refused
    assert len(lines) == 24 - len(refused)
    full = {scope: tokens for scope, tokens in spent.items() if scope.startswith(f"{kind}:")}
    assert full
    assert max(full.values()) <= BURSTS[kind]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("hostile", ["\U00012000", "\N{BRAIN}"])
async def test_text_with_a_token_for_each_byte_overruns_no_budget(
    stage: Stage, hostile: str
) -> None:
    """Twelve people write as much as fits into a message, at the same moment, and twice."""
    budget = 60_000
    bot = stage.bot("Ant", costConfig={"maxTokensPerRequest": 500})
    people = [stage.person(f"P{n}") for n in range(12)]
    stage.script.on("word " * 300, again=True)
    async with stage.host(**most("host", budget)) as host:
        for _ in range(2):
            rooms = [(p, stage.world.private(p, bot)) for p in people]
            said = await asyncio.gather(
                *(stage.ask(p, room, bot, hostile * 2_000) for p, room in rooms)
            )
            assert any(KINDS["host"] in text for text in said)
        lines = await ledger(host)
    assert lines
    assert min(line["tokens"]["total"] for line in lines) > 8_000
    assert sum(line["tokens"]["total"] for line in lines) <= budget


@pytest.mark.timeout(120)
async def test_a_long_conversation_is_not_refused_for_its_size_also_after_a_restart(
    stage: Stage,
) -> None:
    """Its history is set aside as the server has counted it, not by its bytes."""
    bot, ann = stage.bot("Ant", costConfig={"maxTokensPerRequest": 500}), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on("yes", again=True)
    lines: list[dict[str, Any]] = []
    for times in (6, 1):
        async with stage.host(**most("person", 36_000)) as host:
            for _ in range(times):
                assert await stage.ask(ann, room, bot, "word " * 800) == "yes"
            lines = await ledger(host)
    assert sum(line["tokens"]["total"] for line in lines) > 28_000


async def test_what_comes_one_after_the_other_stops_in_time(stage: Stage) -> None:
    """Requests of one turn, and turns of one chat, never run at once."""
    bot, ann = clerk(stage, costConfig={"maxTokensPerRequest": 500}), stage.person("Ann")
    calls = [turn(Call("desk__write", {"text": f"{n}" * 1500})) for n in range(9)]
    stage.script.on(*calls)
    async with stage.host(**most("turn", 8_000), **most("chat", 9_000)) as host:
        room = stage.world.private(ann, bot)
        assert KINDS["turn"] in await stage.ask(ann, room, bot, "go")
        once = len(await ledger(host))
        assert KINDS["chat"] in await stage.ask(ann, room, bot, "on")
        lines = await ledger(host)
    assert 1 < once == len(lines)
    assert 4_000 < sum(line["tokens"]["total"] for line in lines) <= 8_000


async def test_an_agent_may_only_lower_what_the_operator_allows(stage: Stage) -> None:
    wide = stage.bot("Wide", costConfig={"budgets": {"person": {"tokens": 10**9}}})
    strict = stage.bot("Strict", costConfig={"budgets": {"person": {"tokens": 50}}})
    free = stage.bot("Free")
    ann = stage.person("Ann")
    stage.script.on("hi", again=True)
    async with stage.host(**most("person", 100)):
        for bot in (wide, strict, free):
            said = await stage.ask(ann, stage.world.private(ann, bot), bot, "hello")
            assert KINDS["person"] in said
    assert stage.requests() == []


async def test_people_are_told_kindly_the_admin_once_and_usage_shows_it(stage: Stage) -> None:
    bots = [stage.bot(name, costConfig={"maxTokensPerRequest": 500}) for name in ("Ant", "Bee")]
    boss, ann = stage.person("Boss"), stage.person("Ann")
    stage.script.on("hi", again=True)
    budgets = {**most("host", 400), "BUDGETS__ACCOUNT__USD": "1.5", "PRICES": PRICES}
    async with stage.host(ADMINS=str(boss.id), **budgets) as host:
        own = stage.world.private(boss, bots[0])
        await stage.ask(boss, own, bots[0], "/start")
        for bot in (*bots, *bots):
            said = await stage.ask(ann, stage.world.private(ann, bot), bot, "hello")
            assert said.startswith("I have to stop here: everybody together has used up")
            assert "tomorrow" in said
        await stage.world.until(
            lambda: any("is used up" in text for text in stage.texts(own, bots[0].id))
        )
        await host.fleet.lines[0].idle()
        assert len([t for t in stage.texts(own, bots[0].id) if "is used up" in t]) == 1
        told = await stage.ask(boss, own, bots[0], "/usage")
        room = stage.world.private(ann, bots[0])
        plain = await stage.ask(ann, room, bots[0], "/usage")
    assert "this host: 0 model requests, 0 tokens of 400" in told
    assert "this account: 0 model requests, 0 tokens, $0.0000 of $1.50" in told
    assert "this host" not in plain
    assert "you: 0 model requests, 0 tokens" in plain


async def test_a_budget_in_dollars_and_a_model_without_a_price_answer_nothing_and_say_why(
    stage: Stage,
) -> None:
    bot, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    async with stage.host(ADMINS=str(boss.id), BUDGETS__HOST__USD="5"):
        own = stage.world.private(boss, bot)
        await stage.ask(boss, own, bot, "/start")
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "hello")
        assert "the price of this model is not known" in said
        await stage.world.until(
            lambda: any("Set it in PRICES" in text for text in stage.texts(own, bot.id))
        )
    assert stage.requests() == []


@pytest.mark.parametrize(
    ("prices", "place"),
    [
        ('{"m": {"input": -1, "output": 5}}', "m: 'input'"),
        ('{"m": {"input": 1, "output": NaN}}', "m: 'output'"),
        ('{"m": {"input": 1, "output": 1e300}}', "m: 'output'"),
        ('{"m": {"input": 1}}', "m: 'output'"),
        ('{"m": {"input": 1, "output": 5, "cacheread": 1}}', "m: unknown field 'cacheread'"),
    ],
)
def test_a_price_that_cannot_be_is_refused_with_its_place_and_the_cure(
    prices: str, place: str
) -> None:
    with pytest.raises(ValidationError, match=place) as refused:
        settings_of({"PRICES": prices})
    reason = refused.value.errors()[0]["ctx"]["error"]
    assert "dollars per million tokens" in reason.cure


@pytest.mark.parametrize("most", ["0", "-5", "1e30", "many"])
def test_a_budget_that_cannot_be_is_refused_with_its_place(most: str) -> None:
    with pytest.raises(ValueError, match=r"budgets\.host\.tokens"):
        settings_of({"BUDGETS__HOST__TOKENS": most})
