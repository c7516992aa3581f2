"""Agents, bindings and the default agent over HTTP: revisions, ETags, differences, restores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from bot.app import App
from simulators.telegram.people import Bot, Person
from simulators.testing.valkey import Valkey, running_valkey
from tests.host.stage import Stage, staged, until
from tests.http.api import OPERATOR, ApiAnswer, Client, api_host, client_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENTS = "/api/v1/registry/agents"
BINDINGS = "/api/v1/registry/bindings"
DEFAULT = "/api/v1/registry/default"
POET = {"name": "Poet", "mcpServerEndpoints": [], "customInstructions": "Answer in rhymes."}
WHY: dict[str, Any] = {"Change_Reason": "a test"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One host for all tests of this module; its file has one agent, `owned`."""
    async with staged(tmp_path_factory.mktemp("documents")) as stage:
        secret = {"url": "http://127.0.0.1:9/mcp", "headers": {"X-Mode": "plain"}}
        owned = {"id": "owned", "name": "Owned", "mcpServers": {"desk": secret}}
        stage.agents["agents"].append(owned)
        async with api_host(stage) as client:
            yield client


async def put(api: Client, agent_id: str, agent: dict[str, Any], **headers: Any) -> ApiAnswer:
    return await api.ask("PUT", f"{AGENTS}/{agent_id}", json=agent, **headers)


async def edited(api: Client, agent_id: str) -> list[str]:
    """An agent that was created and edited three times; the hashes of its four revisions."""
    hashes = []
    for text in ("Answer in rhymes.", "Answer in prose.", "Answer in short prose."):
        hashes.append((await put(api, agent_id, {**POET, "customInstructions": text})).json["hash"])
    last = {**POET, "customInstructions": text, "llmOverrides": {"maxTokens": 500}}
    return [*hashes, (await put(api, agent_id, last)).json["hash"]]


# --- agents ---------------------------------------------------------------------------------------


async def test_a_put_creates_an_agent_with_201_and_changes_it_with_200(api: Client) -> None:
    made = await put(api, "poet", POET, Change_Reason="we need one", Change_Ticket="OPS-1")
    assert made.status == 201
    assert made.headers["Location"] == f"{AGENTS}/poet"
    assert made.json["definition"] == {"id": "poet", **POET}
    assert (made.json["revision"], made.json["read_only"]) == (1, False)
    shown = await api.get(made.headers["Location"])
    assert (shown.status, shown.json, shown.headers["ETag"]) == (
        200,
        made.json,
        f'"{made.json["hash"]}"',
    )
    changed = await put(api, "poet", {**POET, "id": "poet", "name": "Bard"})
    assert (changed.status, changed.json["revision"]) == (200, 2)
    assert "Location" not in changed.headers
    assert (await put(api, "poet", {**POET, "name": "Bard"})).json["revision"] == 2
    history = (await api.get(f"{AGENTS}/poet/history")).json["revisions"]
    assert [(one["number"], one["reason"], one["ticket"]) for one in history] == [
        (2, None, None),
        (1, "we need one", "OPS-1"),
    ]
    assert {one["by"] for one in history} == {"api:default:env0"}
    assert {one["via"] for one in history} == {"http"}


async def test_three_edits_are_four_revisions_a_diff_names_what_changed_and_the_first_comes_back(
    api: Client,
) -> None:
    hashes = await edited(api, "story")
    history = await api.get(f"{AGENTS}/story/history")
    assert [one["number"] for one in history.json["revisions"]] == [4, 3, 2, 1]
    assert [one["hash"] for one in history.json["revisions"]] == hashes[::-1]
    diff = (await api.get(f"{AGENTS}/story/diff?from=1&to=3")).json
    assert (diff["from"]["number"], diff["to"]["number"]) == (1, 3)
    assert diff["sections"] == {
        "text": [
            {
                "field": "customInstructions",
                "section": "text",
                "old": "Answer in rhymes.",
                "new": "Answer in short prose.",
                "words": [
                    ["=", "Answer in "],
                    ["-", "rhymes"],
                    ["+", "short prose"],
                    ["=", "."],
                ],
            }
        ]
    }
    newest = (await api.get(f"{AGENTS}/story/diff")).json
    assert newest["from"]["number"] == 3
    assert [(s, c["field"]) for s, them in newest["sections"].items() for c in them] == [
        ("model", "llmOverrides")
    ]
    body = {"revision": 1, "reason": "it was better", "ticket": "OPS-2"}
    restored = await api.ask("POST", f"{AGENTS}/story/restore", json=body)
    assert (restored.status, restored.json["revision"]) == (200, 5)
    assert restored.json["hash"] == hashes[0]
    assert (await api.get(f"{AGENTS}/story")).json == restored.json
    newest = (await api.get(f"{AGENTS}/story/history")).json["revisions"][0]
    assert (newest["number"], newest["reason"], newest["ticket"]) == (5, "it was better", "OPS-2")


