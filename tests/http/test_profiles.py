"""Profiles and model configurations over HTTP: made, compared, restored, kept while in use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from registry.profile import NamedLlmConfig, Profile
from tests.host.stage import staged, until
from tests.http.api import ApiAnswer, Client, api_host

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROFILES, CONFIGS = "/api/v1/profiles", "/api/v1/llm-configs"
AGENTS = "/api/v1/registry/agents"
WAITER: dict[str, Any] = {
    "type": "partner",
    "flow_decider": [
        {"id": "wait", "condition": "True", "action": {"type": "await_user_input"}},
    ],
}
FILED = 'name: "Filed"\ntype: "principal"\n'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One host for all tests of this module; one profile is in a file."""
    async with staged(tmp_path_factory.mktemp("profiles")) as stage:
        folder = stage.folder / "agent_profiles"
        (folder / "profiles").mkdir(parents=True)
        (folder / "profiles" / "filed.yaml").write_text(FILED)
        async with api_host(stage, AGENT_PROFILES_DIR=str(folder)) as client:
            yield client


async def put(api: Client, path: str, body: dict[str, Any], **headers: Any) -> ApiAnswer:
    return await api.ask("PUT", path, json=body, **headers)


async def test_a_profile_is_made_changed_compared_and_brought_back(api: Client) -> None:
    path = f"{PROFILES}/Waiter"
    made = await put(api, path, WAITER, Change_Reason="we need one", Change_Ticket="OPS-1")
    assert (made.status, made.headers["Location"]) == (201, path)
    assert made.json["profile"] == {"name": "Waiter", **WAITER}
    assert (made.json["revision"], made.json["owner"], made.json["read_only"]) == (
        1,
        "store",
        False,
    )
    assert made.json["place"] == "agent:profile:Waiter"
    shown = await api.get(path)
    assert (shown.status, shown.json, shown.headers["ETag"]) == (
        200,
        made.json,
        f'"{made.json["hash"]}"',
    )
    changed = await put(api, path, {**WAITER, "name": "Waiter", "type": "waiter"})
    assert (changed.status, changed.json["revision"]) == (200, 2)
    assert (await put(api, path, {**WAITER, "type": "waiter"})).json["revision"] == 2
    stale = await put(api, path, WAITER, If_Match=made.headers["ETag"])
    assert (stale.status, [one["field"] for one in stale.json["changes"]]) == (409, ["type"])
    diff = (await api.get(f"{path}/diff?from=1&to=2")).json
    assert [one["field"] for them in diff["sections"].values() for one in them] == ["type"]
    body = {"revision": 1, "reason": "it was better"}
    back = await api.ask("POST", f"{path}/restore", json=body)
    assert (back.status, back.json["revision"], back.json["profile"]["type"]) == (200, 3, "partner")
    history = (await api.get(f"{path}/history")).json["revisions"]
    assert [(one["number"], one["reason"]) for one in history] == [
        (3, "it was better"),
        (2, None),
        (1, "we need one"),
    ]
    audit = (await api.get("/api/v1/instance/default/tuning/audit?entity=Waiter&limit=5")).json
    assert {one["action"] for one in audit["entries"]} >= {"write profile", "restore profile"}
    assert (await api.get(f"{PROFILES}/waiter")).status == 404  # another name


async def test_what_something_refers_to_is_kept_and_the_answer_says_by_what(api: Client) -> None:
    quick = await put(api, f"{CONFIGS}/quick", {"model": "claude-haiku-4-5", "temperature": 0.2})
    assert (quick.status, quick.json["llm_config"]["temperature"]) == (201, 0.2)
    assert quick.json["used_by"] == []
    used = {**WAITER, "llm_config_ref": "quick"}
    assert (await put(api, f"{PROFILES}/Used", used)).status == 201
    agent = {"name": "User", "mcpServerEndpoints": [], "profile": "Used"}
    assert (await put(api, f"{AGENTS}/user", agent)).status == 201
    assert (await api.get(f"{CONFIGS}/quick")).json["used_by"] == ["Used"]
    assert (await api.get(f"{PROFILES}/Used")).json["used_by"] == ["user"]
    for path, who in ((f"{CONFIGS}/quick", "profile Used"), (f"{PROFILES}/Used", "agent user")):
        kept = await api.ask("DELETE", path)
        assert (kept.status, kept.json["type"]) == (409, "urn:switchboard:problem:in-use")
        assert f"is used by {who}" in kept.json["detail"]
    without = {**agent, "profile": None}
    del without["profile"]
    assert (await put(api, f"{AGENTS}/user", without)).status == 200
    await until(lambda: api.host.catalog.get_agent("user").profile is None)  # type: ignore[union-attr]
    for path in (f"{PROFILES}/Used", f"{CONFIGS}/quick"):
        assert (await api.ask("DELETE", path)).status == 204
        assert (await api.get(path)).status == 404
        assert (await api.ask("DELETE", path)).status == 404
    back = await api.ask("POST", f"{PROFILES}/Used/restore", json={"revision": 1})
    assert back.status == 422  # what it refers to is gone
    assert "there is no model configuration 'quick'" in back.json["problems"][0]["message"]


