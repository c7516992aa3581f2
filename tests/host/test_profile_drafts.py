"""An answer after which a rule lets the turn go on is a draft: never shown, never lost, never paid
for twice; and later turns do not take it for said."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.telegram.markdown.renderer import MARK
from bot.turn.results import REFUSED, SILENT
from simulators.messages.turns import Call, HttpError, Stall, Text, Think, Turn, turn
from simulators.testing.stage import PATIENCE, buttons
from tests.host.profiled import CLOCK, ENVIRON, OBSERVER, PARTNER, Agent, House, Json, housed
from tests.http.accounts import events_in, write_instance
from tests.http.api import OPERATOR, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = {"mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"], "template": True}
ASKS = {"mcpServers": ["time"], "template": True}
NOW = Call("time__get_current_time", {"timezone": "UTC"})
HIDDEN = " ".join(f"hidden{number}" for number in range(40))
SHOWN = " ".join(f"shown{number}" for number in range(40))
AGAIN = """
post_turn_observers:
  - id: no_tool
    condition: "not v['state.current_action'] and 'noon' in v['message.text']"
    action: {type: add_to_inbox, inbox_item: {source: SELF_REFLECTION_PROMPT}}
"""
ENDING = """
flow_decider:
  - {id: stop, condition: "True", action: {type: end_agent_turn, outcome: error, message: No.}}
