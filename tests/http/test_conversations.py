"""Accounts and instances over HTTP: document 3's own requests, at a real host."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import orjson
import pytest
import pytest_asyncio
from aiohttp import ClientPayloadError
from structlog.testing import capture_logs

from simulators.messages.turns import Cut, Stall, Text, Turn, turn
from simulators.testing.valkey import Valkey, running_valkey
from tests.host.stage import staged, until
from tests.http.accounts import INSTANCES, Talk, events_in, said, talking, write_instance
from tests.http.api import OPERATOR_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = " ".join(f"word{number}\n" for number in range(40))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("accounts")) as stage, talking(stage) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ann(talk: Talk) -> str:
    return await talk.client.make_key(account="acme", user="ann")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ben(talk: Talk) -> str:
    return await talk.client.make_key(account="acme", user="ben")


# --- the document's own examples -----------------------------------------------------------------


async def test_four_instances_answer_with_their_own_temperatures(talk: Talk, ann: str) -> None:
    for slug, (_, temperature, _) in INSTANCES.items():
        talk.stage.script.on(f"I am {slug}.")
        status, answer = await talk.chat("hello", ann, slug)
        assert (status, answer["response"]) == (200, f"I am {slug}.")
        request = talk.stage.requests()[-1]
        assert request["temperature"] == temperature
        assert request["max_tokens"] == 2000
        assert request["model"] == "claude-sonnet-4-6"


async def test_a_chat_answers_with_text_usage_ids_and_metadata(talk: Talk, ann: str) -> None:
    talk.stage.script.on("Hello!")
    answer = await talk.client.ask(
        "POST", f"{talk.path()}/chat", ann, json={"message": "hello", "session_id": "shape"}
    )
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Session-Id"] == "shape"
    body = answer.json
    assert body.keys() == {"response", "usage", "output_id", "session_id", "metadata"}
    usage = body["usage"]
    assert usage["prompt_tokens"] > 0
    assert usage["completion_tokens"] > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert (body["session_id"], len(body["output_id"])) == ("shape", 24)
    assert body["metadata"] == {
        "tools_used": [],
        "completion_status": "complete",
        "model": "claude-sonnet-4-6",
    }


async def test_the_joined_deltas_of_a_stream_are_the_answer_and_its_last_event_is_done(
    talk: Talk, ann: str
) -> None:
    talk.stage.script.on(Turn((Text(LONG),), pace=400.0))
    answer = await talk.client.get(f"{talk.path('sales-enterprise')}/stream?message=hello", ann)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    text = answer.body.decode()
    assert "\r" not in text
    events = events_in(text)
    assert said(events) == LONG.strip()
    assert len([one for one in events if one.kind == "message"]) > 3
    assert (events[-1].kind, events[-1].data) == ("done", "")
    first = text.partition("\n\n")[0]
    assert first == f"id: {events[0].id.partition('-')[0]}-0-0"


async def test_a_stream_by_post_takes_its_message_from_the_body(talk: Talk, ann: str) -> None:
    talk.stage.script.on("From the body.")
    body = {"message": "hello " * 2000, "session_id": "posted"}
    answer = await talk.client.ask("POST", f"{talk.path()}/stream", ann, json=body)
    assert said(events_in(answer.body.decode())) == "From the body."
    assert answer.headers["Session-Id"] == "posted"


async def test_an_unknown_type_is_an_error_event_and_a_422_of_a_chat(talk: Talk, ann: str) -> None:
    words = "Unknown agent type: poet"
    answer = await talk.client.get(f"{talk.path('strange')}/stream?message=hello", ann)
    (event,) = events_in(answer.body.decode())
    assert (answer.status, event.kind, event.data) == (200, "error", f'{{"message":"{words}"}}')
    status, refused = await talk.chat("hello", ann, "strange")
    assert (status, refused["detail"]) == (422, words)


async def test_the_list_names_what_an_account_has_and_a_new_folder_within_a_second(
    talk: Talk, ann: str
) -> None:
    listed = (await talk.client.get("/accounts/acme/agents", ann)).json
    assert [(one["slug"], one["type"]) for one in listed][:4] == sorted(
        (slug, kind) for slug, (kind, _, _) in INSTANCES.items()
    )
    assert {one["slug"]: one["name"] for one in listed}["sales-enterprise"] == "Enterprise Sales"
    assert listed[0].keys() == {"slug", "name", "type", "description", "capabilities"}
    text = 'agent_type: "simple_chat"\naccount: "acme"\ninstance_name: "brand-new"\n'
    write_instance(talk.folder, "acme", "brand-new", text)
    async with asyncio.timeout(5):
        while "brand-new" not in [one["slug"] for one in listed]:
            listed = (await talk.client.get("/accounts/acme/agents", ann)).json
    default = await talk.client.make_key()
    own = (await talk.client.get("/accounts/default/agents", default)).json
    assert [one["slug"] for one in own] == ["simple-chat"]


@pytest.mark.parametrize(
    "path",
    [
        "/accounts/acme/agents/..%2f..%2fdefault%2fsimple-chat/chat",
        "/accounts/acme/agents/..%2fsales-smb/chat",
        "/accounts/acme/agents/%2e%2e/chat",
        "/accounts/..%2facme/agents/sales-smb/chat",
        "/accounts/acme/agents/nothing/chat",
        "/accounts/nowhere/agents/sales-smb/chat",
        "/accounts/acme/agents/SALES-SMB/chat",
        "/accounts/acme/agents/sales-smb%00/chat",
        "/accounts/acme/agents/sales-smb/chat%0a",
    ],
)
async def test_what_does_not_exist_is_the_same_404_and_nothing_is_asked(
    talk: Talk, ann: str, path: str
) -> None:
    had = len(talk.stage.requests())
    unknown = await talk.client.get("/api/v1/nothing", ann)
    for key in (ann, OPERATOR_KEY):
        answer = await talk.client.ask("POST", path, key, json={"message": "hello"})
        assert (answer.status, answer.body) == (404, unknown.body)
    assert len(talk.stage.requests()) == had


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": ""}, "message"),
        ({"message": " \n"}, "message"),
        ({"message": 7}, "message"),
        ({}, "message"),
        ({"message": "x" * 100_001}, "message"),
        ({"message": "hi", "session_id": "a b"}, "session_id"),
        ({"message": "hi", "session_id": ""}, "session_id"),
        ({"message": "hi", "session_id": "a\n"}, "session_id"),
        ({"message": "hi", "session_id": "x" * 65}, "session_id"),
        ({"message": "hi", "session": "s"}, "session"),
        ({"message": "hi", "agent_instance_id": "x" * 65}, "agent_instance_id"),
        ({"message": "hi", "agent_instance_id": 7}, "agent_instance_id"),
    ],
)
async def test_a_message_that_is_not_valid_is_a_422_with_its_field(
    talk: Talk, ann: str, body: dict[str, object], field: str
) -> None:
    for end in ("chat", "stream"):
        answer = await talk.client.ask("POST", f"{talk.path()}/{end}", ann, json=body)
        assert (answer.status, answer.json["field"]) == (422, field), end


@pytest.mark.parametrize("query", ["", "?message=", "?message=%20", "?message=a&session_id=b%2Fc"])
async def test_a_stream_without_a_message_is_a_422(talk: Talk, ann: str, query: str) -> None:
    answer = await talk.client.get(f"{talk.path()}/stream{query}", ann)
    assert answer.status == 422


# --- sessions ------------------------------------------------------------------------------------


async def test_a_session_remembers_and_its_history_has_both_roles(talk: Talk, ann: str) -> None:
    talk.stage.script.on("Hello Ann.")
    talk.stage.script.on("You are Ann.")
    await talk.chat("I am Ann", ann, session_id="memory")
    _, second = await talk.chat("who am I?", ann, session_id="memory")
    sent = talk.stage.requests()[-1]["messages"]
    assert "Hello Ann." in str(sent)
    answer = await talk.client.get(f"{talk.path()}/history?session_id=memory", ann)
    assert answer.json["session_id"] == "memory"
    messages = answer.json["messages"]
    assert [(one["role"], one["content"]) for one in messages] == [
        ("human", "I am Ann"),
        ("assistant", "Hello Ann."),
        ("human", "who am I?"),
        ("assistant", "You are Ann."),
    ]
    assert messages[-1]["output_id"] == second["output_id"]
    assert messages[0]["at"].startswith("20")
    newest = await talk.client.get(f"{talk.path()}/history?session_id=memory&limit=1", ann)
    assert [one["content"] for one in newest.json["messages"]] == ["You are Ann."]


async def test_nobody_reads_the_session_of_another(talk: Talk, ann: str, ben: str) -> None:
    """Two keys, two users of one key, two instances of one type, another account's key."""
    shared = await talk.client.make_key(account="acme")
    other = await talk.client.make_key(account="other", role="instance_admin")
    talk.stage.script.on("Only for Ann.")
    status, answer = await talk.chat("a secret", ann, session_id="ann-1")
    assert status == 200
    output = answer["output_id"]
    others = {"ben": ben, "shared": shared, "other": other, "operator": OPERATOR_KEY}
    had = len(talk.stage.requests())
    unknown = (await talk.client.get("/api/v1/nothing", ann)).body

    async def refused(key: str, path: str, user: str = "") -> None:
        asked = await talk.client.ask(
            "POST", f"{path}/stop?{user}", key, json={"output_id": output}
        )
        body = {"message": "go on", "session_id": "ann-1"}
        tried = [
            asked,
            await talk.client.get(f"{path}/history?session_id=ann-1&{user}", key),
            await talk.client.ask("POST", f"{path}/chat?{user}", key, json=body),
            await talk.client.get(f"{path}/stream?message=hi&session_id=ann-1&{user}", key),
            await talk.client.get(f"{path}/stream?{user}", key, Last_Event_ID=f"{output}-0-0"),
            await talk.client.get(f"{path}/stream?last_event_id={output}-0-0&{user}", key),
        ]
        assert [one.status for one in tried] == [404] * 6, key
        assert {one.body for one in tried} == {unknown}

    for key in others.values():
        await refused(key, talk.path())
    await refused(ann, talk.path("sales-enterprise"))  # another instance of the same type
    named = f"{talk.path()}/history?session_id=ann-1&user_id=ann"
    assert (await talk.client.get(named, shared)).status == 403  # Ann has a key of her own
    assert len(talk.stage.requests()) == had
    # Two users of one key have sessions of their own.
    talk.stage.script.on("For one.")
    status, _ = await talk.chat("hi", shared, session_id="two", user_id="one")
    assert status == 200
    status, _ = await talk.chat("hi", shared, session_id="two", user_id="two")
    assert status == 404


