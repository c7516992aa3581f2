"""Programs that were made for OpenAI's API: its own Python package, curl, and Open WebUI."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from bench.host import ROOT
from simulators.messages.turns import Cut, HttpError, Stall, Text, Turn, refuse, turn
from tests.host.stage import staged, until
from tests.host.tool_agent import ToolAgent, write
from tests.http.accounts import Talk, talking, write_instance
from tests.http.api import OPERATOR_KEY
from tests.lazily import Lazily

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionChunk
else:
    openai = Lazily("openai")

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = " ".join(f"word{number}\n" for number in range(40))
HELLO: Any = [{"role": "user", "content": "hello"}]
EARLIER: Any = [
    {"role": "system", "content": "Speak like a pirate."},
    {"role": "user", "content": "I am Ann."},
    {"role": "assistant", "content": "Hello Ann."},
    {"role": "user", "content": [{"type": "text", "text": "Who am I?"}]},
]
RECORDED = json.loads((Path(__file__).parent / "open_webui.json").read_text(encoding="utf-8"))


@dataclass
class Face:
    """A host with this face, a tool that asks first, and a key of Ann's."""

    talk: Talk
    agent: ToolAgent
    ann: str

    def client(self, key: str | None = None, **more: Any) -> openai.AsyncOpenAI:
        more = {"max_retries": 0, "api_key": key or self.ann, **more}
        return openai.AsyncOpenAI(base_url=f"{self.talk.host.url}/v1", **more)

    def answers(self, *turns: Turn | str) -> None:
        for one in turns:
            self.talk.stage.script.on(one)

    @property
    def requests(self) -> list[dict[str, Any]]:
        return self.talk.stage.requests()

    async def post(self, body: Any, key: str | None = None, **headers: Any) -> Any:
        path = "/v1/chat/completions"
        return await self.talk.client.ask("POST", path, key or self.ann, json=body, **headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def face(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Face]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("openai")) as stage:
        agent = ToolAgent(stage)
        stage.bot("Guide", template=True)
        text = 'agent_type: "clerk"\naccount: "acme"\ninstance_name: "desk"\n'
        write_instance(stage.folder / "agent_configs", "acme", "desk", text)
        async with talking(stage, HTTP_FACES="openai") as talk:
            await until(lambda: any(one.state == "up" for one in talk.host.pool.servers))
            yield Face(talk, agent, await talk.client.make_key(account="acme", user="ann"))


def texts(request: dict[str, Any]) -> list[tuple[str, str]]:
    """The messages of a model request, each as its role and its text without the host's line."""

    def text(block: dict[str, Any]) -> str:
        return str(block["text"].partition("\n")[2] or block["text"])

    return [(one["role"], "\n".join(map(text, one["content"]))) for one in request["messages"]]


# --- models --------------------------------------------------------------------------------------


async def test_the_models_are_the_agents_that_a_key_may_use(face: Face) -> None:
    async with face.client() as client, face.client(OPERATOR_KEY) as operator:
        found = [one async for one in client.models.list()]
        names = {one.id for one in found}
        assert {"sales-smb", "sales-enterprise", "desk", "guide"} <= names
        assert not names & {"strange", "clerk", "simple-chat"}  # not offered, or nothing runs it
        assert {one.owned_by for one in found} == {"acme"}
        all_ = {one.id async for one in operator.models.list()}
        assert {"simple-chat", "clerk", "guide", "acme/sales-smb"} <= all_
        one = await client.models.retrieve("sales-enterprise")
        assert (one.id, one.object) == ("sales-enterprise", "model")
        assert (await operator.models.retrieve("acme/sales-smb")).id == "acme/sales-smb"
        for strange in ("clerk", "strange", "other/sales-smb", "nothing"):
            with pytest.raises(openai.NotFoundError) as refused:
                await client.models.retrieve(strange)
            assert refused.value.code == "model_not_found"
            assert "template" in refused.value.message


