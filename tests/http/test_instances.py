"""Agent instances of accounts over HTTP: made, changed, compared, restored, by those who may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from registry.snapshot import Snapshot
from simulators.testing.valkey import running_valkey
from tests.host.stage import Stage, staged, until
from tests.http.api import ApiAnswer, Client, api_host
from tests.http.test_documents import two_replicas

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEMPLATES = "/api/v1/agent-templates"
SMB: dict[str, Any] = {
    "agent_type": "sales_agent",
    "llm": {"temperature": 0.8, "max_tokens": 2000},
    "tools": {"crm": {"enabled": True}},
    "context_management": {"history_limit": 10},
    "description": "Sells to small shops.",
}
ENTERPRISE = """\
agent_type: sales_agent
account: acme
instance_name: sales-enterprise
llm:
  temperature: 0.5
"""


def path(name: str, account: str = "acme") -> str:
    return f"/accounts/{account}/agents/{name}"


def write(stage: Stage, id: str, text: str) -> None:
    file = stage.folder / "configs" / id / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def with_folders(stage: Stage) -> dict[str, str]:
    """Settings for a host whose instances and templates are in the folder of the stage."""
    (stage.folder / "templates").mkdir(exist_ok=True)
    folders = {"AGENT_CONFIGS_DIR": "configs", "AGENT_TEMPLATES_DIR": "templates"}
    return {name: str(stage.folder / folder) for name, folder in folders.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One host for all tests of this module; a file has `acme/sales-enterprise`."""
    async with staged(tmp_path_factory.mktemp("instances")) as stage:
        write(stage, "acme/sales-enterprise", ENTERPRISE)
        folders = with_folders(stage)
        own = "agent_type: sales_agent\naccount: a\ninstance_name: b\nllm: {temperature: 0.2}\n"
        (stage.folder / "templates/house-sales.yaml").write_text(f"{own}description: Ours.\n")
        (stage.folder / "templates/broken.yaml").write_text("agent_type: [\n")
        async with api_host(stage, MODELS__ALLOWED="small-model", **folders) as client:
            yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(api: Client) -> str:
    """A key of an admin of acme."""
    return await api.make_key(account="acme", role="instance_admin", user="ann")


async def put(api: Client, key: str, name: str, body: Any = SMB, **headers: Any) -> ApiAnswer:
    return await api.ask("PUT", path(name), key, json=body, **headers)


async def test_an_instance_is_created_with_201_changed_with_200_and_shown(
    api: Client, admin: str
) -> None:
    made = await put(api, admin, "sales-smb", Change_Reason="we sell to shops")
    assert (made.status, made.headers["Location"]) == (201, path("sales-smb"))
    assert made.json["instance"] == {"account": "acme", "instance_name": "sales-smb", **SMB}
    shown = await api.get(path("sales-smb"), admin)
    assert (shown.status, shown.json) == (200, made.json)
    assert shown.headers["ETag"] == f'"{made.json["hash"]}"'
    written = {name: shown.json[name] for name in ("id", "revision", "owner", "place", "read_only")}
    assert written == {
        "id": "acme/sales-smb",
        "revision": 1,
        "owner": "store",
        "place": "agent:instance:acme/sales-smb",
        "read_only": False,
    }
    whole = {**SMB, "account": "acme", "instance_name": "sales-smb", "name": "Small shops"}
    changed = await put(api, admin, "sales-smb", whole, If_Match=shown.headers["ETag"])
    assert (changed.status, changed.json["revision"]) == (200, 2)
    assert (await put(api, admin, "sales-smb", whole)).json["revision"] == 2
    stale = await put(api, admin, "sales-smb", SMB, If_Match=shown.headers["ETag"])
    assert (stale.status, stale.json["current"]) == (409, changed.json["hash"])
    assert [(one["field"], one["new"]) for one in stale.json["changes"]] == [
        ("name", "Small shops")
    ]