"""


def thinking(model: str, **more: object) -> dict[str, object]:
    return {**TIME, "llmOverrides": {"model": model, **more}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    agents = [
        ("Shy", OBSERVER, TIME),
        ("Quick", PARTNER, TIME),
        ("Stopped", OBSERVER, TIME),
        ("Cut", OBSERVER, TIME),
        ("Denied", OBSERVER, TIME),
        ("Distant", OBSERVER, TIME),
        ("Broken", OBSERVER, TIME),
        ("Careful", AGAIN, ASKS),
        ("Bound", OBSERVER, thinking("claude-sonnet-5-5", reasoningEffort="high")),
        ("Budget", OBSERVER, thinking("claude-haiku-4-5", reasoningEffort="low")),
        ("Cached", AGAIN, TIME | {"customInstructions": "You are Cached. " + "Be exact. " * 600}),
        ("Ending", ENDING, TIME),
        ("Forgetful", OBSERVER, TIME),
        ("Silent", OBSERVER, TIME),
    ]
    folder = tmp_path_factory.mktemp("drafts")
    for name in ("distant", "ending"):
        text = f"agent_type: {name}\naccount: t\ninstance_name: far-{name}\n"
        write_instance(folder / "agent_configs", "t", f"far-{name}", text)
    configs = str(folder / "agent_configs")
    environ = {**ENVIRON, **OPERATOR, "AGENT_CONFIGS_DIR": configs, "HTTP_FACES": "openai"}
    async with housed(folder, *agents, servers=CLOCK, environ=environ) as house:
        yield house


def shown(agent: Agent) -> list[str]:
    """All texts that the bot has sent or shown while they grew."""
    calls = agent.stage.world.calls.of(bot=agent.bot.id)
    return [str(call.params.get("text", "")) for call in calls]


async def test_a_draft_is_never_shown_while_it_grows_and_the_answer_after_it_is(
    house: House,
) -> None:
    agent = house["Shy"]
    agent.stage.sim.gates.shut("shown")
    second = Turn((Text(SHOWN),), fault=Stall(events=20, gate="shown"))
    agent.script(Turn((Text(HIDDEN),), pace=60.0), second)
    agent.say("slowly")
    drafts = agent.stage.world.drafts
    await agent.stage.world.until(lambda: any(d.text for d in drafts(agent.room)), PATIENCE)
    assert drafts(agent.room)[0].text.removesuffix(MARK).strip() in SHOWN
    agent.stage.sim.gates.open("shown")
    await agent.stage.answer(agent.room, agent.bot)
    assert agent.texts == [SHOWN]
    assert not any("hidden" in text for text in shown(agent))


async def test_where_no_rule_may_ask_again_the_answer_grows_as_ever(house: House) -> None:
    agent = house["Quick"]
    agent.stage.sim.gates.shut("quick")
    agent.script(Turn((Text(SHOWN),), fault=Stall(events=20, gate="quick")))
    agent.say("slowly")
    drafts = agent.stage.world.drafts
    await agent.stage.world.until(lambda: any(d.text for d in drafts(agent.room)), PATIENCE)
    agent.stage.sim.gates.open("quick")
    await agent.stage.answer(agent.room, agent.bot)


async def test_an_event_stream_has_the_last_answer_alone(house: House) -> None:
    house["Shy"].script("a hidden draft", "the answer")
    async with client_of(house.host) as client:
        key = await client.make_key(account="t")
        body = {"agent_type": "shy", "task": "go", "tenant_id": "t", "user_id": "u"}
        path = "/api/v1/agent/execute"
        answer = await client.ask("POST", path, key, json={**body, "stream": True})
        told = [json.loads(e.data or "") for e in events_in(answer.body.decode())[:-1]]
        assert [one["text"] for one in told] == ["the answer"]
        house["Ending"].script("so far")
        ended = await client.ask("POST", path, key, json={**body, "agent_type": "ending"})
    assert ended.json["success"] is False
    assert ended.json["output"] == "Error: No."
    assert ended.json["metadata"]["error_type"] == "EndedByRule"
    assert ended.json["metadata"]["partial_output"] == "so far"


async def test_what_a_rule_ended_as_an_error_is_no_fault_of_the_host_and_is_not_asked_again(
    house: House,
) -> None:
    house["Ending"].script("so far", again=True)
    words = {"model": "ending", "messages": [{"role": "user", "content": "go"}]}
    path = "/v1/chat/completions"
    async with client_of(house.host) as client:
        key = await client.make_key(account="t")
        base, body = "/accounts/t/agents/far-ending", {"message": "go", "session_id": "ruled"}
        chat = await client.ask("POST", f"{base}/chat", key, json=body)
        history = await client.ask("GET", f"{base}/history?session_id=ruled", key)
        whole = await client.ask("POST", path, key, json=words)
        stream = await client.ask("POST", path, key, json={**words, "stream": True})
    assert (chat.status, chat.json["type"]) == (422, "urn:switchboard:problem:ended-by-rule")
    assert (chat.json["detail"], chat.json["response"]) == ("No.", "so far")
    metadata = chat.json["metadata"]
    assert metadata.pop("error_type") == "EndedByRule"
    assert metadata == history.json["messages"][-1]["metadata"]
    assert metadata["completion_status"] == "partial"
    wanted = {"type": "invalid_request_error", "param": None, "code": "ended_by_rule"}
    assert (whole.status, whole.json["error"]) == (400, {"message": "No.", **wanted})
    told = [json.loads(one.data or "") for one in events_in(stream.body.decode())[:-1]]
    assert told[-1]["error"] == whole.json["error"]


async def test_who_stops_the_next_step_never_sees_the_draft(house: House) -> None:
    agent = house["Stopped"]
    agent.script("the first", Turn((Text("never whole"),), gate="second"), "new", "newer")
    agent.say("go")
    await agent.stage.sim.gates.reached("second")
    agent.say("/stop")
    assert (await agent.stage.answer(agent.room, agent.bot)).text == "Stopped."
    assert await agent.ask("again") == "newer"
    assert "the first" not in agent.everywhere(2)  # nor does the model take it for what was read
    drafts = [body["content"][0]["text"] for body in await house.records(agent, "model")]
    assert drafts[0] == "the first"


async def test_what_was_shown_before_a_draft_stays_where_the_next_step_is_stopped(
    house: House,
) -> None:
    agent = house["Cut"]
    agent.script(turn("let me look", NOW), "the draft", Turn((Text("no"),), gate="third"), "y", "z")
    agent.say("go")
    await agent.stage.sim.gates.reached("third")
    agent.say("/stop")
    assert (await agent.stage.answer(agent.room, agent.bot)).text == "let me look\n\n(stopped)"
    assert await agent.ask("again") == "z"
    assert "let me look" in agent.everywhere(3)
    assert "the draft" not in agent.everywhere(3)


async def test_where_the_next_step_gets_no_answer_the_apology_stands_alone(house: House) -> None:
    agent = house["Broken"]
    agent.script("the first", Turn(fault=HttpError(401, "invalid x-api-key")), "the next", "ok")
    assert (await agent.ask()).startswith("I can't answer at the moment")
    (end,) = await house.records(agent, "end")
    assert end["outcome"] == "failed"
    assert "the first" not in end["text"]
    assert await agent.ask("and now?") == "ok"
    assert "the first" not in agent.everywhere(2)


async def test_a_refusal_after_a_draft_stands_alone(house: House) -> None:
    agent = house["Denied"]
    agent.script("the first", Turn(stop="refusal"), "new", "newer")
    assert await agent.ask() == REFUSED
    assert await agent.ask("again") == "newer"
    assert "the first" not in agent.everywhere(2)


async def test_over_http_no_draft_is_told_where_its_turn_is_stopped_or_fails(house: House) -> None:
    task = {"agent_type": "distant", "task": "go", "tenant_id": "t", "user_id": "u"}
    api = "/api/v1/agent"
    wrong = Turn(fault=HttpError(401, "invalid x-api-key"))
    house["Distant"].script("draft one", Turn((Text("no"),), gate="told"), "draft two", wrong)
    async with client_of(house.host) as client:
        key = await client.make_key(account="t")
        begun = await client.ask("POST", f"{api}/execute?wait=0", key, json=task)
        await house["Distant"].stage.sim.gates.reached("told")
        stopped = await client.ask("DELETE", f"{api}/task/{begun.json['task_id']}", key)
        after = {"Last-Event-ID": f"{begun.json['task_id']}-0-0"}
        streamed = {**task, "stream": True}
        ended = await client.ask("POST", f"{api}/execute", key, json=streamed, **after)
        failed = await client.ask("POST", f"{api}/execute", key, json=streamed)
        told = [json.loads(e.data or "") for e in events_in(failed.body.decode())[:-1]]
        house["Distant"].script("draft three", wrong)
        base, body = "/accounts/t/agents/far-distant", {"message": "go", "session_id": "s"}
        chat = await client.ask("POST", f"{base}/chat", key, json=body)
        history = await client.ask("GET", f"{base}/history?session_id=s", key)
    result = stopped.json["result"]
    assert result["success"] is False
    assert "draft" not in str(result)
    assert [one.data for one in events_in(ended.body.decode())] == ["[DONE]"]
    assert [[*one] for one in told] == [["error", "partial", "error_type"]]
    assert told[0]["partial"] is False
    assert (chat.status, chat.json["response"]) == (502, "")
    human, answer = history.json["messages"]
    assert human["content"] == "go"
    assert (answer["content"], answer["metadata"]["completion_status"]) == ("", "partial")


async def test_a_turn_that_waits_for_people_keeps_its_message_and_sends_no_draft(
    house: House,
) -> None:
    agent = house["Careful"]
    agent.script("a draft", turn("let me look", NOW), "it is noon", "noon it is")
    agent.say("when is noon?")
    await agent.stage.world.until(
        lambda: any(buttons(m) for m in agent.room.messages.values()), PATIENCE
    )
    (question,) = [m for m in agent.room.messages.values() if buttons(m)]
    agent.stage.world.press_button(agent.ann, agent.room, question.id, "Once")
    await agent.stage.world.until(lambda: "noon it is" in agent.texts, PATIENCE)
    assert agent.texts[0] == "let me look"
    assert "a draft" not in agent.texts
    assert [len(agent.asked(n)) for n in range(4)] == [1, 1, 0, 1]
    ids = [id for body in await house.records(agent, "model") for id in body.get("read", ())]
    assert len(set(ids)) == len(ids) == 2


KEPT = {"Bound": [], "Budget": ["two", "three", "five"]}
"""By agent, the thinking that the API gets back in the end: none of a draft; and where thinking is
bound to what was before it, none behind a draft, which is no longer there."""


def thoughts(message: Json) -> list[Json]:
    return [block for block in message["content"] if block["type"] == "thinking"]


@pytest.mark.parametrize("name", ["Bound", "Budget"])
async def test_thinking_of_drafts_and_of_their_sequels_is_taken_back_by_the_api(
    house: House, name: str
) -> None:
    agent = house[name]
    agent.script(
        turn(Think("one"), "a draft"),
        turn(Think("two"), "let me look", NOW),
        turn(Think("three"), NOW),
        turn(Think("four"), "a second draft"),
        turn(Think("five"), "noon"),
        turn(Think("six"), "x"),
        turn(Think("seven"), "y"),
    )
    assert await agent.ask() == "let me look\n\nnoon"
    assert await agent.ask("and?") == "y"
    assert len(agent.requests) == 7
    made = [one for one in agent.stage.sim.records.all() if one.body in agent.requests]
    assert [one.status for one in made] == [200] * 7
    assert {one.body["thinking"]["type"] for one in made} <= {"enabled", "adaptive"}
    kept = [b["thinking"] for m in agent.requests[6]["messages"] for b in thoughts(m)]
    assert kept == KEPT[name]


async def test_no_cache_keeps_what_passes_and_the_rest_is_read_from_it(house: House) -> None:
    agent = house["Cached"]
    agent.script("a draft", "it is noon", "two")
    await agent.ask("is it noon?")
    await agent.ask("and?")
    draft, item = agent.requests[1]["messages"][1:]
    assert "cache_control" in draft["content"][-1]
    assert "cache_control" not in item["content"][-1]
    used = [body["usage"] for body in await house.records(agent, "model")]
    assert used[1][2] > 1_000
    assert used[2][2] >= used[1][2]
    assert first_message(agent, 2) == first_message(agent, 0)


def first_message(agent: Agent, request: int) -> list[Json]:
    """The first message of a request, without cache marks."""
    first = agent.requests[request]["messages"][0]["content"]
    return [{n: v for n, v in one.items() if n != "cache_control"} for one in first]


async def test_an_answer_without_text_does_not_bring_back_the_draft(house: House) -> None:
    agent = house["Silent"]
    agent.script("a draft", "", turn("let me look", NOW), "a draft", "")
    assert await agent.ask() == SILENT
    assert await agent.ask() == "let me look"
    assert not any("draft" in text for text in shown(agent))


async def test_a_draft_is_not_in_the_requests_of_later_turns_nor_counted_for_them(
    house: House,
) -> None:
    agent = house["Forgetful"]
    agent.script("The code is 1111. " * 100, "The code is 2222.", "a draft", "the answer")
    assert await agent.ask("the code?") == "The code is 2222."
    assert "1111" in agent.everywhere(1)
    await agent.ask("say it again")
    said, again = agent.requests[2]["messages"][1:]
    assert [block["text"] for block in said["content"]] == ["The code is 2222."]
    assert again["role"] == "user"
    assert "1111" not in agent.everywhere(3)
    assert any("1111" in str(body["content"]) for body in await house.records(agent, "model"))