async def test_a_name_that_nothing_has_is_refused_with_those_that_there_are(api: Client) -> None:
    await put(api, f"{PROFILES}/Known", WAITER)
    agent = {"name": "Lost", "mcpServerEndpoints": [], "profile": "Knwon"}
    lost = await put(api, f"{AGENTS}/lost", agent)
    assert lost.status == 422
    (problem,) = lost.json["problems"]
    assert (problem["field"], problem["cure"]) == ("profile", "did you mean Known?")
    assert (await api.get(f"{AGENTS}/lost")).status == 404
    odd = await put(api, f"{PROFILES}/Odd", {**WAITER, "llm_config_ref": "nowhere"})
    assert (odd.status, odd.json["problems"][0]["field"]) == (422, "llm_config_ref")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"nam": "X"}, "nam"),
        ({"name": "Other"}, "name"),
        ({"pre_turn_observers": [{"id": "a", "condition": "v.x"}]}, "pre_turn_observers[0]"),
        ({"flow_decider": [{**WAITER["flow_decider"][0], "id": "a b"}]}, "flow_decider[0].id"),
        ({"flow_decider": WAITER["flow_decider"] * 2}, "flow_decider[1].id"),
        ({"flow_decider": [{**WAITER["flow_decider"][0], "condition": 1}]}, "flow_decider[0]"),
        ({"text_definitions": {"a": "sk-ant-api03-" + "a1B2" * 12}}, "text_definitions.a"),
    ],
)
async def test_every_mistake_of_a_profile_comes_back_with_its_field(
    api: Client, body: dict[str, Any], field: str
) -> None:
    refused = await put(api, f"{PROFILES}/Wrong", body)
    assert (refused.status, refused.json["type"].rpartition(":")[2]) == (422, "invalid-document")
    fields = [one["field"] for one in refused.json["problems"]]
    assert any(one.startswith(field) for one in fields), fields
    assert all(one["message"] and one["cure"] for one in refused.json["problems"])
    needed = [one["cure"] for one in refused.json["problems"] if "condition" in one["field"]]
    assert not any("leave it out" in cure for cure in needed)
    assert b"a1B2" not in refused.body
    assert (await api.get(f"{PROFILES}/Wrong")).status == 404


async def test_the_profile_of_a_file_is_shown_and_changed_only_there(api: Client) -> None:
    shown = (await api.get(f"{PROFILES}/Filed")).json
    assert (shown["owner"], shown["place"], shown["read_only"]) == ("file", "filed.yaml:1", True)
    assert shown["profile"] == {"name": "Filed", "type": "principal"}
    for refused in (
        await put(api, f"{PROFILES}/Filed", WAITER),
        await api.ask("DELETE", f"{PROFILES}/Filed"),
    ):
        assert (refused.status, refused.json["type"].rpartition(":")[2]) == (409, "owned")
        assert "filed.yaml" in refused.json["place"]
        assert "/" not in refused.json["place"]


async def test_what_nobody_here_wrote_has_no_versions_and_the_answer_says_why(api: Client) -> None:
    packaged = {f"{PROFILES}/Partner": "profile 'Partner'"}
    for path, name in packaged.items():
        restore = await api.ask("POST", f"{path}/restore", json={"revision": 1})
        for refused in (await api.get(f"{path}/history"), await api.get(f"{path}/diff"), restore):
            assert (refused.status, refused.json["type"].rpartition(":")[2]) == (404, "no-revision")
            said = f"{name.capitalize()[:1]}{name[1:]} comes with the package and has no versions"
            assert refused.json["detail"].startswith(said)
    unknown = await api.get(f"{PROFILES}/Nobody/history")
    assert unknown.json["type"].endswith("not-found")


