"""Rules of profiles at work, seen in the model's requests: reflection, the Partner, their trace."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from simulators.messages.turns import Call, HttpError, Turn, turn
from simulators.messages.validate import ModelRequest
from tests.host.profiled import OBSERVER, PARTNER, House, housed

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = {"mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"]}
NOW = Call("time__get_current_time", {"timezone": "UTC"})
LOOP = """
flow_decider:
  - {id: think, condition: "v['state.step'] < 9", action: {type: loop_with_inbox_item}}
  - {id: again, condition: "True", action: {type: loop_with_inbox_item}}
"""
AFTER_TOOLS = """
text_definitions:
  LOOK: "It is {{ state.step }}, after {{ state.tools_used }} for {{ message.text }}."
post_turn_observers:
  - id: after_tool
    condition: "v['state.current_action.name'] == 'get_current_time'"
    action: {type: add_to_inbox, inbox_item: {source: LOOK}}
"""
PAYLOADS = """
pre_turn_observers:
  - id: text
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, inbox_item: {source: NOTES, payload: "Mind the step."}}
  - id: list
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, inbox_item: {source: LIST, payload: [one, 2]}}
  - id: table
    condition: "v['state.step'] == 0"
    action:
      type: add_to_inbox
      inbox_item: {source: TABLE, payload: [{name: a, size: 1}, {name: "b|c", size: 2}]}
  - id: json
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, inbox_item: {source: OBJECT, payload: {deep: {is: [1]}}}}
  - id: unknown
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, inbox_item: {source: STOCK_CHANGED}}
  - id: other
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, target_agent_id: mate, inbox_item: {source: HELLO}}
"""
AT_ONCE = """
pre_turn_observers:
  - id: at_once
    condition: "v['state.step'] == 0"
    action: {type: add_to_inbox, inbox_item: {source: NOTES, payload: "Mind the step."}}
"""
ENDING = """
flow_decider:
  - id: bad
    condition: "'bad' in v['message.text']"
    action: {type: end_agent_turn, outcome: error, message: "Ask the office."}
  - id: worse
    condition: "'worse' in v['message.text']"
    action: {type: end_agent_turn, outcome: error}
  - id: good
    condition: "'good' in v['message.text']"
    action: {type: end_agent_turn, outcome: success}
  - {id: think, condition: "True", action: {type: loop_with_inbox_item}}
"""
TELLING = """
flow_decider:
  - id: broken
    condition: "v['state.last_error']"
    action:
      {type: end_agent_turn, outcome: error, message: "The clock said {{ state.last_error }}."}
  - id: fine
    condition: "True"
    action:
      {type: end_agent_turn, message: "({{ message.text }}, step {{ state.step }})"}