async def test_a_history_comes_in_pages_whose_cursor_opens_no_other_list(api: Client) -> None:
    await edited(api, "paged")
    await edited(api, "other")
    path, found = f"{AGENTS}/paged/history?limit=3", []
    page = (await api.get(path)).json
    while page["next"]:
        found += page["revisions"]
        assert (await api.get(f"{AGENTS}/other/history?cursor={page['next']}")).status == 422
        page = (await api.get(f"{path}&cursor={page['next']}")).json
    assert [one["number"] for one in [*found, *page["revisions"]]] == [4, 3, 2, 1]


async def test_a_deleted_agent_is_404_keeps_its_history_and_comes_back(api: Client) -> None:
    await put(api, "gone", POET)
    assert (await api.ask("DELETE", f"{AGENTS}/gone")).status == 204
    missing = await api.get(f"{AGENTS}/gone")
    assert (missing.status, missing.body) == (404, (await api.get(f"{AGENTS}/never")).body)
    assert (await api.ask("DELETE", f"{AGENTS}/gone")).status == 404
    history = (await api.get(f"{AGENTS}/gone/history")).json["revisions"]
    assert [one["deleted"] for one in history] == [True, False]
    back = await api.ask("POST", f"{AGENTS}/gone/restore", json={"revision": 1})
    assert (back.status, back.json["definition"]["name"]) == (200, "Poet")
    again = await api.ask("POST", f"{AGENTS}/gone/restore", json={"revision": 2})
    assert (again.json["definition"], again.json["hash"]) == (None, None)
    assert (await api.get(f"{AGENTS}/gone")).status == 404
    for path in ("/history", "/diff"):
        assert (await api.get(f"{AGENTS}/never{path}")).body == missing.body
    no = await api.ask("POST", f"{AGENTS}/gone/restore", json={"revision": 9})
    assert no.status == 404


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"name": "X", "customInstruction": "y"}, ("customInstruction", "customInstructions")),
        ({"name": ""}, ("name", "")),
        ({}, ("name", "add")),
        ({"id": "other", "name": "X"}, ("id", "leave it out")),
        ({"name": "X", "mcpServers": ["nowhere"]}, ("mcpServers[0]", "define it")),
        ({"name": "X", "customInstructions": "sk-ant-api03-" + "a1B2" * 12}, ("customInst", "")),
        ({"name": "X", "mcpServers": {"a": {"command": "rm"}}}, ("mcpServers.a", "")),
    ],
)
async def test_every_problem_of_an_agent_comes_back_with_field_message_and_cure(
    api: Client, body: dict[str, Any], problem: tuple[str, str]
) -> None:
    refused = await put(api, "wrong", {**body, "llmOverrides": {"maxTokens": 0}})
    assert refused.status == 422
    assert refused.headers["Content-Type"] == "application/problem+json"
    found = refused.json["problems"]
    if problem[0] != "id":
        assert "llmOverrides.maxTokens" in {one["field"] for one in found}
    (own,) = [one for one in found if one["field"].startswith(problem[0])][:1]
    assert own["message"]
    assert problem[1] in own.get("cure", "")
    assert b"a1B2" not in refused.body
    assert (await api.get(f"{AGENTS}/wrong/history")).status == 404


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b'"jack"', b"\xff\xfe", b'{"name": "X", "name": "Y"}', b"[" * 20_000],
)
async def test_what_is_no_json_object_is_refused_with_a_word(api: Client, data: bytes) -> None:
    for path in (f"{AGENTS}/x", f"{BINDINGS}/chatid:5", DEFAULT):
        refused = await api.ask("PUT", path, data=data, **WHY)
        assert refused.status == 422, (path, refused.body)


