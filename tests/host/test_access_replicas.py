"""Who may talk, where hosts are killed and where two share the bots: every press counts once."""

from __future__ import annotations

from functools import partial

import pytest

from bot.access.store import AccessStore
from bot.store import keys
from simulators.messages.turns import turn
from simulators.testing.valkey import Valkey
from tests.host.audit import audit_of
from tests.host.stage import Stage, until
from tests.host.test_access import STRANGER, WELCOME, Private, code_in
from tests.host.tool_agent import PATIENCE


@pytest.mark.timeout(120)
async def test_kill_9_between_the_request_and_the_press_loses_neither(stage: Stage) -> None:
    private = Private(stage)
    host = await stage.process()
    await stage.ask(private.boss, private.office, private.bot, "hi")
    stage.world.say(private.ann, private.room, "hello")
    card = await private.card()
    await stage.answer(private.room, private.bot)
    await host.kill()
    press = stage.world.press_button(private.boss, private.office, card.id, "Allow")
    stage.world.say(private.ann, private.room, "still there?")
    again = await stage.process()
    try:
        await stage.world.until(lambda: press.answer is not None, PATIENCE)
        await stage.world.until(lambda: WELCOME in private.texts(private.room), PATIENCE)
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        for shown in private.cards(private.office):  # also what was sent once more after the kill
            await stage.world.until(partial(private.is_answered, private.office, shown), PATIENCE)
    finally:
        await again.end()
    said = [text for text in private.texts(private.room) if not text.startswith("↻")]
    sentence = STRANGER.format(private.ann.id)
    assert said[0] == sentence
    assert said.count(sentence) == said.count(WELCOME) == 1


@pytest.mark.parametrize(
    "after",
    ["open_request", "post_card", "_decide", "change_access", "find_request", "close_request"],
)
async def test_an_end_between_any_two_steps_is_made_good_by_the_next_life(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """The step is made, and its host gets no further: what is left of it begins the entry anew."""
    private = Private(stage)
    reached: list[str] = []
    step = getattr(AccessStore, after)

    async def and_no_further(*given: object) -> object:
        done = await step(*given)
        if reached and reached[-1] == "dead":
            return done
        reached.append("dead")
        raise RuntimeError("killed here")

    monkeypatch.setattr(AccessStore, after, and_no_further)
    async with private.host() as host:
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Allow") == "Let in."
        await stage.world.until(lambda: WELCOME in private.texts(private.room), PATIENCE)
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        assert len(await audit_of(host)) == 1
        assert host.counters["dead_letters"] == 0
        await stage.world.until(lambda: private.is_answered(private.office, card), PATIENCE)
    assert reached == ["dead"]
    assert private.texts(private.room).count(WELCOME) == 1
    assert len(private.cards(private.office)) == 1


async def test_an_answer_on_one_replica_counts_on_the_other_within_a_second(
    stage: Stage, valkey: Valkey
) -> None:
    """The admin knows the other bot alone, which the other replica serves."""
    private = Private(stage)
    other = stage.bot("Other")
    office = stage.world.private(private.boss, other)
    second_folder = str(stage.folder / "second")
    first = stage.host(REDIS_URL=valkey.url, BOTS__1__TOKEN="", REPLICA_NAME="a")
    second = stage.host(
        REDIS_URL=valkey.url, BOTS__0__TOKEN="", REPLICA_NAME="b", DATA_DIR=second_folder
    )
    async with first as a, second as b:
        assert await stage.ask(private.boss, office, other, "hi", PATIENCE) == "from Echo"
        stage.world.say(private.ann, private.room, "hello")

        def cards() -> list[str]:
            return [text for text in stage.texts(office, other.id) if "May this" in text]

        await stage.world.until(lambda: len(cards()) == 1, PATIENCE)
        assert f"@{private.bot.username}" in cards()[0]
        card = next(m for m in office.messages.values() if "May this" in m.text)
        press = stage.world.press_button(private.boss, office, card.id, "Allow")
        await stage.world.until(lambda: press.answer is not None, PATIENCE)
        await stage.world.until(lambda: WELCOME in private.texts(private.room), PATIENCE)
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
        granted = b.grants.access.grants
        await until(lambda: a.grants.access.grants == granted, 30.0)
        block = f"/people block {private.ann.id} everywhere"
        assert "is blocked in" in await stage.ask(private.boss, office, other, block)
        await until(lambda: a.grants.access.is_blocked("person", private.ann.id, 1), 30.0)
        stage.world.say(private.ann, private.room, "hello?")
        await until(lambda: a.counters["refused:blocked"] == 1)
    assert private.texts(private.room)[-1] == "from Echo"


async def test_only_the_newest_code_makes_an_admin_and_both_replicas_know_them_at_once(
    stage: Stage, valkey: Valkey, capsys: pytest.CaptureFixture[str]
) -> None:
    private = Private(stage)
    stage.environ["ADMINS"] = ""
    other = stage.bot("Other")
    far = stage.world.private(private.ann, other)
    ben = stage.person("Ben")
    his = stage.world.private(ben, private.bot)
    second_folder = str(stage.folder / "second")
    first = stage.host(REDIS_URL=valkey.url, BOTS__1__TOKEN="", REPLICA_NAME="a")
    second = stage.host(
        REDIS_URL=valkey.url, BOTS__0__TOKEN="", REPLICA_NAME="b", DATA_DIR=second_folder
    )
    async with first as a:
        old = code_in(capsys.readouterr().err)
        async with second as b:
            new = code_in(capsys.readouterr().err)
            said = await stage.ask(ben, his, private.bot, f"/claim {old}")
            assert said.startswith("This code is not valid")
            said = await stage.ask(private.ann, private.room, private.bot, f"/claim {new}")
            assert said.startswith("You are an admin")
            await until(lambda: b.grants.access.is_admin(private.ann.id), 30.0)
            assert "1 bot" in await stage.ask(private.ann, far, other, "/status")
            await until(lambda: f"chat:{private.ann.id}:0:" in other.commands)
            said = await stage.ask(ben, his, private.bot, f"/claim {new}")
            assert said.startswith("This code is not valid")
            assert a.grants.access.admins == b.grants.access.admins == {private.ann.id}
            assert await a.store.command("GET", keys.CLAIM) is None


@pytest.mark.timeout(120)
async def test_a_turn_that_was_open_when_its_person_was_shut_out_holds_nothing_up_later(
    stage: Stage,
) -> None:
    stage.script.on(turn("never", gate="held"), user="a long story")
    private = Private(stage)
    host = await stage.process(PEOPLE=str(private.ann.id))
    await stage.ask(private.boss, private.office, private.bot, "hi")
    stage.world.say(private.ann, private.room, "a long story")
    await stage.sim.gates.reached("held")
    await host.kill()
    open_turn = keys.open_turn(private.line, str(private.ann.id))
    async with stage.host() as again:
        said = (await stage.answer(private.room, private.bot)).text
        assert said == STRANGER.format(private.ann.id)
        assert await again.store.command("EXISTS", open_turn) == 0
        card = await private.card()
        assert await private.press(private.boss, private.office, card, "Allow") == "Let in."
        await stage.world.until(lambda: WELCOME in private.texts(private.room), PATIENCE)
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