async def test_the_cookie_of_a_chat_is_a_session_for_each_instance_and_owner(
    talk: Talk, ann: str, ben: str
) -> None:
    async def chat(key: str, slug: str, cookie: str | None) -> tuple[str, str | None]:
        talk.stage.script.on("Yes.")
        headers = {} if cookie is None else {"Cookie": f"switchboard_chat={cookie}"}
        answer = await talk.client.ask(
            "POST", f"{talk.path(slug)}/chat", key, json={"message": "hi"}, **headers
        )
        assert answer.status == 200
        return answer.json["session_id"], answer.headers.get("Set-Cookie")

    first, cookie = await chat(ann, "sales-smb", None)
    assert cookie is not None
    assert all(part in cookie for part in ("HttpOnly", "Path=/", "SameSite=strict"))
    assert "Secure" not in cookie
    value = cookie.partition("=")[2].partition(";")[0]
    assert await chat(ann, "sales-smb", value) == (first, None)
    elsewhere, _ = await chat(ann, "sales-enterprise", value)
    of_ben, _ = await chat(ben, "sales-smb", value)
    another, _ = await chat(ann, "sales-smb", None)
    assert len({first, elsewhere, of_ben, another}) == 4
    assert value not in (first, elsewhere, of_ben)
    shown = await talk.client.get(f"{talk.path()}/history", ann, Cookie=f"switchboard_chat={value}")
    assert (shown.json["session_id"], len(shown.json["messages"])) == (first, 4)
    twice = f"switchboard_chat={value}; switchboard_chat=other"
    answer = await talk.client.get(f"{talk.path()}/history", ann, Cookie=twice)
    assert (answer.status, answer.json["field"]) == (400, "cookie")
    assert (await talk.client.get(f"{talk.path()}/history", ann)).json["field"] == "session_id"


