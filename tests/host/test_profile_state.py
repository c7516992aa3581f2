"""The state that rules read, field by field, and what rules set in it: seen in their records."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from registry.profile_state import PATHS
from simulators.messages.turns import Call, HttpError, Turn, turn
from tests.host.profiled import House, housed
from tests.http.api import OPERATOR, Client, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

INNER = (
    "state.current_action.arguments.timezone",
    "state.tasks.get_current_time.runs",
    "state.params.project",
    "state.params.deep.er",
    "state.params.long",
)
NOTES = "\n".join(
    f"  - {{id: {{}}{at}, condition: \"v['{path}'] == 'never'\", "
    "action: {type: set_state, path: state.params.seen, value: 1}}"
    for at, path in enumerate([*PATHS, *INNER])
)
WATCHER = f"""
type: principal
pre_turn_observers:
{NOTES.replace("{}", "pre", len([*PATHS, *INNER]))}
post_turn_observers:
{NOTES.replace("{}", "post", len([*PATHS, *INNER]))}
"""
SETTER = """
pre_turn_observers:
  - id: heal
    condition: "v['state.params.tries'] is None"
    action: {type: set_state, path: state.params.tries, value: 0}
post_turn_observers:
  - id: count
    condition: "v['state.params.tries'] == 0"
    action: {type: set_state, path: state.params.tries, value: 1}
  - id: same
    condition: "v['state.params.tries'] == 1"
    action: {type: set_state, path: state.params.tries, value: 1}
  - id: inside
    condition: "v['state.params.tries'] == 1"
    action: {type: set_state, path: state.params.deep.er, value: [1]}
flow_decider:
  - id: once_more
    condition: "v['state.step'] == 1"
    action: {type: loop_with_inbox_item}
"""
READER = """
pre_turn_observers:
  - id: reads
    condition: "v['message.text'] == 'never'"
    action: {type: set_state, path: state.params.x, value: 1}