async def test_a_narrow_key_sees_and_reaches_one_model(face: Face) -> None:
    key = await face.talk.client.make_key(account="acme", agent="sales-smb")
    async with face.client(key) as client:
        assert [one.id async for one in client.models.list()] == ["sales-smb"]
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="sales-enterprise", messages=HELLO)


@pytest.mark.parametrize(
    ("model", "key"),
    [("sales-smb", ""), ("guide", ""), ("acme/sales-smb", OPERATOR_KEY), ("clerk", OPERATOR_KEY)],
)
async def test_each_of_them_answers(face: Face, model: str, key: str) -> None:
    face.answers(f"I am {model}.")
    async with face.client(key or None) as client:
        answer = await client.chat.completions.create(model=model, messages=HELLO)
    assert answer.choices[0].message.content == f"I am {model}."


# --- answers -------------------------------------------------------------------------------------


async def test_an_answer_has_the_form_that_openai_s_has(face: Face) -> None:
    face.answers("Hello!")
    async with face.client() as client:
        answer = await client.chat.completions.create(model="sales-smb", messages=HELLO)
    assert (answer.object, answer.model) == ("chat.completion", "sales-smb")
    prefix, _, turn_id = answer.id.partition("-")
    assert (prefix, len(turn_id)) == ("chatcmpl", 24)
    assert (answer.system_fingerprint or "").startswith("fp_")
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason, choice.message.role) == (0, "stop", "assistant")
    usage = answer.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0


async def test_the_model_sees_one_request_the_same_as_from_a_chat(face: Face) -> None:
    had = len(face.requests)
    face.answers("Hello!", "Hello!")
    await face.talk.chat("hello", face.ann)
    async with face.client() as client:
        await client.chat.completions.create(
            model="sales-smb", messages=HELLO, temperature=0.1, max_tokens=7, stop=["x"]
        )
    chat, ours = face.requests[had:]
    for request in (chat, ours):
        request["system"] = request["system"][1:]  # the time
        for message in request["messages"]:
            for block in message["content"]:
                block["text"] = block["text"].partition("\n")[2]
    assert ours == chat


async def test_a_stream_comes_in_chunks_with_the_usage_at_its_end(face: Face) -> None:
    for has_usage in (True, False):
        face.answers(Turn((Text(LONG),), pace=400.0))
        more: Any = {"stream_options": {"include_usage": True}} if has_usage else {}
        async with face.client() as client:
            stream = await client.chat.completions.create(
                model="sales-smb", messages=HELLO, stream=True, **more
            )
            chunks: list[ChatCompletionChunk] = [one async for one in stream]
        assert len({one.id for one in chunks}) == 1
        assert {one.object for one in chunks} == {"chat.completion.chunk"}
        choices = [one.choices[0] for one in chunks if one.choices]
        assert choices[0].delta.role == "assistant"
        pieces = [one.delta.content or "" for one in choices]
        assert "".join(pieces) == LONG.strip()
        assert len(pieces) > 5
        assert [one.finish_reason for one in choices if one.finish_reason] == ["stop"]
        assert choices[-1].finish_reason == "stop"
        if has_usage:
            assert (chunks[-1].choices, bool(chunks[-1].usage)) == ([], True)
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.completion_tokens > 0
        assert all(one.usage is None for one in chunks[:-1])


async def test_the_synchronous_client_works_as_well(face: Face) -> None:
    face.answers("Whole.", "Streamed.")
    more = {"base_url": f"{face.talk.host.url}/v1", "api_key": face.ann, "max_retries": 0}

    def ask() -> tuple[str | None, str]:
        with openai.OpenAI(**more) as client:  # type: ignore[arg-type]
            whole = client.chat.completions.create(model="sales-smb", messages=HELLO)
            stream = client.chat.completions.create(model="sales-smb", messages=HELLO, stream=True)
            joined = "".join(one.choices[0].delta.content or "" for one in stream)
            return whole.choices[0].message.content, joined

    assert await asyncio.to_thread(ask) == ("Whole.", "Streamed.")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(turn("Cut", stop="max_tokens"), "length"), (refuse("No."), "content_filter")],
)
async def test_why_an_answer_ended_is_said_in_openai_s_words(
    face: Face, answer: Turn, reason: str
) -> None:
    face.answers(answer, answer)
    async with face.client() as client:
        whole = await client.chat.completions.create(model="sales-smb", messages=HELLO)
        stream = await client.chat.completions.create(
            model="sales-smb", messages=HELLO, stream=True
        )
        last = [one async for one in stream][-1]
    assert whole.choices[0].finish_reason == reason
    assert last.choices[0].finish_reason == reason


