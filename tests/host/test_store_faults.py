"""A store that is killed, full or open: nothing acknowledged is lost, nothing is hidden."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections import Counter
from pathlib import Path
from typing import Self

import pytest
from redis.asyncio import Redis

from bot.errors import ConfigError
from bot.ops.process import open_private
from bot.ops.tasks import SystemClock, cancel_and_wait
from bot.store import embedded
from bot.store.address import LEAST_CONNECTIONS
from bot.store.client import StoreClient, connect
from bot.store.embedded import EmbeddedValkey
from bot.store.health import StoreHealth, require_password
from registry.sources.redis import RedisStore
from registry.sources.stored_values import DEFINITION
from simulators.messages.turns import Text, Turn
from simulators.testing.valkey import Valkey, running_valkey
from tests.host.chat import HostChat
from tests.host.rented import REDIS
from tests.host.stage import HostProcess, Stage, until

KILLS = int(os.environ.get("STORE_KILLS", "4"))


async def admitted(valkey: Valkey, *, volatile: bool = False) -> None:
    client = StoreClient(connect(valkey.url), SystemClock())
    try:
        await StoreHealth(client, SystemClock()).require_usable(allow_volatile=volatile)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--appendonly", "no"), "appendonly yes"),
        (
            ("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru"),
            "maxmemory-policy noeviction",
        ),
    ],
)
async def test_a_store_that_would_lose_messages_is_refused_with_the_cure(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    valkey = Valkey(tmp_path / "v", options)
    await valkey.start()
    with pytest.raises(ConfigError, match=words):
        await admitted(valkey)
    await admitted(valkey, volatile=True)
    await valkey.stop()


async def test_a_password_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "v", ("--requirepass", "hidden-word"))
    await valkey.start(ready=False)
    with pytest.raises(ConfigError, match="password") as caught:
        async with asyncio.timeout(30):
            await admitted(valkey)
    assert "hidden-word" not in str(caught.value)
    await valkey.stop()


async def test_a_store_on_another_machine_needs_a_password() -> None:
    with pytest.raises(ConfigError, match="ALLOW_OPEN_REDIS"):
        await require_password("redis://192.0.2.7:6379/0", allowed=False)
    for url in (
        "redis://:word@192.0.2.7:6379/0",
        "rediss://user:word@192.0.2.7",
        "redis://127.0.0.1:6379",
        "redis://[::1]:6379/0",
        "redis://localhost",
        "unix:///run/valkey.sock",
    ):
        await require_password(url, allowed=False)
    await require_password("redis://192.0.2.7:6379/0", allowed=True)


async def test_the_host_says_why_it_will_not_run_and_ends(stage: Stage, tmp_path: Path) -> None:
    stage.bot("Echo")
    valkey = Valkey(tmp_path / "v", ("--appendonly", "no"))
    await valkey.start()
    host = HostProcess(stage, stage.variables(REDIS_URL=valkey.url))
    process = await asyncio.create_subprocess_exec(
        *host.command, env=host.environ, cwd=stage.folder, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), 100)
    await valkey.stop()
    assert process.returncode == 1
    assert b"ALLOW_VOLATILE_REDIS=1" in said


async def test_a_store_that_is_killed_again_and_again_under_load_loses_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    echo = stage.bot("Echo")
    people = [stage.person(f"Person {n}") for n in range(4)]
    rooms = [stage.world.private(person, echo) for person in people]
    count = KILLS * 3
    for number in range(count):
        stage.script.on(f"answer {number}", again=True, user=f"question {number}.")
    async with running_valkey(tmp_path / "v") as valkey, stage.host(REDIS_URL=valkey.url):
        for number in range(count):
            for person, room in zip(people, rooms, strict=True):
                stage.world.say(person, room, f"question {number}.")
            await asyncio.sleep(0.05)
            if number % 3 == 0:
                await valkey.kill()
                await asyncio.sleep(0.05)
                await valkey.start()
        for room in rooms:
            await stage.answer(room, echo, count, 45)
    for room in rooms:
        assert stage.texts(room, echo.id) == [f"answer {number}" for number in range(count)]


async def test_a_full_disk_pauses_the_intake_and_room_lets_it_go_on(
    stage: Stage, tmp_path: Path
) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("ok", again=True)
    async with running_valkey(tmp_path / "v") as valkey, stage.host(REDIS_URL=valkey.url) as host:
        assert await stage.ask(ann, room, echo, "before") == "ok"
        valkey.fill_disk()
        await until(lambda: host.report()["store"]["state"] == "away")
        assert "MISCONF" in host.report()["store"]["trouble"]
        stage.world.say(ann, room, "while it is full")
        await until(lambda: host.fleet.lines[0].state == "store away")
        assert stage.texts(room, echo.id) == ["ok"]
        assert len(echo.updates.waiting) == 1
        assert not host.report()["ready"]
        valkey.free_disk()
        await stage.answer(room, echo, 2)
        await until(lambda: bool(host.report()["ready"]))
    assert stage.texts(room, echo.id) == ["ok", "ok"]


@pytest.mark.chat(environ={"DATA_FSYNC": "always"})
async def test_with_fsync_always_a_full_disk_ends_the_server_and_it_is_started_again(
    chat: HostChat,
) -> None:
    chat.script.on("ok", again=True)
    assert await chat.ask("before") == "ok"
    pid = _server(chat.stage.folder)
    grown = max(path.stat().st_size for path in chat.stage.folder.rglob("*.aof"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (grown, resource.RLIM_INFINITY))
    chat.says("while it is full")
    await chat.answer(2)
    assert _server(chat.stage.folder) != pid
    assert chat.texts == ["ok", "ok"]


async def test_a_supervisor_that_meets_a_full_disk_goes_on_trying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = EmbeddedValkey(tmp_path, "always")
    await server.start()
    watching = asyncio.create_task(server.watch_forever())
    failures = [2]

    def full(path: Path, flags: int) -> int:
        if path.name == "valkey.conf" and failures[0]:
            failures[0] -= 1
            raise OSError(28, "No space left on device")
        return open_private(path, flags)

    monkeypatch.setattr(embedded, "open_private", full)
    client = StoreClient(connect(server.url), SystemClock())
    os.kill(_server(tmp_path), 9)
    await until(lambda: failures[0] == 0)
    async with asyncio.timeout(30):
        assert await client.retry_while_down(lambda: client.command("PING"))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await client.close()
    await server.stop()


def _server(folder: Path) -> int:
    """The process id of the bundled server below a folder."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                where, state = (entry / "cwd").readlink(), (entry / "stat").read_text()
            except OSError:
                continue
            if where.is_relative_to(folder) and where.name == "valkey" and " Z " not in state:
                return int(entry.name)
    raise AssertionError("no server")


