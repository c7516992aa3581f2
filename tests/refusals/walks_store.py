"""How each refusal of a store ends: the start says it in a sentence, or the host does without."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

from bot.app import App
from registry.sources.stored_values import DEFAULT, DEFINITION
from simulators.testing.valkey import Valkey
from tests.host.rented import ALL, PASSWORD, REDIS, ended, rented, user
from tests.host.stage import HostProcess, Stage, health, staged, until
from tests.refusals.table import Walk, ends


def start_refused(options: tuple[str, ...], *named: str) -> Walk:
    """`run` and `check` both end with the same sentence, in which these words stand."""

    async def walk(folder: Path) -> None:
        async with staged(folder) as stage, rented(folder, options) as url:
            stage.bot("Echo")
            (ran, said), (checked, found) = await asyncio.gather(
                ended(stage, url, "run"), ended(stage, url, "check", "--json")
            )
        assert (ran, checked) == (1, 1)
        assert "REDIS_URL" in said
        assert all(words in said for words in named)
        assert PASSWORD not in said + found
        problems = [one for one in json.loads(found)["problems"] if one["place"] == "REDIS_URL"]
        [problem] = [one for one in problems if one["level"] == "error"]
        assert " ".join(problem["message"].split()) in " ".join(said.split())

    return walk


ends("R1")(start_refused(("--cluster-enabled", "yes"), "cluster mode", "; use a single server"))
ends("R2")(start_refused(user(*ALL, "-@scripting"), "does not run scripts"))
ends("R3")(start_refused(user("~switchboard*", "&*", "+@all"), "{admission}:inbox"))
ends("R4")(start_refused(user("%R~*", "%W~{*", "&*", "+@all"), "access:claim"))
ends("R5")(start_refused(user(*ALL, "-xadd", "-hsetnx"), "HSETNX, XADD"))
ends("R6")(start_refused(user(*ALL, "-info"), "'info' command"))
ends("R14")(
    start_refused(
        ("--rename-command", "XADD", "", "--rename-command", "HSETNX", ""),
        *("HSETNX, XADD", "remove its `rename-command`"),
    )
)
ends("R7")(start_refused(("--requirepass", "another-password"), "the store refuses the login"))


@ends("R12")
async def replica(folder: Path) -> None:
    """`run` and `check` name the primary, to which the host should have been sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    primary = Valkey(folder / "primary", ("--port", port, "--bind", "127.0.0.1"), program=REDIS)
    await primary.start()
    try:
        options = ("--replicaof", "127.0.0.1", port)
        await start_refused(options, "is a replica", f"its primary is 127.0.0.1:{port}")(folder)
    finally:
        await primary.stop()


def done_without(rules: tuple[str, ...], named: str) -> Walk:
    """`check` warns, the host serves and is well, and a changed agent is live within seconds."""

    async def walk(folder: Path) -> None:
        async with staged(folder) as stage, rented(folder, user(*rules)) as url:
            echo, ann = stage.bot("Echo"), stage.person("Ann")
            room = stage.world.private(ann, echo)
            stage.agents |= {"agents": [], "bindings": []}
            stage.script.on("as Poet", system="You are Poet", again=True)
            stage.script.on("as Cook", system="You are Cook", again=True)
            code, found = await ended(stage, url, "check", "--json")
            assert any(named in one["message"] for one in json.loads(found)["problems"])
            assert code == 0
            async with stage.host(REDIS_URL=url) as host:
                await host.store.command("SET", f"{DEFINITION}poet", definition("Poet"))
                await host.store.command("SET", DEFAULT, "poet")
                await until(lambda: names(host) == ["Poet"], 20)
                await until(lambda: host.catalog.snapshot().default == "poet", 20)
                assert await stage.ask(ann, room, echo, "who are you?") == "as Poet"
                await host.store.command("SET", f"{DEFINITION}poet", definition("Cook"))
                changed = time.monotonic()
                await until(lambda: names(host) == ["Cook"], 20)
                assert time.monotonic() - changed < 5
                assert await stage.ask(ann, room, echo, "and now?") == "as Cook"
                report = host.report()
                said = [*report["problems"], *report["store"]["missing"]]
                assert any(named in one for one in said)
                assert report["status"] == "healthy"

    return walk


