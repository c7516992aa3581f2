"""Addresses by which an attacker's agent would have the host reach what is inside.

The agents lie in Redis, so they have no rights; names lead where the attacker's resolver says. One
host meets all of them. What must not be reached keeps who came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.app import App
from simulators.http_server import serving
from simulators.messages.turns import Call, turn
from tests.attacks.binding import bound
from tests.attacks.inner import Inner, inner
from tests.attacks.network import Network
from tests.attacks.talk import asked
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE, results

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the-hub-key-9c1e5b2d8046"
PUBLIC = "93.184.216.34"
INSIDE = {
    "loopback.example": "127.0.0.1",
    "metadata.example": "169.254.169.254",
    "nowhere.example": "0.0.0.0",
    "lan.example": "192.168.7.7",
    "six.example": "::1",
    "mapped.example": "::ffff:127.0.0.1",
    "nat64.example": "64:ff9b::7f00:1",
    "unique.example": "fd00::1",
    "wiki": "10.1.2.3",
}
"""Names, one of them from /etc/hosts as it were, and the inner address that each leads to."""
REFUSED = "leads to an internal host"


class Scene:
    """A host that reads an attacker's agents, and the service inside."""

    def __init__(self, stage: Stage, host: App, inner: Inner, network: Network) -> None:
        self.stage = stage
        self.host = host
        self.inner = inner
        self.network = network
        self.port = urlsplit(inner.url).port
        self.numbers: Iterator[int] = iter(range(1_000))

    async def agent(self, **fields: Any) -> tuple[str, Any]:
        """An agent in Redis that is bound to a person of its own."""
        name, ann = f"spy{next(self.numbers)}", self.stage.person("Ann")
        spy = {"id": name, "name": "Spy", "mcpServerEndpoints": []}
        await bound(self.host, self.stage.bots[0], ann, spy | fields)
        return name, ann

    async def called(self, urls: list[str], times: int = 1) -> list[str]:
        """What becomes of skills at these addresses, each called so many times in a row."""
        skills = [skill(f"s{n}", url) for n, url in enumerate(urls)]
        name, ann = await self.agent(skills=skills, whitelistPatterns=["skill:*"])
        bot, told = self.stage.bots[0], []
        for number in range(times):
            order = f"as {name}, {number}"
            calls = [Call(f"skill__s{n}", {"again": number}) for n in range(len(urls))]
            self.stage.script.on(turn(*calls), "done", user=order)
            await asked(self.stage, ann, self.stage.world.private(ann, bot), bot, order)
            told += results(self.stage)
        return told

    async def connected(self, **servers: dict[str, Any]) -> dict[str, str]:
        """Why each of these MCP servers is down, by its name, once the host has tried it."""
        name, ann = await self.agent(mcpServers=servers)
        bot = self.stage.bots[0]
        self.stage.script.on("hello", user=f"as {name}")
        await asked(self.stage, ann, self.stage.world.private(ann, bot), bot, f"as {name}")

        def reasons() -> dict[str, str]:
            found = self.host.report()["servers"]
            told = {name: one["why"] for one in found for name in one["names"] if one["why"]}
            assert all(one["state"] != "up" for one in found if set(one["names"]) & set(servers))
            return {name: told[name] for name in servers if name in told}

        await until(lambda: set(reasons()) == set(servers), PATIENCE)
        return reasons()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, network: Network) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("inside")) as stage, inner() as canary:
        stage.bot("Echo")
        listed = {"HUB_KEY": SECRET, "AGENT_SECRETS": "HUB_KEY", "LIMITS__TOOLCALLS": "64"}
        async with stage.host(**listed) as host:
            yield Scene(stage, host, canary, network)


def skill(name: str, url: str) -> dict[str, Any]:
    auth = {"type": "bearer", "tokenEnv": "HUB_KEY"}
    plain = {"name": name, "description": "S.", "inputSchema": {"type": "object"}}
    return {**plain, "webhookUrl": url, "webhookAuth": auth}


def bearer(url: str) -> dict[str, Any]:
    return {"url": url, "headers": {"Authorization": "Bearer ${HUB_KEY}"}}


async def test_a_skill_reaches_no_inner_address_by_a_name_that_leads_there(scene: Scene) -> None:
    for name, address in INSIDE.items():
        scene.network.leads(name, [address])
    told = await scene.called([f"http://{name}:{scene.port}/hook" for name in INSIDE])
    assert [one for one in told if REFUSED not in one] == []
    assert len(told) == len(INSIDE)
    assert (scene.inner.visits, scene.network.outward) == ([], [])


