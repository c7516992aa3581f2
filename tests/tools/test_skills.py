"""A skill against a real HTTP service, and addresses that it must never reach."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bot.tools.skills import RESULT_LIMIT, Forbidden, Judging, SkillSpec, Webhooks

SCHEMA = {
    "type": "object",
    "properties": {"status": {"type": "string", "enum": ["open", "won"]}},
    "required": ["status"],
}


class Service:
    """A CRM on loopback that keeps what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.base = ""
        self.hold = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append((request.path, dict(request.headers), body))
        match request.path:
            case "/deals":
                return web.json_response({"deals": [1, 2], "status": body["input"]["status"]})
            case "/slow":
                await self.hold.wait()
                return web.json_response({})
            case "/away":
                raise web.HTTPTemporaryRedirect(f"{self.base}/deals")
            case "/text":
                return web.Response(text="hello")
            case "/big":
                return web.Response(body=b'"' + b"x" * (RESULT_LIMIT + 10) + b'"')
            case "/cut":
                assert request.transport is not None
                request.transport.close()
                return web.Response()
        return web.Response(status=int(request.path.removeprefix("/")))


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made, app = Service(), web.Application()
    app.router.add_route("*", "/{tail:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made.hold.set()
    await runner.cleanup()


@pytest.fixture
async def webhooks() -> AsyncIterator[Webhooks]:
    made = Webhooks(seconds=1.0)
    yield made
    await made.close()


def skill(url: str, *, internal: bool = True, **headers: str) -> SkillSpec:
    return SkillSpec("query_deals", "Deals.", SCHEMA, url, headers, internal)


async def test_a_skill_sends_the_specs_body_with_its_secret_and_gives_back_json(
    service: Service, webhooks: Webhooks
) -> None:
    one = skill(f"{service.base}/deals", Authorization="Bearer s3cret")
    found = await webhooks.call(one, {"status": "open"}, "42", 10)
    assert found.body == {"deals": [1, 2], "status": "open"}
    assert not found.error
    ((_, headers, body),) = service.seen
    assert body == {
        "input": {"status": "open"},
        "context": {"instance_id": "default", "user_id": "42"},
    }
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Content-Type"] == "application/json"


async def test_input_that_does_not_fit_the_schema_is_never_sent(
    service: Service, webhooks: Webhooks
) -> None:
    found = await webhooks.call(skill(f"{service.base}/deals"), {"status": "lost"}, "1", 10)
    assert found.body["error"].startswith("Invalid input: 'lost' is not one of")
    assert found.error
    assert service.seen == []


@pytest.mark.parametrize(
    ("path", "body", "unknown"),
    [
        ("401", {"error": "Skill webhook error: 401", "action_required": "refresh_token"}, False),
        ("404", {"error": "Skill webhook error: 404"}, False),
        ("429", {"error": "Skill webhook error: 429", "retry": True}, False),
        ("500", {"error": "Skill webhook error: 500", "retry": True}, True),
        ("slow", {"error": "Skill webhook timed out", "retry": True}, True),
        ("away", {"error": "Skill webhook error: 307"}, False),
        ("text", {"error": "Skill webhook did not answer with JSON"}, False),
        ("big", {"error": "Skill webhook answered with more than 200000 bytes"}, False),
        (
            "cut",
            {"error": "Skill webhook broke off; it may or may not have taken effect"},
            True,
        ),
    ],
)
async def test_every_failure_has_the_specs_shape_and_names_no_address(
    service: Service, webhooks: Webhooks, path: str, body: dict[str, Any], unknown: bool
) -> None:
    one = skill(f"{service.base}/{path}", Authorization="Bearer s3cret")
    found = await webhooks.call(one, {"status": "open"}, "1", 10)
    assert found.body == body
    assert (found.error, found.unknown) == (True, unknown)
    assert len(service.seen) == 1  # a redirect, too, is not followed
    assert "127.0.0.1" not in found.text
    assert "s3cret" not in found.text + repr(one)


async def test_a_service_that_is_not_there_surely_did_not_run(webhooks: Webhooks) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        found = await webhooks.call(skill(url), {"status": "open"}, "1", 10)
    assert found.body == {"error": "Skill webhook could not be reached", "retry": True}
    assert not found.unknown


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST.",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00::1]",
        "[fe80::1]",
        "metadata.internal",
    ],
)
async def test_an_internal_address_is_refused_however_it_is_written(
    service: Service, webhooks: Webhooks, host: str
) -> None:
    port = service.base.rpartition(":")[2]
    one = skill(f"http://{host}:{port}/deals", internal=False)
    found = await webhooks.call(one, {"status": "open"}, "1", 10)
    assert found.body["error"].startswith("Skill webhook refused")
    assert service.seen == []


async def test_a_name_that_leads_to_an_internal_address_is_refused_when_it_resolves(
    service: Service, webhooks: Webhooks
) -> None:
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip("this machine's name does not resolve")
    assert not address.startswith("8.")
    with pytest.raises(Forbidden):
        await Judging().resolve(name, 80)
    port = service.base.rpartition(":")[2]
    one = skill(f"http://{name}:{port}/deals", internal=False)
    found = await webhooks.call(one, {"status": "open"}, "1", 10)
    assert found.body["error"].startswith("Skill webhook refused")
    assert service.seen == []


async def test_a_result_is_data_as_json_text(service: Service, webhooks: Webhooks) -> None:
    found = await webhooks.call(skill(f"{service.base}/deals"), {"status": "won"}, "1", 10)
    assert json.loads(found.text) == {"deals": [1, 2], "status": "won"}