# --- what was said before ------------------------------------------------------------------------


async def test_given_messages_are_earlier_turns_and_the_client_s_own_words_are_context(
    face: Face,
) -> None:
    had = len(face.requests)
    face.answers("Arr, Ann.")
    async with face.client() as client:
        await client.chat.completions.create(model="sales-smb", messages=EARLIER)
    (request,) = face.requests[had:]
    first, answer, last = texts(request)
    assert first == ("user", "I am Ann.")
    assert answer == ("assistant", "Hello Ann.")
    assert last[0] == "user"
    assert last[1].startswith("## Context\n")
    assert last[1].endswith("\nWho am I?")
    assert "Speak like a pirate." in last[1]
    assert "pirate" not in str(request["system"])


@pytest.mark.parametrize(
    ("roles", "seen"),
    [
        ("aU", "uaU"),  # a greeting
        ("uuU", "U"),
        ("uaaU", "uaU"),
        ("uauU", "uaU"),
        ("sdU", "U"),
        ("uaUs", "uaU"),
    ],
)
async def test_any_order_of_messages_becomes_one_that_the_model_takes(
    face: Face, roles: str, seen: str
) -> None:
    names = {"u": "user", "a": "assistant", "s": "system", "d": "developer", "U": "user"}
    messages: Any = [{"role": names[r], "content": f"{r}{n}."} for n, r in enumerate(roles)]
    had = len(face.requests)
    face.answers("Yes.")
    async with face.client() as client:
        answer = await client.chat.completions.create(model="sales-smb", messages=messages)
    assert answer.choices[0].message.content == "Yes."
    (request,) = face.requests[had:]
    assert "".join(one["role"][0] for one in request["messages"]) == seen.lower()
    said = str(request["messages"])
    places = [said.index(f"{r}{n}.") for n, r in enumerate(roles) if r not in "sd"]
    assert places == sorted(places)


async def test_a_session_by_header_or_user_reads_the_last_message_alone(face: Face) -> None:
    async def ask(text: str, **more: Any) -> dict[str, Any]:
        face.answers(f"Yes: {text}")
        messages: Any = [*EARLIER[:3], {"role": "user", "content": text}]
        async with face.client() as client:
            answer = await client.chat.completions.create(
                model="sales-smb", messages=messages, **more
            )
        assert answer.choices[0].message.content == f"Yes: {text}"
        return face.requests[-1]

    for more in ({"extra_headers": {"X-Session-Id": "openai-1"}}, {"user": "ann@acme.example"}):
        await ask("one", **more)  # it begins with what was given
        second = texts(await ask("two", **more))
        assert [role for role, _ in second] == ["user", "assistant"] * 2 + ["user"]
        assert [text.rpartition("\n")[2] for _, text in second] == [
            *("I am Ann.", "Hello Ann."),
            *("one", "Yes: one", "two"),
        ]
    shown = await face.talk.client.get(f"{face.talk.path()}/history?session_id=openai-1", face.ann)
    assert [one["content"].rpartition("\n")[2] for one in shown.json["messages"]][:3] == [
        *("I am Ann.", "Hello Ann."),
        "one",
    ]
    other = await face.talk.client.make_key(account="acme", user="ben")
    async with face.client(other) as client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(
                model="sales-smb", messages=HELLO, extra_headers={"X-Session-Id": "openai-1"}
            )
        face.answers("Hello Ben.")
        await client.chat.completions.create(
            model="sales-smb", messages=HELLO, user="ann@acme.example"
        )
    assert "Ann" not in str(face.requests[-1]["messages"])