async def test_a_host_works_with_the_fewest_connections_that_are_taken(
    stage: Stage, tmp_path: Path
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("well", again=True)
    async with running_valkey(tmp_path / "v") as valkey:
        url = f"{valkey.url}?max_connections={LEAST_CONNECTIONS}"
        async with stage.host(REDIS_URL=url):
            assert await stage.ask(ann, room, echo, "one", 20) == "well"
            assert await stage.ask(ann, room, echo, "two", 20) == "well"


async def test_a_store_without_a_database_of_that_number_is_refused(tmp_path: Path) -> None:
    async with running_valkey(tmp_path / "v") as valkey:
        valkey.url += "?db=99"
        with pytest.raises(ConfigError, match="no database with this number; write a smaller one"):
            await asyncio.wait_for(admitted(valkey), 20)


async def test_a_store_that_is_a_replica_for_some_seconds_is_waited_for(
    stage: Stage, tmp_path: Path
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("well", again=True)
    async with (
        running_valkey(tmp_path / "v") as valkey,
        valkey.client() as store,
        stage.host(REDIS_URL=valkey.url) as host,
    ):
        assert await stage.ask(ann, room, echo, "one") == "well"
        await store.replicaof("127.0.0.1", 1)
        stage.world.say(ann, room, "two")
        await until(lambda: "READONLY" in (host.store.outage or ""), 20)
        await store.replicaof("NO", "ONE")
        assert (await stage.answer(room, echo, 2)).text == "well"


async def test_a_failover_behind_one_address_heals_though_the_old_connections_live_on(
    stage: Stage, tmp_path: Path
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("well", again=True)
    ports = [_free_port(), _free_port()]
    options = ("--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0", "--port")
    old, new = (
        Valkey(tmp_path / str(port), (*options, str(port)), program=REDIS) for port in ports
    )
    await asyncio.gather(old.start(), new.start())
    async with _Address(ports[0]) as address, old.client() as first, new.client() as second:
        await second.replicaof("127.0.0.1", ports[0])
        await _until_linked(second)
        async with stage.host(REDIS_URL=address.url) as host:
            assert await stage.ask(ann, room, echo, "one") == "well"
            await until(lambda: host.fleet.lines[0].backlog == 0, 20)
            assert await first.wait(1, 5000) == 1
            await second.replicaof("NO", "ONE")
            await first.replicaof("127.0.0.1", ports[1])
            had = host.store.failures
            stage.world.say(ann, room, "two")
            await until(lambda: host.store.failures > had, 20)
            address.port = ports[1]
            assert (await stage.answer(room, echo, 2, 40)).text == "well"
            await until(lambda: address.open[ports[0]] == 0, 20)  # those that listen as well
            await first.replicaof("NO", "ONE")
            await second.set(f"{DEFINITION}poet", '{"id": "poet", "name": "Poet"}')
            await until(lambda: "poet" in host.catalog.snapshot().agents, 20)
            await until(lambda: host.report()["store"]["state"] == "ok", 20)
            assert address.opened < 64
    await asyncio.gather(old.stop(), new.stop())


async def _until_linked(replica: Redis) -> None:
    async with asyncio.timeout(20):
        while (await replica.info("replication"))["master_link_status"] != "up":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class _Address:
    """An address that leads to `port`; what was connected before stays where it is."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = ""
        self.opened = 0
        self.open = Counter[int]()
        self._relays = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await cancel_and_wait([*self._relays])

    def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._relays.add(task := asyncio.create_task(self._relay(reader, writer)))
        task.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.port
        far, out = await asyncio.open_connection("127.0.0.1", port)
        self.opened += 1
        self.open[port] += 1
        ways = [asyncio.create_task(_pump(*way)) for way in ((reader, out), (far, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.open[port] -= 1
            out.close()
            writer.close()
            await cancel_and_wait(ways)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize("command", ["EVALSHA", "INFO", "XADD"])
async def test_a_command_that_the_store_does_not_have_gets_a_cure_that_can_help(
    tmp_path: Path, command: str
) -> None:
    valkey = Valkey(tmp_path / "v", ("--rename-command", command, ""), program=REDIS)
    await valkey.start()
    with pytest.raises(ConfigError, match=f"(?s){command}.*remove its `rename-command`") as caught:
        await asyncio.wait_for(admitted(valkey), 20)
    assert "ACL" not in str(caught.value)
    assert "admission:" not in str(caught.value)
    await valkey.stop()


async def test_a_store_without_the_command_client_is_used_and_its_cure_can_help(
    tmp_path: Path,
) -> None:
    valkey = Valkey(tmp_path / "v", ("--rename-command", "CLIENT", ""), program=REDIS)
    await valkey.start()
    await admitted(valkey)
    async with valkey.client() as client:
        [problem] = await RedisStore(client).tracking_problems()
    assert (problem.level, "rename-command" in (problem.cure or "")) == ("warning", True)
    await valkey.stop()


async def test_a_store_that_is_nearly_full_is_told_of(tmp_path: Path) -> None:
    async with running_valkey(tmp_path / "v") as valkey, valkey.client() as admin:
        client = StoreClient(connect(valkey.url), SystemClock())
        health = StoreHealth(client, SystemClock())
        await admin.config_set("maxmemory", "50mb")
        assert await health.problems(allow_volatile=False) == []
        await admin.config_set("maxmemory", 0)
        for number in range(200):  # in small requests, whose buffers do not count for long
            await admin.set(f"large:{number}", "x" * 100_000)
        used = (await admin.info("memory"))["used_memory"]
        await admin.config_set("maxmemory", int(used / 0.95))
        [problem] = await health.problems(allow_volatile=False)
        assert (problem.level, "maxmemory" in problem.message) == ("warning", True)
        await client.close()


async def test_a_store_that_is_busy_with_a_script_of_others_costs_no_answer(
    stage: Stage, tmp_path: Path
) -> None:
    valkey = Valkey(tmp_path / "v", ("--busy-reply-threshold", "20"))
    await valkey.start()
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(Turn((Text("asked once"),), gate="held"))
    async with stage.host(REDIS_URL=valkey.url) as host:
        stage.world.say(ann, room, "hi")
        await stage.sim.gates.reached("held")
        _, stuck = await _told(valkey, 'EVAL "while true do end" 0')
        had = host.store.failures
        await until(lambda: host.store.failures > had)
        stage.sim.gates.open("held")
        await until(lambda: host.store.failures > had + 8)
        reader, other = await _told(valkey, "SCRIPT KILL")
        assert await reader.readline() == b"+OK\r\n"
        assert (await stage.answer(room, echo)).text == "asked once"
        stuck.close()
        other.close()
    assert len(stage.requests()) == 1
    await valkey.stop()


async def _told(valkey: Valkey, words: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(valkey.url.removeprefix("unix://"))
    writer.write(words.encode() + b"\r\n")
    return reader, writer
