"""A skill against a real HTTP service, and addresses that it must never reach."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from bot.ops.network import Forbidden
from bot.ops.redaction import Secrets
from bot.skills.api import SkillContext
from bot.skills.runner import SkillRunner
from bot.skills.spec import CAUTION, RESULT_LIMIT, SkillSpec
from bot.skills.webhook_skill import LOST, GuardedResolver
from registry.secrets import REDACTED
from registry.skill import Skill

ANN = SkillContext("default", "42")
DENIED = "this skill has no access to what was asked for"
SLOW = {"error": "Request timed out", "retry": True, "suggestion": CAUTION}
SCHEMA = {
    "type": "object",
    "properties": {"status": {"type": "string", "enum": ["open", "won"]}},
    "required": ["status"],
}


def unread(words: str) -> dict[str, str]:
    """What is told of an answer that nobody can read."""
    return {"error": f"Outcome unknown: {words}", "suggestion": CAUTION}


class Service:
    """A CRM on loopback that keeps what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.base = ""
        self.hold = asyncio.Event()

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        """A byte now and then, for as long as somebody listens."""
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not self.hold.is_set():
                await response.write(b" ")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.hold.wait(), 0.05)
        return response

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.seen.append((request.path, dict(request.headers), body))
        match request.path:
            case "/deals":
                return web.json_response({"deals": [1, 2], "status": body["input"]["status"]})
            case "/slow":
                await self.hold.wait()
            case "/drip":
                return await self._drip(request)
            case "/away" | "/around":
                where = {"/away": f"{self.base}/deals", "/around": request.path}
                raise web.HTTPTemporaryRedirect(where[request.path])
            case "/echo":
                return web.json_response(dict(request.headers))
            case "/cut":
                assert request.transport is not None
                request.transport.close()
        found = request.path.removeprefix("/")
        return ANSWERS[found]() if found in ANSWERS else web.Response(status=_status(found))


def _status(path: str) -> int:
    return int(path) if path.isdigit() else 200


def _bomb() -> web.Response:
    spaces = gzip.compress(b" " * 1_000_000, 1)  # one after the other, they are one gzip file
    squeezed = [gzip.compress(b'"'), *[spaces] * 50, gzip.compress(b'"')]
    return web.Response(body=b"".join(squeezed), headers={"Content-Encoding": "gzip"})


ANSWERS: dict[str, Callable[[], web.Response]] = {
    "text": lambda: web.Response(text="hello"),
    "html": lambda: web.Response(text="<p>1</p>", content_type="text/html"),
    "plain": lambda: web.Response(text='{"deals": []}', content_type="text/plain"),
    "empty": lambda: web.Response(status=204),
    "deep": lambda: web.Response(body=b"[" * 900 + b"]" * 900),
    "number": lambda: web.json_response({"deals": "none"}),
    "big": lambda: web.Response(body=b'"' + b"x" * (RESULT_LIMIT + 10) + b'"'),
    "bomb": _bomb,
    "fat-header": lambda: web.json_response({}, headers={"X-Fat": "x" * 100_000}),
}


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
async def skills() -> AsyncIterator[SkillRunner]:
    made = SkillRunner()
    yield made
    await made.close()


def skill(url: str, *, internal: bool = True, **headers: str) -> SkillSpec:
    return SkillSpec(document(url), headers=headers, internal=internal)


def document(url: str, **fields: Any) -> Skill:
    given: dict[str, Any] = {"webhook_url": url, "timeout_seconds": 1.0, **fields}
    return Skill(name="query_deals", description="Deals.", input_schema=SCHEMA, **given)


async def test_a_skill_sends_the_specs_body_with_its_secret_and_gives_back_json(
    service: Service, skills: SkillRunner
) -> None:
    one = skill(f"{service.base}/deals", Authorization="Bearer s3cret")
    found = await skills.call(one, {"status": "open"}, ANN, 10)
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
    service: Service, skills: SkillRunner
) -> None:
    found = await skills.call(skill(f"{service.base}/deals"), {"status": "lost"}, ANN, 10)
    assert found.body["error"].startswith('Invalid input: "lost" is not one of')
    assert found.error
    assert service.seen == []


