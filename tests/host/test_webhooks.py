"""Webhooks: the second door into the same inbox."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bot.app import App
from bot.store import keys
from simulators.messages.turns import Text, Turn
from simulators.testing.valkey import Valkey, running_valkey
from tests.host.stage import Stage, settings_of, until
from tests.host.test_refused_answers import letters, refusal


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.asynccontextmanager
async def pushed_to(stage: Stage, **more: str) -> AsyncIterator[App]:
    """A host that has its updates pushed."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = stage.variables(WEBHOOK_URL=url, HTTP_PORT=str(port), SWEEP_SECONDS="0.2", **more)
    async with App(settings_of(variables)) as host:
        running = asyncio.create_task(host.fleet.run())
        try:
            await until(lambda: all(bot.state == "webhook" for bot in host.fleet.lines))
            yield host
        finally:
            host.fleet.shutdown()
            await asyncio.wait_for(running, 30)


async def post(url: str, secret: str | None, body: bytes) -> int:
    headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=io.BytesIO(body), headers=headers) as answer,
    ):
        return answer.status


async def test_a_message_that_is_pushed_is_answered(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    stage.script.on("pushed", again=True)
    async with pushed_to(stage) as host:
        room = stage.world.private(ann, echo)
        for _ in range(3):
            assert await stage.ask(ann, room, echo, "hi") == "pushed"
        assert echo.webhook.secret
        assert echo.token not in echo.webhook.url
        assert host.report()["status"] == "healthy"
        assert host.counters["webhook:200"] == 3


async def test_an_answer_to_a_pushed_message_that_is_refused_is_kept_and_sent_on_demand(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("first", user="one")
    stage.script.on("fine", again=True)
    async with pushed_to(stage) as host:
        stage.world.faults.add(refusal(room, 400, "Bad Request: no", says="first"))
        stage.world.say(ann, room, "one")
        await until(lambda: host.counters["dead_letters"] == 1, 20)
        assert "could not be delivered" in (await stage.answer(room, echo)).text
        assert await stage.ask(ann, room, echo, "two") == "fine"
        assert "was not delivered" in str(stage.requests()[-1]["messages"])
        stage.world.faults.clear()
        assert len(await letters(stage, "replay")) == 1
        assert (await stage.answer(room, echo, 3)).text == "first"
        for text in ("three", "four"):  # the first comes after the receipt of the late answer
            assert await stage.ask(ann, room, echo, text) == "fine"
        assert "was not delivered" not in str(stage.requests()[-1]["messages"])
        assert host.report()["status"] == "healthy"


async def test_pushed_messages_of_one_chat_are_answered_in_order(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    for number in range(12):
        stage.script.on(f"answer {number}", user=f"question {number}.")
    async with pushed_to(stage):
        for number in range(12):
            stage.world.say(ann, room, f"question {number}.")
        await stage.answer(room, echo, 12)
    assert stage.texts(room, echo.id) == [f"answer {number}" for number in range(12)]


async def test_without_the_secret_nothing_is_read_and_nothing_stored(stage: Stage) -> None:
    echo = stage.bot("Echo")
    body = b'{"update_id":1}'
    async with pushed_to(stage) as host:
        url, secret = echo.webhook.url, echo.webhook.secret
        assert await post(url, None, body) == 401
        assert await post(url, secret[:-1] + "x", body) == 401
        assert await post(url[:-1] + "x", secret, body) == 404
        async with asyncio.timeout(5):  # the refusal does not wait for a body that never comes
            where = ("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
            reader, writer = await asyncio.open_connection(*where)
            path = url.split("/", 3)[3]
            head = f"POST /{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n"
            writer.write(head.encode())
            assert b" 401 " in await reader.readline()
            writer.close()
        assert await host.store.command("EXISTS", keys.inbox(f"bot:{echo.id}")) == 0


async def test_what_is_too_long_or_no_update_is_refused(stage: Stage) -> None:
    echo = stage.bot("Echo")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65536

    async with pushed_to(stage) as host:
        assert host.report()["ready"]
        url, secret = echo.webhook.url, echo.webhook.secret
        assert await post(url, secret, b"x" * (1024 * 1024 + 1)) == 413
        for body in (b"no json", b"[]", b'{"message":{}}', b'{"update_id":true}'):
            assert await post(url, secret, body) == 400
        headers = {"X-Telegram-Bot-Api-Secret-Token": secret}
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=endless(), headers=headers) as answer,
            ):
                assert answer.status == 413


async def test_an_update_is_stored_before_it_is_acknowledged(stage: Stage, tmp_path: Path) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("at last", again=True)
    async with (
        running_valkey(tmp_path / "valkey") as valkey,
        pushed_to(stage, REDIS_URL=valkey.url) as host,
    ):
        await valkey.stop()
        stage.world.say(ann, room, "while the store is away")
        await until(lambda: host.counters["webhook:503"] >= 1)
        assert len(echo.updates.waiting) == 1
        await valkey.start()
        assert (await stage.answer(room, echo)).text == "at last"
    assert stage.texts(room, echo.id) == ["at last"]


async def test_switching_between_polls_and_pushes_loses_nothing(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    for number in range(6):
        stage.script.on(f"answer {number}", user=f"question {number}.")
    numbers = iter(range(6))

    def say() -> None:
        stage.world.say(ann, room, f"question {next(numbers)}.")

    async with stage.host():
        say()
        await stage.answer(room, echo, 1)
    say()
    async with pushed_to(stage):
        await stage.answer(room, echo, 2)
        say()
        await stage.answer(room, echo, 3)
    say()
    async with stage.host():
        await stage.answer(room, echo, 4)
        assert not echo.webhook.url
        say()
        await stage.answer(room, echo, 5)
    say()
    async with pushed_to(stage):
        await stage.answer(room, echo, 6)
    assert stage.texts(room, echo.id) == [f"answer {number}" for number in range(6)]


async def test_a_push_to_another_replica_is_answered_by_the_owner(
    stage: Stage, tmp_path: Path, valkey: Valkey
) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("mine", again=True)
    words = {"REDIS_URL": valkey.url, "LEASE_SECONDS": "30"}
    async with pushed_to(stage, **words, DATA_DIR=str(tmp_path / "a")) as owner:
        port = str(free_port())
        more = {"WEBHOOK_URL": f"http://127.0.0.1:{port}", "HTTP_PORT": port}
        variables = stage.variables(**words, **more, DATA_DIR=str(tmp_path / "b"))
        async with App(settings_of(variables)) as other:  # it serves HTTP, and no line
            echo.webhook.url = echo.webhook.url.replace(owner.url, other.url)
            assert await stage.ask(ann, room, echo, "hi") == "mine"
            assert other.counters["webhook:200"] == 1
            assert owner.counters["webhook:200"] == 0


async def test_a_webhook_that_somebody_took_away_is_registered_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.telegram.webhook.REGISTER_AGAIN", 0.2)
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    stage.script.on("still here")
    async with pushed_to(stage), stage.client() as client:
        await client("deleteWebhook", echo)
        assert await stage.ask(ann, stage.world.private(ann, echo), echo, "hi") == "still here"


async def test_sigterm_with_a_push_half_received_ends_in_time_and_loses_nothing(
    stage: Stage,
) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(Turn((Text("in time"),), gate="held"), "the second")
    async with pushed_to(stage) as host:
        stage.world.say(ann, room, "hi")
        await stage.sim.gates.reached("held")
        where = ("127.0.0.1", int(host.url.rpartition(":")[2]))
        _, writer = await asyncio.open_connection(*where)
        path, secret = echo.webhook.url.split("/", 3)[3], echo.webhook.secret
        words = f"X-Telegram-Bot-Api-Secret-Token: {secret}\r\nContent-Length: 5000"
        writer.write(f"POST /{path} HTTP/1.1\r\nHost: x\r\n{words}\r\n\r\n{{".encode())
        await writer.drain()
        host.fleet.shutdown()
        stage.sim.gates.open("held")
        await stage.answer(room, echo)
    writer.close()
    stage.world.say(ann, room, "and now")
    async with pushed_to(stage):
        await stage.answer(room, echo, 2)
    assert stage.texts(room, echo.id) == ["in time", "the second"]
