"""Roles, keys, the audit and rollbacks over HTTP, by those who may and those who may not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from registry.api_key import digest
from registry.roles import OPERATOR_ACTOR, RoleGrant
from simulators.testing.valkey import running_valkey
from tests.host.stage import staged
from tests.http.api import OPERATOR_KEY, Client, api_host
from tests.http.test_documents import AGENTS, BINDINGS, POET, WHY, put, two_replicas

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = "/api/v1/keys"
ROLES = "/api/v1/roles"
AUDIT = "/api/v1/audit"


def audit_of(account: str, client: str = "") -> str:
    inside = f"clients/{client}/" if client else ""
    return f"/api/v1/instance/{account}/{inside}tuning/audit"


def rollback_of(account: str, record: int) -> str:
    return f"/api/v1/instance/{account}/tuning/rollback/{record}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("governance")) as stage, api_host(stage) as client:
        yield client


async def newest(api: Client, path: str, key: str = OPERATOR_KEY) -> dict[str, Any]:
    """The newest entry of an audit."""
    found: dict[str, Any] = (await api.get(f"{path}?limit=1", key)).json["entries"][0]
    return found


# --- the audit of an account ----------------------------------------------------------------------


async def test_an_outsider_sees_401_the_404_of_an_unknown_account_403_or_the_audit(
    api: Client,
) -> None:
    acme = await api.make_key(account="acme", role="instance_admin")
    await api.make_key(account="beta", role="instance_admin")
    manager = await api.make_key(account="acme", role="account_manager")
    assert (await api.get(audit_of("acme"), None)).status == 401
    assert (await api.get(audit_of("acme"), acme)).status == 200
    assert (await api.get(audit_of("acme"), manager)).status == 403
    assert (await api.get(audit_of("acme", "nike"), manager)).status == 200
    unknown = await api.get(audit_of("nobody"), acme)
    assert unknown.status == 404
    for path in (audit_of("beta"), audit_of("beta", "nike"), audit_of("default"), audit_of("A B")):
        foreign = await api.get(path, acme)
        assert (foreign.status, foreign.body) == (404, unknown.body), path
    number = (await newest(api, AUDIT))["id"]
    for path in (rollback_of("beta", number), rollback_of("nobody", number)):
        foreign = await api.ask("POST", path, acme)
        assert (foreign.status, foreign.body) == (404, unknown.body), path
    assert (await api.get(audit_of("beta"))).status == 200
    assert (await api.get(audit_of("nobody"))).body == unknown.body


async def test_the_audit_tells_of_each_changed_field_and_is_filtered_and_paged(
    api: Client,
) -> None:
    await put(api, "told", POET, **WHY)
    changed = {**POET, "name": "Bard", "customInstructions": "Answer in prose."}
    await put(api, "told", changed, Change_Reason="tone", Change_Ticket="OPS-1")
    path = f"{audit_of('default')}?entity=told"
    entries = (await api.get(path)).json["entries"]
    told = [(one["change_type"], one["field_changed"], one["entity_type"]) for one in entries]
    assert told == [
        ("update", "customInstructions", "prompt"),
        ("update", "name", "prompt"),
        ("create", None, "prompt"),
    ]
    more = {"llmOverrides": {"maxTokens": 9}, "whitelistPatterns": ["desk:*"]}
    await put(api, "typed", POET)
    await put(api, "typed", {**POET, **more, "costConfig": {"maxRequestsPerMinute": 3}})
    typed = (await api.get(f"{audit_of('default')}?entity=typed&limit=3")).json["entries"]
    assert {one["field_changed"]: one["entity_type"] for one in typed} == {
        "llmOverrides": "preference",
        "whitelistPatterns": "tool",
        "costConfig": "rule",
    }
    first = entries[0]
    assert (first["old_value"], first["new_value"]) == ("Answer in rhymes.", "Answer in prose.")
    assert (first["change_reason"], first["ticket_reference"]) == ("tone", "OPS-1")
    assert (first["instance_id"], first["tier"]) == ("default", "agent_builder")
    assert (first["agent_type"], first["client_id"]) == ("told", None)
    assert (first["changed_by"], first["api_key"]) == ("api:default:env0", "env0")
    assert (first["affected_clients"], first["requires_review"]) == ([], False)
    at = datetime.fromisoformat(first["created_at"])
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=1)
    page, found = (await api.get(f"{path}&limit=2")).json, []
    while page["next"]:
        found += page["entries"]
        page = (await api.get(f"{path}&limit=2&cursor={page['next']}")).json
    assert [*found, *page["entries"]] == entries
    assert (await api.get(f"{path}&author=api:default:env0")).json["entries"] == entries
    assert (await api.get(f"{path}&author=tg:7")).json["entries"] == []
    soon = quote((datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert (await api.get(f"{path}&since={soon}")).json["entries"] == []
    early = quote(first["created_at"])
    later = (await api.get(f"{path}&since={early}")).json["entries"]
    assert {one["field_changed"] for one in later} == {"customInstructions", "name"}


async def test_a_cursor_of_one_account_opens_nothing_for_another(api: Client) -> None:
    one, other = [await api.make_key(account=name, role="instance_admin") for name in "xy"]
    for user in ("a", "b", "c"):
        await api.make_key(account="x", user=user)
        await api.make_key(account="y", user=user)
    cursor = (await api.get(f"{KEYS}?limit=1", one)).json["next"]
    assert (await api.get(f"{KEYS}?limit=1&cursor={cursor}", one)).status == 200
    assert (await api.get(f"{KEYS}?limit=1&cursor={cursor}", other)).status == 422
    assert (await api.get(f"{audit_of('x')}?cursor={cursor}", one)).status == 422


async def test_the_audit_of_the_host_is_verified_and_is_the_hosts_alone(api: Client) -> None:
    admin = await api.make_key(role="instance_admin")
    for path in (AUDIT, f"{AUDIT}/verify"):
        assert (await api.get(path, admin)).status == 403
    verified = (await api.get(f"{AUDIT}/verify")).json
    assert (verified["holds"], verified["broken"]) == (True, None)
    entries = (await api.get(f"{AUDIT}?limit=200")).json["entries"]
    assert verified["records"] >= len(entries) > 0
    assert [one["id"] for one in entries] == [*range(entries[0]["id"], entries[-1]["id"] - 1, -1)]


# --- rollbacks ------------------------------------------------------------------------------------


async def test_a_rollback_takes_one_field_back_and_no_other_and_is_itself_audited(
    api: Client,
) -> None:
    await put(api, "field", POET)
    both = {**POET, "name": "Bard", "customInstructions": "Answer in prose."}
    await put(api, "field", both)
    entries = (await api.get(f"{audit_of('default')}?entity=field")).json["entries"]
    number = next(one["id"] for one in entries if one["field_changed"] == "customInstructions")
    body = {"reason": "the old text was better", "ticket": "OPS-4"}
    done = await api.ask("POST", rollback_of("default", number), json=body)
    assert (done.status, done.json) == (
        200,
        {
            "audit_id": number,
            "kind": "agent",
            "entity_id": "field",
            "field_changed": "customInstructions",
            "revision": 3,
        },
    )
    agent = (await api.get(f"{AGENTS}/field")).json["definition"]
    assert (agent["name"], agent["customInstructions"]) == ("Bard", POET["customInstructions"])
    entry = await newest(api, audit_of("default"))
    assert (entry["action"], entry["field_changed"]) == ("roll back agent", "customInstructions")
    assert (entry["change_reason"], entry["ticket_reference"]) == (body["reason"], "OPS-4")
    assert (entry["old_value"], entry["new_value"]) == ("Answer in prose.", "Answer in rhymes.")


async def test_a_rollback_over_a_later_change_is_refused_with_the_later_record(
    api: Client,
) -> None:
    await put(api, "later", POET)
    await put(api, "later", {**POET, "name": "Bard"})
    number = (await newest(api, audit_of("default")))["id"]
    await put(api, "later", {**POET, "name": "Skald"})
    later = (await newest(api, audit_of("default")))["id"]
    refused = await api.ask("POST", rollback_of("default", number))
    assert (refused.status, refused.json["later"]) == (409, later)
    assert refused.json["type"].endswith(":trampled")
    assert f"record {later}" in refused.json["detail"].lower()
    assert (await api.get(f"{AGENTS}/later")).json["definition"]["name"] == "Skald"
    assert (await api.ask("POST", rollback_of("default", later))).status == 200
    assert (await api.ask("POST", rollback_of("default", 10**9))).status == 404


async def test_an_admin_of_the_account_rolls_a_binding_back_but_no_agent(api: Client) -> None:
    admin = await api.make_key(role="instance_admin")
    await put(api, "rolled", POET)
    created = (await newest(api, audit_of("default"), admin))["id"]
    refused = await api.ask("POST", rollback_of("default", created), admin)
    assert refused.status == 403
    entry = await newest(api, audit_of("default"), admin)
    assert (entry["change_type"], entry["action"]) == ("refused", "refused: roll back agent")
    path = f"{BINDINGS}/chatid:4"
    assert (await api.ask("PUT", path, admin, json={"agentId": "rolled"})).status == 201
    number = (await newest(api, audit_of("default"), admin))["id"]
    assert (await api.ask("POST", rollback_of("default", number), admin)).status == 200
    assert (await api.get(path, admin)).status == 404
    assert (await api.ask("POST", rollback_of("default", entry["id"]), admin)).status == 409


# --- keys -----------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_opens_at_once_and_its_hash_is_nowhere(api: Client) -> None:
    admin = await api.make_key(account="acme", role="instance_admin", user="eve")
    sent = {"role": "account_manager", "user": "ann", "days": 90, "budget": {"usd": 2.5}}
    sent |= {"reason": "a new colleague"}
    made = await api.ask("POST", KEYS, admin, json=sent, Idempotency_Key="make-1")
    assert made.status == 201
    key, id = made.json["key"], made.json["id"]
    assert key.startswith("sbk_")
    again = await api.ask("POST", KEYS, admin, json=sent, Idempotency_Key="make-1")
    assert (again.status, again.json["id"]) == (201, id)
    assert key.encode() not in again.body
    shown = await api.get(made.headers["Location"], admin)
    assert shown.json == {name: v for name, v in made.json.items() if name != "key"}
    assert (shown.json["account"], shown.json["scope"]) == ("acme", "account")
    assert (shown.json["created_by"], shown.json["state"]) == ("api:acme:eve", "live")
    ends = datetime.fromisoformat(shown.json["expires"])
    assert timedelta(days=89) < ends - datetime.now(UTC) < timedelta(days=91)
    me = (await api.get("/api/v1/me", key)).json
    assert (me["person"], me["roles"][0]["role"]) == ("api:acme:ann", "account_manager")
    entry = await newest(api, audit_of("acme"), admin)
    assert (entry["kind"], entry["entity_id"]) == ("key", id)
    assert entry["change_reason"] == "a new colleague"
    everything = [KEYS, f"{KEYS}/{id}", audit_of("acme"), AUDIT, f"{ROLES}/api:acme:ann/history"]
    for path in everything:
        body = (await api.get(path)).body
        assert key.encode() not in body, path
        assert digest(key).encode() not in body, path
    assert (await api.ask("DELETE", f"{KEYS}/{id}", admin, **WHY)).status == 204
    assert (await api.get("/api/v1/me", key)).status == 401
    gone = (await api.get(f"{KEYS}/{id}", admin)).json
    assert (gone["state"], gone["revoked"] is not None) == ("revoked", True)
    assert (await newest(api, audit_of("acme"), admin))["field_changed"] == "revoked"
    assert (await api.ask("DELETE", f"{KEYS}/{id}", admin)).status == 204


async def test_a_key_gives_only_what_its_role_may_give_and_only_in_its_account(
    api: Client,
) -> None:
    admin = await api.make_key(account="acme", role="instance_admin")
    clerk = await api.make_key(account="acme", role="account_manager")
    contact = await api.make_key(account="acme", role="client_contact", client="nike")
    before = len((await api.get(KEYS, admin)).json["keys"])
    refused = [
        (admin, {"role": "spokestack_engineer"}),
        (admin, {"role": "spokestack_engineer", "scope": "host"}),
        (admin, {"role": "instance_admin", "account": "beta"}),
        (clerk, {"role": "account_manager"}),
        (clerk, {"role": "instance_manager"}),
        (contact, {"role": "client_contact", "client": "nike"}),
    ]
    for key, body in refused:
        answer = await api.ask("POST", KEYS, key, json=body)
        assert answer.status == 403, body
    assert len((await api.get(KEYS, admin)).json["keys"]) == before
    assert (await api.get(KEYS, contact)).status == 403
    assert (await api.ask("POST", KEYS, clerk, json={"role": "client_contact"})).status == 201
    made = await api.ask("POST", KEYS, json={"role": "instance_admin", "account": "beta"})
    foreign = made.json["id"]
    unknown = await api.get(f"{KEYS}/ffffffff", admin)
    for method in ("GET", "DELETE"):
        answer = await api.ask(method, f"{KEYS}/{foreign}", admin)
        assert (answer.status, answer.body) == (404, unknown.body), method
    assert (await api.get("/api/v1/me", made.json["key"])).status == 200
    wrong: list[dict[str, Any]] = [
        {"role": "boss"},
        {"user": "a b"},
        {"account": "A B"},
        {"scope": "client"},
        {"agent": "nobody"},
        {"expires": "2001-01-01T00:00:00Z"},
        {"days": 0},
        {"surprise": 1},
    ]
    for body in wrong:
        answer = await api.ask("POST", KEYS, json=body)
        assert (answer.status, bool(answer.json["problems"])) == (422, True), body
        assert answer.json["problems"][0]["field"], body


async def test_a_key_of_the_environment_is_listed_and_taken_away_only_there(api: Client) -> None:
    shown = (await api.get(f"{KEYS}/env0")).json
    assert (shown["read_only"], shown["scope"], shown["state"]) == (True, "host", "live")
    assert shown["last_used"] is not None
    refused = await api.ask("DELETE", f"{KEYS}/env0")
    assert (refused.status, refused.json["type"].rpartition(":")[2]) == (409, "owned")


# --- roles ----------------------------------------------------------------------------------------


async def test_roles_are_documents_of_which_each_account_sees_its_own(api: Client) -> None:
    acme = await api.make_key(account="acme", role="instance_admin")
    beta = await api.make_key(account="beta", role="instance_admin")
    path = f"{ROLES}/tg:500"
    made = await api.ask("PUT", path, acme, json={"grants": [{"role": "instance_manager"}]})
    assert (made.status, made.headers["Location"]) == (201, f"{ROLES}/tg%3A500")
    assert made.json["grants"] == [
        {
            "role": "instance_manager",
            "scope": "account",
            "account": "acme",
            "client": None,
            "duties": [],
        }
    ]
    assert (await api.get(path, acme)).json == made.json
    missing = await api.get(path, beta)
    assert (missing.status, missing.body) == (404, (await api.get(f"{ROLES}/tg:501", beta)).body)
    two = [{"role": "client_contact", "client": "nike"}, {"role": "account_manager"}]
    other = await api.ask("PUT", path, beta, json={"grants": two})
    assert (other.status, len(other.json["grants"])) == (201, 2)
    assert (await api.get(path, acme)).json["hash"] == made.json["hash"]
    both = (await api.get(path)).json["grants"]
    assert [(one["account"], one["role"]) for one in both] == [
        ("acme", "instance_manager"),
        ("beta", "client_contact"),
        ("beta", "account_manager"),
    ]
    history = (await api.get(f"{path}/history", acme)).json["revisions"]
    assert [one["number"] for one in history] == [1]
    for key, account in ((acme, "beta"), (beta, "acme")):
        assert (await api.get(f"{audit_of(account)}?entity=tg:500", key)).body == missing.body
    own = await api.get(f"{audit_of('acme')}?entity=tg:500", acme)
    assert b"beta" not in own.body
    assert len(own.json["entries"]) == 1
    nike = (await api.get(audit_of("beta", "nike"), beta)).json["entries"]
    assert [(one["entity_id"], one["client_id"]) for one in nike] == [("tg:500", "nike")]
    changed = await api.ask(
        "PUT",
        path,
        acme,
        json={"grants": [{"role": "account_manager"}]},
        If_Match=made.headers["ETag"],
    )
    assert changed.status == 200
    stale = await api.ask(
        "PUT",
        path,
        acme,
        json={"grants": [{"role": "instance_admin"}]},
        If_Match=made.headers["ETag"],
    )
    assert (stale.status, stale.json["current"]) == (409, changed.json["hash"])
    assert b"beta" not in stale.body
    diff = (await api.get(f"{path}/diff", acme)).json
    assert list(diff["sections"]) == ["other"]
    restored = await api.ask("POST", f"{path}/restore", acme, json={"revision": 1})
    assert (restored.status, restored.json["hash"]) == (200, made.json["hash"])
    assert (await api.ask("DELETE", path, acme)).status == 204
    assert (await api.get(path, acme)).status == 404
    assert len((await api.get(path, beta)).json["grants"]) == 2
    record = await newest(api, audit_of("acme"), acme)
    assert (record["change_type"], record["new_value"]) == ("delete", None)
    back = await api.ask("POST", rollback_of("acme", record["id"]), acme)
    assert back.status == 200
    assert (await api.get(path, acme)).json["hash"] == made.json["hash"]
    assert len((await api.get(path)).json["grants"]) == 3


async def test_a_key_gives_no_role_above_its_own_and_none_elsewhere(api: Client) -> None:
    admin = await api.make_key(account="acme", role="instance_admin")
    clerk = await api.make_key(account="acme", role="account_manager")
    path = f"{ROLES}/api:acme:bob"
    refused: list[tuple[str, dict[str, Any]]] = [
        (admin, {"role": "spokestack_engineer"}),
        (admin, {"role": "spokestack_engineer", "scope": "host"}),
        (admin, {"role": "instance_admin", "account": "beta"}),
        (admin, {"role": "instance_manager", "duties": ["qa"]}),
        (clerk, {"role": "instance_manager"}),
    ]
    for key, grant in refused:
        answer = await api.ask("PUT", path, key, json={"grants": [grant]})
        assert answer.status == 403, grant
    assert (await api.get(path, admin)).status == 404
    body = {"grants": [{"role": "client_contact", "client": "nike"}]}
    assert (await api.ask("PUT", path, clerk, json=body)).status == 201
    assert [one["person"] for one in (await api.get(ROLES, clerk)).json["roles"]] == [
        "api:acme:bob"
    ]
    for bad in ("bob", "tg:x", "api:acme", "tg:0"):
        assert (await api.get(f"{ROLES}/{bad}", admin)).status == 404
    for wrong in ([], [{"role": "instance_admin", "scope": "host"}], [{"role": "boss"}]):
        assert (await api.ask("PUT", path, json={"grants": wrong})).status == 422, wrong


# --- two replicas ---------------------------------------------------------------------------------


async def test_a_manager_of_clients_takes_back_what_they_may_change(api: Client) -> None:
    manager = await api.make_key(account="acme", role="account_manager")
    body = {"role": "client_contact", "client": "puma"}
    made = await api.ask("POST", KEYS, manager, json=body)
    assert made.status == 201
    record = (await newest(api, audit_of("acme", "puma"), manager))["id"]
    back = await api.ask("POST", rollback_of("acme", record), manager)
    assert back.status == 200, back.body
    assert (await api.get("/api/v1/me", made.json["key"])).status == 401


async def test_a_repeat_is_judged_by_the_roles_of_the_moment(api: Client) -> None:
    catalog = api.host.catalog
    admin = RoleGrant(role="instance_admin", account="acme")
    key = await api.make_key(account="acme", role="account_manager", user="dora")
    wanted = {"role": "instance_manager"}

    async def tried() -> int:
        return (await api.ask("POST", KEYS, key, json=wanted, Idempotency_Key="zz")).status

    assert await tried() == 403
    await catalog.grant_role(OPERATOR_ACTOR, "api:acme:dora", admin, key="dora")
    assert await tried() == 201
    made = len((await api.get(KEYS)).json["keys"])
    assert await tried() == 201
    await catalog.revoke_role(OPERATOR_ACTOR, "api:acme:dora", admin, key="dora no more")
    assert await tried() == 403
    assert len((await api.get(KEYS)).json["keys"]) == made


async def test_a_key_made_for_somebody_lends_no_role_that_its_own_could_not_give(
    api: Client,
) -> None:
    admin = RoleGrant(role="instance_admin", account="acme")
    await api.host.catalog.grant_role(OPERATOR_ACTOR, "api:acme:boss", admin, key="boss")
    manager = await api.make_key(account="acme", role="account_manager")
    body = {"role": "client_contact", "user": "boss"}
    made = await api.ask("POST", "/api/v1/keys", manager, json=body)
    assert made.status == 201
    roles = (await api.get("/api/v1/me", made.json["key"])).json["roles"]
    assert [one["role"] for one in roles] == ["client_contact"]
    assert (await api.get(audit_of("acme"), made.json["key"])).status == 403
    own = await api.make_key(account="acme", role="instance_admin", user="boss")
    assert len((await api.get("/api/v1/me", own)).json["roles"]) == 2


async def test_a_revoked_key_and_a_role_taken_away_are_felt_at_the_next_request_on_both_replicas(
    tmp_path: Path,
) -> None:
    async with (
        staged(tmp_path) as stage,
        running_valkey(tmp_path / "v") as valkey,
        two_replicas(stage, valkey) as (left, right),
    ):
        plain = {"role": "account_manager", "account": "acme", "user": "ann"}
        key = (await left.ask("POST", KEYS, json=plain)).json["key"]
        id = (await left.get("/api/v1/me", key)).json["key"]
        held = lambda s: id in s.document.keys  # noqa: E731
        await right.host.catalog.until(held)
        for one in (left, right):
            assert (await one.get(audit_of("acme"), key)).status == 403
        path = f"{ROLES}/api:acme:ann"
        grant = {"role": "instance_manager", "account": "acme"}
        assert (await left.ask("PUT", path, json={"grants": [grant]})).status == 201
        await right.host.catalog.until(lambda s: bool(s.roles_held_by("api:acme:ann")))
        for one in (left, right):
            assert (await one.get(audit_of("acme"), key)).status == 200
        assert (await left.ask("DELETE", path)).status == 204
        assert (await left.get(audit_of("acme"), key)).status == 403
        began = time.monotonic()
        await right.host.catalog.until(lambda s: not s.roles_held_by("api:acme:ann"))
        assert time.monotonic() - began < 1
        assert (await right.get(audit_of("acme"), key)).status == 403
        assert (await left.ask("DELETE", f"{KEYS}/{id}")).status == 204
        assert (await left.get("/api/v1/me", key)).status == 401
        await right.host.catalog.until(lambda s: bool(s.document.keys[id].value.revoked))
        assert time.monotonic() - began < 2
        assert (await right.get("/api/v1/me", key)).status == 401
