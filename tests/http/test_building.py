"""Build by talking over HTTP: the person is the key's user, and the role is the key's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from simulators.messages.turns import Call, turn
from tests.host.stage import Stage, staged
from tests.host.tool_agent import results
from tests.http.api import Client, api_host

pytestmark = pytest.mark.asyncio(loop_scope="module")

JACK = "/api/v1/registry/agents/jack"
DRAFT = turn(Call("skill__draft_agent", {"agent": "jack", "changes": {"name": "Sir Jack"}}))


@dataclass(frozen=True)
class Office:
    """A host with an agent that builds, and jack."""

    stage: Stage
    client: Client

    async def task(self, key: str, text: str, *more: Any) -> dict[str, Any]:
        """What comes of a task for the building agent, whose model drafts at once."""
        self.stage.script.on(DRAFT, *more, user=text)
        body = {"task": text, "agent_type": "builder"}
        answer = await self.client.ask("POST", "/api/v1/agent/execute?wait=20", key, json=body)
        found: dict[str, Any] = answer.json
        return found

    async def name(self) -> str:
        return str((await self.client.get(JACK)).json["definition"]["name"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Office]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("building")) as stage:
        builder: dict[str, Any] = {"id": "builder", "name": "Builder", "mcpServers": []}
        builder |= {"internalToolsets": ["host-admin"], "template": True}
        builder |= {"toolPolicy": {"approvers": ["asker"]}}
        stage.agents["agents"].append(builder)
        async with api_host(stage) as client:
            await client.ask("PUT", JACK, json={"name": "Jack", "mcpServers": []})
            yield Office(stage, client)


async def test_an_engineers_key_drafts_after_its_person_has_approved(office: Office) -> None:
    ann = await office.client.make_key(role="spokestack_engineer", scope="host", user="ann")
    asked = await office.task(ann, "Rename him", "Drafted.")
    approval = asked["approval"]
    assert "Change the draft of agent" in str(approval["calls"])
    may = await office.client.make_key(role="instance_admin", user="may")
    path, yes = f"/api/v1/approvals/{approval['id']}", {"decision": "approve"}
    refused = await office.client.ask("POST", path, may, json=yes)
    assert refused.status == 403
    decided = await office.client.ask("POST", path, ann, json=yes)
    assert decided.status == 200
    await office.client.until_task(asked["task_id"], "completed", ann)
    shown = (await office.client.get(f"{JACK}/draft", ann)).json
    assert (shown["by"], shown["definition"]["name"]) == ("api:default:ann", "Sir Jack")
    assert await office.name() == "Jack"


async def test_a_client_over_http_reads_a_long_change_to_its_end(office: Office) -> None:
    eli = await office.client.make_key(role="spokestack_engineer", scope="host", user="eli")
    long = "Be kind to every guest. " * 300 + "Give them the keys."
    call = Call("skill__draft_agent", {"agent": "jack", "changes": {"description": long}})
    office.stage.script.on(turn(call), "Denied.", user="Pad it")
    body = {"task": "Pad it", "agent_type": "builder"}
    path = "/api/v1/agent/execute?wait=20"
    asked = (await office.client.ask("POST", path, eli, json=body)).json
    (shown,) = asked["approval"]["calls"]
    assert long in shown["description"]
    path, no = f"/api/v1/approvals/{asked['approval']['id']}", {"decision": "deny"}
    assert (await office.client.ask("POST", path, eli, json=no)).status == 200


async def test_a_key_without_the_right_and_one_that_names_an_engineer_are_refused(
    office: Office,
) -> None:
    cid = await office.client.make_key(role="instance_admin", user="cid")
    for number, key in enumerate(
        (cid, await office.client.make_key(role="spokestack_engineer", scope="host"))
    ):
        person = {} if key == cid else {"user_id": "guest"}  # to name somebody proves nothing
        text = f"Try {number}"
        office.stage.script.on(DRAFT, "I may not.", user=text)
        body = {"task": text, "agent_type": "builder", **person}
        path = "/api/v1/agent/execute?wait=20"
        answer = (await office.client.ask("POST", path, key, json=body)).json
        assert answer.get("approval") is None
        assert "their role does not allow it" in results(office.stage)[0]


async def test_a_key_that_was_revoked_meanwhile_makes_no_change(office: Office) -> None:
    dan = await office.client.make_key(role="spokestack_engineer", scope="host", user="dan")
    asked = await office.task(dan, "Call him sir", "Refused.")
    path = f"/api/v1/approvals/{asked['approval']['id']}"
    await office.client.revoke(dan)
    assert (await office.client.ask("POST", path, dan, json={"decision": "approve"})).status == 401
    drafts = (await office.client.get("/api/v1/registry/drafts")).json["drafts"]
    assert "api:default:dan" not in {one["by"] for one in drafts}