async def test_an_agent_of_the_file_is_shown_and_changed_only_there(api: Client) -> None:
    shown = (await api.get(f"{AGENTS}/owned")).json
    assert (shown["read_only"], shown["place"].split(":")[0]) == (True, "agents.json")
    assert shown["revision"] == 1
    body = {"revision": 1}
    tries = [
        await put(api, "owned", POET),
        await api.ask("DELETE", f"{AGENTS}/owned"),
    ]
    for refused in tries:
        assert refused.status == 409
        assert refused.json["type"].endswith(":owned")
        assert refused.json["place"] == shown["place"]
        assert str(shown["place"]) in refused.json["detail"]
    assert (await api.ask("POST", f"{AGENTS}/owned/restore", json=body)).status == 409


async def test_a_list_of_agents_comes_in_pages_and_a_narrow_key_sees_its_own(api: Client) -> None:
    for agent_id in ("list-a", "list-b", "list-c"):
        await put(api, agent_id, POET)
    found, cursor = [], ""
    while True:
        page = (await api.get(f"{AGENTS}?limit=2{cursor}")).json
        assert len(page["agents"]) <= 2
        found += [one["id"] for one in page["agents"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert found == sorted(api.host.catalog.snapshot().agents)
    narrow = await api.make_key(agent="list-b", role="instance_admin")
    listed = (await api.get(AGENTS, narrow)).json
    assert [one["id"] for one in listed["agents"]] == ["list-b"]
    assert (await api.get(f"{AGENTS}/list-b", narrow)).status == 200
    missing = await api.get(f"{AGENTS}/list-a", narrow)
    assert (missing.status, missing.body) == (404, (await api.get(f"{AGENTS}/never")).body)
    for path in (BINDINGS, DEFAULT, "/api/v1/keys", "/api/v1/roles"):
        assert (await api.get(path, narrow)).status == 403, path
    more = await api.ask("POST", "/api/v1/keys", narrow, json={"role": "instance_admin"})
    assert more.status == 403


# --- If-Match -------------------------------------------------------------------------------------


async def test_a_stale_if_match_is_409_with_what_changed_meanwhile(api: Client) -> None:
    first, *_, last = await edited(api, "stale")
    refused = await put(api, "stale", {**POET, "name": "Mine"}, If_Match=f'"{first}"')
    assert (refused.status, refused.json["current"]) == (409, last)
    assert [one["field"] for one in refused.json["changes"]] == [
        "customInstructions",
        "llmOverrides",
    ]
    assert ["+", "short prose"] in refused.json["changes"][0]["words"]
    gone = await api.ask("DELETE", f"{AGENTS}/stale", If_Match=f'"{first}"')
    assert (gone.status, gone.json["changes"]) == (409, refused.json["changes"])
    body = {"revision": 1}
    restored = await api.ask("POST", f"{AGENTS}/stale/restore", json=body, If_Match=f'"{first}"')
    assert restored.status == 409
    assert (await api.get(f"{AGENTS}/stale")).json["hash"] == last
    for number, form in enumerate(('"{}"', 'W/"{}", "other"', '"other", "{}"', "{}", "*")):
        mine = {**POET, "name": f"Mine {number}"}
        changed = await put(api, "stale", mine, If_Match=form.format(last))
        assert (changed.status, changed.json["definition"]["name"]) == (200, mine["name"]), form
        last = changed.json["hash"]
    unborn = await put(api, "unborn", POET, If_Match=f'"{first}"')
    assert (unborn.status, unborn.json["current"]) == (409, None)
    assert (await put(api, "stale", POET, If_Match="")).status == 409


async def test_of_two_writers_with_one_if_match_exactly_one_wins_fifty_times(api: Client) -> None:
    shown = await put(api, "raced", POET)
    etag = shown.headers["ETag"]
    for number in range(50):
        names = [f"Left {number}", f"Right {number}"]
        both = await asyncio.gather(
            *(put(api, "raced", {**POET, "name": name}, If_Match=etag) for name in names)
        )
        assert sorted(one.status for one in both) == [200, 409], number
        won = next(one for one in both if one.status == 200)
        lost = next(one for one in both if one.status == 409)
        assert lost.json["current"] == won.json["hash"]
        assert [one["new"] for one in lost.json["changes"]] == [won.json["definition"]["name"]]
        shown = await api.get(f"{AGENTS}/raced")
        assert shown.json == won.json
        etag = won.headers["ETag"]
    assert shown.json["revision"] == 51


async def test_without_if_match_the_last_writer_wins_and_both_are_in_the_history(
    api: Client,
) -> None:
    await put(api, "free", POET)
    names = [f"Writer {number}" for number in range(10)]
    answers = await asyncio.gather(*(put(api, "free", {**POET, "name": name}) for name in names))
    assert {one.status for one in answers} == {200}
    assert sorted(one.json["revision"] for one in answers) == [*range(2, 12)]
    last = max(answers, key=lambda one: int(one.json["revision"]))
    assert (await api.get(f"{AGENTS}/free")).json == last.json
    history = (await api.get(f"{AGENTS}/free/history")).json["revisions"]
    assert {one["by"] for one in history} == {"api:default:env0"}


# --- bindings and the default agent ---------------------------------------------------------------


async def test_bindings_are_documents_like_agents(api: Client) -> None:
    await put(api, "bound", POET)
    await put(api, "second", POET)
    slot = "chatid:-100:bot:@demobot"
    path = f"{BINDINGS}/{quote(slot, safe='')}"
    assert (await api.get(path)).status == 404
    made = await api.ask("PUT", path, json={"agentId": "bound"}, **WHY)
    assert (made.status, made.headers["Location"]) == (201, path)
    assert made.json["binding"] == {
        "agentId": "bound",
        "type": "ChatId",
        "bindingKey": "-100",
        "bot": "@demobot",
    }
    assert (await api.get(path)).json == made.json
    other_case = f"{BINDINGS}/{quote('ChatId:-0100:bot:@DemoBot', safe='')}"
    assert (await api.get(other_case)).json["slot"] == slot
    whole = {"agentId": "second", "type": "ChatId", "bindingKey": -100, "bot": "@demobot"}
    changed = await api.ask("PUT", path, json=whole, If_Match=made.headers["ETag"], **WHY)
    assert (changed.status, changed.json["revision"]) == (200, 2)
    stale = await api.ask("PUT", path, json=whole, If_Match=made.headers["ETag"], **WHY)
    assert stale.status == 409
    assert [(one["old"], one["new"]) for one in stale.json["changes"]] == [("bound", "second")]
    elsewhere = await api.ask("PUT", path, json={**whole, "bindingKey": "7"}, **WHY)
    assert elsewhere.status == 422
    unknown = await api.ask("PUT", path, json={"agentId": "nobody"}, **WHY)
    assert unknown.json["problems"][0]["field"] == "agentId"
    listed = (await api.get(BINDINGS)).json["bindings"]
    assert [one["slot"] for one in listed if one["active"]] == [slot]
    diff = (await api.get(f"{path}/diff")).json
    assert diff["sections"]["other"][0]["field"] == "agentId"
    back = await api.ask("POST", f"{path}/restore", json={"revision": 1, "reason": "it was right"})
    assert (back.status, back.json["binding"]["agentId"]) == (200, "bound")
    assert (await api.ask("DELETE", path, **WHY)).status == 204
    assert (await api.get(path)).status == 404
    revisions = (await api.get(f"{path}/history")).json["revisions"]
    assert [(one["number"], one["deleted"]) for one in revisions] == [
        (4, True),
        (3, False),
        (2, False),
        (1, False),
    ]


@pytest.mark.parametrize("slot", ["nothing", "chatid:x", "chatid:1:bot:", "userid:-5", "a:b:c"])
async def test_a_slot_that_binds_nothing_is_404_and_not_written(api: Client, slot: str) -> None:
    path = f"{BINDINGS}/{quote(slot, safe='')}"
    assert (await api.get(path)).status == 404
    await put(api, "bound", POET)
    refused = await api.ask("PUT", path, json={"agentId": "bound"}, **WHY)
    assert (refused.status, refused.headers["Content-Type"]) == (422, "application/problem+json")


async def test_the_default_agent_is_a_document_too(api: Client) -> None:
    await put(api, "first", POET)
    await put(api, "then", POET)
    only = (await api.get(DEFAULT)).json  # the one agent of the file
    assert (only["agent_id"], only["hash"], only["revision"]) == ("owned", None, None)
    made = await api.ask("PUT", DEFAULT, json={"agent_id": "first"}, **WHY)
    assert (made.status, made.json["revision"]) == (201, 1)
    assert (await api.get(DEFAULT)).json == made.json
    changed = await api.ask("PUT", DEFAULT, json={"agentId": "then"}, **WHY)
    assert (changed.status, changed.json["agent_id"]) == (200, "then")
    assert (await api.ask("PUT", DEFAULT, json={"agent_id": "nobody"}, **WHY)).status == 422
    stale = await api.ask(
        "PUT", DEFAULT, json={"agent_id": "first"}, If_Match=made.headers["ETag"], **WHY
    )
    assert (stale.status, stale.json["changes"][0]["new"]) == (409, "then")
    words = (await api.get(f"{DEFAULT}/diff?from=1&to=2")).json["sections"]["other"][0]["words"]
    assert words == [["-", "first"], ["+", "then"]]
    body = {"revision": 1, "ticket": "OPS-3"}
    back = await api.ask("POST", f"{DEFAULT}/restore", json=body)
    assert (back.status, back.json["agent_id"]) == (200, "first")
    assert api.host.catalog.snapshot().default == "first"
    assert (await api.ask("DELETE", DEFAULT, **WHY)).status == 204
    assert (await api.ask("DELETE", DEFAULT, **WHY)).status == 404


async def test_an_engineer_says_why_a_binding_is_changed_and_an_admin_of_it_need_not(
    api: Client,
) -> None:
    await put(api, "bound", POET)
    path, body = f"{BINDINGS}/chatid:77", {"agentId": "bound"}
    refused = await api.ask("PUT", path, json=body)
    assert (refused.status, refused.json["type"]) == (
        403,
        "urn:switchboard:problem:reason-missing",
    )
    assert refused.json["detail"].endswith("send the header Change-Reason or Change-Ticket.")
    assert (await api.ask("PUT", path, json=body, Change_Ticket="OPS-9")).status == 201
    admin = await api.make_key(role="instance_admin")
    assert (await api.ask("PUT", path, admin, json=body)).status == 200
    assert (await api.ask("PUT", f"{AGENTS}/bound", admin, json=POET)).status == 403
    manager = await api.make_key(role="instance_manager")
    assert (await api.get(path, manager)).status == 200
    for method, more in (("PUT", ""), ("DELETE", ""), ("POST", "/restore")):
        sent = {"revision": 1} if more else body
        assert (await api.ask(method, path + more, manager, json=sent)).status == 403, method
    foreign = await api.make_key(role="instance_admin", account="acme")
    assert (await api.get(path, foreign)).status == 403
    assert (await api.ask("PUT", path, foreign, json=body)).status == 403
    assert (await api.get(f"{AGENTS}/bound", foreign)).status == 200


# --- two replicas ---------------------------------------------------------------------------------


async def test_a_chat_on_either_replica_answers_by_a_restored_agent_within_a_second(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage, running_valkey(tmp_path / "v") as valkey:
        bots, ann = [stage.add_bot("One"), stage.add_bot("Two")], stage.person("Ann")
        stage.script.on("a rhyme", system="Answer in rhymes.", again=True)
        stage.script.on("a story", system="short prose", again=True)
        async with two_replicas(stage, valkey) as (left, right):
            hashes = await edited(left, "poet")
            sent = {"agent_id": "poet"}
            assert (await right.ask("PUT", DEFAULT, json=sent, **WHY)).status == 201
            await until(lambda: len(_served(left.host)) == len(_served(right.host)) == 1)
            assert await _answers(stage, ann, bots) == ["a story", "a story"]
            body, began = {"revision": 1}, time.monotonic()
            back = await left.ask("POST", f"{AGENTS}/poet/restore", json=body)
            assert back.json["hash"] == hashes[0]
            for one in (left, right):
                held = lambda s: s.agents["poet"].revision == hashes[0]  # noqa: E731
                await one.host.catalog.until(held)
            assert time.monotonic() - began < 1
            assert await _answers(stage, ann, bots) == ["a rhyme", "a rhyme"]
            shown = [(await one.get(f"{AGENTS}/poet")).json for one in (left, right)]
            assert shown[0] == shown[1] == back.json


def _served(host: App) -> set[str]:
    return host.fleet.active_lines()


async def _answers(stage: Stage, person: Person, bots: list[Bot]) -> list[str]:
    """What each of the bots says now."""
    return [
        await stage.ask(person, stage.world.private(person, bot), bot, "and you?") for bot in bots
    ]


@asynccontextmanager
async def two_replicas(stage: Stage, valkey: Valkey) -> AsyncIterator[tuple[Client, Client]]:
    """Two hosts on one store."""
    words = {**OPERATOR, "REDIS_URL": valkey.url, "SWEEP_SECONDS": "0.2"}
    folders = [str(stage.folder / name) for name in ("left", "right")]
    async with (
        stage.host(**words, DATA_DIR=folders[0]) as left,
        stage.host(**words, DATA_DIR=folders[1]) as right,
        client_of(left) as one,
        client_of(right) as two,
    ):
        yield one, two