async def test_a_key_of_one_instance_sees_and_reaches_that_one_alone(talk: Talk) -> None:
    key = await talk.client.make_key(account="acme", agent="sales-smb", user="ann")
    listed = (await talk.client.get("/accounts/acme/agents", key)).json
    assert [one["slug"] for one in listed] == ["sales-smb"]
    talk.stage.script.on("Hi.")
    assert (await talk.chat("hi", key))[0] == 200
    assert (await talk.chat("hi", key, "sales-enterprise"))[0] == 404


# --- once ----------------------------------------------------------------------------------------


async def test_a_message_with_an_idempotency_key_is_answered_once(talk: Talk, ann: str) -> None:
    talk.stage.script.on("Only once.")
    had = len(talk.stage.requests())
    path, key = f"{talk.path()}/chat", {"Idempotency_Key": "once-1"}
    body = {"message": "hello"}
    first, second = await asyncio.gather(
        *(talk.client.ask("POST", path, ann, json=body, **key) for _ in range(2))
    )
    assert (first.status, first.json) == (200, second.json)
    stream = await talk.client.ask("POST", f"{talk.path()}/stream", ann, json=body, **key)
    events = events_in(stream.body.decode())
    assert (said(events), events[-1].kind) == ("Only once.", "done")
    assert events[0].id.startswith(first.json["output_id"])
    assert len(talk.stage.requests()) == had + 1
    other = await talk.client.ask("POST", path, ann, json={"message": "other"}, **key)
    assert (other.status, other.json["field"]) == (422, "Idempotency-Key")