async def test_a_restore_of_a_version_that_does_not_exist_says_which_there_are(api: Client) -> None:
    await put(api, f"{PROFILES}/Twice", WAITER)
    await put(api, f"{PROFILES}/Twice", {**WAITER, "type": "x"})
    refused = await api.ask("POST", f"{PROFILES}/Twice/restore", json={"revision": 9})
    assert (refused.status, refused.json["type"].rpartition(":")[2]) == (404, "no-revision")
    assert refused.json["detail"] == "Profile 'Twice' has no revision 9; there are 1 to 2."
    nobody = await api.ask("POST", f"{PROFILES}/Nobody/restore", json={"revision": 9})
    assert nobody.json["type"].endswith("not-found")


async def test_an_agent_in_force_shows_its_own_words_and_whose_segments_build_its_prompt(
    api: Client,
) -> None:
    agent = {"name": "Own", "customInstructions": "Speak in verse.", "profile": "Partner"}
    assert (await put(api, f"{AGENTS}/own", agent)).status == 201
    shown = (await api.get(f"{AGENTS}/own?effective=true")).json["effective"]
    assert shown["customInstructions"] == {
        "value": "Speak in verse.",
        "layer": "L1",
        "origin": "agent:definition:own",
    }
    segments = shown["segments"]
    assert (segments["value"]["profile"], segments["origin"]) == ("Partner", "the package")
    assert segments["value"]["count"] > 1


async def test_lists_come_in_pages_and_say_who_uses_each(api: Client) -> None:
    for name in ("List_A", "List_B", "List-C"):
        await put(api, f"{PROFILES}/{name}", WAITER)
    await put(api, f"{AGENTS}/lister", {"name": "L", "profile": "List_B"})
    found, cursor = [], ""
    while True:
        page = (await api.get(f"{PROFILES}?limit=2{cursor}")).json
        found += page["profiles"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
        assert (await api.get(f"{CONFIGS}?cursor={page['next']}")).status == 422
    assert [one["name"] for one in found] == sorted(
        api.host.catalog.snapshot().all_profiles.profiles
    )
    (used,) = [one for one in found if one["name"] == "List_B"]
    assert (used["used_by"], used["type"], used["owner"]) == (["lister"], "partner", "store")
    assert (await api.get(CONFIGS)).json["llm_configs"] == []


async def test_a_key_of_one_agent_and_an_account_without_the_host_change_no_profile(
    api: Client,
) -> None:
    await put(api, f"{PROFILES}/Guarded", WAITER)
    narrow = await api.make_key(role="spokestack_engineer", scope="host", agent="jack")
    admin = await api.make_key(account="acme", role="instance_admin")
    for path in (PROFILES, f"{PROFILES}/Guarded", f"{PROFILES}/Guarded/history", CONFIGS):
        assert (await api.get(path, narrow)).status == 403, path
        assert (await api.get(path, admin)).status == 200, path
    for key in (narrow, admin):
        assert (await api.ask("PUT", f"{PROFILES}/Guarded", key, json={})).status == 403
        assert (await api.ask("DELETE", f"{PROFILES}/Guarded", key)).status == 403
        body = {"revision": 1}
        restored = await api.ask("POST", f"{PROFILES}/Guarded/restore", key, json=body)
        assert restored.status == 403
    assert (await api.get(f"{PROFILES}/Guarded")).json["revision"] == 1


async def test_the_document_of_the_api_has_both_models_and_examples_that_are_valid(
    api: Client,
) -> None:
    document = (await api.get("/openapi.json")).json
    for path, model in ((PROFILES, Profile), (CONFIGS, NamedLlmConfig)):
        operation = document["paths"][f"{path}/{{name}}"]["put"]
        (media,) = operation["requestBody"]["content"].values()
        name = media["schema"]["$ref"].rpartition("/")[2]
        assert name in document["components"]["schemas"]
        model.model_validate({"name": "Example", **media["example"]})
