"""The routes of before: `/chat` and `/events/stream`, for keys and (where it is open) everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from bot.configuration import settings_problems
from tests.host.stage import settings_of, staged
from tests.http.accounts import Talk, browser, events_in, said, talking
from tests.http.api import OPERATOR_KEY, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW = "/accounts/default/agents/simple-chat"
FORM = "application/x-www-form-urlencoded"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    """A host that serves these routes to everybody."""
    environ = {"LEGACY_OPEN": "1", "API_FAILURES": "100000"}
    async with (
        staged(tmp_path_factory.mktemp("legacy")) as stage,
        talking(stage, **environ) as found,
    ):
        yield found


async def form(talk: Talk, text: str, key: str | None, **headers: Any) -> Any:
    data = urlencode({"message": text})
    return await talk.client.ask("POST", "/chat", key, data=data, Content_Type=FORM, **headers)


async def test_a_message_as_a_form_or_json_is_answered_with_plain_text(talk: Talk) -> None:
    key = await talk.client.make_key()
    id = talk.host.catalog.snapshot().document.keys
    with capture_logs() as logs:
        for number, send in enumerate(("form", "json", "multipart")):
            talk.stage.script.on(f"Answer {number}, ä.")
            if send == "form":
                answer = await form(talk, "hello", key)
            elif send == "json":
                answer = await talk.client.ask("POST", "/chat", key, json={"message": "hello"})
            else:
                body = (
                    b'--x\r\nContent-Disposition: form-data; name="message"\r\n\r\nhi\r\n--x--\r\n'
                )
                kind = "multipart/form-data; boundary=x"
                answer = await talk.client.ask("POST", "/chat", key, data=body, Content_Type=kind)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert answer.body.decode() == f"Answer {number}, ä."
            assert answer.headers["Deprecation"].startswith("@1")
            assert answer.headers["Link"] == f'<{NEW}/chat>; rel="successor-version"'
    wanted = f"DEPRECATED: /chat endpoint used. Migrate to {NEW}/chat"
    assert [one["event"] for one in logs].count(wanted) == 3
    (who,) = [name for name in id if talk.host.counters[f"legacy:/chat:{name}"]]
    assert talk.host.counters[f"legacy:/chat:{who}"] == 3


async def test_a_stream_has_the_same_events_as_the_new_one(talk: Talk) -> None:
    talk.stage.script.on("Streamed.")
    answer = await talk.client.get("/events/stream?message=hello", OPERATOR_KEY)
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Deprecation"].startswith("@1")
    events = events_in(answer.body.decode())
    assert (said(events), events[-1].kind, events[-1].data) == ("Streamed.", "done", "")
    last = events[-1].id
    again = await talk.client.get("/events/stream", OPERATOR_KEY, Last_Event_ID=last)
    assert again.status == 204


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FORM),
        (b"message=", FORM),
        (b"message=%20", FORM),
        (b"text=hello", FORM),
        (b"{}", "application/json"),
        (b'{"message": ""}', "application/json"),
        (b'{"message": 7}', "application/json"),
        (b"[]", "application/json"),
        (b"hello", "application/json"),
        (b"hello", "text/plain"),
        (b"x" * 2000, "multipart/form-data"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
    ],
)
async def test_a_body_without_a_message_is_a_422(talk: Talk, body: bytes, kind: str) -> None:
    answer = await talk.client.ask("POST", "/chat", data=body, Content_Type=kind)
    assert answer.status in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_stranger_has_a_conversation_by_cookie_alone(talk: Talk) -> None:
    async def ask(text: str, cookie: str | None = None, **headers: Any) -> tuple[str, str | None]:
        talk.stage.script.on(f"Yes: {text}")
        sent = {} if cookie is None else {"Cookie": f"switchboard_chat={cookie}"}
        answer = await form(talk, text, None, **sent, **headers)
        assert answer.status == 200, answer.body
        set_ = answer.headers.get("Set-Cookie", "")
        return answer.headers["Session-Id"], set_.partition("=")[2].partition(";")[0] or None

    session, cookie = await ask("I am Eve")
    assert cookie is not None
    assert await ask("who am I?", cookie) == (session, None)
    assert "I am Eve" in str(talk.stage.requests()[-1]["messages"])
    other, _ = await ask("who am I?")
    assert other != session
    assert "I am Eve" not in str(talk.stage.requests()[-1]["messages"])
    # The id of a session opens nothing, and one is not taken from the request.
    talk.stage.script.on("No.")
    named = {"message": "who am I?", "session_id": session}
    answer = await talk.client.ask("POST", "/chat", None, json=named)
    assert answer.headers["Session-Id"] not in (session, other)
    refused = await talk.client.get(f"{NEW}/history?session_id={session}", OPERATOR_KEY)
    assert refused.status == 404
    answer = await talk.client.ask("POST", "/chat?user_id=boss", None, json={"message": "hi"})
    assert (answer.status, answer.json["field"]) == (403, "user_id")


async def test_a_stranger_gets_nothing_else_and_no_page_elsewhere_sends_one(talk: Talk) -> None:
    for method, path in (
        ("POST", f"{NEW}/chat"),
        ("GET", f"{NEW}/stream?message=hi"),
        ("GET", f"{NEW}/history?session_id=a"),
        ("GET", "/accounts/default/agents"),
        ("GET", "/session"),
        ("GET", "/api/v1/me"),
        ("POST", "/CHAT"),
        ("POST", "/chat/"),
    ):
        answer = await talk.client.ask(method, path, None, json={"message": "hi"})
        assert answer.status == 401, path
    assert (await form(talk, "hi", "wrong")).status == 401
    assert (await form(talk, "hi", None, Origin="http://evil.example")).status == 403
    image = {"Sec_Fetch_Site": "cross-site"}
    answer = await talk.client.get("/events/stream?message=hi", None, **image)
    assert answer.status == 403
    acme = await talk.client.make_key(account="acme")
    assert (await form(talk, "hi", acme)).status == 404
    narrow = await talk.client.make_key(agent="other")
    assert (await form(talk, "hi", narrow)).status == 404


async def test_a_page_that_is_signed_in_is_a_stranger_here(talk: Talk) -> None:
    async with browser(talk) as page:
        assert (await page.ask("POST", "/session", {"key": OPERATOR_KEY}))[0] == 204
        talk.stage.script.on("Hi.")
        status, body, _ = await page.ask("POST", "/chat", {"message": "hi"})
        assert (status, body) == (200, b"Hi.")
        assert talk.host.counters["legacy:/chat:open"] > 0


@pytest.mark.parametrize("mode", ["308", "301", "gone"])
async def test_the_operator_redirects_or_ends_these_routes(
    tmp_path_factory: pytest.TempPathFactory, mode: str
) -> None:
    async with (
        staged(tmp_path_factory.mktemp("moved")) as stage,
        talking(stage, LEGACY_ROUTES=mode) as talk,
    ):
        assert (await form(talk, "hi", None)).status == 401  # without LEGACY_OPEN
        stage.script.on("Redirected.", "Redirected.")
        url, headers = talk.host.url, {"Authorization": f"Bearer {OPERATOR_KEY}"}
        body = {"message": "hi & bye"}
        paths = (("POST", "/chat", "chat"), ("GET", "/events/stream?message=hi+%26+bye", "stream"))
        for method, path, end in paths:
            async with talk.client.session.request(
                method, url + path, headers=headers, json=body, allow_redirects=False
            ) as answer:
                assert answer.headers["Deprecation"].startswith("@1")
                if mode == "gone":
                    assert answer.status == 410
                    assert f"{NEW}/{end}" in (await answer.json())["detail"]
                    continue
                assert answer.status == int(mode)
                query = "?message=hi+%26+bye" if method == "GET" else ""
                assert answer.headers["Location"] == f"{NEW}/{end}{query}"
            if mode == "308":
                async with talk.client.session.request(
                    method, url + path, headers=headers, json=body
                ) as answer:
                    assert "Redirected." in await answer.text()
                assert "hi & bye" in str(stage.requests()[-1]["messages"])


async def test_strangers_are_limited_by_their_address(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with (
        staged(tmp_path_factory.mktemp("limited")) as stage,
        talking(stage, LEGACY_OPEN="1", LEGACY_ROUTES="gone", API_FAILURES="3") as talk,
    ):
        found = [(await form(talk, "hi", None)).status for _ in range(5)]
        assert found == [410] * 3 + [429] * 2
        assert (await talk.client.get("/api/v1/me")).status == 200


async def test_they_may_be_open_where_there_is_no_key_at_all(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with (
        staged(tmp_path_factory.mktemp("keyless")) as stage,
        stage.host(LEGACY_OPEN="1") as host,
        client_of(host) as client,
    ):
        stage.script.on("Welcome.")
        talked = await client.ask("POST", "/chat", None, json={"message": "hello"})
        assert (talked.status, talked.body) == (200, b"Welcome.")
        assert (await client.get("/accounts/default/agents", None)).status == 401


async def test_check_says_that_open_routes_are_open_to_everybody_and_that_no_budget_is_set() -> (
    None
):
    said = [str(one) for one in settings_problems(settings_of({"LEGACY_OPEN": "1"}))]
    assert [one for one in said if "open to everybody" in one and "LEGACY_OPEN" in one]
    assert [one for one in said if one.startswith("BUDGETS: ")]
    budget = {"LEGACY_OPEN": "1", "BUDGETS__HOST__TOKENS": "1000"}
    said = [str(one) for one in settings_problems(settings_of(budget))]
    assert not [one for one in said if one.startswith("BUDGETS: ")]
    assert not [one for one in settings_problems(settings_of({})) if one.place == "LEGACY_OPEN"]
