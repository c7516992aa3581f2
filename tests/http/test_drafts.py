"""Drafts of agents over HTTP: of the person whom the key names, compared, published, refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.host.stage import staged
from tests.http.api import ApiAnswer, Client, api_host

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENTS = "/api/v1/registry/agents"
ENGINEER = {"role": "spokestack_engineer", "scope": "host"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One host for all tests of this module; its file has one agent, `owned`."""
    async with staged(tmp_path_factory.mktemp("drafts")) as stage:
        stage.agents["agents"].append({"id": "owned", "name": "Owned"})
        async with api_host(stage) as client:
            yield client


async def agent(api: Client, id: str) -> None:
    body = {"name": "Jack", "customInstructions": "Be a pirate."}
    assert (await api.ask("PUT", f"{AGENTS}/{id}", json=body)).status == 201


async def patch(api: Client, id: str, body: Any, key: str, **headers: str) -> ApiAnswer:
    return await api.ask("PATCH", f"{AGENTS}/{id}/draft", key, json=body, **headers)


async def test_a_draft_is_made_compared_and_published_and_its_agent_is_as_it_was_until_then(
    api: Client,
) -> None:
    await agent(api, "jack")
    path, ann = f"{AGENTS}/jack/draft", await api.make_key(**ENGINEER, user="ann")
    assert (await api.get(path, ann)).status == 404
    made = await patch(api, "jack", {"custom_instructions": "Be formal."}, ann)
    assert made.status == 200
    assert made.json["by"] == "api:default:ann"
    (change,) = made.json["changes"]
    assert (change["field"], change["old"]) == ("customInstructions", "Be a pirate.")
    assert ["+", "formal"] in change["words"]
    assert made.headers["ETag"].strip('"') == made.json["hash"]
    stale = await patch(api, "jack", {"name": "Jim"}, ann, If_Match='"' + "0" * 40 + '"')
    assert stale.status == 409
    warm = await patch(
        api, "jack", {"llmOverrides": {"temperature": 0.2}}, ann, If_Match=made.headers["ETag"]
    )
    assert [one["field"] for one in warm.json["changes"]] == ["customInstructions", "llmOverrides"]
    wrong = await patch(api, "jack", {"llmOverrides": {"temperature": 9}}, ann)
    assert (wrong.status, wrong.json["problems"][0]["field"]) == (422, "llmOverrides.temperature")
    listed = (await api.get("/api/v1/registry/drafts?agent=jack")).json["drafts"]
    assert [(one["by"], one["own"]) for one in listed] == [("api:default:ann", False)]
    now = (await api.get(f"{AGENTS}/jack")).json["definition"]
    assert now["customInstructions"] == "Be a pirate."
    done = await api.ask("POST", f"{path}/publish", ann, json={"reason": "guests complained"})
    assert (done.status, done.json["revision"], done.json["changed"]) == (200, 2, True)
    now = (await api.get(f"{AGENTS}/jack")).json["definition"]
    assert now["customInstructions"] == "Be formal."
    assert (await api.get(path, ann)).status == 404
    (newest, *_) = (await api.get(f"{AGENTS}/jack/history")).json["revisions"]
    assert (newest["by"], newest["reason"]) == ("api:default:ann", "guests complained")


async def test_who_publishes_second_is_told_what_changed_and_puts_the_text_on_top(
    api: Client,
) -> None:
    await agent(api, "jim")
    ann = await api.make_key(**ENGINEER, user="ann2")
    ben = await api.make_key(**ENGINEER, user="ben2")
    await patch(api, "jim", {"customInstructions": "Be formal."}, ann)
    await patch(api, "jim", {"customInstructions": "Be brief.", "name": "Jim"}, ben)
    path = f"{AGENTS}/jim/draft"
    assert (await api.ask("POST", f"{path}/publish", ben)).status == 200
    lost = await api.ask("POST", f"{path}/publish", ann)
    assert (lost.status, lost.json["type"]) == (409, "urn:switchboard:problem:overtaken")
    assert lost.json["by"] == "api:default:ben2"
    assert lost.json["overlapping"] == ["customInstructions"]
    assert [one["field"] for one in lost.json["changes"]] == ["name", "customInstructions"]
    updated = await api.ask("POST", f"{path}/update", ann)
    assert updated.json["definition"]["customInstructions"] == "Be formal."
    assert updated.json["definition"]["name"] == "Jim"
    assert (await api.ask("POST", f"{path}/publish", ann)).json["revision"] == 3


async def test_a_draft_is_of_whom_the_key_names_and_naming_another_person_opens_nothing(
    api: Client,
) -> None:
    await agent(api, "joe")
    path = f"{AGENTS}/joe/draft"
    cid, team = await api.make_key(**ENGINEER, user="cid"), await api.make_key(**ENGINEER)
    put = await api.ask("PUT", path, cid, json={"name": "Joe", "customInstructions": "Sing."})
    assert put.status == 200
    for method, to in (("GET", path), ("DELETE", path), ("POST", f"{path}/publish")):
        assert (await api.ask(method, to, team)).status == 404
        assert (await api.ask(method, f"{to}?user_id=cid", team)).status == 403
    manager = await api.make_key(role="instance_admin", user="may")
    assert (await api.ask("PATCH", path, manager, json={"name": "X"})).status == 403
    assert (await api.ask("DELETE", path, cid)).status == 204
    assert (await api.ask("DELETE", path, cid)).status == 404


async def test_a_draft_of_a_new_agent_is_put_and_what_the_file_owns_has_none(api: Client) -> None:
    dan = await api.make_key(**ENGINEER, user="dan")
    owned = await patch(api, "owned", {"name": "Mine"}, dan)
    assert (owned.status, owned.json["type"]) == (409, "urn:switchboard:problem:owned")
    assert owned.json["place"].startswith("agents.json:")
    path = f"{AGENTS}/newcomer/draft"
    assert (await patch(api, "newcomer", {"name": "New"}, dan)).status == 404
    made = await api.ask("PUT", path, dan, json={"name": "New"})
    assert (made.status, made.json["base"]) == (200, None)
    other = await api.ask("PUT", path, dan, json={"id": "else", "name": "New"})
    assert other.status == 422
    assert (await api.ask("POST", f"{path}/publish", dan)).json["revision"] == 1