@pytest.mark.parametrize(
    ("path", "body", "unknown"),
    [
        ("401", {"error": "HTTP error: 401", "action_required": "refresh_token"}, False),
        ("403", {"error": "HTTP error: 403", "required_permission": DENIED}, False),
        ("404", {"error": "HTTP error: 404", "resource": "deal-7"}, False),
        ("418", {"error": "HTTP error: 418"}, False),
        ("429", {"error": "HTTP error: 429", "retry": True}, False),
        ("500", {"error": "HTTP error: 500", "retry": True}, True),
        ("slow", SLOW, True),
        ("away", {"error": "HTTP error: 307"}, False),
        ("around", {"error": "HTTP error: 307"}, False),
        ("drip", SLOW, True),
        ("text", unread("Skill webhook did not answer with JSON"), True),
        ("html", unread("Skill webhook did not answer with JSON"), True),
        ("empty", unread("Skill webhook did not answer with JSON"), True),
        ("bomb", unread("Skill webhook answered with more than 200000 bytes"), True),
        ("deep", unread("Skill answered with JSON that is nested too deep"), True),
        ("fat-header", {"error": LOST}, True),
        ("big", unread("Skill webhook answered with more than 200000 bytes"), True),
        (
            "cut",
            {"error": "Skill webhook broke off; it may or may not have taken effect"},
            True,
        ),
    ],
)
async def test_every_failure_has_the_specs_shape_and_names_no_address(
    service: Service, skills: SkillRunner, path: str, body: dict[str, Any], unknown: bool
) -> None:
    one = skill(f"{service.base}/{path}", Authorization="Bearer s3cret")
    found = await skills.call(one, {"status": "open", "id": "deal-7"}, ANN, 10)
    assert found.body == body
    assert (found.error, found.unknown) == (True, unknown)
    assert len(service.seen) == 1  # a redirect, too, is not followed
    assert "127.0.0.1" not in found.text
    assert "s3cret" not in found.text + repr(one)


async def test_a_service_that_is_not_there_surely_did_not_run(skills: SkillRunner) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        found = await skills.call(skill(url), {"status": "open"}, ANN, 10)
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
        "[fd00::5efe:808:808]",
        "[fe80::200:5efe:808:808]",
        "metadata.internal",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "ⓛocalhost",
    ],
)
async def test_an_internal_address_is_refused_however_it_is_written(
    service: Service, skills: SkillRunner, host: str
) -> None:
    port = service.base.rpartition(":")[2]
    one = skill(f"http://{host}:{port}/deals", internal=False)
    found = await skills.call(one, {"status": "open"}, ANN, 10)
    assert found.body["error"].startswith("Skill webhook refused")
    assert service.seen == []


async def test_a_name_that_leads_to_an_internal_address_is_refused_when_it_resolves(
    service: Service, skills: SkillRunner
) -> None:
    name = socket.gethostname()
    try:
        address = socket.gethostbyname(name)
    except OSError:
        pytest.skip("this machine's name does not resolve")
    assert not address.startswith("8.")
    with pytest.raises(Forbidden):
        await GuardedResolver().resolve(name, 80)
    port = service.base.rpartition(":")[2]
    one = skill(f"http://{name}:{port}/deals", internal=False)
    found = await skills.call(one, {"status": "open"}, ANN, 10)
    assert found.body["error"].startswith("Skill webhook refused")
    assert service.seen == []


async def test_a_result_is_data_as_json_text(service: Service, skills: SkillRunner) -> None:
    found = await skills.call(skill(f"{service.base}/deals"), {"status": "won"}, ANN, 10)
    assert json.loads(found.text) == {"deals": [1, 2], "status": "won"}


async def test_json_counts_whatever_type_the_service_says(
    service: Service, skills: SkillRunner
) -> None:
    found = await skills.call(skill(f"{service.base}/plain"), {"status": "won"}, ANN, 10)
    assert (found.body, found.error) == ({"deals": []}, False)


async def test_a_result_must_fit_the_output_schema(service: Service, skills: SkillRunner) -> None:
    wanted = {"type": "object", "properties": {"deals": {"type": "array"}}}
    right, wrong = [
        await skills.call(
            SkillSpec(document(f"{service.base}/{path}", output_schema=wanted), internal=True),
            {"status": "won"},
            ANN,
            10,
        )
        for path in ("deals", "number")
    ]
    assert (right.error, wrong.error) == (False, True)
    assert (right.unknown, wrong.unknown) == (False, True)
    assert wrong.body["error"] == (
        "Outcome unknown: Skill answered with a value that does not fit its outputSchema: "
        '"none" is not of type "array" at $.deals'
    )


async def test_a_secret_that_a_service_gives_back_is_taken_out(
    service: Service, skills: SkillRunner
) -> None:
    key = 's3cr"et\\-key'
    secrets = Secrets([key])
    one = replace(skill(f"{service.base}/echo"), headers={"X-Key": key}, secrets=secrets)
    found = await skills.call(one, {"status": "won"}, ANN, 10)
    assert found.body["X-Key"] == REDACTED
    assert "s3cr" not in found.text


async def test_a_request_that_cannot_be_written_is_an_answer_and_nothing_is_sent(
    service: Service, skills: SkillRunner
) -> None:
    one = replace(skill(f"{service.base}/deals"), headers={"X-Key": "a\r\nX-Admin: yes"})
    found = await skills.call(one, {"status": "won"}, ANN, 10)
    assert found.body["error"].startswith("Skill webhook was not called")
    assert not found.unknown
    assert service.seen == []


def test_a_webhook_has_30_seconds_unless_its_document_gives_it_less() -> None:
    given: dict[str, Any] = {"name": "q", "description": "Q.", "input_schema": SCHEMA}
    assert Skill(**given, webhook_url="https://h.example").timeout_seconds == 30.0
    with pytest.raises(ValidationError):
        Skill(**given, webhook_url="https://h.example", timeout_seconds=31)
