"""Health that cannot lie: every word comes from what happened."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from redis.asyncio import Redis

from bot.app import App
from bot.http.health import http_app
from bot.store import keys
from simulators.http_server import serving
from simulators.messages.turns import HttpError, Turn
from simulators.telegram.faults import Fault
from simulators.testing.valkey import Valkey, running_valkey
from tests.host.chat import HostChat
from tests.host.stage import Stage, settings_of, until


@contextlib.asynccontextmanager
async def running(stage: Stage, **more: str) -> AsyncIterator[App]:
    """A host of which not every bot need poll."""
    async with App(settings_of(stage.variables(**more))) as host:
        fleet = asyncio.create_task(host.fleet.run())
        try:
            yield host
        finally:
            host.fleet.shutdown()
            await asyncio.wait_for(fleet, 30)


async def get(url: str, path: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(url + path) as answer:
        return answer.status, await answer.json()


async def statuses(url: str) -> list[int]:
    return [(await get(url, path))[0] for path in ("/health/live", "/health/ready", "/health")]


async def test_a_host_that_polls_is_live_ready_and_well(stage: Stage) -> None:
    echo = stage.bot("Echo")
    async with stage.host() as host:
        await until(lambda: host.fleet.lines[0].state == "polling")
        assert await statuses(host.url) == [200, 200, 200]
        _, body = await get(host.url, "/health/ready")
        (bot,) = body["bots"]
        assert (bot["id"], bot["state"]) == (echo.id, "polling")
        assert bot["last_poll_s"] < 10
        assert body["store"]["append_only"] is True
        assert body["store"]["eviction"] == "noeviction"
        assert body["model"]["state"] == "unused"
        assert (body["ready"], body["checks"]) == (
            True,
            {"store": True, "bots": True, "model": True},
        )
        _, whole = await get(host.url, "/health")
        assert (whole["status"], whole["agents_available"]) == ("healthy", 1)
        assert whole["version"]
        assert echo.token.partition(":")[2] not in str(whole)


async def test_a_store_that_is_away_makes_the_host_unready_and_it_recovers(
    stage: Stage, tmp_path: Path
) -> None:
    stage.bot("Echo")
    async with (
        running_valkey(tmp_path / "valkey") as valkey,
        stage.host(REDIS_URL=valkey.url) as host,
    ):
        await until(lambda: host.report()["ready"])
        await valkey.stop()
        await until(lambda: not host.report()["ready"])
        assert await statuses(host.url) == [200, 503, 503]
        _, body = await get(host.url, "/health/ready")
        assert body["store"]["state"] == "away"
        assert (body["ready"], body["checks"]["store"]) == (False, False)
        await valkey.start()
        await until(lambda: bool(host.report()["ready"]))


async def test_one_bot_in_trouble_is_told_and_does_not_make_the_host_unready(stage: Stage) -> None:
    one, two = stage.bot("One"), stage.bot("Two")
    async with stage.host() as host:
        await until(lambda: host.report()["status"] == "healthy")
        stage.world.revoke(one)
        await until(lambda: host.fleet.lines[0].state == "quarantined")
        assert await statuses(host.url) == [200, 200, 200]
        assert host.report()["status"] == "degraded"
        stage.world.revoke(two)
        await until(lambda: host.fleet.lines[1].state == "quarantined")
        assert await statuses(host.url) == [200, 503, 503]


async def test_a_host_whose_only_bot_is_dead_is_ready_for_its_http_api(stage: Stage) -> None:
    only = stage.bot("Only")
    async with stage.host(API_KEYS__0__KEY="a-key-for-the-health-of-an-api-host") as host:
        await until(lambda: host.report()["status"] == "healthy")
        stage.world.revoke(only)
        await until(lambda: host.fleet.lines[0].state == "quarantined")
        assert await statuses(host.url) == [200, 200, 200]
        assert host.report()["status"] == "degraded"
        status, body = await get(host.url, "/api/v1/health/ready?for=intake")
        assert (status, body["ready"], body["checks"]["bots"]) == (503, False, False)


async def test_a_bot_whose_key_holds_something_else_is_failing_and_comes_back_when_it_is_gone(
    stage: Stage, valkey: Valkey
) -> None:
    one, two = stage.bot("One"), stage.bot("Two")
    ann = stage.person("Ann")
    stage.script.on("fine", again=True)
    wrong = keys.inbox(f"bot:{one.id}")
    async with Redis(unix_socket_path=valkey.url.removeprefix("unix://")) as redis:
        await redis.set(wrong, "no stream")
        async with running(stage, REDIS_URL=valkey.url) as host:
            await until(lambda: [b.state for b in host.fleet.lines] == ["failing", "polling"])
            status, body = await get(host.url, "/health")
            assert (status, body["status"]) == (200, "degraded")
            assert "WRONGTYPE" in body["bots"][0]["why"]
            assert "why" not in body["bots"][1]
            assert await stage.ask(ann, stage.world.private(ann, two), two, "hi") == "fine"
            await redis.delete(wrong)
            stage.world.say(ann, stage.world.private(ann, one), "hi")
            answer = await stage.answer(stage.world.private(ann, one), one)
            assert answer.text == "fine"
            await until(lambda: host.report()["status"] == "healthy")


async def test_a_deaf_poller_is_rebuilt_and_counted(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    stage.script.on("I hear you")
    async with stage.host(POLL_SECONDS="1", STALLED_SECONDS="2") as host:
        await until(lambda: host.fleet.lines[0].state == "polling")
        stage.world.faults.add(Fault("delay", "getUpdates", seconds=60))
        await until(lambda: not stage.world.faults.open)
        await until(lambda: host.fleet.lines[0].state == "stalled")
        assert not host.report()["ready"]
        room = stage.world.private(ann, echo)
        stage.world.say(ann, room, "do you hear me?")
        assert (await stage.answer(room, echo)).text == "I hear you"
        assert host.report()["counters"]["poll:rebuilt"] == 1


async def test_the_models_state_comes_from_its_real_calls(chat: HostChat) -> None:
    chat.script.on("fine")
    chat.script.on(Turn(fault=HttpError(401)), again=True, user="break")
    assert await chat.ask("hi") == "fine"
    assert chat.host.report()["model"]["state"] == "ok"
    asked = len(chat.requests)
    await chat.ask("break")
    found = chat.host.report()["model"]
    assert (found["state"], found["last_failure"]) == ("failing", "ModelRefused")
    assert len(chat.requests) == asked + 1


async def test_who_comes_from_outside_learns_how_the_host_is_and_nothing_of_what_it_hosts() -> None:
    body = {"status": "healthy", "ready": True, "checks": {"store": True}, "agents": ["boss"]}
    strangers = [
        {"Host": "bots.example.org"},
        {"Host": "8.8.8.8"},
        {"Host": "localhost.evil.example:8080"},
        {"Host": "[2600::5efe:7f00:1]:8080"},
        {"Host": ""},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
    ]
    near: list[dict[str, str]] = [{}, {"Host": "localhost:8080"}, {"Host": "switchboard:8080"}]
    async with serving(http_app(lambda: body)) as url, aiohttp.ClientSession() as session:
        for headers in [*near, *strangers]:
            for path in ("/health", "/health/ready"):
                async with session.get(url + path, headers=headers) as answer:
                    told = await answer.json()
                    assert answer.status == 200
                    assert ("agents" in told) == (headers in near), headers
                    assert told["status"] == "healthy"
