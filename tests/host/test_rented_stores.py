"""Stores as people rent them: what they refuse is named, by `run` and by `check` alike, or done without."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from registry.sources.stored_values import DEFAULT, DEFINITION
from simulators.telegram.people import Bot, Person
from simulators.testing.valkey import Valkey
from tests.host.stage import ROOT, Stage, until

REDIS = shutil.which("redis-server")
SERVERS = [
    pytest.param(None, id="valkey"),
    pytest.param(
        REDIS, id="redis", marks=pytest.mark.skipif(not REDIS, reason="there is no redis-server")
    ),
]
ALL = ("~*", "&*", "+@all")
PASSWORD = "a-long-password-of-the-test"


def user(*rules: str) -> tuple[str, ...]:
    """Options of a server whose one user has these rules."""
    return ("--user", "default", "on", f">{PASSWORD}", *rules)


def acl_of_the_docs() -> list[str]:
    """The rules of the ACL line that docs/operations.md gives, after its name and password."""
    line = re.search(r"^ACL SETUSER \S+ on \S+ (.*)$", _operations(), re.MULTILINE)
    assert line, "docs/operations.md gives no ACL line"
    return line[1].split()


def _operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text("utf-8")


@contextlib.asynccontextmanager
async def rented(folder: Path, program: str | None, options: Sequence[str]) -> AsyncIterator[str]:
    """A server with these options: its URL, with the password."""
    server = Valkey(folder / "rented", options, program=program)
    await server.start(ready=False)
    try:
        yield f"unix://:{PASSWORD}@{server.socket}" if "--user" in options else server.url
    finally:
        await server.stop()


async def ended(stage: Stage, url: str, *words: str) -> tuple[int, str]:
    """How a command of ours ends on this store, and all that it printed."""
    environ = {**stage.variables(REDIS_URL=url), "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *words),
        env={"PATH": os.environ["PATH"], **environ},
        cwd=stage.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(40):
            printed, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    assert process.returncode is not None
    return process.returncode, printed.decode()


REFUSED = [
    pytest.param(("--cluster-enabled", "yes"), "cluster mode", id="cluster mode"),
    pytest.param(user("~*", "&*", "+@all", "-@scripting"), "does not run scripts", id="scripts"),
    pytest.param(user("~switchboard*", "&*", "+@all"), "{admission}:inbox", id="keys by pattern"),
    pytest.param(user("%R~*", "%W~{*", "&*", "+@all"), "access:claim", id="keys read-only"),
    pytest.param(user(*ALL, "-xadd", "-hsetnx"), "HSETNX, XADD", id="commands"),
    pytest.param(user(*ALL, "-info"), "info", id="INFO"),
]


@pytest.mark.parametrize("program", SERVERS)
@pytest.mark.parametrize(("options", "named"), REFUSED)
async def test_run_and_check_name_what_a_store_refuses_in_the_same_words(
    stage: Stage, options: tuple[str, ...], named: str, program: str | None
) -> None:
    stage.bot("Echo")
    async with rented(stage.folder, program, options) as url:
        (ran, said), (checked, found) = await asyncio.gather(
            ended(stage, url, "run"), ended(stage, url, "check", "--json")
        )
    assert ran == 1
    assert "REDIS_URL" in said
    assert named in said
    assert PASSWORD not in said + found
    assert checked == 1
    problems = [one for one in json.loads(found)["problems"] if one["place"] == "REDIS_URL"]
    [problem] = [one for one in problems if one["level"] == "error"]
    assert " ".join(problem["message"].split()) in " ".join(said.split())


@pytest.mark.parametrize("program", SERVERS)
@pytest.mark.parametrize(
    ("rules", "named"),
    [
        pytest.param((*ALL, "-client|tracking"), "CLIENT TRACKING", id="tracking"),
        pytest.param(("~*", "resetchannels", "+@all"), "channels", id="channels"),
        pytest.param(("~*", "resetchannels", "+@all", "-client"), "CLIENT TRACKING", id="both"),
    ],
)
async def test_without_tracking_or_channels_a_host_serves_and_a_changed_agent_is_live_in_seconds(
    stage: Stage, rules: tuple[str, ...], named: str, program: str | None
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    stage.agents |= {"agents": [], "bindings": []}
    stage.script.on("as Poet", system="You are Poet", again=True)
    stage.script.on("as Cook", system="You are Cook", again=True)
    async with rented(stage.folder, program, user(*rules)) as url:
        code, found = await ended(stage, url, "check", "--json")
        warnings = [one["message"] for one in json.loads(found)["problems"]]
        assert any(named in one for one in warnings)
        assert code == 0
        async with stage.host(REDIS_URL=url) as host:
            await host.store.command("SET", f"{DEFINITION}poet", definition("Poet"))
            await host.store.command("SET", DEFAULT, "poet")
            await asks_until(stage, echo, ann, "as Poet")
            await host.store.command("SET", f"{DEFINITION}poet", definition("Cook"))
            await asks_until(stage, echo, ann, "as Cook")
            report = host.report()
            assert any(named in one for one in [*report["problems"], *report["store"]["missing"]])
            assert report["status"] == "ok"


def definition(name: str) -> str:
    """The JSON of an agent who is called so."""
    text = {"id": "poet", "name": name, "mcpServerEndpoints": []}
    return json.dumps({**text, "customInstructions": f"You are {name}."})


async def asks_until(stage: Stage, bot: Bot, person: Person, answer: str) -> None:
    """Ask again and again until an answer is this one."""
    room = stage.world.private(person, bot)
    async with asyncio.timeout(20):
        while await stage.ask(person, room, bot, "who are you?") != answer:
            pass


@pytest.mark.parametrize("program", SERVERS)
async def test_the_rules_of_the_docs_are_enough_for_a_busy_host(
    stage: Stage, program: str | None
) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    office, room = stage.world.private(boss, echo), stage.world.private(ann, echo)
    stage.environ |= {"ACCESS": "request", "ADMINS": str(boss.id), "BUDGETS__HOST__TOKENS": "99999"}
    stage.script.on("fine", again=True)
    async with rented(stage.folder, program, user(*acl_of_the_docs())) as url:
        code, found = await ended(stage, url, "check", "--json")
        assert [p for p in json.loads(found)["problems"] if p["place"] == "REDIS_URL"] == []
        assert code == 0
        async with stage.host(REDIS_URL=url) as host:
            assert await stage.ask(boss, office, echo, "hi") == "fine"
            stage.world.say(ann, room, "let me in")
            await until(lambda: any("Ann" in t for t in stage.texts(office, echo.id)), 20)
            added = '/addagent {"id": "poet", "name": "Poet", "mcpServerEndpoints": []}'
            assert "Poet" in await stage.ask(boss, office, echo, added)
            assert host.report()["problems"] == []
            assert host.report()["store"]["state"] == "ok"