"""
NOTING = OBSERVER.replace("SELF_REFLECTION_PROMPT", "NOTE")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    short = {"safetyConfig": {"maxIterations": 1}}
    agents = [
        ("Thinker", OBSERVER, TIME),
        ("Partner", PARTNER, TIME),
        ("Asking", NOTING + PARTNER, TIME),
        ("Musing", OBSERVER + PARTNER, TIME),
        ("Once", OBSERVER, short),
        ("Gone", OBSERVER),
        ("Looper", LOOP, TIME),
        ("Both", OBSERVER + LOOP),
        ("Timely", AFTER_TOOLS, TIME),
        ("Told", PAYLOADS),
        ("Ender", ENDING),
        ("Teller", TELLING, TIME),
        ("Short", LOOP, short),
        ("Failing", NOTING + PARTNER),
        ("Refused", NOTING + PARTNER),
        ("Logged", PARTNER),
        ("Placed", OBSERVER),
        ("Leaving", AT_ONCE),
        ("Named", OBSERVER.replace('"self"', '"named"')),
    ]
    async with housed(tmp_path_factory.mktemp("profiles"), *agents) as house:
        yield house


async def test_an_answer_without_a_tool_is_reflected_on_once_and_the_words_are_gone_then(
    house: House,
) -> None:
    agent = house["Thinker"]
    agent.script("a first thought", "the whole answer", "and more", "more at last")
    assert await agent.ask("what is it?") == "the whole answer"
    first, second = agent.requests
    assert "Reflect" not in str(first)
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"][0]["text"] == "a first thought"
    assert len(agent.asked()) == 1
    assert agent.asked()[0].startswith("Reflect")
    assert await agent.ask("go on") == "more at last"
    assert "Reflect" not in agent.everywhere(2)
    assert agent.texts == ["the whole answer", "more at last"]


async def test_what_rules_saw_and_did_is_recorded_with_the_answer(house: House) -> None:
    agent = house["Thinker"]
    await agent.ask("who?") if not agent.texts else None
    one, two, *_ = await house.records(agent, "rules")
    (item,) = one["added"]
    assert item["id"] == f"{one['turn']}:1:post:observer_on_no_tool_call"
    assert (item["source"], item["by"]) == ("SELF_REFLECTION_PROMPT", "observer_on_no_tool_call")
    assert one["profile"].startswith("OfThinker@")
    (phase,) = one["phases"]
    assert phase["looked"] == phase["fired"] == ["observer_on_no_tool_call"]
    assert phase["seen"] == {"state.current_action": None}
    assert two["phases"][0]["spent"] == ["observer_on_no_tool_call"]
    assert "added" not in two
    models = await house.records(agent, "model")
    assert "read" not in models[0]
    assert models[1]["read"] == [item["id"]]


async def test_the_partner_waits_for_the_person_and_its_tools_go_on(house: House) -> None:
    agent = house["Partner"]
    agent.script(turn("let me see", NOW), "it is noon", "When?")
    assert await agent.ask("the time") == "let me see\n\nit is noon"
    assert len(agent.requests) == 2
    assert await agent.ask("meet me") == "When?"
    assert len(agent.requests) == 3
    flows = [body.get("flow") for body in await house.records(agent, "rules")]
    assert flows == ["rule_tool_call_exists", *["rule_no_tool_call_fallback"] * 2]


async def test_what_nobody_has_read_stands_behind_the_persons_next_message(house: House) -> None:
    agent = house["Asking"]
    agent.script("Which day?", "Fine.", "Yes.")
    assert await agent.ask("a table") == "Which day?"
    assert len(agent.requests) == 1
    assert await agent.ask("Monday") == "Fine."
    said, note = agent.asked()
    assert said.endswith("Monday")
    assert note.endswith(": NOTE.")
    first, second = await house.records(agent, "model")
    assert "read" not in first
    assert len(second["read"]) == 1
    assert [body["number"] for body in await house.records(agent, "rules")] == [1, 2]


async def test_a_reflection_that_nobody_can_read_in_its_own_turn_is_withdrawn(
    house: House,
) -> None:
    agent = house["Musing"]
    agent.script("Which day?", "Fine.")
    await agent.ask("a table")
    assert await agent.ask("Monday") == "Fine."
    assert "Reflect" not in str(agent.requests)
    added, ended, *_ = await house.records(agent, "rules")
    assert ended["withdrawn"] == [one["id"] for one in added["added"]]
    assert (ended["phases"], ended["number"]) == ([], 1)
    records = await house.records(agent)
    assert records.index(ended) + 1 == records.index((await house.records(agent, "end"))[0])


async def test_a_step_that_fails_takes_its_reflection_with_it(house: House) -> None:
    agent = house["Gone"]
    agent.script("a draft", Turn(fault=HttpError(401, "invalid x-api-key")), "new", "newer")
    await agent.ask("a table")
    assert await agent.ask("Monday") == "newer"
    assert "Reflect" not in str(agent.requests[2]["messages"])


async def test_where_no_step_can_follow_no_reflection_is_added(house: House) -> None:
    agent = house["Once"]
    agent.script("one", "two")
    assert await agent.ask("a table") == "one"
    assert await agent.ask("Monday") == "two"
    assert "Reflect" not in str(agent.requests)
    first, second = await house.records(agent, "rules")
    assert first["phases"][0]["spent"] == ["observer_on_no_tool_call"]
    assert first["phases"][0]["fired"] == []
    assert "added" not in str([first, second])


async def test_what_waits_outlives_a_turn_whose_model_never_answered(house: House) -> None:
    agent = house["Failing"]
    refused = Turn(fault=HttpError(401, "invalid x-api-key"))
    agent.script("Which day?", refused, "Fine.")
    await agent.ask("a table")
    await agent.ask("Monday")
    await agent.ask("Tuesday, then")
    assert sum(text.endswith(": NOTE.") for text in agent.asked()) == 1
    numbers = [body["number"] for body in await house.records(agent, "rules")]
    assert numbers == [1, 2, 3]
    (item,) = (await house.records(agent, "model"))[-1]["read"]
    assert item.endswith(":1:post:observer_on_no_tool_call")


async def test_what_the_api_refuses_is_not_put_to_it_again_in_the_next_turn(house: House) -> None:
    agent = house["Refused"]
    refused = Turn(fault=HttpError(400, "messages: something in here cannot be taken"))

    def answer(request: ModelRequest) -> Turn:
        """Refuse what has the item in it."""
        is_in = any(": NOTE." in one.block["text"] for one in request.messages[-1].of("text"))
        return refused if is_in else turn("Fine.")

    agent.script(answer, again=True)
    assert await agent.ask("a table") == "Fine."
    assert (await agent.ask("Monday")).startswith("I can't answer this")
    assert ": NOTE." in agent.asked()[-1]
    assert await agent.ask("Tuesday, then") == "Fine."
    assert ": NOTE." not in agent.everywhere()


async def test_an_item_that_the_api_refuses_by_its_place_shows_no_draft(
    house: House,
) -> None:
    agent = house["Placed"]
    wrong = Turn(fault=HttpError(400, "messages.2.content.0: this cannot be taken"))
    agent.script("the first", *[wrong] * 6)
    assert (await agent.ask()).startswith("I can't answer this")


async def test_an_item_that_the_api_refuses_is_left_out_where_the_model_can_answer_without_it(
    house: House,
) -> None:
    agent = house["Leaving"]
    wrong = Turn(fault=HttpError(400, "messages.2.content.1: this cannot be taken"))
    agent.script("one", wrong, "two", "three")
    assert await agent.ask() == "one"
    assert await agent.ask("and?") == "two"
    assert [len(agent.asked(n)) for n in range(3)] == [2, 2, 1]
    assert "one" in agent.everywhere()
    assert await agent.ask("and now?") == "three"


async def test_the_log_says_at_debug_what_rules_looked_at_and_saw(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    agent = house["Logged"]
    agent.script("noon", "one")
    with capture_logs() as quiet:
        await agent.ask("when?")
        await house.idle()
    assert not any(one["event"] == "rules.looked" for one in quiet)
    with caplog.at_level(logging.DEBUG, "rules"), capture_logs() as logs:
        await agent.ask("when?")
        await house.idle()
    (line,) = [one for one in logs if one["event"] == "rules.looked"]
    assert line["log_level"] == "debug"
    assert line["phases"][0]["looked"] == ["rule_tool_call_exists", "rule_no_tool_call_fallback"]
    assert line["phases"][0]["seen"] == {}  # what is not there is None


async def test_a_loop_adds_one_item_only_and_a_second_rule_has_its_own(house: House) -> None:
    agent = house["Looper"]
    agent.script("one", "two", "three", "never")
    assert await agent.ask() == "three"
    assert len(agent.requests) == 3
    assert [len(agent.asked(n)) for n in range(3)] == [1, 1, 1]


async def test_no_second_item_is_added_where_one_of_its_source_waits(house: House) -> None:
    agent = house["Both"]
    agent.script("one", "two", "three", "four", "never")
    assert await agent.ask() == "four"
    added = [len(body.get("added", ())) for body in await house.records(agent, "rules")]
    assert added == [1, 1, 1, 0]
    flows = [body.get("flow") for body in await house.records(agent, "rules")]
    assert flows == ["think", "think", "again", None]


async def test_an_item_stands_behind_the_results_of_tools_and_may_come_again_after_each(
    house: House,
) -> None:
    agent = house["Timely"]
    agent.script(turn(NOW), turn(NOW), "done")
    assert await agent.ask('time "now"') == "done"
    first, second, third = (agent.newest(n) for n in range(3))
    assert [block["type"] for block in second] == ["tool_result", "text"]
    words = 'It is 1, after ["get_current_time"] for "time \'now\'".'
    assert second[1]["text"] == words
    assert [block["type"] for block in third] == ["tool_result", "text"]
    assert agent.everywhere(2).count("It is") == 1
    assert len(first) == 1


async def test_a_payload_is_written_by_its_shape_below_its_source(house: House) -> None:
    agent = house["Told"]
    agent.script("ok")
    assert await agent.ask() == "ok"
    _, text, several, table, deep, plain = agent.asked()
    assert text == "From NOTES:\nMind the step."
    assert several == "From LIST:\n- one\n- 2"
    assert table == "From TABLE:\n| name | size |\n| --- | --- |\n| a | 1 |\n| b\\|c | 2 |"
    assert deep == 'From OBJECT:\n{"deep":{"is":[1]}}'
    assert "STOCK_CHANGED" in plain


async def test_an_item_for_another_agent_is_recorded_and_makes_no_step_here(house: House) -> None:
    agent = house["Told"]
    agent.script("ok")
    await agent.ask()
    (*_, item) = (await house.records(agent, "rules"))[-1]["added"]
    assert (item["source"], item["to"]) == ("HELLO", "mate")
    assert "HELLO" not in agent.everywhere()


async def test_an_agent_that_is_named_by_its_own_id_reads_the_item_itself(house: House) -> None:
    agent = house["Named"]
    agent.script("a draft", "the answer")
    assert await agent.ask() == "the answer"
    assert agent.asked()[0].startswith("Reflect")
    first, *_ = await house.records(agent, "rules")
    assert "to" not in first["added"][0]


async def test_a_rule_ends_a_turn_well_or_with_an_error(house: House) -> None:
    agent = house["Ender"]
    agent.script("A", "B", "C", "D", "E")
    assert await agent.ask("a bad one") == "A\n\nAsk the office."
    assert (await agent.ask("a worse one")).startswith("B\n\nI had to stop here")
    assert await agent.ask("a good one") == "C"
    assert await agent.ask("another") == "E"
    outcomes = [body["outcome"] for body in await house.records(agent, "end")]
    assert outcomes == ["failed", "failed", "done", "done"]


async def test_the_message_of_a_rule_has_values_of_the_state_in_it(house: House) -> None:
    agent = house["Teller"]
    agent.script("A", turn(Call("time__get_current_time", {"zone": "UTC"})), "B")
    assert await agent.ask("hello") == 'A\n\n("hello", step 1)'
    said = await agent.ask("the time")
    assert said.startswith('B\n\nThe clock said "')
    assert said.endswith('".')
    assert "timezone" in said
    assert "{" not in said


async def test_steps_of_rules_count_against_the_limit_and_the_last_answer_stands(
    house: House,
) -> None:
    agent = house["Short"]
    agent.script("one", "never")
    assert await agent.ask() == "one"
    assert len(agent.requests) == 1
    (body,) = await house.records(agent, "rules")
    assert [one.get("spent") for one in body["phases"]] == [["think", "again"]]
