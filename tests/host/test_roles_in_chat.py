"""Roles and API keys from a chat: who may look, who may change, and when that ends."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from bot.app import App
from registry.api_key import digest
from registry.roles import PERMISSIONS, RoleGrant
from simulators.testing.valkey import Valkey
from tests.commands.test_roles_of_commands import may
from tests.host.audit import audit_of
from tests.host.stage import Stage, until
from tests.host.test_versions import AskBot, saying, two_replicas

ONE_OF_EACH = (
    *("agents", "versions", "addagent", "restore", "bind"),
    *("people", "audit", "roles", "bots", "status"),
)
"""A command of each kind of need; tests/commands walks them all."""


async def refused(host: App, *people: int) -> set[tuple[str, str]]:
    """Which commands were refused to these people, by the audit."""
    names = {f"tg:{person}" for person in people}
    return {
        (one.changed_by, one.action.removeprefix("refused: "))
        for one in await audit_of(host)
        if one.changed_by in names and one.change_type == "refused"
    }


async def test_every_role_may_send_what_the_table_gives_it_and_no_more(stage: Stage) -> None:
    echo, boss = stage.bot("Echo"), stage.person("Boss")
    stage.environ |= {"ADMINS": str(boss.id), "LIMITS__REQUESTSPERMINUTE": "1000"}
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    async with stage.host() as host:
        people = {role: stage.person(role.title()) for role in PERMISSIONS}
        for role, person in people.items():
            granted = await say(f"/roles grant {person.id} {role}")
            assert granted == f"tg:{person.id} is {role} of account default now."
        for person in people.values():
            for command in ONE_OF_EACH:
                stage.world.say(person, stage.world.private(person, echo), f"/{command}")
        wanted = {
            (f"tg:{person.id}", f"/{command}")
            for role, person in people.items()
            for command in ONE_OF_EACH
            if not may(role, "account", "default", command)
        }
        await until(lambda: host.counters["refused:admin"] == len(wanted))
        await host.fleet.lines[0].idle()
        told = await refused(host, *(one.id for one in people.values()))
        assert {one for one in told if one[1].startswith("/")} == wanted
        listed = await say("/roles")
        assert f"tg:{boss.id} admin of this host" in listed
        for role, person in people.items():
            assert f"tg:{person.id} {role} · account default" in listed
        assert sorted(host.catalog.snapshot().agents) == ["echo"]


async def test_a_manager_may_look_and_not_edit_until_the_role_ends_on_both_replicas(
    stage: Stage, valkey: Valkey
) -> None:
    bots = [stage.bot("One"), stage.bot("Two")]
    boss, max_ = stage.person("Boss"), stage.person("Max")
    stage.environ["ADMINS"] = str(boss.id)
    say = saying(stage, boss, stage.world.private(boss, bots[0]), bots[0])
    here, there = [saying(stage, max_, stage.world.private(max_, bot), bot) for bot in bots]
    own = f"chat:{max_.id}:0:"
    async with two_replicas(stage, valkey) as (one, two):
        assert "agents" not in await here("/help")
        room = stage.world.group("Team", [boss, max_, bots[0]], supergroup=True)
        hers = stage.world.say(max_, room, f"/id@{bots[0].username}")
        await stage.answer(room, bots[0])
        grant = f"/roles@{bots[0].username} grant instance_manager because of #OPS-7"
        stage.world.say(boss, room, grant, reply_to=hers.id)
        said = (await stage.answer(room, bots[0], 2)).text
        assert said == f"tg:{max_.id} is instance_manager of account default now."
        assert "one" in await here("/agents")
        assert "customInstructions" in await there("/agent one")
        assert numbers_of(await there("/versions one")) == ["1"]
        assert "because of #OPS-7" in await there("/audit")
        helped = await there("/help")
        assert "With your role:" in helped
        assert "/versions" in helped
        assert not re.search(r"/(addagent|bind|restore|status) ", helped)
        await until(lambda: own in bots[0].commands and own in bots[1].commands)
        menu = {row["command"] for row in bots[1].commands[own]}
        assert {"agents", "versions", "diff", "audit", "roles"} <= menu
        assert not {"addagent", "bind", "restore", "status"} & menu
        assert await here("/addagent {}") == "Only admins of this host may send this."
        stage.world.say(max_, stage.world.private(max_, bots[1]), "/bind one")
        refusal = (await stage.answer(stage.world.private(max_, bots[1]), bots[1], 5)).text
        assert "people with the role instance_admin or spokestack_engineer" in refusal
        given = f"/roles grant {max_.id} instance_admin"
        assert "You may not grant role instance_admin" in await here(given)

        assert "no longer instance_manager" in await say(
            f"/roles revoke {max_.id} instance_manager"
        )
        for bot, host in zip(bots, (one, two), strict=True):
            before = host.counters["refused:admin"]
            stage.world.say(max_, stage.world.private(max_, bot), "/agents")
            await until(partial(has_refused_more, host, before))
            await host.fleet.lines[0].idle()
        assert await refused(two, max_.id) == {
            (f"tg:{max_.id}", "/addagent"),
            (f"tg:{max_.id}", "/bind"),
            (f"tg:{max_.id}", "/agents"),
            (f"tg:{max_.id}", "grant role"),
        }
        await until(lambda: own not in bots[0].commands and own not in bots[1].commands)


def has_refused_more(host: App, before: int) -> bool:
    return host.counters["refused:admin"] > before


def numbers_of(answer: str) -> list[str]:
    return re.findall(r"^• (\d+) ", answer, re.MULTILINE)


async def test_a_role_opens_no_chat_except_that_of_an_engineer_of_the_host(stage: Stage) -> None:
    echo, boss, ann, ben = (stage.bot("Echo"), *map(stage.person, ("Boss", "Ann", "Ben")))
    stage.environ |= {"ADMINS": str(boss.id), "ACCESS": "request"}
    say = saying(stage, boss, stage.world.private(boss, echo), echo)
    hers, his = stage.world.private(ann, echo), stage.world.private(ben, echo)
    async with stage.host():
        granted = await say(f"/roles grant {ann.id} instance_admin")
        assert granted.endswith(
            f"A role opens no chat: /people allow {ann.id} lets them talk to this bot."
        )
        assert "This bot is private" in await stage.ask(ann, hers, echo, "/agents")
        await say(f"/people allow {ann.id}")
        await stage.answer(hers, echo, 2)
        assert "echo" in await stage.ask(ann, hers, echo, "/agents")
        assert "is an admin of this host" not in await stage.ask(ann, hers, echo, "/id")
        # Whoever may write the account lets people in, but makes nobody an admin of the host.
        assert "may talk to this bot now" in await stage.ask(
            ann, hers, echo, f"/people allow {ben.id}"
        )
        only = "Only admins of this host may send this."
        assert await stage.ask(ann, hers, echo, f"/people admin {ben.id}") == only
        assert await stage.ask(ann, hers, echo, f"/people remove {boss.id}") == only
        await say(f"/people remove {ben.id}")
        await say(f"/roles grant {ben.id} spokestack_engineer host qa")
        assert "healthy" in await stage.ask(ben, his, echo, "/status")
        assert "Removed" in await say(f"/people remove {ben.id}")
        assert "spokestack_engineer" not in await say("/roles")
        stage.world.say(ben, his, "/status")
        assert (await stage.answer(his, echo, 2)).text.startswith("This bot is private")


async def test_a_key_is_shown_once_and_is_nowhere_else(
    stage: Stage, valkey: Valkey, capfd: pytest.CaptureFixture[str]
) -> None:
    echo, boss, ann = stage.bot("Echo"), stage.person("Boss"), stage.person("Ann")
    stage.environ["ADMINS"] = str(boss.id)
    office = stage.world.private(boss, echo)
    say = saying(stage, boss, office, echo)
    stage.script.on("from Echo", system="You are Echo.", again=True)
    create = "/keys create account acme role instance_admin user ops expires 90d because of #OPS-9"
    async with stage.host(REDIS_URL=valkey.url) as host:
        assert await say("/keys") == "There are no keys; /keys create makes one."
        shown = await say(create)
        (secret,) = re.findall(r"sbk_[\w-]{43}", shown)
        assert "delete this message" in shown
        written = [one.read_bytes() for one in valkey.folder.rglob("*") if one.is_file()]
        assert b"shown-once-" in b"".join(written)  # the reply, as it lay in the store
        assert secret.encode() not in b"".join(written)
        entities = stage.world.calls.of(method="sendMessage")[-1].params["entities"]
        (spoiler,) = [one for one in entities if one["type"] == "spoiler"]
        assert spoiler["length"] == len(secret)
        (key,) = [entry.value for entry in host.catalog.snapshot().document.keys.values()]
        assert (key.hash, key.account, key.user) == (digest(secret), "acme", "ops")
        assert key.grant == RoleGrant(role="instance_admin", account="acme")

        listed = await say("/keys")
        assert f"{key.id} · instance_admin · account acme · user ops · expires in" in listed
        assert f"made by tg:{boss.id} · never used" in listed
        answer = [one for one in office.messages.values() if secret in one.text][-1]
        stage.world.say(boss, office, "what is this?", reply_to=answer.id)
        assert (await stage.answer(office, echo, 4)).text == "from Echo"
        assert "[secret]" in json.dumps(stage.requests()[-1])
        assert secret not in json.dumps(stage.requests())
        await host.fleet.lines[0].idle()
        assert secret.encode() not in await everything_in(valkey)

        assert await opens(host, secret) == 200
        await until_used(say)

        group = stage.world.group("Team", [boss, ann, echo], supergroup=True)
        stage.world.say(boss, group, create.replace("/keys", f"/keys@{echo.username}"))
        assert "create it in a private chat" in (await stage.answer(group, echo)).text
        assert "opens nothing any more" in await say(f"/keys revoke {key.id}")
        assert "revoked" in await say("/keys")
        assert await opens(host, secret) == 401
    assert secret not in "".join(capfd.readouterr())


async def opens(host: App, secret: str) -> int:
    """How the HTTP API answers who shows a key."""
    header = {"Authorization": f"Bearer {secret}"}
    async with (
        aiohttp.ClientSession(headers=header) as session,
        session.get(f"{host.url}/api/v1/me") as response,
    ):
        return response.status


async def until_used(say: AskBot) -> None:
    """Waits until the list of keys tells of a use: that is noted beside the answer."""
    async with asyncio.timeout(10):
        while not re.search(r"used \d+ seconds? ago from 127\.0\.0\.1", await say("/keys")):
            pass


async def everything_in(valkey: Valkey) -> bytes:
    """All that a store holds, as it would be moved to another one."""
    client: Redis = Redis(unix_socket_path=valkey.url.removeprefix("unix://"))
    found: list[Any] = []
    for key in await client.keys("*"):
        is_stream = await client.type(key) == b"stream"
        found.append(await (client.xrange(key) if is_stream else client.dump(key)))
    await client.aclose()
    return repr(found).encode()