# --- reading on, stopping, breaking --------------------------------------------------------------


async def test_a_client_reads_on_where_it_was_and_no_second_turn_begins(
    talk: Talk, ann: str
) -> None:
    talk.stage.script.on(Turn((Text(LONG),), fault=Stall(events=12, gate="go on")))
    had = len(talk.stage.requests())
    url = f"{talk.host.url}{talk.path()}/stream?message=hello&session_id=resume"
    headers, text = {"Authorization": f"Bearer {ann}"}, b""
    async with asyncio.timeout(20):
        async with talk.client.session.get(url, headers=headers) as answer:
            while b"event: message" not in text:
                text += await answer.content.readany()
        begun = events_in(text.decode())
        last = begun[-1].id
        # Whoever comes back is at once told that the turn is still there.
        async with talk.client.session.get(
            url, headers={**headers, "Last-Event-ID": last}
        ) as answer:
            assert (answer.status, answer.headers["Session-Id"]) == (200, "resume")
            assert await answer.content.readuntil(b"\n\n") == f"id: {last}\n\n".encode()
            talk.stage.sim.gates.open("go on")
            rest = events_in((await answer.read()).decode())
    assert said(begun) + said(rest) == LONG.strip()
    assert rest[-1].kind == "done"
    assert len(talk.stage.requests()) == had + 1
    for after in (rest[-1].id, ""):
        query = "" if after else f"&last_event_id={rest[-1].id}"
        path = f"{talk.path()}/stream?message=hello{query}"
        over = await talk.client.get(path, ann, **({"Last_Event_ID": after} if after else {}))
        assert (over.status, over.body) == (204, b"")
    whole = await talk.client.get(f"{talk.path()}/stream", ann, Last_Event_ID=f"{last[:24]}-0-0")
    assert said(events_in(whole.body.decode())) == LONG.strip()
    wrong = await talk.client.get(f"{talk.path()}/stream?message=hi", ann, Last_Event_ID="7")
    assert (wrong.status, wrong.json["field"]) == (422, "Last-Event-ID")
    assert len(talk.stage.requests()) == had + 1


