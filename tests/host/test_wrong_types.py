"""A key of the store that holds the wrong type: it is named, messages wait for it, none is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial

from redis.asyncio import Redis

from bot.app import App
from bot.store import keys
from registry.sources import stored_values
from simulators.telegram.people import Bot
from simulators.testing.valkey import Valkey
from tests.host.stage import Stage, until
from tests.host.test_access import Private

PATIENCE = 20
CURE = "Move it away with RENAME, or delete it with DEL."


@contextlib.asynccontextmanager
async def wrong(redis: Redis, key: str) -> AsyncIterator[None]:
    """A key holds a list, and what belongs there again at the end."""
    kept = await redis.dump(key)
    await redis.delete(key)
    await redis.rpush(key, "x")
    yield
    await redis.delete(key)
    if kept:
        await redis.restore(key, 0, kept)


def told(host: App, key: str) -> bool:
    """Whether health says that it is not well, because of this key, and what helps."""
    report = host.report()
    return report["status"] == "degraded" and any(
        f"the key {key} holds a list" in fault and CURE in fault
        for fault in report["store"]["faults"]
    )


def of_turns(bot: Bot, person: int) -> list[str]:
    """Keys of all kinds that a turn needs: of the host, of its money, of a conversation."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    line = f"bot:{bot.id}"
    return [
        keys.ledger(day),
        keys.budget(f"host:{day}"),
        keys.budget(f"person:{person}:{day}"),
        keys.transcript(line, str(person), "echo"),
        keys.open_turn(line, str(person)),
    ]


async def test_a_message_waits_for_a_key_of_the_wrong_type_and_is_answered_once_it_is_repaired(
    stage: Stage, valkey: Valkey
) -> None:
    echo, ann, boss = stage.bot("Echo"), stage.person("Ann"), stage.person("Boss")
    room, office = stage.world.private(ann, echo), stage.world.private(boss, echo)
    stage.script.on("fine", again=True)
    path = valkey.url.removeprefix("unix://")
    words = {"REDIS_URL": valkey.url, "ADMINS": str(boss.id), "BUDGETS__PERSON__TOKENS": "900000"}
    async with stage.host(**words) as host, Redis(unix_socket_path=path) as redis:
        assert await stage.ask(boss, office, echo, "hi") == "fine"
        assert await stage.ask(ann, room, echo, "hi") == "fine"
        for key in of_turns(echo, ann.id):
            had = stage.texts(room, echo.id)
            async with wrong(redis, key):
                stage.world.say(ann, room, f"with {key}")
                await until(partial(told, host, key), PATIENCE)
                assert stage.texts(room, echo.id) == had
            assert (await stage.answer(room, echo, len(had) + 1, PATIENCE)).text == "fine"
            await until(lambda: host.report()["status"] == "healthy", PATIENCE)
        assert "dead_letters" not in host.counters.snapshot()
        assert stage.texts(room, echo.id) == ["fine"] * 6
        news = [text for text in stage.texts(office, echo.id) if "holds a list" in text]
        assert len(news) >= 1


async def test_a_grant_of_the_wrong_type_is_told_and_that_of_before_stays_in_force(
    stage: Stage, valkey: Valkey
) -> None:
    echo, ann, boss = stage.bot("Echo"), stage.person("Ann"), stage.person("Boss")
    room, office = stage.world.private(ann, echo), stage.world.private(boss, echo)
    stage.script.on("fine", again=True)
    stage.environ |= {"ACCESS": "request", "ADMINS": str(boss.id)}
    path = valkey.url.removeprefix("unix://")
    async with stage.host(REDIS_URL=valkey.url) as host, Redis(unix_socket_path=path) as redis:
        await stage.ask(boss, office, echo, f"/people allow {ann.id}")
        assert await stage.ask(ann, room, echo, "hi") == "fine"
        key = f"{stored_values.ACCESS}person:{ann.id}@{echo.id}"

        def problems() -> list[str]:
            return [one for one in host.report()["problems"] if one.startswith(key)]

        async with wrong(redis, key):
            await until(lambda: "it holds a list, not text" in " ".join(problems()), PATIENCE)
            assert await stage.ask(ann, room, echo, "hi") == "fine"
        await until(lambda: problems() == [], PATIENCE)


async def test_a_press_waits_for_a_key_of_the_wrong_type_and_counts_once_it_is_repaired(
    stage: Stage, valkey: Valkey
) -> None:
    private = Private(stage)
    path = valkey.url.removeprefix("unix://")
    async with private.host(REDIS_URL=valkey.url) as host, Redis(unix_socket_path=path) as redis:
        stage.world.say(private.ann, private.room, "hello")
        card = await private.card()
        async with wrong(redis, stored_values.AUDIT):
            press = stage.world.press_button(private.boss, private.office, card.id, "Allow")
            await until(lambda: told(host, stored_values.AUDIT), PATIENCE)
            is_answered = press.answer is not None
            assert not is_answered
            assert not host.grants.access.grants
        await stage.world.until(lambda: "Let in." in str(press.answer), PATIENCE)
        assert await stage.ask(private.ann, private.room, private.bot, "hello") == "from Echo"
