"""Tool calls that wait for a person, in conversations over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from tests.host.stage import staged, until
from tests.host.tool_agent import ToolAgent, results, write
from tests.http.accounts import Talk, events_in, said, talking, write_instance

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/v1/approvals"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Talk, ToolAgent]]:
    """A host with acme/desk, whose agent asks before it writes."""
    async with staged(tmp_path_factory.mktemp("approvals")) as stage:
        agent = ToolAgent(stage)
        text = 'agent_type: "clerk"\naccount: "acme"\ninstance_name: "desk"\n'
        write_instance(stage.folder / "agent_configs", "acme", "desk", text)
        async with talking(stage) as talk:
            await until(lambda: any(one.state == "up" for one in talk.host.pool.servers))
            yield talk, agent


async def test_a_chat_that_waits_says_so_and_goes_on_when_its_person_approves(
    desk: tuple[Talk, ToolAgent],
) -> None:
    talk, agent = desk
    ann = await talk.client.make_key(account="acme", user="ann")
    ben = await talk.client.make_key(account="acme", user="ben")
    nobody = await talk.client.make_key(account="acme")
    boss = await talk.client.make_key(account="acme", role="instance_admin", user="boss")
    other = await talk.client.make_key(account="other", role="instance_admin")
    talk.stage.script.on(write(), "It is written.")
    status, waiting = await talk.chat("write hello", ann, "desk", session_id="w")
    assert (status, waiting["status"]) == (202, "suspended")
    asked = waiting["approval"]
    assert asked["status"] == "pending"
    assert "hello" in orjson.dumps(asked["calls"]).decode()
    (listed,) = (await talk.client.get(PATH, ann)).json["approvals"]
    assert listed["id"] == asked["id"]
    assert listed["output_id"] == waiting["output_id"]
    assert len((await talk.client.get(PATH, boss)).json["approvals"]) == 1
    one = f"{PATH}/{asked['id']}"
    yes = {"decision": "approve"}
    for key in (ben, nobody, other):
        assert (await talk.client.get(PATH, key)).json == {"approvals": []}
        assert (await talk.client.ask("POST", one, key, json=yes)).status == 404
    assert (await talk.client.get(f"{PATH}?account=acme", other)).status == 404
    for body in ({}, {"decision": "always"}, {"decision": "approve", "more": 1}):
        assert (await talk.client.ask("POST", one, ann, json=body)).status == 422
    assert agent.done == []

    url, after = f"{talk.path('desk')}/stream", {"Last_Event_ID": f"{waiting['output_id']}-0-0"}
    following = asyncio.create_task(talk.client.get(url, ann, **after))
    decided = await talk.client.ask("POST", one, ann, json=yes)
    assert (decided.status, decided.json["status"]) == (200, "approved")
    events = events_in((await following).body.decode())
    assert said(events).endswith("It is written.")
    kinds = [event.kind for event in events]
    assert kinds.index("approval") < len(kinds) - 1
    assert kinds[-1] == "done"
    assert agent.done == ["write hello"]
    assert (await talk.client.get(PATH, ann)).json == {"approvals": []}


async def test_an_admin_of_the_account_denies_with_a_reason_that_the_agent_reads(
    desk: tuple[Talk, ToolAgent],
) -> None:
    talk, agent = desk
    had = len(agent.done)
    ann = await talk.client.make_key(account="acme", user="ann")
    boss = await talk.client.make_key(account="acme", role="instance_admin", user="boss")
    talk.stage.script.on(write(), "Then not.")
    _, waiting = await talk.chat("write hello", ann, "desk", session_id="d")
    one = f"{PATH}/{waiting['approval']['id']}"
    no = {"decision": "deny", "reason": "it is too early"}
    decided = await talk.client.ask("POST", one, boss, json=no)
    assert (decided.status, decided.json["status"]) == (200, "denied")
    after = {"Last_Event_ID": f"{waiting['output_id']}-0-0"}
    rest = await talk.client.get(f"{talk.path('desk')}/stream", ann, **after)
    assert said(events_in(rest.body.decode())).endswith("Then not.")
    assert "it is too early" in results(talk.stage)[-1]
    assert len(agent.done) == had