async def test_a_session_of_one_request_does_not_stay_in_the_store(face: Face) -> None:
    store = face.talk.host.store
    before = set(await store.command("KEYS", "{api:acme:*"))
    face.answers("Yes.")
    async with face.client() as client:
        await client.chat.completions.create(model="sales-smb", messages=EARLIER)
    await until(lambda: face.talk.host.http_lines.served == 0)
    made = set(await store.command("KEYS", "{api:acme:*")) - before
    kinds = {key.rpartition(b":")[2] for key in made}
    assert {b"session", b"log", b"fence"} <= kinds
    lasting = [key for key in made if await store.command("PTTL", key) < 0]
    assert lasting == []


async def test_a_request_with_an_idempotency_key_is_answered_once(face: Face) -> None:
    had = len(face.requests)
    face.answers("Once.")
    same: Any = {"model": "sales-smb", "messages": EARLIER}
    first, second = [await face.post(same, Idempotency_Key="openai-once") for _ in range(2)]
    assert (first.status, first.json["id"]) == (200, second.json["id"])
    assert first.json["choices"] == second.json["choices"]
    assert len(face.requests) == had + 1
    other = await face.post({**same, "messages": HELLO}, Idempotency_Key="openai-once")
    assert (other.status, other.json["error"]["param"]) == (400, "Idempotency-Key")


# --- approvals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", OPERATOR_KEY])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_turn_that_waits_says_where_people_of_any_account_decide(
    face: Face, stream: bool, key: str
) -> None:
    had = len(face.agent.done)
    session: Any = {"extra_headers": {"X-Session-Id": f"waits-{stream}-{len(key)}"}}
    face.answers(write(), "It is written.", "As I said.")
    async with face.client() as client:
        ask = client.chat.completions.create
        if stream:
            found = await ask(model="desk", messages=HELLO, stream=True, **session)
            chunks = [one async for one in found]
            text = "".join(one.choices[0].delta.content or "" for one in chunks)
            assert chunks[-1].choices[0].finish_reason == "stop"
        else:
            answer = await ask(model="desk", messages=HELLO, **session)
            text = answer.choices[0].message.content or ""
            assert answer.choices[0].finish_reason == "stop"
        (listed,) = (await face.talk.client.get("/api/v1/approvals", face.ann)).json["approvals"]
        path = f"/api/v1/approvals/{listed['id']}?account=acme"
        assert text.endswith(f"Decide at {path}.")
        assert len(face.agent.done) == had
        yes = {"decision": "approve"}
        decided = await face.talk.client.ask("POST", path, key or face.ann, json=yes)
        assert decided.status == 200
        await ask(model="desk", messages=HELLO, **session)
    assert len(face.agent.done) == had + 1
    assert "It is written." in str(face.requests[-1]["messages"])


# --- errors --------------------------------------------------------------------------------------


async def test_what_the_door_refuses_raises_openai_s_errors(face: Face) -> None:
    async with face.client("sbk_wrong") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
        assert refused.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="sales-smb", messages=HELLO)
    async with face.client() as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="gpt-5", messages=HELLO)
        assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="sales-smb", input="hello")
    elsewhere = await face.talk.client.get("/api/v1/nothing", face.ann)
    assert elsewhere.headers["Content-Type"] == "application/problem+json"


async def test_a_key_that_asks_too_often_raises_a_rate_limit_error(face: Face) -> None:
    async with (
        staged(face.talk.stage.folder / "rate") as stage,
        talking(stage, HTTP_FACES="openai", API_REQUESTS="1") as talk,
        openai.AsyncOpenAI(
            base_url=f"{talk.host.url}/v1", api_key=OPERATOR_KEY, max_retries=0
        ) as client,
    ):
        await client.models.list()
        with pytest.raises(openai.RateLimitError) as refused:
            await asyncio.gather(*(client.models.list() for _ in range(2)))
        assert refused.value.code == "rate_limit_exceeded"
        assert int(refused.value.response.headers["Retry-After"]) > 0