async def test_a_patch_changes_the_given_fields_and_no_other(api: Client, admin: str) -> None:
    await put(api, admin, "patched")
    change = {"llm": {"temperature": 0.3}, "tools": {"crm": None, "email": {"enabled": True}}}
    patched = await api.ask("PATCH", path("patched"), admin, json=change)
    assert (patched.status, patched.json["revision"]) == (200, 2)
    assert patched.json["instance"]["llm"] == {"temperature": 0.3, "max_tokens": 2000}
    assert patched.json["instance"]["tools"] == {"email": {"enabled": True}}
    bare = await api.ask("PATCH", path("patched"), admin, json={"llm": {"temperature": None}})
    assert bare.json["instance"]["llm"] == {"max_tokens": 2000}
    spelled = await api.ask("PATCH", path("patched"), admin, json={"LLM": {"maxTokens": 7}})
    assert spelled.json["instance"]["llm"] == {"max_tokens": 7}
    twice = {"llm": {"max_tokens": 7, "maxTokens": 8}}
    assert (await api.ask("PATCH", path("patched"), admin, json=twice)).status == 422
    gone = await api.ask("PATCH", path("patched"), admin, json={"tools": None, "llm": None})
    assert not {"tools", "llm"} & gone.json["instance"].keys()
    stale = {"json": {"name": "X"}, "If_Match": patched.headers["ETag"]}
    assert (await api.ask("PATCH", path("patched"), admin, **stale)).status == 409
    wrong = await api.ask("PATCH", path("patched"), admin, json={"agent_type": None})
    assert [one["field"] for one in wrong.json["problems"]] == ["agent_type"]
    assert (await api.ask("PATCH", path("never"), admin, json={"name": "X"})).status == 404


async def test_patches_of_different_fields_at_once_are_all_kept(api: Client, admin: str) -> None:
    await put(api, admin, "raced")
    changes: list[dict[str, Any]] = [
        {"llm": {"temperature": 0.1}},
        {"llm": {"max_tokens": 77}},
        {"name": "Raced"},
        {"tools": {"email": {"enabled": False}}},
        {"context_management": {"history_limit": 3}},
    ]
    answers = await asyncio.gather(
        *(api.ask("PATCH", path("raced"), admin, json=change) for change in changes)
    )
    assert {one.status for one in answers} == {200}
    found = (await api.get(path("raced"), admin)).json["instance"]
    assert found["llm"] == {"temperature": 0.1, "max_tokens": 77}
    assert (found["name"], found["context_management"]) == ("Raced", {"history_limit": 3})
    assert found["tools"] == {"crm": {"enabled": True}, "email": {"enabled": False}}


async def test_revisions_are_listed_compared_restored_and_audited_by_the_documents_names(
    api: Client, admin: str
) -> None:
    await put(api, admin, "story")
    warm = {"llm": {"temperature": 0.3}}
    why = {"Change_Reason": "too wild", "Change_Ticket": "OPS-3"}
    await api.ask("PATCH", path("story"), admin, json=warm, **why)
    listed = (await api.get(f"{path('story')}/revisions?limit=1", admin)).json
    (newest,) = listed["revisions"]
    assert (listed["id"], newest["number"], newest["reason"]) == ("acme/story", 2, "too wild")
    assert newest["by"] == "api:acme:ann"
    cursor = listed["next"]
    older = (await api.get(f"{path('story')}/revisions?limit=1&cursor={cursor}", admin)).json
    assert ([one["number"] for one in older["revisions"]], older["next"]) == ([1], None)
    diff = (await api.get(f"{path('story')}/diff", admin)).json
    (change,) = diff["sections"]["model"]
    assert (change["field"], change["old"], change["new"]) == ("llm.temperature", 0.8, 0.3)
    back = await api.ask("POST", f"{path('story')}/restore", admin, json={"revision": 1})
    assert (back.status, back.json["revision"]) == (200, 3)
    assert (await api.get(path("story"), admin)).json == back.json
    audit = "/api/v1/instance/acme/tuning/audit?entity=acme/story"
    entries = (await api.get(audit, admin)).json["entries"]
    fields = [(one["action"], one["field_changed"], one["ticket_reference"]) for one in entries]
    assert fields == [
        ("restore instance", "llm.temperature", None),
        ("update instance", "llm.temperature", "OPS-3"),
        ("write instance", None, None),
    ]
    number = entries[0]["id"]
    taken = await api.ask("POST", f"/api/v1/instance/acme/tuning/rollback/{number}", admin)
    assert (taken.status, taken.json["entity_id"]) == (200, "acme/story")
    assert (await api.get(path("story"), admin)).json["instance"]["llm"]["temperature"] == 0.3


