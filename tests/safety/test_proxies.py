"""A host behind a proxy: what goes through it, and that nothing internal does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx2
import pytest

from bot.mcp.result import ConnectionState
from bot.mcp.transports.http import ServerHttpClient
from bot.ops.network import proxy_of
from bot.skills.api import SkillContext
from bot.skills.spec import SkillSpec
from bot.skills.webhook_skill import REFUSED, WebhookSkillRunner
from bot.telegram.client import new_session
from registry.skill import Skill
from tests.mcp.servers.starting import spec_of

WHO = SkillContext("default", "1")
# A name that does not resolve: who reaches it has gone through the proxy.
OUTSIDE = "http://crm.example.invalid"


class Proxy:
    """A proxy that answers by itself, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split()[1])
        body = json.dumps({"ok": True}).encode()
        kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        writer.write(kind + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    made = Proxy()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", made.url)
    monkeypatch.setenv("NO_PROXY", "intranet.example.invalid")
    async with server:
        yield made


async def got(url: str, *, internal: bool, proxied: bool) -> str:
    """The body of a server's answer, or why there is none."""
    spec = spec_of("web", url=url, internal=internal, proxied=proxied)
    async with ServerHttpClient(spec, ConnectionState()) as client:
        try:
            async with client.stream("GET", url) as response:
                return (await response.aread()).decode()
        except httpx2.ConnectError as error:
            return str(error)


async def called(url: str, *, internal: bool, proxied: bool) -> object:
    """What a webhook's call comes to."""
    document = Skill(name="q", description="Q.", input_schema={"type": "object"}, webhook_url=url)
    skill = SkillSpec(document, internal=internal, proxied=proxied)
    webhooks = WebhookSkillRunner()
    try:
        return (await webhooks.call(skill, {}, WHO, 5)).body
    finally:
        await webhooks.close()


@pytest.mark.parametrize(("internal", "proxied"), [(True, False), (False, True)])
async def test_the_operators_hosts_and_those_the_proxy_judges_go_through_it(
    proxy: Proxy, internal: bool, proxied: bool
) -> None:
    assert "ok" in await got(f"{OUTSIDE}/mcp", internal=internal, proxied=proxied)
    assert await called(f"{OUTSIDE}/deals", internal=internal, proxied=proxied) == {"ok": True}
    assert proxy.asked == [f"{OUTSIDE}/mcp", f"{OUTSIDE}/deals"]


async def test_what_we_judge_goes_straight_out(proxy: Proxy) -> None:
    assert "ok" not in await got(f"{OUTSIDE}/mcp", internal=False, proxied=False)
    assert "error" in str(await called(f"{OUTSIDE}/deals", internal=False, proxied=False))
    assert proxy.asked == []


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "0x7f000001", "db.internal"])
async def test_no_proxy_is_asked_for_an_internal_host(proxy: Proxy, host: str) -> None:
    assert "refused" in await got(f"http://{host}/mcp", internal=False, proxied=True)
    refused = await called(f"http://{host}/deals", internal=False, proxied=True)
    assert refused == {"error": REFUSED}
    assert proxy.asked == []


async def test_what_no_proxy_lists_is_judged_by_us(proxy: Proxy) -> None:
    url = "http://intranet.example.invalid"
    assert "ok" not in await got(url, internal=False, proxied=True)
    assert "error" in str(await called(url, internal=False, proxied=True))
    assert proxy.asked == []


@pytest.mark.parametrize("internal", [True, False])
async def test_this_machine_is_never_reached_through_a_proxy(proxy: Proxy, internal: bool) -> None:
    url = proxy.url.replace("127.0.0.1", "localhost")
    await got(f"{url}/mcp", internal=internal, proxied=True)
    await called(f"{url}/deals", internal=internal, proxied=True)
    assert not [asked for asked in proxy.asked if asked.startswith("http")]


async def test_telegram_is_reached_through_the_proxy(proxy: Proxy) -> None:
    session = new_session(proxy=proxy_of(f"{OUTSIDE}/bot1:x/getMe"))
    async with session, session.get(f"{OUTSIDE}/bot1:x/getMe") as response:
        assert await response.json() == {"ok": True}
    assert proxy_of("http://127.0.0.1:8081") is None
    assert proxy_of("https://api.telegram.org") is None  # HTTP_PROXY is for http alone