def user(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [TOOL]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": user([{"type": "text", "text": "look"}, IMAGE])}, "messages.0.content.1"),
        ({"messages": [*user("a"), {"role": "tool", "content": "b"}]}, "messages.1"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}, *user("a")]}, "messages.0"),
        ({"messages": [{"role": "poet", "content": "a"}, *user("a")]}, "messages.0.role"),
        ({"messages": []}, "messages"),
        ({"messages": user("")}, "messages"),
        ({"messages": user(" \n")}, "messages"),
        ({"messages": user("x" * 100_001)}, "messages"),
        ({"messages": [*user("a"), {"role": "assistant", "content": "b"}]}, "messages"),
        ({"messages": user(7)}, None),
        ({"messages": user("\ud800")}, "messages.0"),
        ({"messages": user([{"type": "text", "text": "\ud800"}])}, "messages.0"),
        ({"user": "\ud800"}, None),
        ({"model": "\ud800"}, "model"),
        ({"messages": None}, "messages"),
        ({"model": 7}, "model"),
        ({"stream": "perhaps"}, "stream"),
    ],
)
async def test_what_is_not_supported_is_a_400_that_names_it(
    face: Face, body: dict[str, Any], param: str | None
) -> None:
    had = len(face.requests)
    sent = json.dumps({"model": "sales-smb", "messages": HELLO, **body})
    answer = await face.talk.client.ask(
        "POST", "/v1/chat/completions", face.ann, data=sent, Content_Type="application/json"
    )
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json"
    error = answer.json["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param or param is None
    assert len(face.requests) == had


async def test_a_session_id_that_is_none_is_refused(face: Face) -> None:
    answer = await face.post({"model": "sales-smb", "messages": HELLO}, X_Session_Id="a b")
    assert (answer.status, answer.json["error"]["param"]) == (400, "X-Session-Id")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_fails_raises_an_error_and_is_not_asked_again(
    face: Face, stream: bool
) -> None:
    had = len(face.requests)
    face.answers(Turn(fault=HttpError(401)))
    async with face.client(max_retries=2) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.chat.completions.create(model="sales-smb", messages=HELLO, stream=stream)
    assert failed.value.status_code == 502
    assert len(face.requests) == had + 1


async def test_a_model_that_breaks_off_ends_the_stream_with_an_error(face: Face) -> None:
    face.answers(Turn((Text(LONG),), fault=Cut(events=12), pace=200.0))
    async with face.client() as client:
        stream = await client.chat.completions.create(
            model="sales-smb", messages=HELLO, stream=True
        )
        shown: list[str] = []

        async def read() -> None:
            async for one in stream:
                shown.append(one.choices[0].delta.content or "")  # noqa: PERF401 it breaks off

        with pytest.raises(openai.APIError):
            await read()
    assert "".join(shown)
    assert LONG.startswith("".join(shown))


async def test_a_stream_ends_with_an_error_once_its_key_is_revoked(face: Face) -> None:
    key = await face.talk.client.make_key(account="acme", user="eve")
    face.answers(Turn((Text(LONG),), fault=Stall(events=12, gate="revoked")))
    async with face.client(key) as client:
        stream = await client.chat.completions.create(
            model="sales-smb", messages=HELLO, stream=True
        )
        shown: list[str] = []

        async def read() -> None:
            async for one in stream:
                shown.append(one.choices[0].delta.content or "")
                if len(shown) == 2:
                    await face.talk.client.revoke(key)
                    face.talk.stage.sim.gates.open("revoked")

        with pytest.raises(openai.APIError, match="revoked"):
            await read()
    assert "word0" in "".join(shown)
    assert "word39" not in "".join(shown)


# --- the client goes -----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_goes_ends_the_model_call_within_a_second(
    face: Face, stream: bool
) -> None:
    face.answers(Turn((Text(LONG),), fault=Stall(events=12)))
    had = len(face.requests)
    reader = face.talk.host.conversations.reader

    async def ask() -> None:
        async with face.client() as client:
            answer = await client.chat.completions.create(
                model="sales-smb", messages=HELLO, stream=stream
            )
            async for _ in answer:  # type: ignore[union-attr]
                pass

    asking = asyncio.create_task(ask())
    await until(lambda: len(face.requests) > had and reader.readers == 1)
    record = face.talk.stage.sim.records.all()[-1]
    asking.cancel()
    await asyncio.wait([asking])
    async with asyncio.timeout(1):
        await until(lambda: record.outcome is not None)
    await until(lambda: reader.readers == 0)
    await until(lambda: face.talk.host.http_lines.served == 0)