async def test_a_stopped_answer_stays_and_says_that_it_is_not_whole(talk: Talk, ann: str) -> None:
    talk.stage.script.on(Turn((Text(LONG),), fault=Stall(events=12)))
    url = f"{talk.host.url}{talk.path()}/stream?message=hello&session_id=stopped"
    text = b""
    async with (
        asyncio.timeout(20),
        talk.client.session.get(url, headers={"Authorization": f"Bearer {ann}"}) as answer,
    ):
        while b"event: message" not in text:
            text += await answer.content.readany()
        turn_id = events_in(text.decode())[0].id[:24]
        stopped = await talk.client.ask(
            "POST", f"{talk.path()}/stop", ann, json={"output_id": turn_id}
        )
        assert (stopped.status, stopped.json) == (200, {"output_id": turn_id, "stopped": True})
        text += await answer.read()
    assert events_in(text.decode())[-1].kind in ("done", "error")
    unknown = {"output_id": "0" * 24}
    answer = await talk.client.ask("POST", f"{talk.path()}/stop", ann, json=unknown)  # type: ignore[assignment]
    assert answer.status == 404


async def test_a_model_that_breaks_after_its_first_piece_leaves_a_partial_answer(
    talk: Talk, ann: str
) -> None:
    talk.stage.script.on(Turn((Text(LONG),), fault=Cut(events=12), pace=200.0))
    answer = await talk.client.get(f"{talk.path()}/stream?message=hello&session_id=broken", ann)
    events = events_in(answer.body.decode())
    assert events[-1].kind == "error"
    told = orjson.loads(events[-1].data or "")
    assert told["message"]
    assert told["partial"] is True
    shown = (await talk.client.get(f"{talk.path()}/history?session_id=broken", ann)).json
    partial = shown["messages"][-1]
    assert (partial["role"], partial["content"]) == ("assistant", said(events))
    metadata = partial["metadata"]
    assert metadata.keys() == {"partial", "error", "completion_status", "chunks_received"}
    assert (metadata["partial"], metadata["completion_status"]) == (True, "partial")
    assert metadata["chunks_received"] > 0

    talk.stage.script.on(Turn((Text(LONG),), fault=Cut(events=12), pace=200.0))
    status, refused = await talk.chat("hello", ann, session_id="broken-chat")
    assert (status, refused["type"]) == (502, "urn:switchboard:problem:failed")
    assert LONG.startswith(refused["response"])
    assert refused["metadata"]["completion_status"] == "partial"
    assert refused["session_id"] == "broken-chat"


async def test_who_goes_leaves_nothing_behind_and_the_turn_goes_on_unless_told_otherwise(
    talk: Talk, ann: str
) -> None:
    def tasks() -> int:
        gc.collect()
        names = [one.get_name() for one in asyncio.all_tasks()]
        return len([name for name in names if name == "api.watching"])

    assert tasks() == 0
    for how, is_whole in (("continue", True), ("cancel", False)):
        talk.stage.script.on(Turn((Text(LONG),), fault=Stall(events=12, gate=how)))
        url = f"{talk.host.url}{talk.path()}/stream?message=hello&session_id={how}"
        text = b""
        async with asyncio.timeout(20):
            async with talk.client.session.get(
                f"{url}&on_disconnect={how}", headers={"Authorization": f"Bearer {ann}"}
            ) as answer:
                while b"event: message" not in text:
                    text += await answer.content.readany()
                assert tasks() == 1
                answer.close()
            await until(lambda: tasks() == 0)
            await until(lambda: talk.host.conversations.reader.readers == 0)
            last = events_in(text.decode())[-1].id
            if is_whole:
                talk.stage.sim.gates.open(how)
            rest = await talk.client.get(f"{talk.path()}/stream", ann, Last_Event_ID=last)
        whole = said(events_in(text.decode())) + said(events_in(rest.body.decode()))
        assert (whole == LONG.strip()) is is_whole
    await until(lambda: talk.host.http_lines.served == 0)