async def test_a_deleted_instance_is_404_and_comes_back(api: Client, admin: str) -> None:
    made = await put(api, admin, "gone")
    stale = await api.ask("DELETE", path("gone"), admin, If_Match='"0"')
    assert stale.status == 409
    gone = await api.ask("DELETE", path("gone"), admin, If_Match=made.headers["ETag"])
    assert gone.status == 204
    missing = await api.get(path("gone"), admin)
    assert (missing.status, missing.body) == (404, (await api.get(path("never"), admin)).body)
    assert (await api.ask("DELETE", path("gone"), admin)).status == 404
    back = await api.ask("POST", f"{path('gone')}/restore", admin, json={"revision": 1})
    assert (back.status, back.json["instance"]) == (200, made.json["instance"])


# --- templates and the package --------------------------------------------------------------------


async def test_templates_are_listed_and_copied_with_fields_of_their_own(
    api: Client, admin: str
) -> None:
    listed = (await api.get(TEMPLATES, admin)).json["templates"]
    assert [one["name"] for one in listed] == [
        "house-sales",
        "sales-agent-default",
        "simple-chat-default",
    ]
    assert listed[0]["instance"] == {
        "agent_type": "sales_agent",
        "llm": {"temperature": 0.2},
        "description": "Ours.",
    }
    body = {"template": "sales-agent-default", "llm": {"temperature": 0.8}, "name": "Shops"}
    made = await api.ask("POST", path("copied"), admin, json=body, Idempotency_Key="copy-1")
    assert (made.status, made.headers["Location"]) == (201, path("copied"))
    own = listed[1]["instance"]
    assert made.json["instance"] == {
        "account": "acme",
        "instance_name": "copied",
        **own,
        "name": "Shops",
        "llm": {**own["llm"], "temperature": 0.8},
    }
    again = await api.ask("POST", path("copied"), admin, json=body, Idempotency_Key="copy-1")
    assert (again.status, again.json) == (201, made.json)
    taken = await api.ask("POST", path("copied"), admin, json=body)
    assert (taken.status, taken.json["type"].rpartition(":")[2]) == (409, "already-there")
    for template in (None, "nothing", "sales_agent", 5):
        wrong = await api.ask("POST", path("other"), admin, json={"template": template})
        (problem,) = wrong.json["problems"]
        assert (wrong.status, problem["field"]) == (422, "template")
        assert "house-sales, sales-agent-default" in problem["cure"]
    broken = await api.ask("POST", path("other"), admin, json={"template": "broken"})
    assert (broken.status, broken.json["problems"][0]["place"]) == (422, "broken.yaml:2")


async def test_what_comes_with_the_package_is_replaced_but_not_deleted(api: Client) -> None:
    own = await api.make_key(account="default", role="instance_admin")
    at = path("simple-chat", "default")
    shown = (await api.get(at, own)).json
    assert (shown["owner"], shown["hash"], shown["read_only"]) == ("package", None, False)
    assert shown["instance"]["llm"] == {"temperature": 0.3, "max_tokens": 2000}
    refused = await api.ask("DELETE", at, own)
    assert (refused.status, "comes with the package" in refused.json["detail"]) == (409, True)
    body = {"template": "simple-chat-default"}
    assert (await api.ask("POST", at, own, json=body)).status == 409
    patched = await api.ask("PATCH", at, own, json={"llm": {"temperature": 0.1}})
    assert (patched.status, patched.json["owner"], patched.json["revision"]) == (200, "store", 1)
    assert patched.json["instance"]["llm"] == {"temperature": 0.1, "max_tokens": 2000}
    assert (await api.get(at, own)).json == patched.json
    assert (await api.ask("DELETE", at, own)).status == 204
    assert (await api.get(at, own)).json == shown