# --- other programs ------------------------------------------------------------------------------


async def test_curl_gets_an_answer_and_a_stream(face: Face) -> None:
    body = json.dumps({"model": "sales-smb", "messages": HELLO})
    for more, wanted in (({}, '"content":"For curl."'), ({"stream": True}, "data: [DONE]\n\n")):
        face.answers("For curl.")
        sent = json.dumps({**json.loads(body), **more})
        ran = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "--noproxy", "*", "--fail-with-body", "-d", sent),
            *("-H", f"Authorization: Bearer {face.ann}", "-H", "Content-Type: application/json"),
            f"{face.talk.host.url}/v1/chat/completions",
            stdout=asyncio.subprocess.PIPE,
        )
        said = (await ran.communicate())[0].decode()
        assert ran.returncode == 0
        assert wanted in said


@pytest.mark.parametrize("request_", RECORDED["requests"], ids=lambda one: str(one["name"]))
async def test_what_open_webui_sends_is_answered(face: Face, request_: dict[str, Any]) -> None:
    headers = {name.replace("-", "_"): text for name, text in request_["headers"].items()}
    method, path, body = request_["method"], request_["path"], request_.get("body")
    had = len(face.requests)
    if body is None:
        answer = await face.talk.client.ask(method, path, face.ann, **headers)
        assert answer.status == 200
        assert all(one["id"] for one in answer.json["data"])
        return
    face.answers('{"title": "A title"}')
    answer = await face.talk.client.ask(method, path, face.ann, json=body, **headers)
    assert answer.status == 200, answer.body
    (asked,) = face.requests[had:]
    assert body["messages"][-1]["content"] in str(texts(asked)[-1][1])
    if body["stream"]:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = [one for one in answer.body.decode().split("\n") if one]
        assert all(one.startswith(("data: ", ":")) for one in lines)
        chunks = [json.loads(one[6:]) for one in lines[:-1] if one.startswith("data: {")]
        assert (
            "".join(
                one["choices"][0]["delta"].get("content", "") for one in chunks if one["choices"]
            )
            == '{"title": "A title"}'
        )
        assert bool(chunks[-1].get("usage")) is ("stream_options" in body)
    else:
        assert answer.json["choices"][0]["message"]["content"] == '{"title": "A title"}'


async def test_the_openapi_document_has_these_routes_with_openai_s_errors(face: Face) -> None:
    paths = (await face.talk.client.get("/openapi.json")).json["paths"]
    ours = {path: found for path, found in paths.items() if path.startswith("/v1/")}
    assert ours.keys() == {"/v1/models", "/v1/models/{model}", "/v1/chat/completions"}
    for operation in (one for found in ours.values() for one in found.values()):
        assert "422" not in operation["responses"]
        for status in ("400", "401", "403", "404", "429", "503"):
            (schema,) = operation["responses"][status]["content"].values()
            assert schema == {"schema": {"$ref": "#/components/schemas/OpenAIError"}}


# --- off -----------------------------------------------------------------------------------------


async def test_without_the_setting_there_is_no_such_face_and_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys\n"
        "from bot.http.api.app import make_app\n"
        "from bot.http.api.needs import Host, Talking\n"
        "app = make_app(Host(*[None] * 5, Talking(None, None)))\n"
        "assert not [one for one in app.routes if one.path.startswith('/v1/')]\n"
        "assert 'bot.http.api.completions' not in sys.modules\n"
    )
    ran = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT)
    assert await ran.wait() == 0