def definition(name: str) -> str:
    """The JSON of an agent who is called so."""
    text = {"id": "poet", "name": name, "mcpServerEndpoints": []}
    return json.dumps({**text, "customInstructions": f"You are {name}."})


def names(host: App) -> list[str]:
    """The names of the agents that a host knows."""
    return [entry.value.name for entry in host.catalog.snapshot().agents.values()]


ends("R8")(done_without((*ALL, "-client|tracking"), "CLIENT TRACKING"))
ends("R9")(done_without(("~*", "resetchannels", "+@all"), "channels"))
ends("R10")(done_without(("~*", "resetchannels", "+@all", "-client"), "CLIENT TRACKING"))


@ends("R11")
async def a_store_that_is_loading_or_away_is_waited_for(folder: Path) -> None:
    """Health answers meanwhile, and says what is waited for; what was sent is answered then."""
    async with staged(folder) as stage:
        echo, ann = stage.bot("Echo"), stage.person("Ann")
        room = stage.world.private(ann, echo)
        stage.script.on("fine", again=True)
        store = Valkey(folder / "v")
        stage.world.say(ann, room, "are you there?")
        host = HostProcess(stage, stage.variables(REDIS_URL=store.url))
        await host.spawn()
        try:
            await until(lambda: host.address is not None, 30)
            assert host.address
            status, body = await health(host.address)
            assert (status, body["status"], body["starting"]) == (503, "unhealthy", "the store")
            await store.start()
            assert (await stage.answer(room, echo)).text == "fine"
        finally:
            await host.end()
            await store.stop()


@ends("R13")
async def a_store_that_takes_no_writes_is_waited_for(folder: Path) -> None:
    """Health and `check` say the store's own words and a cure; once it takes writes, it is used."""
    async with staged(folder) as stage:
        echo, ann = stage.bot("Echo"), stage.person("Ann")
        room = stage.world.private(ann, echo)
        stage.script.on("fine", again=True)
        store = Valkey(folder / "v", program=REDIS)
        await store.start()
        host = HostProcess(stage, stage.variables(REDIS_URL=store.url))
        async with store.client() as admin:
            await admin.set("one", "key")
            await admin.config_set("min-replicas-to-write", 1)
            stage.world.say(ann, room, "are you there?")
            await host.spawn()
            try:
                await until(lambda: host.address is not None, 30)
                await _said(stage, host, store, "NOREPLICAS", "start its replicas")
                await admin.config_set("maxmemory", 1)
                await admin.config_set("min-replicas-to-write", 0)
                await _said(stage, host, store, "OOM", "raise its maxmemory")
                store.fill_disk()
                await admin.delete("one")
                await _said(stage, host, store, "MISCONF", "free space on its disk")
                store.free_disk()
                await admin.config_set("maxmemory", 0)
                assert (await stage.answer(room, echo)).text == "fine"
            finally:
                await host.end()
                await store.stop()


async def _said(stage: Stage, host: HostProcess, store: Valkey, words: str, cure: str) -> None:
    """Once health speaks of this, it always does, with the cure, and `check` fails with both."""
    assert host.address
    async with asyncio.timeout(20):
        while words not in ((await health(host.address))[1]["why"] or ""):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    for _ in range(20):
        status, body = await health(host.address)
        assert (status, body["starting"]) == (503, "the store")
        assert words in body["why"]
        assert cure in body["why"]
    code, found = await ended(stage, store.url, "check", "--json")
    assert code == 1
    [problem] = [p for p in json.loads(found)["problems"] if p["level"] == "error"]
    assert (problem["place"], words in problem["message"]) == ("REDIS_URL", True)
    assert cure in problem["cure"]