async def test_an_instance_of_a_file_is_shown_and_changed_only_there(
    api: Client, admin: str
) -> None:
    at = path("sales-enterprise")
    shown = (await api.get(at, admin)).json
    place = "acme/sales-enterprise/config.yaml:1"
    assert (shown["owner"], shown["place"], shown["read_only"]) == ("file", place, True)
    assert shown["instance"]["llm"] == {"temperature": 0.5}
    for answer in (
        await put(api, admin, "sales-enterprise"),
        await api.ask("PATCH", at, admin, json={"name": "X"}),
        await api.ask("POST", at, admin, json={"template": "house-sales"}),
        await api.ask("DELETE", at, admin),
    ):
        assert (answer.status, answer.json["type"].rpartition(":")[2]) == (409, "owned")
        assert answer.json["place"] == "acme/sales-enterprise/config.yaml"
        assert "acme/sales-enterprise/config.yaml" in answer.json["detail"]
    restored = await api.ask("POST", f"{at}/restore", admin, json={"revision": 1})
    assert (restored.status, "put it back there" in restored.json["detail"]) == (409, True)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field", "cure"),
    [
        ({"agent_typ": "sales_agent"}, "agent_typ", "did you mean 'agent_type'?"),
        ({"llm": {"temperatur": 1}}, "llm.temperatur", "did you mean 'temperature'?"),
        ({"llm": {"temperature": 3}}, "llm.temperature", ""),
        ({"context_management": {"history_limit": -1}}, "context_management.history_limit", ""),
        ({"tools": {"crm": True}}, "tools.crm", ""),
        ({"account": "beta"}, "account", "leave it out, or write acme"),
        ({"instance_name": "other"}, "instance_name", "leave it out, or write wrong"),
        ({"agent_type": "secret-agent"}, "agent_type", "ask the operator to offer it"),
        ({"llm": {"model": "large-model"}}, "llm.model", "claude-haiku-5-5, small-model"),
        ({"llm": {"model": "${MODEL}"}}, "llm.model", ""),
    ],
)
async def test_a_mistake_is_422_with_its_field_and_the_cure(
    api: Client, admin: str, body: dict[str, Any], field: str, cure: str
) -> None:
    refused = await put(api, admin, "wrong", {"agent_type": "sales_agent", **body})
    assert refused.status == 422
    (problem,) = [one for one in refused.json["problems"] if one["field"] == field]
    assert problem["message"]
    assert cure in problem.get("cure", "")
    assert (await api.get(f"{path('wrong')}/revisions", admin)).status == 404


async def test_a_model_that_is_allowed_may_be_named(api: Client, admin: str) -> None:
    made = await put(api, admin, "modelled", {**SMB, "llm": {"model": "small-model"}})
    assert made.status == 201


async def test_other_accounts_and_odd_names_are_the_404_of_what_is_not_there(
    api: Client, admin: str
) -> None:
    await put(api, admin, "sales-smb")
    beta = await api.make_key(account="beta", role="instance_admin")
    unknown = await api.get(path("never"), admin)
    for key, at in (
        (beta, path("sales-smb")),
        (beta, path("never")),
        (admin, path("..%2fsales-smb")),
        (admin, path("%2e%2e")),
        (admin, path("A B")),
    ):
        for method in ("GET", "PUT", "PATCH", "POST", "DELETE"):
            sent = None if method == "GET" else {**SMB, "template": "house-sales"}
            answer = await api.ask(method, at, key, json=sent)
            assert (answer.status, answer.body) == (404, unknown.body), (method, at)