async def test_a_server_is_down_whose_name_leads_to_an_inner_address(scene: Scene) -> None:
    for name, address in INSIDE.items():
        scene.network.leads(name, [address])
    servers = {
        name.partition(".")[0]: bearer(f"http://{name}:{scene.port}/{path}")
        for name, path in zip(INSIDE, ["mcp", "sse"] * len(INSIDE), strict=False)
    }
    told = await scene.connected(**servers)
    assert [name for name, why in told.items() if REFUSED not in why] == []
    assert (scene.inner.visits, scene.network.outward) == ([], [])


async def test_one_inner_address_among_public_ones_closes_the_name(scene: Scene) -> None:
    both = ([PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "::1"])
    names = [f"both{n}.example" for n in range(len(both))]
    for name, addresses in zip(names, both, strict=True):
        scene.network.leads(name, addresses)
    urls = [f"http://{name}:{scene.port}/hook" for name in names]
    assert [one for one in await scene.called(urls) if REFUSED not in one] == []
    told = await scene.connected(**{f"both{n}": bearer(url) for n, url in enumerate(urls)})
    assert [why for why in told.values() if REFUSED not in why] == []
    assert (scene.inner.visits, scene.network.outward) == ([], [])


async def test_a_name_that_leads_inside_every_second_time_never_leads_inside(scene: Scene) -> None:
    scene.network.leads("twice.example", *[[PUBLIC], ["127.0.0.1"]] * 4)
    told = await scene.called([f"http://twice.example:{scene.port}/hook"], times=8)
    assert [REFUSED in one for one in told] == [False, True] * 4
    assert scene.inner.visits == []
    assert set(scene.network.outward) == {PUBLIC}
    scene.network.outward.clear()


@pytest.mark.parametrize("field", ["url", "tokenUrl", "issuer"])
async def test_no_server_and_no_secret_of_one_follows_a_name_that_turns_inside(
    scene: Scene, field: str
) -> None:
    name = f"turns-{field.lower()}.example"
    scene.network.leads(name, [PUBLIC], ["127.0.0.1"])
    url = f"http://{name}:{scene.port}/x"
    auth = {"clientId": "c", "clientSecret": "${HUB_KEY}", field: url}
    plain = {"url": "http://93.184.216.34/mcp", "auth": auth}
    await scene.connected(turning=bearer(url) if field == "url" else plain)
    await until(lambda: scene.network.asked.count(name) >= 3, PATIENCE)
    assert scene.inner.visits == []
    scene.network.outward.clear()


ODD = [
    "%31%32%37.0.0.1",
    "localhost%00.example",
    "%2523",
    "127.0.0.1.example",
    "a.example#@127.0.0.1",
    "127.0.0.1\u3002example",
]


async def test_a_host_in_an_odd_notation_is_never_read_as_an_inner_one(scene: Scene) -> None:
    told = await scene.called([f"http://{host}:{scene.port}/hook" for host in ODD])
    assert len(told) == len(ODD)
    assert not [one for one in told if "secret" in one]
    hosts = [*ODD, "l\u00adocalhost"]  # which a client reads without its soft hyphen
    servers = {f"odd{n}": bearer(f"http://{host}:{scene.port}/mcp") for n, host in enumerate(hosts)}
    await scene.connected(**servers)
    assert (scene.inner.visits, scene.network.outward) == ([], [])


async def test_what_a_refusal_says_of_tokens_is_not_read(tmp_path: Any) -> None:
    """The operator's own server was taken over, and names an inner address in its 401."""
    async with inner() as canary, staged(tmp_path) as stage:
        metadata = f'Bearer resource_metadata="{canary.url}/.well-known/oauth-protected-resource"'
        asked = asyncio.Event()

        async def refuse(_request: Request) -> Response:
            asked.set()
            return Response("no", 401, headers={"WWW-Authenticate": metadata})

        app = Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST"])])
        async with serving(app) as url:
            stage.environ["HUB_KEY"] = SECRET
            stage.bot("Echo", mcpServers={"hub": bearer(f"{url}/mcp"), "old": bearer(f"{url}/sse")})
            async with stage.host() as host:

                def refused() -> bool:
                    return all("401" in str(one["why"]) for one in host.report()["servers"])

                await asyncio.wait_for(asked.wait(), PATIENCE)
                await until(lambda: len(host.report()["servers"]) == 2 and refused(), PATIENCE)
        assert canary.visits == []
