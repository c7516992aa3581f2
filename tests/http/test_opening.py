"""When the HTTP API is there, how much it answers, and that a repeated request is made once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from bench.host import ROOT
from bot.app import App
from bot.cli.check import start_errors
from bot.configuration import idle_variables, settings_problems
from bot.http.api import idempotency
from bot.http.api.cursors import Cursors, shared_secret
from bot.http.api.door import MinuteLimiter
from bot.http.api.needs import CallerDep, HostDep, needs_key
from bot.http.api.problems import ApiError
from bot.ops.tasks import cancel_and_wait
from bot.store.key_uses import KeyUses
from bot.variables import names_a_host
from registry.api_key import new_secret
from registry.definition import AgentDefinition
from registry.roles import OPERATOR_ACTOR
from simulators.testing.valkey import Valkey
from tests.host.replicas import Replica
from tests.host.stage import HostProcess, Stage, health, settings_of, until
from tests.http.api import OPERATOR, OPERATOR_KEY, Client, api_host, client_of

# --- on and off -----------------------------------------------------------------------------------

LIFE = """
import asyncio, sys, time
import aiohttp
from bot.app import App
from bot.settings import Settings
from registry.api_key import ApiKey, digest, new_secret
from registry.roles import OPERATOR_ACTOR


async def status(url, key):
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
        async with session.get(f"{url}/api/v1/me") as answer:
            return answer.status


async def life():
    key = new_secret()
    made = ApiKey(id="first", hash=digest(key))
    async with App(Settings(_env_file=None)) as host:
        print(">", await status(host.url, key), "fastapi" in sys.modules)
        await host.catalog.create_key(OPERATOR_ACTOR, made, key="make")
        began = time.process_time()
        while (found := await status(host.url, key)) == 404:
            pass
        print(">", found, "fastapi" in sys.modules, time.process_time() - began < 10)
        await host.catalog.revoke_key(OPERATOR_ACTOR, "first", key="revoke")
        while (found := await status(host.url, key)) == 200:
            pass
        print(">", found)
    async with App(Settings(_env_file=None)) as host:
        print(">", await status(host.url, key), host.api._loading)