async def test_roles_read_and_write_as_the_table_says_and_refusals_are_audited(
    api: Client, admin: str
) -> None:
    await put(api, admin, "ruled")
    manager = await api.make_key(account="acme", role="instance_manager", user="max")
    clerk = await api.make_key(account="acme", role="account_manager")
    narrow = await api.make_key(account="acme", role="instance_admin", agent="ruled")
    assert (await api.get(path("ruled"), manager)).status == 200
    assert (await api.get(path("ruled"), clerk)).status == 403
    for method in ("PUT", "PATCH", "DELETE"):
        refused = await api.ask(method, path("ruled"), manager, json=SMB)
        assert (refused.status, refused.json["type"].rpartition(":")[2]) == (403, "denied")
    audit = await api.get("/api/v1/instance/acme/tuning/audit?author=api:acme:max", admin)
    assert {one["change_type"] for one in audit.json["entries"]} == {"refused"}
    engineer = await api.ask("PATCH", path("ruled"), json={"name": "X"})
    assert (engineer.status, engineer.json["type"].rpartition(":")[2]) == (403, "reason-missing")
    helped = await api.ask("PATCH", path("ruled"), json={"name": "X"}, Change_Ticket="OPS-1")
    assert helped.status == 200
    assert (await api.ask("PATCH", path("ruled"), narrow, json={"name": "Y"})).status == 200
    assert (await api.get(path("sales-enterprise"), narrow)).status == 404


async def test_a_binding_may_name_an_instance_that_its_writer_may_see(api: Client) -> None:
    acme = await api.make_key(account="acme", role="instance_admin")
    await put(api, acme, "bound")
    default = await api.make_key(role="instance_admin")
    at, body = "/api/v1/registry/bindings/chatid:901", {"agentId": "acme/bound"}
    refused = await api.ask("PUT", at, default, json=body)
    assert (refused.status, "acme" in refused.json["detail"]) == (403, True)
    made = await api.ask("PUT", at, json=body, Change_Reason="the shop's own chat")
    assert (made.status, made.json["binding"]["agentId"]) == (201, "acme/bound")
    listed = (await api.get("/api/v1/registry/bindings")).json["bindings"]
    assert [one["active"] for one in listed if one["slot"] == "chatid:901"] == [True]
    unknown = await api.ask("PUT", at, json={"agentId": "acme/nobody"}, Change_Reason="a test")
    assert unknown.json["problems"][0]["field"] == "agentId"


async def test_a_key_may_be_for_one_instance_of_its_account(api: Client, admin: str) -> None:
    await put(api, admin, "narrow")
    body = {"role": "instance_manager", "agent": "narrow"}
    made = await api.ask("POST", "/api/v1/keys", admin, json=body)
    assert made.status == 201
    assert (await api.get(path("narrow"), made.json["key"])).status == 200
    wrong = await api.ask("POST", "/api/v1/keys", admin, json={**body, "agent": "nobody"})
    assert wrong.status == 422


# --- two replicas ---------------------------------------------------------------------------------


async def test_an_instance_made_on_one_replica_is_in_force_on_both_within_a_second(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage, running_valkey(tmp_path / "v") as valkey:
        stage.environ |= with_folders(stage)
        async with two_replicas(stage, valkey) as (left, right):
            key = await left.make_key(account="acme", role="instance_admin")
            seen = await until_key(right, key)
            assert seen.status == 404
            began = time.monotonic()
            made = await put(left, key, "sales-smb")
            for one in (left, right):
                await one.host.catalog.until(_has("acme/sales-smb"))
            assert time.monotonic() - began < 1
            assert (await right.get(path("sales-smb"), key)).json == made.json
            change = {"llm": {"temperature": 0.2}}
            began = time.monotonic()
            changed = await right.ask("PATCH", path("sales-smb"), key, json=change)
            await left.host.catalog.until(_has("acme/sales-smb", 0.2))
            assert time.monotonic() - began < 1
            assert (await left.get(path("sales-smb"), key)).json == changed.json


async def until_key(api: Client, key: str) -> ApiAnswer:
    """The answer of a replica once it knows a key."""
    await until(lambda: bool(api.host.catalog.snapshot().document.keys))
    return await api.get(path("sales-smb"), key)


def _has(id: str, temperature: float = 0.8) -> Any:
    def holds(snapshot: Snapshot) -> bool:
        found = snapshot.instance(id)
        return found is not None and found.settings.temperature == temperature

    return holds