"""
NOW = Call("time__get_current_time", {"timezone": "UTC"})
WRONG = Call("time__get_current_time", {"zone": "UTC"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    tools = {"mcpServers": ["time"], "whitelistPatterns": ["mcp:time:*"], "template": True}
    agents = [("Watcher", WATCHER, tools), ("Setter", SETTER), ("Again", READER)]
    folder = tmp_path_factory.mktemp("state")
    async with housed(folder, *agents, environ={**OPERATOR, "HTTP_FACES": "openai"}) as house:
        yield house


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(house: House) -> AsyncIterator[Client]:
    async with client_of(house.host) as client:
        yield client


async def test_each_field_of_the_state_is_as_it_is_documented(house: House) -> None:
    agent = house["Watcher"]
    agent.script(turn("I look.", NOW, NOW), turn(WRONG), "It is noon.")
    await agent.ask("the time, please")
    before, called, _, again, _, end = await house.seen(agent)
    began = before.pop("state.agent_start_utc_timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", began)
    wanted: dict[str, Any] = dict.fromkeys([*PATHS, *INNER])
    del wanted["state.agent_start_utc_timestamp"]
    wanted |= {
        "state.actions": "[]",
        "state.turn_number": 1,
        "state.step": 0,
        "state.tools_used": "[]",
        "state.params": "{}",
        "state.tasks": "{}",
        "inbox.count": 0,
        "inbox.sources": "[]",
        "message.text": "the time, please",
        "person.id": f"tg:{agent.ann.id}",
        "person.name": "Ann of Watcher",
        "person.role": "everyone",
        "chat.kind": "private",
        "agent.id": "watcher",
        "agent.name": "Watcher",
        "agent.type": "principal",
        "agent.model": house.stage.requests()[-1]["model"],
        "agent.instructions": "You are Watcher.",
        "account.id": "default",
    }
    assert before == {path: value for path, value in wanted.items() if value is not None}
    assert called["state.step"] == 1
    assert called["state.answer"] == "I look."
    assert called["state.current_action.name"] == "get_current_time"
    assert called["state.current_action.tool"] == "mcp:time:get_current_time"
    assert called["state.current_action.arguments"] == '{"timezone":"UTC"}'
    assert called["state.current_action.arguments.timezone"] == "UTC"
    assert called["state.actions"] == '["get_current_time","get_current_time"]'
    assert called["state.tools_used"] == "[]"
    assert again["state.step"] == 2
    assert again["state.tools_used"] == '["get_current_time"]'
    assert again["state.tasks"] == '{"get_current_time":{"status":"done","runs":2}}'
    assert "state.last_error" not in again  # what is not there is None, and not recorded
    assert "state.current_action" not in end
    assert end["state.answer"] == "It is noon."
    assert "timezone" in end["state.last_error"]
    assert "{" not in end["state.last_error"][:20]


async def test_a_task_brings_its_metadata_bounded_and_without_secrets(
    house: House, client: Client
) -> None:
    house["Watcher"].script("done")
    metadata: dict[str, Any] = {
        "project": "P-7",
        "deep": {"er": [1, {"x": True}]},
        "long": "x" * 9_000,
    }
    metadata["key"] = house["Watcher"].bot.token
    metadata |= {f"k{n}": n for n in range(200)}
    body = {"agent_type": "watcher", "task": "go", "tenant_id": "t", "user_id": "u"}
    key = await client.make_key(account="t")
    answer = await client.ask(
        "POST", "/api/v1/agent/execute", key, json={**body, "metadata": metadata}
    )
    assert answer.json["success"], answer.json
    _, seen = await house.seen(house["Watcher"], http=True)
    assert seen["chat.kind"] == "http"
    assert seen["person.id"] == "api:t:u"
    assert seen["account.id"] == "t"
    assert seen["state.params.project"] == "P-7"
    assert seen["state.params.deep.er"] == '[1,{"x":true}]'
    (person,) = await house.records(house["Watcher"], "person", http=True)
    given = person["given"]
    assert given["text"] == "go"
    assert len(given["params"]["long"]) <= 4_096
    assert len(given["params"]) <= 100
    assert house["Watcher"].bot.token.partition(":")[2] not in str(given)


async def test_of_messages_over_http_the_client_s_system_messages_are_there_and_nothing_else(
    house: House, client: Client
) -> None:
    key = await client.make_key(account="t")
    house["Watcher"].script("one", "two")
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    for messages in (said, said[1:]):
        body = {"model": "watcher", "messages": messages, "metadata": {"project": "P-8"}}
        answer = await client.ask("POST", "/v1/chat/completions", key, json=body)
        assert answer.status == 200, answer.body
    people = await house.records(house["Watcher"], "person", http=True)
    given = [one["given"].get("params") for one in people if one["given"]["text"] == "hi"]
    assert sorted(given, key=str) == [None, {"instructions_of_the_client": "Be brief."}]


async def test_what_a_rule_sets_is_read_by_later_rules_and_ends_with_the_turn(
    house: House,
) -> None:
    agent = house["Setter"]
    agent.script("a", "b", "c", "d")
    await agent.ask("one")
    await agent.ask("two")
    sets = [body.get("set") for body in await house.records(agent, "rules")]
    first = {"state.params.tries": 1, "state.params.deep.er": [1]}
    assert sets == [first, None, first, None]


async def test_a_message_that_is_tried_again_reads_as_before_without_what_it_quotes(
    house: House,
) -> None:
    agent = house["Again"]
    away = Turn(fault=HttpError(529, retry_after=3600))
    agent.script("quoted words", away, "here it is")
    await agent.ask()
    world, (first, *_) = (
        agent.stage.world,
        [one for one in agent.room.messages.values() if one.author == agent.bot.id],
    )
    world.say(agent.ann, agent.room, "go", reply_to=first.id)
    failed = await agent.stage.answer(agent.room, agent.bot, 2)
    world.press_button(agent.ann, agent.room, failed.id, "Try again")
    await agent.stage.answer(agent.room, agent.bot, 3)
    assert "quoted words" in str(agent.asked())
    assert [one["message.text"] for one in await house.seen(agent)] == ["hello", "go"]
