"""Scripts: rules and queues, what is recorded, and all of it over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic
import pytest

from simulators.messages.records import Records
from simulators.messages.script import Scripted
from simulators.messages.turns import Call, Text, turn
from tests.simulators.messages.conftest import Api

if TYPE_CHECKING:
    from tests.simulators.messages.conftest import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def said(api: Api, body: dict[str, Any]) -> str:
    message = await api.sdk.messages.create(**body)
    return "".join(block.text for block in message.content if block.type == "text")


async def test_the_first_rule_that_fits_and_has_a_turn_left_answers(api: Api, ask: Any) -> None:
    api.sim.script = script = Scripted()
    script.on("cook 1", "cook 2", system="You cook")
    script.on("soup", user="soup")
    script.on(Text("any"), again=True, model="claude-sonnet-5-5")
    assert await said(api, ask("I want", system="You sing.")) == "any"
    cook = ask("I want soup", system="You cook well.")
    assert [await said(api, cook) for _ in range(4)] == ["cook 1", "cook 2", "soup", "any"]
    assert await said(api, ask()) == "any"


async def test_a_rule_can_look_at_the_whole_request(api: Api, ask: Any) -> None:
    api.sim.script = script = Scripted()
    script.on(
        lambda asked: turn(f"{asked.user_text} in {len(asked.tools)}"),
        when=lambda asked: asked.tool("look") is not None,
    )
    tools = [{"name": "look", "input_schema": {"type": "object"}}]
    assert await said(api, ask("Hello", tools=tools)) == "Hello in 1"


async def test_a_request_without_a_turn_is_refused_by_name(api: Api, ask: Any) -> None:
    api.answers("One")
    await said(api, ask())
    with pytest.raises(anthropic.BadRequestError, match="no turn is left for 'And now'"):
        await said(api, ask("And now"))
    assert isinstance(api.sim.script, Scripted)
    assert [asked.user_text for asked in api.sim.script.unanswered] == ["And now"]


async def test_requests_are_recorded_without_the_key(api: Api, ask: Any) -> None:
    await said(api, ask("Remember"))
    await api.post(ask(colour=1), x_api_key=None, authorization="Bearer sk-secret")
    first, second = api.sim.records.all()
    assert first.body["messages"][0]["content"] == "Remember"
    assert (first.status, await first.ended(), second.status) == (200, "done", 400)
    assert "sk-" not in str([first.described(), second.described()])
    assert first.headers["anthropic-version"] == "2026-10-21"


async def test_records_are_bounded_in_number_and_bytes() -> None:
    records = Records(keep=3, most=100)
    for size in (10, 10, 10, 10, 95, 10):
        records.add("/v1/messages", {}, None, size)
    assert [record.number for record in records.all()] == [6]
    assert records.total() == 6
    with pytest.raises(LookupError):
        await records.nth(1)
    with pytest.raises(TimeoutError):
        await records.nth(7, timeout=0.01)


async def test_models_are_listed_and_described(api: Api) -> None:
    ids = [model.id async for model in api.sdk.models.list(limit=5)]
    assert ids[0] == "claude-fable-5-2"
    assert len(set(ids)) == len(ids) == 18
    model = await api.sdk.models.retrieve("claude-sonnet-5-5")
    assert (model.max_input_tokens, model.max_tokens) == (1_000_000, 128_000)
    assert model.capabilities is not None
    types = model.capabilities.thinking.types
    assert types.between_tools.supported
    assert not types.disabled.supported
    assert (await api.sdk.models.retrieve("claude-haiku-4-5")).id == "claude-haiku-4-5-20251001"
    with pytest.raises(anthropic.NotFoundError):
        await api.sdk.models.retrieve("claude-zebra")


async def test_a_script_comes_over_http(api: Api, ask: Any) -> None:
    rules = [
        {"system": "You cook", "turns": ["soup", {"call": "look", "input": {"at": 1}}]},
        {"user": "think", "turns": [[{"think": "Hm."}, {"say": "Yes."}]]},
        {"turns": [{"parts": "cut", "stop": "max_tokens"}, {"refuse": "bio"}]},
    ]
    assert (await api.control("POST", "script", {"rules": rules}))[0] == 200
    cook = ask(system="You cook.")
    assert await said(api, cook) == "soup"
    called = await api.sdk.messages.create(**cook)
    assert called.content[0].to_dict()["input"] == {"at": 1}
    thought = await api.sdk.messages.create(**ask("think"))
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert (await api.sdk.messages.create(**ask())).stop_reason == "max_tokens"
    assert (await api.sdk.messages.create(**ask())).stop_reason == "refusal"
    assert (await api.control("POST", "rules", {"turns": ["more"], "again": True}))[0] == 200
    assert await said(api, ask()) == "more"
    _, state = await api.control("GET", "state")
    assert (state["script"], state["turns_left"]) == ("Scripted", [0, 0, 0, 1])


FAULTS = [
    ({"kind": "http", "status": 529}, anthropic.InternalServerError),
    ({"kind": "http", "status": 429, "retry_after": 0.5}, anthropic.RateLimitError),
    ({"kind": "drop"}, anthropic.APIConnectionError),
    ({"kind": "error", "type": "api_error"}, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
async def test_faults_come_over_http(api: Api, ask: Any, fault: Any, kind: Any) -> None:
    rules = {"rules": [{"turns": [{"parts": "x", "fault": fault}]}]}
    assert (await api.control("POST", "script", rules))[0] == 200
    with pytest.raises(kind):
        await said(api, ask())


WRONG_FORMS = [
    ("script", {}, "rules: Field required"),
    ("script", {"rules": [{"turns": "x"}]}, "rules.0.turns: Input should be a valid list"),
    ("script", {"rules": [{"turn": ["x"]}]}, "rules.0.turn: Extra inputs are not permitted"),
    ("rules", {"turns": [{"says": "x"}]}, "rule.turns.0.says: Extra inputs"),
    ("rules", {"turns": [{"parts": [{"input": {}}]}]}, "rule.turns.0.parts.0.call: Field required"),
    ("rules", {"turns": [{"stop": "now"}]}, "rule.turns.0.stop: Input should be 'end_turn'"),
    ("rules", {"turns": [{"fault": {"kind": "http"}}]}, "fault.status: Field required"),
    ("rules", {"turns": [{"fault": {"kind": "cut"}}]}, "fault: give either events or bytes"),
    ("pace", {}, "tokens_per_second: Field required"),
    ("clock", {"advance": -1}, "advance: Input should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("path", "form", "words"), WRONG_FORMS)
async def test_a_wrong_form_is_refused_with_its_place(
    api: Api, path: str, form: Any, words: str
) -> None:
    status, body = await api.control("POST", path, form)
    assert status == 400
    assert words in body["error"]["message"]


async def test_a_form_must_be_json_by_its_content_type(api: Api) -> None:
    async with api.http.post(f"{api.url}/control/reset", data="{}") as response:
        assert response.status == 400


async def test_requests_gates_pace_and_clock_are_driven_over_http(api: Api, ask: Any) -> None:
    turns = {"rules": [{"turns": [{"say": "x"}, {"parts": "y", "gate": "door"}]}]}
    await api.control("POST", "script", turns)
    await said(api, ask("first"))
    held = asyncio.create_task(said(api, ask("second")))
    _, seen = await api.control("GET", "requests?wait=2&timeout=5&after=1")
    assert seen["total"] == 2
    assert [one["body"]["messages"][0]["content"] for one in seen["requests"]] == ["second"]
    assert await api.control("POST", "gates/door", {"reached": 5}) == (
        200,
        {"waiting": {"door": 1}},
    )
    await api.control("POST", "gates/door", {"open": True})
    assert await asyncio.wait_for(held, 30) == "y"
    await api.control("POST", "pace", {"tokens_per_second": 40})
    assert api.sim.pace == 40
    await api.control("POST", "clock", {"advance": 301})
    assert api.sim.skew == 301
    assert (await api.control("DELETE", "requests"))[0] == 200
    status, body = await api.control("GET", "requests?wait=1&timeout=0.01")
    assert (status, body["error"]["type"]) == (504, "timeout_error")
    await api.control("POST", "pace", {"tokens_per_second": None})
    await api.control("POST", "script", {"demo": True})
    assert "not a language model" in await said(api, ask())


async def test_parallel_calls_have_ids_of_their_own(api: Api, ask: Any) -> None:
    api.answers(turn(Call("a"), Call("a"), Call("b", id="toolu_mine")))
    message = await api.sdk.messages.create(**ask())
    ids = [block.to_dict()["id"] for block in message.content]
    assert len(set(ids)) == 3
    assert ids[2] == "toolu_mine"