async def test_who_goes_while_the_store_is_full_leaves_no_fault_and_the_turn_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        staged(tmp_path) as stage,
        running_valkey(tmp_path / "v") as valkey,
        talking(stage, REDIS_URL=valkey.url) as talk,
    ):
        ann = await talk.client.make_key(account="acme", user="ann")
        stage.script.on(Turn((Text(LONG),), fault=Stall(events=12, gate="full")))
        url = f"{talk.host.url}{talk.path()}/stream?message=hello&session_id=full"
        text = b""
        async with talk.client.session.get(
            f"{url}&on_disconnect=cancel", headers={"Authorization": f"Bearer {ann}"}
        ) as answer:
            while b"event: message" not in text:
                text += await answer.content.readany()
            valkey.fill_disk()
            await until(lambda: talk.host.report()["store"]["state"] == "away")
            with capture_logs() as logs:
                answer.close()
                await until(lambda: any(one["event"] == "answer.not_stopped" for one in logs))
        valkey.free_disk()
        stage.sim.gates.open("full")
        last = events_in(text.decode())[-1].id
        rest = await talk.client.get(f"{talk.path()}/stream", ann, Last_Event_ID=last)
    assert said(events_in(text.decode())) + said(events_in(rest.body.decode())) == LONG.strip()
    assert "Exception in ASGI application" not in caplog.text


async def test_a_chat_whose_client_goes_waits_no_longer(talk: Talk, ann: str) -> None:
    talk.stage.script.on(turn("Late.", gate="late"))
    asked = asyncio.create_task(talk.chat("hello", ann, session_id="late"))
    reader = talk.host.conversations.reader
    await until(lambda: reader.readers == 1)
    asked.cancel()
    await asyncio.wait([asked])
    await until(lambda: reader.readers == 0)
    talk.stage.sim.gates.open("late")
    await until(lambda: talk.host.http_lines.served == 0)
    shown = (await talk.client.get(f"{talk.path()}/history?session_id=late", ann)).json
    assert [one["content"] for one in shown["messages"]] == ["hello", "Late."]


# --- replicas, and the end of a host -------------------------------------------------------------


async def test_a_stream_is_read_on_at_another_replica_and_ends_with_its_host(
    tmp_path_factory: pytest.TempPathFactory, valkey: Valkey
) -> None:
    async with staged(tmp_path_factory.mktemp("replicas")) as stage:
        environ = {"REDIS_URL": valkey.url, "DRAIN_SECONDS": "0.1"}
        async with (
            AsyncExitStack() as stack,
            talking(stage, **environ, DATA_DIR=str(stage.folder / "one")) as here,
        ):
            two = talking(stage, **environ, DATA_DIR=str(stage.folder / "two"))
            there = await stack.enter_async_context(two)
            ann = await here.client.make_key(account="acme", user="ann")
            await there.host.catalog.until(lambda one: len(one.document.keys) == 1)
            stage.script.on(Turn((Text(LONG),), fault=Stall(events=12, gate="both")), again=True)
            path, headers = here.path() + "/stream", {"Authorization": f"Bearer {ann}"}
            url = f"{there.host.url}{path}?message=hello&session_id=a"
            answer = await here.client.session.get(url, headers=headers)
            text = b""
            async with asyncio.timeout(20):
                while b"event: message" not in text:
                    text += await answer.content.readany()
            begun = events_in(text.decode())
            # A host that stops cuts its streams; its turn is taken over, and read on here.
            stopping = asyncio.create_task(stack.pop_all().aclose())
            with suppress(ClientPayloadError):
                async with asyncio.timeout(20):
                    while piece := await answer.content.readany():
                        text += piece
            answer.close()
            await stopping
            assert b"event: done" not in text
            stage.sim.gates.open("both")
            begun = events_in(text.decode())
            rest = await here.client.get(path, ann, Last_Event_ID=begun[-1].id)
            events = events_in(rest.body.decode())
            assert said(begun) + said(events) == LONG.strip()
            assert events[-1].kind == "done"