asyncio.run(life())
"""


def test_without_a_key_nothing_of_the_api_is_loaded_and_the_first_key_opens_it_at_once(
    tmp_path: Path,
) -> None:
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path / "data"), "HTTP_PORT": "0"}
    ran = subprocess.run(
        [sys.executable, "-c", LIFE],
        cwd=ROOT,
        env=environ | {"LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line[2:] for line in ran.stdout.splitlines() if line.startswith("> ")]
    assert said == ["404 False", "200 True True", "401", "401 None"], ran.stderr


async def test_the_setting_opens_the_api_without_a_key_and_closes_it_with_one(
    stage: Stage,
) -> None:
    async with stage.host(HTTP_API="1") as host, client_of(host) as client:
        assert (await client.get("/docs", None)).status == 200
        assert (await client.get("/api/v1/me")).status == 401
        assert (await client.get("/api/v1/health/live", None)).status == 200
    async with stage.host(**OPERATOR, HTTP_API="0") as host, client_of(host) as client:
        for path in ("/docs", "/api/v1/me", "/openapi.json"):
            assert (await client.get(path)).status == 404, path
        assert (await client.get("/api/v1/health/ready", None)).status == 200


async def test_a_host_without_a_bot_runs_for_its_api_and_its_log_has_no_key(stage: Stage) -> None:
    file = stage.folder / "key"
    file.write_text(f"{OPERATOR_KEY}\n")
    environ = stage.variables(API_KEYS__0__KEY_FILE=str(file), API_KEYS__0__ACCOUNT="acme")
    host = HostProcess(stage, environ)
    await host.spawn()
    await until(lambda: host.address is not None, 30)
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def status() -> int:
            async with session.get(f"{host.address}/api/v1/me") as answer:
                return answer.status

        while (found := await status()) == 503:
            pass
        assert found == 200
        async with session.get(f"{host.address}/api/v1/{OPERATOR_KEY}?key={OPERATOR_KEY}") as told:
            assert told.status in (401, 404)
    assert (await health(host.address or ""))[0] == 200
    await host.kill()
    assert OPERATOR_KEY not in host.log_text()


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"API_KEYS__0__KEY": "short"}, "API_KEYS__0__KEY has 5 characters, fewer than 32"),
        ({"API_KEYS__0__KEY": "a" * 31}, "API_KEYS__0__KEY has 31 characters, fewer than 32"),
        (
            {"API_KEYS__0__KEY": OPERATOR_KEY, "API_KEYS__0__ROLE": "boss"},
            "API_KEYS__0__ROLE must be spokestack_engineer, instance_admin",
        ),
        (
            {"API_KEYS__0__KEY": OPERATOR_KEY, "API_KEYS__0__SCOPE": "host"},
            "API_KEYS__0: instance_manager is not a role of the whole host",
        ),
        (
            {"API_KEYS__0__KEY": OPERATOR_KEY, "API_KEYS__1__KEY": OPERATOR_KEY},
            "API_KEYS: two of them are the same key",
        ),
        ({"HTTP_API": "often"}, "HTTP_API must be true or false"),
    ],
)
def test_a_wrong_key_of_the_environment_stops_the_start_with_its_name(
    environ: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    said = [str(problem) for problem in start_errors(env_file=False, places=False)]
    assert [line.startswith(words) for line in said] == [True], said
    assert OPERATOR_KEY not in said[0]


async def test_the_operators_own_names_of_the_host_are_answered(stage: Stage) -> None:
    more = {"API_ALLOWED_HOSTS": "Bots.example, other.example", "WEBHOOK_URL": "https://w.example"}
    async with api_host(stage, **more) as client:
        for name in ("bots.example", "OTHER.example:443", "w.example"):
            assert (await client.get("/api/v1/me", Host=name)).status == 200, name
        origin = "https://bots.example"
        answer = await client.get("/api/v1/me", Host="bots.example", Origin=origin)
        assert answer.status == 200
        assert (await client.get("/api/v1/me", Host="x.bots.example")).status == 421


# --- how much -------------------------------------------------------------------------------------


async def test_a_key_and_an_address_have_so_many_requests_a_minute(stage: Stage) -> None:
    async with api_host(stage, API_REQUESTS="4", API_FAILURES="3") as client:
        other = await client.make_key()
        found = [(await client.get("/api/v1/me")).status for _ in range(6)]
        assert found == [200] * 4 + [429] * 2
        late = await client.get("/api/v1/me")
        assert 1 <= int(late.headers["Retry-After"]) <= 16
        assert late.headers["Content-Type"] == "application/problem+json"
        assert (await client.get("/api/v1/me", other)).status == 200
        found = [(await client.get("/api/v1/me", "wrong")).status for _ in range(5)]
        assert found == [401] * 3 + [429] * 2
        # Whoever has a key gets in, whatever others at the same address do.
        assert (await client.get("/api/v1/me", other)).status == 200
        assert client.host.counters["api:401"] == 3


def test_a_burst_is_followed_by_an_even_flow() -> None:
    now = 1000.0
    limiter = MinuteLimiter(60, lambda: now)
    assert [limiter.wait("a") for _ in range(60)] == [0.0] * 60
    assert 0 < limiter.wait("a") <= 1
    now += 1
    assert limiter.wait("a") == 0
    assert limiter.wait("a") > 0
    assert limiter.wait("b") == 0
    now += 60
    assert [limiter.wait("a") for _ in range(60)] == [0.0] * 60


def test_a_limiter_does_not_grow_without_end() -> None:
    limiter = MinuteLimiter(1, lambda: 0.0)
    for number in range(10_000):
        limiter.wait(str(number))
    assert len(limiter._full_at) <= 4096


async def test_the_last_use_of_a_key_is_kept_once_a_minute(stage: Stage) -> None:
    async with api_host(stage) as client:
        store = client.host.store
        uses = KeyUses(store, time.time)
        assert await uses.of(["env0"]) == {}
        await client.get("/api/v1/me")
        async with asyncio.timeout(10):
            while not (found := await uses.of(["env0", "other"])):
                pass
        assert found.keys() == {"env0"}
        assert found["env0"].origin == "127.0.0.1"
        assert abs(found["env0"].at - time.time()) < 10
        name = "api:key-use:env0"
        await store.command("DEL", name)
        for _ in range(5):
            await client.get("/api/v1/me")
        await asyncio.sleep(0)
        assert await store.command("EXISTS", name) == 0


# --- once -----------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def two_replicas(stage: Stage, valkey: Valkey) -> AsyncIterator[tuple[Client, Client]]:
    """Two hosts on one store, each with a route that makes an agent and waits for `gate`."""
    common = {**OPERATOR, "REDIS_URL": valkey.url}
    one = stage.host(**common, DATA_DIR=str(stage.folder / "one"))
    two = stage.host(**common, DATA_DIR=str(stage.folder / "two"))
    async with (
        one as first,
        client_of(first) as here,
        two as second,
        client_of(second) as there,
    ):
        yield here, there


async def add_route(client: Client) -> dict[str, int]:
    """A route that makes an agent, as any route of the API writes; how often it ran."""
    ran = {"made": 0, "broken": 0}
    app = await client.app()

    @app.post("/api/v1/test/{agent}")
    @needs_key()
    async def make(agent: str, caller: CallerDep, host: HostDep) -> dict[str, str]:
        ran["made"] += 1
        made = AgentDefinition(id=agent, name=f"{agent} {ran['made']}")
        await host.catalog.create_agent(caller.actor, made, key=caller.change_key)
        return {"made": agent, "key": new_secret()}

    @app.post("/api/v1/break")
    @needs_key()
    async def broken() -> str:
        ran["broken"] += 1
        raise RuntimeError("broken")

    return ran


async def test_a_repeated_request_gets_its_first_answer_also_from_the_other_replica(
    stage: Stage, valkey: Valkey
) -> None:
    async with two_replicas(stage, valkey) as (here, there):
        ran, also = await add_route(here), await add_route(there)
        key: dict[str, Any] = {"Idempotency_Key": "first"}
        made = await here.ask("POST", "/api/v1/test/jack", json={"a": 1}, **key)
        assert made.status == 200
        for client in (here, there):
            again = await client.ask("POST", "/api/v1/test/jack", json={"a": 1}, **key)
            assert (again.status, again.json["made"]) == (200, "jack")
            # What is shown once is kept nowhere.
            assert again.json["key"] == "(shown once)"
            assert again.headers["Content-Type"] == "application/json"
            for path, body in (("jack", {"a": 2}), ("john", {"a": 1})):
                other = await client.ask("POST", f"/api/v1/test/{path}", json=body, **key)
                assert (other.status, other.json["field"]) == (422, "Idempotency-Key")
        assert (ran["made"], also["made"]) == (1, 0)
        # Another key, person, or account has its own.
        manager = await here.make_key(role="spokestack_engineer", scope="host")
        other = await here.ask("POST", "/api/v1/test/jack", manager, json={"a": 1}, **key)
        assert other.status == 409
        mine = await here.ask("POST", "/api/v1/test/jack?user_id=ann", json={"a": 1}, **key)
        assert mine.status == 409
        refused = await here.ask("POST", "/api/v1/test/jack", json={"a": 1}, Idempotency_Key="é")
        assert (refused.status, refused.json["field"]) == (422, "Idempotency-Key")


async def test_two_at_once_on_two_replicas_make_their_change_once(
    stage: Stage, valkey: Valkey
) -> None:
    async with two_replicas(stage, valkey) as (here, there):
        ran, also = await add_route(here), await add_route(there)
        for number in range(20):
            path = f"/api/v1/test/agent{number}"
            key: dict[str, Any] = {"Idempotency_Key": f"at once {number}"}
            both = [client.ask("POST", path, **key) for client in (here, there, here, there)]
            found = await asyncio.gather(*both)
            assert [one.status for one in found] == [200] * 4
        assert ran["made"] + also["made"] == 20
        history = await here.host.history.revisions(OPERATOR_ACTOR, "agent", "agent7")
        assert [one.number for one in history] == [1]


async def test_a_fault_is_not_kept_so_that_a_repeat_may_do_better(stage: Stage) -> None:
    async with api_host(stage) as client:
        ran = await add_route(client)
        for count in (1, 2):
            answer = await client.ask("POST", "/api/v1/break", Idempotency_Key="again")
            assert (answer.status, ran["broken"]) == (500, count)


async def test_a_request_of_a_host_that_died_keeps_nobody_waiting_for_long(
    stage: Stage, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RUNNING_SECONDS", 1.0)
    async with two_replicas(stage, valkey) as (here, there):
        await add_route(there)
        app, held = await here.app(), asyncio.Event()

        @app.post("/api/v1/test/{agent}")
        @needs_key()
        async def make(agent: str, caller: CallerDep, host: HostDep) -> None:
            made = AgentDefinition(id=agent, name=f"{agent} 1")
            await host.catalog.create_agent(caller.actor, made, key=caller.change_key)
            held.set()
            await asyncio.Event().wait()  # it made its change, and never answers

        key: dict[str, Any] = {"Idempotency_Key": "dead"}
        first = asyncio.create_task(here.ask("POST", "/api/v1/test/jack", **key))
        await held.wait()
        second = asyncio.create_task(there.ask("POST", "/api/v1/test/jack", **key))
        assert not (await asyncio.wait({second}, timeout=0.3))[0]
        first.cancel()
        # As kill -9 would: it renews nothing any more, and answers nobody.
        for task in asyncio.all_tasks():
            if task.get_name() == "api.running":
                task.cancel()
        answer = await asyncio.wait_for(second, 20)
        assert (answer.status, answer.json["made"]) == (200, "jack")
        history = await there.host.history.revisions(OPERATOR_ACTOR, "agent", "jack")
        assert [one.number for one in history] == [1]


async def test_a_host_killed_in_the_middle_of_a_request_leaves_its_repeat_to_the_other_one(
    stage: Stage, valkey: Valkey
) -> None:
    environ = {**OPERATOR, "REDIS_URL": valkey.url}
    async with (
        stage.host(**environ, DATA_DIR=str(stage.folder / "here")) as host,
        client_of(host) as here,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {OPERATOR_KEY}"}) as session,
    ):
        for number, after in enumerate((0.004, 0.02)):
            dying = Replica(stage, f"dying{number}", **environ)
            await dying.spawn()
            await until(lambda dying=dying: dying.address is not None, 30)  # type: ignore[misc]
            url = dying.address or ""
            async with asyncio.timeout(30):
                while (await status_of(session, url)) != 200:
                    pass
            path, agent = f"/api/v1/registry/agents/jack{number}", {"name": "Jack"}
            key: dict[str, Any] = {"Idempotency_Key": f"killed {number}"}
            header = {"Idempotency-Key": f"killed {number}"}
            first = asyncio.create_task(status_of(session, url, "PUT", path, agent, **header))
            await asyncio.sleep(after)
            await dying.kill()
            await asyncio.wait({first})
            first.exception()
            answer = await asyncio.wait_for(here.ask("PUT", path, json=agent, **key), 30)
            # 200 where it was written, and the answer was not kept yet.
            assert answer.status in (200, 201), answer.body
            again = await here.ask("PUT", path, json=agent, **key)
            assert (again.status, again.body) == (answer.status, answer.body)
            kept = await here.host.history.revisions(OPERATOR_ACTOR, "agent", f"jack{number}")
            assert [one.number for one in kept] == [1]


async def status_of(
    session: aiohttp.ClientSession,
    url: str,
    method: str = "GET",
    path: str = "/api/v1/me",
    json: Any = None,
    **headers: str,
) -> int:
    data = None if json is None else orjson.dumps(json)
    sent = {"Content-Type": "application/json"} | headers
    async with session.request(method, url + path, data=data, headers=sent) as answer:
        return answer.status


async def test_while_the_store_is_away_a_write_with_a_key_waits_for_a_repeat(
    stage: Stage, valkey: Valkey
) -> None:
    async with api_host(stage, REDIS_URL=valkey.url) as client:
        await add_route(client)
        await valkey.stop()
        answer = await client.ask("POST", "/api/v1/test/jack", Idempotency_Key="away")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await client.get("/api/v1/me")).status == 200
        await valkey.start()
        async with asyncio.timeout(30):
            while answer.status == 503:
                answer = await client.ask("POST", "/api/v1/test/jack", Idempotency_Key="away")
        assert answer.status == 200


def test_settings_say_which_hosts_serve_the_api() -> None:
    key = {"API_KEYS__4__KEY": OPERATOR_KEY}
    (only,) = settings_of(key).own_keys
    assert (only.id, only.role, only.scope) == ("env4", "instance_manager", "account")
    engineer = {"API_KEYS__0__ROLE": "spokestack_engineer", "API_KEYS__0__KEY": OPERATOR_KEY}
    assert settings_of(engineer).own_keys[0].scope == "host"
    (acme,) = settings_of({**engineer, "API_KEYS__0__ACCOUNT": "acme"}).own_keys
    assert (acme.scope, acme.account) == ("account", "acme")
    (nike,) = settings_of({**engineer, "API_KEYS__0__CLIENT": "nike"}).own_keys
    assert nike.grant.scope == "client"
    assert settings_of(key).secrets.redact(f"a {OPERATOR_KEY} b") == "a [secret] b"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"API_KEYS__2__KEY": "ab" * 20},
            "warning API_KEYS__2__KEY is easy to guess; set it to a random text",
        ),
        (
            {"API_KEYS__0__KEY": OPERATOR_KEY, "HTTP_API": "0"},
            "warning HTTP_API: it is 0, so the keys in API_KEYS open nothing",
        ),
        (
            {"API_ALLOWED_HOSTS": "https://bots.example"},
            "warning API_ALLOWED_HOSTS: 'https://bots.example' is not a valid host",
        ),
        ({"HTTP_API": "1"}, "note BOTS__0__TOKEN: it is not set, so no bot is hosted"),
    ],
)
def test_check_says_what_is_odd_in_the_settings_of_the_api(
    environ: dict[str, str], words: str
) -> None:
    found = settings_problems(settings_of(environ))
    said = [f"{problem.level} {problem}" for problem in found]
    assert [line for line in said if line.startswith(words)], said


@pytest.mark.parametrize("name", ["API_KEYS__0__KEY", "API_KEYS__1__KEY_FILE", "HTTP_API"])
def test_make_run_takes_a_key_of_the_api_for_a_host_to_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not names_a_host(tmp_path / ".env")
    monkeypatch.setenv(name, "1")
    assert names_a_host(tmp_path / ".env")


def test_a_misspelt_variable_of_a_key_is_named_with_its_right_name() -> None:
    found = [*idle_variables(settings_of({"API_KEY__0__KEY": OPERATOR_KEY}))]
    assert [problem.cure for problem in found] == ["rename it to API_KEYS__0__KEY"]
    assert OPERATOR_KEY not in str(found[0])


async def test_while_the_host_waits_for_its_store_the_api_says_so(tmp_path: Path) -> None:
    environ = {"HTTP_PORT": "0", "DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:1"}
    host = App(settings_of({**environ, **OPERATOR}))
    starting = asyncio.create_task(host.__aenter__())
    try:
        await until(lambda: host.url != "", 30)
        async with client_of(host) as client:
            answer = await client.get("/api/v1/me")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert answer.json["detail"] == "The host is starting."
            assert (await client.get("/api/v1/health/live", None)).status == 200
            assert (await client.get("/api/v1/health/ready", None)).status == 503
    finally:
        await cancel_and_wait([starting])


async def test_a_cursor_opens_only_the_list_it_was_made_for() -> None:
    cursors, others = Cursors(b"a secret of all replicas"), Cursors(b"another secret")
    made = cursors.make("acme", "audit", "1234-0")
    assert cursors.read("acme", "audit", made) == "1234-0"
    assert "=" not in made
    swapped = made[:-1] + ("A" if made[-1] != "A" else "B")
    for account, what, text, own in (
        ("other", "audit", made, cursors),
        ("acme", "roles", made, cursors),
        ("acme", "audit", swapped, cursors),
        ("acme", "audit", made, others),
        ("acme", "audit", "", cursors),
        ("acme", "audit", "é", cursors),
        ("acme", "audit", "=" * 9, cursors),
        ("acme", "audit", "A" * 100_000, cursors),
        ("acmeaudit", "", made, cursors),
    ):
        with pytest.raises(ApiError) as refused:
            own.read(account, what, text)
        assert (refused.value.status, refused.value.field) == (422, "cursor")


async def test_all_replicas_sign_cursors_with_one_secret(stage: Stage, valkey: Valkey) -> None:
    async with two_replicas(stage, valkey) as (here, there):
        assert await shared_secret(here.host.store) == await shared_secret(there.host.store)
        assert len(await shared_secret(here.host.store)) == 64
