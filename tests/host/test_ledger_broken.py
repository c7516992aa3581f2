"""What a request has cost that did not come to its end, and how sure the ledger is of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.turn.turn import Turn
from simulators.messages.turns import Cut, Drop, EndEarly, ErrorEvent, HttpError, Stall, turn
from tests.host.chat import HostChat
from tests.host.stage import Stage, until
from tests.host.test_ledger import PRICES, ledger, went_in

WORDS = "word " * 100


class Bill:
    """What the simulator would bill, by its own figures: (message, in, out) of each answer."""

    def __init__(self, stage: Stage) -> None:
        self.rows: list[tuple[str, int, int]] = []
        reply = stage.sim.reply

        def billed(asked: Any, given: Any) -> Any:
            made = reply(asked, given)
            usage = made.whole()["usage"]
            read, wrote = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
            self.rows.append((made.id, usage["input_tokens"] + read + wrote, made.tokens))
            return made

        stage.sim.reply = billed  # type: ignore[method-assign,assignment]


async def test_each_stream_that_breaks_leaves_a_line_of_what_it_had_cost_by_then(
    stage: Stage,
) -> None:
    bot, bill = stage.bot("Echo"), Bill(stage)
    faults = {"Ann": Cut(events=1), "Ben": Cut(events=9), "Cid": EndEarly(), "Dan": Drop()}
    faults["Eve"] = ErrorEvent(events=5)
    people = {name: stage.person(name) for name in faults}
    for name, fault in faults.items():
        stage.script.on(turn(WORDS, fault=fault), "whole", user=f"I am {name}")
    async with stage.host(PRICES=PRICES) as host:
        rooms = [(person, stage.world.private(person, bot)) for person in people.values()]
        asked = [stage.ask(p, room, bot, f"I am {p.name}") for p, room in rooms]
        assert await asyncio.gather(*asked) == ["whole"] * 5
        lines = await ledger(host)
    by_name = {
        name: [line for line in lines if line["person"] == str(person.id)]
        for name, person in people.items()
    }
    dropped = by_name.pop("Dan")
    assert [line["count"] for line in dropped] == ["guessed", "told"]
    assert went_in(dropped[0]) == went_in(dropped[1])
    assert all(
        [line["count"] for line in mine] == ["estimated", "told"] for mine in by_name.values()
    )
    told_of = {line["message"]: went_in(line) for line in lines if line["message"]}
    assert told_of == {message: entered for message, entered, _ in bill.rows}
    out = {name: mine[0]["out"] for name, mine in by_name.items()}
    assert out["Ann"] == 1 < out["Eve"] < out["Ben"] < out["Cid"]
    assert out["Cid"] >= 125 == max(row[2] for row in bill.rows)
    assert all(line["micros"] > 0 for line in lines)


async def test_what_the_server_refused_costs_nothing(chat: HostChat) -> None:
    faults = [HttpError(529, retry_after=0), HttpError(429, retry_after=0)]
    chat.script.on(*[turn(fault=fault) for fault in faults], "hi")
    await chat.ask("go")
    (line,) = await ledger(chat.host)
    assert line["count"] == "told"


@pytest.mark.chat(environ={"BUDGETS__PERSON__TOKENS": "20000", "PRICES": PRICES})
async def test_an_answer_that_its_person_stops_is_in_the_ledger_with_what_had_come(
    chat: HostChat,
) -> None:
    bill = Bill(chat.stage)
    chat.script.on(turn(WORDS, fault=Stall(events=12)))
    chat.says("go")
    await chat.until(lambda: bool(chat.drafts))
    chat.says("/stop")
    assert (await chat.answer()).text.endswith("(stopped)")
    (line,) = await ledger(chat.host)
    assert not [key async for key in chat.host.store.redis.scan_iter("budget:*:held")]
    ((message, entered, out),) = bill.rows
    assert (line["message"], went_in(line), line["count"]) == (message, entered, "estimated")
    assert 1 < line["out"] < out


@pytest.mark.timeout(120)
async def test_the_next_owner_settles_what_a_killed_host_had_set_aside(stage: Stage) -> None:
    """The budget holds one request at a time: what a dead one had must not stay aside."""
    config = {"budgets": {"person": {"tokens": 6000}}, "maxTokensPerRequest": 1000}
    bot, ann = stage.bot("Echo", costConfig=config), stage.person("Ann")
    room = stage.world.private(ann, bot)
    bill = Bill(stage)
    stage.script.on(turn(WORDS, fault=Stall(events=3)), "whole", "more")
    host = await stage.process()
    stage.world.say(ann, room, "go")
    await until(lambda: bool(bill.rows), 45)
    await host.kill()
    async with stage.host() as again:
        assert (await stage.answer(room, bot, seconds=45)).text == "whole"
        guess, told = await ledger(again)
        assert not [key async for key in again.store.redis.scan_iter("budget:*:held")]
        assert await stage.ask(ann, room, bot, "more") == "more"
    assert (guess["count"], guess["message"]) == ("guessed", "")
    assert [went_in(guess), went_in(told)] == [row[1] for row in bill.rows[:2]]
    assert guess["turn"] == told["turn"]


async def test_a_turn_that_fails_after_its_answer_came_has_cost_what_it_has_cost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three tries, each with an answer that could not be told, then the dead letters."""

    async def fails(*_: Any) -> None:
        raise ZeroDivisionError

    bot, ann = stage.bot("Echo"), stage.person("Ann")
    bill = Bill(stage)
    stage.script.on("hi", again=True)
    monkeypatch.setattr(Turn, "finish", fails)
    async with stage.host() as host:
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "go")
        lines = await ledger(host)
    assert "set it aside" in said
    assert [line["message"] for line in lines] == [row[0] for row in bill.rows]
    assert [line["count"] for line in lines] == ["told"] * 3
