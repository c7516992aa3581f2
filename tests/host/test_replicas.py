"""Several replicas on one store: even shares, take-over, hand-over, and owners that were frozen."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from bot.telegram.markdown.renderer import MARK
from simulators.messages.turns import Text, Turn
from simulators.telegram.people import Bot, Person
from simulators.testing.valkey import Valkey
from tests.host.replicas import Replica, shared_evenly
from tests.host.stage import Stage, settings_of, until

LEASE = os.environ.get("REPLICAS_LEASE", "2")
BOTS = int(os.environ.get("REPLICAS_BOTS", "12"))
TAKE_OVER_SECONDS = float(LEASE) + 5


def replica(stage: Stage, valkey: Valkey, name: str, **more: str) -> Replica:
    words = {"REDIS_URL": valkey.url, "LEASE_SECONDS": LEASE, "SWEEP_SECONDS": "0.5"}
    return Replica(stage, name, **(words | more))


async def ask_all(stage: Stage, person: Person, bots: list[Bot], seconds: float) -> float:
    """Write to every bot at once; seconds until the last one answered for the first time."""
    began = time.monotonic()
    had = [len(unmarked(stage, person, bot)) for bot in bots]
    for bot in bots:
        stage.world.say(person, stage.world.private(person, bot), "there?")

    def answered() -> bool:
        found = (len(unmarked(stage, person, bot)) for bot in bots)
        return all(now > before for now, before in zip(found, had, strict=True))

    await stage.world.until(answered, seconds)
    return time.monotonic() - began


def unmarked(stage: Stage, person: Person, bot: Bot) -> list[str]:
    """What a bot said; what was sent and not yet recorded at a kill may come again, marked."""
    texts = stage.texts(stage.world.private(person, bot), bot.id)
    return [text for text in texts if not text.startswith(MARK)]


async def test_bots_are_shared_evenly_and_a_killed_replicas_bots_answer_soon(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot(f"Bot{n}") for n in range(BOTS)]
    ann = stage.person("Ann")
    stage.script.on("here", again=True)
    one, two = (replica(stage, valkey, name) for name in ("one", "two"))
    async with one.running(), two.running():
        await shared_evenly([one, two], BOTS, 30)
        await ask_all(stage, ann, bots, 20)
        await one.kill()
        took = await ask_all(stage, ann, bots, TAKE_OVER_SECONDS + 10)
        print(f"take-over of {BOTS} bots with a lease of {LEASE} s: {took:.1f} s")  # noqa: T201
        assert took < TAKE_OVER_SECONDS
        for bot in bots:
            assert unmarked(stage, ann, bot) == ["here"] * 2


async def test_sigterm_hands_the_bots_over_at_once(stage: Stage, valkey: Valkey) -> None:
    bots = [stage.bot(f"Bot{n}") for n in range(4)]
    ann = stage.person("Ann")
    stage.script.on("here", again=True)
    one = replica(stage, valkey, "one", LEASE_SECONDS="60", SWEEP_SECONDS="30")
    two = replica(stage, valkey, "two", LEASE_SECONDS="60", SWEEP_SECONDS="30")
    async with one.running(), two.running():
        assert await one.terminate(60) == 0
        assert await ask_all(stage, ann, bots, 10) < 10
        assert await two.serves() == {bot.id for bot in bots}


async def test_a_frozen_owner_that_wakes_is_fenced_and_says_nothing(
    stage: Stage, valkey: Valkey
) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(Turn((Text("from the old owner"),), gate="held"), "from the new owner")
    stage.script.on("and on it goes")
    old, new = replica(stage, valkey, "old"), replica(stage, valkey, "new")
    async with old.running():
        stage.world.say(ann, room, "hi")
        await stage.sim.gates.reached("held")
        old.send(signal.SIGSTOP)
        async with new.running():
            assert (await stage.answer(room, echo)).text == "from the new owner"
            stage.sim.gates.open("held")
            old.send(signal.SIGCONT)
            await until(lambda: old.logged("line.lost"))
            assert await stage.ask(ann, room, echo, "and now?") == "and on it goes"
            assert await new.serves() == {echo.id}
            assert await old.serves() == set()
    assert stage.texts(room, echo.id) == ["from the new owner", "and on it goes"]


async def test_a_second_replica_takes_its_share_without_a_lost_or_doubled_answer(
    stage: Stage, tmp_path: Path, valkey: Valkey
) -> None:
    bots = [stage.bot(f"Bot{n}") for n in range(6)]
    ann = stage.person("Ann")
    stage.script.on("here", again=True)
    words = {"REDIS_URL": valkey.url, "SWEEP_SECONDS": "0.2"}
    async with stage.host(**words, DATA_DIR=str(tmp_path / "a")) as one:
        asking = asyncio.create_task(_keep_asking(stage, ann, bots, 8))
        async with stage.host(**words, DATA_DIR=str(tmp_path / "b")) as two:
            await until(lambda: len(two.fleet.active_lines()) == len(one.fleet.active_lines()) == 3)
            await asking
        await until(lambda: len(one.fleet.active_lines()) == 6)
        await ask_all(stage, ann, bots, 20)
    for bot in bots:
        assert stage.texts(stage.world.private(ann, bot), bot.id) == ["here"] * 9


async def _keep_asking(stage: Stage, ann: Person, bots: list[Bot], times: int) -> None:
    for _ in range(times):
        await ask_all(stage, ann, bots, 20)


async def test_a_second_host_without_a_name_is_a_replica_of_its_own(
    stage: Stage, tmp_path: Path, valkey: Valkey
) -> None:
    stage.bot("Echo")
    words = {"REDIS_URL": valkey.url, "SWEEP_SECONDS": "0.2"}
    variables = stage.variables(**words, DATA_DIR=str(tmp_path / "a"))
    assert settings_of(variables).replica_name is None
    async with (
        stage.host(**words, DATA_DIR=str(tmp_path / "a")) as one,
        stage.host(**words, DATA_DIR=str(tmp_path / "b")) as two,
    ):
        await asyncio.sleep(1.0)
        assert len(one.fleet.active_lines() | two.fleet.active_lines()) == 1
        assert not one.fleet.active_lines() & two.fleet.active_lines()
