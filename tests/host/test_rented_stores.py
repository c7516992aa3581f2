"""The rules that docs/operations.md gives for a store's user are enough, and tried at the start."""

from __future__ import annotations

import asyncio
import json
import re

from bot.store.client import script_source
from simulators.testing.valkey import Valkey
from tests.host.rented import PASSWORD, REDIS, acl_of_the_docs, ended, rented, user
from tests.host.stage import ROOT, Stage, until


async def test_a_right_that_is_taken_away_and_given_back_stops_and_starts_the_host_again(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("fine", again=True)
    rules = ("--user", "tenant", "on", f">{PASSWORD}", "~*", "&*", "+@all")
    server = Valkey(stage.folder / "rented", rules, program=REDIS)
    await server.start()
    url = f"unix://tenant:{PASSWORD}@{server.socket}"
    try:
        async with stage.host(REDIS_URL=url) as host, server.client() as admin:
            assert await stage.ask(ann, room, echo, "hi") == "fine"
            await admin.acl_setuser("tenant", enabled=True, commands=["-evalsha", "-eval"])
            await until(lambda: host.report()["store"]["state"] == "away", 30)
            assert host.report()["status"] == "unhealthy"
            assert "evalsha" in host.report()["store"]["trouble"]
            stage.world.say(ann, room, "are you there?")
            lease = host.settings.lease_seconds
            await asyncio.sleep(2 * lease)  # the right is gone for longer than a lease lasts
            await admin.acl_setuser("tenant", enabled=True, commands=["+evalsha", "+eval"])
            assert (await stage.answer(room, echo, 2)).text == "fine"
            assert await stage.ask(ann, room, echo, "and now?") == "fine"
            assert host.report()["status"] == "healthy"
    finally:
        await server.stop()


_IN_LUA = re.compile(r"""redis\.p?call\(\s*'([A-Z]+)'""")
_IN_PYTHON = re.compile(r"""\.(?:command|read)\(\s*"([A-Z]+)\"""")
OTHERWISE = {"INFO", "PING", "PUBLISH"}
"""Commands that the start itself sends, or that need no right of their own."""


def test_every_command_of_a_host_is_tried_at_the_start() -> None:
    lua = [*(ROOT / "bot" / "store" / "scripts").glob("*.lua"), *(ROOT / "registry").rglob("*.lua")]
    used = {name for path in lua for name in _IN_LUA.findall(path.read_text("utf-8"))}
    python = [*(ROOT / "bot").rglob("*.py"), *(ROOT / "registry").rglob("*.py")]
    used |= {name for path in python for name in _IN_PYTHON.findall(path.read_text("utf-8"))}
    tried = set(re.findall(r"{'([A-Z]+)'", script_source("admit")))
    assert len(used) > 30
    assert used - tried <= OTHERWISE


async def test_the_rules_of_the_docs_are_enough_for_a_busy_host(stage: Stage) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    office, room = stage.world.private(boss, echo), stage.world.private(ann, echo)
    stage.environ |= {"ACCESS": "request", "ADMINS": str(boss.id), "BUDGETS__HOST__TOKENS": "99999"}
    stage.script.on("fine", again=True)
    async with rented(stage.folder, user(*acl_of_the_docs())) as url:
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
