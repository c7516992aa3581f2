"""The door of the HTTP API: every route, seen by whoever should not get through."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from fastapi.routing import APIRoute

from bot.http.api.app import make_app
from bot.http.api.needs import Needs, needs_key
from bot.http.api.problems import OPENAI_PREFIX
from registry.roles import OPERATOR_ACTOR, ROLES, RoleGrant, Target, Why, verdict
from tests.host.stage import staged
from tests.http.api import OPERATOR_KEY, Client, api_host, filled, routes_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = routes_of(make_app())
SIGNED = "/api/v1/artifacts/{artifact_id}"
"""The one path that needs no key: its addresses are signed."""
ALL = [(method, filled(path)) for method, path, _ in ROUTES if path != SIGNED]
OF_AN_ACCOUNT = [(m, path, own) for m, path, own in ROUTES if own and own.account]
UNDER_SCOPED = [
    (method, filled(path, **{own.account or "": "acme"}), role)
    for method, path, own in ROUTES
    for role in ROLES
    if own
    and own.tier is not None
    and not (own.limited and role == "client_contact")
    and verdict((RoleGrant(role=role),), own.action, Target(own.tier), Why("a test")) != "yes"
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """One host for all tests of this module."""
    async with staged(tmp_path_factory.mktemp("door")) as stage, api_host(stage) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dead_keys(api: Client) -> dict[str, str]:
    """Keys that open nothing any more, or never did."""
    expired = await api.make_key(expires=time.time() - 1)
    revoked = await api.make_key(account="acme", role="instance_admin")
    await api.revoke(revoked)
    return {
        "wrong": OPERATOR_KEY[:-1] + "0",
        "empty": "",
        "expired": expired,
        "revoked": revoked,
        "hash": next(iter(api.host.catalog.snapshot().document.keys.values())).value.hash,
    }


# --- who gets in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), ALL)
async def test_no_route_answers_without_a_key_that_is_valid_now(
    api: Client, dead_keys: dict[str, str], method: str, path: str
) -> None:
    bare = await api.ask(method, path, None)
    assert bare.status == 401
    assert bare.headers["WWW-Authenticate"].startswith("Bearer")
    assert bare.headers["Content-Type"] == "application/problem+json"
    answers = {name: await api.ask(method, path, key) for name, key in dead_keys.items()}
    answers["basic"] = await api.ask(method, path, None, Authorization=f"Basic {OPERATOR_KEY}")
    answers["no scheme"] = await api.ask(method, path, None, Authorization=OPERATOR_KEY)
    for parameter in ("token", "access_token", "key", "api_key"):
        url = f"{path}?{parameter}={OPERATOR_KEY}"
        answers[f"?{parameter}="] = await api.ask(method, url, None)
    answers["other header"] = await api.ask(method, path, None, X_Api_Key=OPERATOR_KEY)
    answers["cookie"] = await api.ask(method, path, None, Cookie=f"key={OPERATOR_KEY}")
    for how, answer in answers.items():
        assert (answer.status, answer.body) == (401, bare.body), how
        assert answer.headers["WWW-Authenticate"] == bare.headers["WWW-Authenticate"], how


async def test_a_path_that_is_nowhere_is_not_told_from_others_without_a_key(api: Client) -> None:
    bare = await api.get("/api/v1/me", None)
    for path in ("/api", "/api/v1/nothing", "/docs/", "/page", "/metrics", "/%2e%2e/etc/passwd"):
        assert (await api.get(path, None)).body == bare.body, path


async def test_a_key_in_the_address_opens_nothing_even_beside_a_good_one(api: Client) -> None:
    key = await api.make_key()
    assert (await api.get("/api/v1/me", key)).status == 200
    assert (await api.get(f"/api/v1/me?key={key}", key)).status == 401
    assert (await api.get(f"/api/v1/{key}", key)).status == 401


async def test_two_credentials_in_one_request_are_refused(api: Client) -> None:
    headers = [("Authorization", f"Bearer {OPERATOR_KEY}"), ("Authorization", "Bearer other")]
    url = f"{api.host.url}/api/v1/me"
    async with api.session.get(url, headers=headers) as answer:
        assert (answer.status, (await answer.json())["field"]) == (400, "authorization")


async def test_health_and_the_page_need_no_key_and_nothing_else_does(api: Client) -> None:
    pages = ("/", "/page/page.js", "/page/page.css", "/docs", "/docs/page.js", "/docs/page.css")
    for path in ("/health/live", *pages):
        assert (await api.get(path, None)).status == 200, path
    for path in ("/health", "/health/ready"):
        own, alias = await api.get(path, None), await api.get(f"/api/v1{path}", None)
        assert own.status == alias.status == 200
        assert own.json.keys() == alias.json.keys() > {"status", "ready", "checks"}
    for path in (
        *("/openapi.json", "/docs/page.html", "/docs/../openapi.json", "/index.html"),
        *("/page/", "/page/index.html", "/page/__init__.py", "/page/../api/door.py"),
    ):
        assert (await api.get(path, None)).status == 401, path


async def test_the_page_loads_nothing_from_elsewhere_and_runs_no_text(api: Client) -> None:
    page = await api.get("/docs", None)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    parts = [page, *[await api.get(f"/docs/page.{end}", None) for end in ("js", "css")]]
    for part in parts:
        assert b"://" not in part.body
        assert b"innerHTML" not in part.body
    assert b" on" not in page.body.replace(b"content=", b"")
    assert (await api.ask("POST", "/docs", None)).status == 401


# --- what a key may do ----------------------------------------------------------------------------


async def test_every_route_declares_what_it_needs() -> None:
    assert [f"{method} {path}" for method, path, own in ROUTES if own is None] == []


async def test_a_route_that_declares_nothing_answers_nobody(api: Client) -> None:
    app = await api.app()

    async def forgotten() -> str:
        return "a secret"

    app.add_api_route("/api/v1/forgotten", forgotten, methods=["GET"])
    answer = await api.get("/api/v1/forgotten")
    assert (answer.status, answer.json["type"]) == (403, "urn:switchboard:problem:denied")
    assert (await api.get("/api/v1/forgotten", None)).status == 401


@pytest.mark.parametrize(("method", "path", "needs"), OF_AN_ACCOUNT)
async def test_another_account_is_answered_like_one_that_does_not_exist(
    api: Client, method: str, path: str, needs: Needs
) -> None:
    acme = await api.make_key(account="acme", role="instance_admin")
    await api.make_key(account="other", role="instance_admin")
    answers = []
    for account in ("other", "nowhere"):
        there = filled(path, **{str(needs.account): account})
        answers.append(await api.ask(method, there, acme))
    assert {answer.status for answer in answers} == {404}
    unknown = await api.get("/api/v1/nothing", acme)
    assert {answer.body for answer in answers} == {unknown.body}


@pytest.mark.parametrize(("method", "path", "role"), UNDER_SCOPED)
async def test_a_role_that_the_table_does_not_allow_is_refused(
    api: Client, method: str, path: str, role: str
) -> None:
    key = await api.make_key(account="acme", role=role)
    answer = await api.ask(method, path, key, json={}, Change_Reason="a test")
    assert (answer.status, answer.json["type"]) == (403, "urn:switchboard:problem:denied")


OF_ANY_KEY = {
    "/api/v1/me",
    "/openapi.json",
    "/api/v1/registry/agents",
    "/api/v1/agent-templates",
    "/api/v1/agent-instances/templates",
    "/session",
}
"""What a key of one agent may ask for besides that agent; the list shows it that one alone."""
OF_ITS_OWN = {
    "/api/v1/agents",
    "/api/v1/agent-instances",
    "/api/v1/approvals",
    "/api/v1/registry/drafts",
    "/accounts/{account}/agents",
}
"""Lists in which such a key sees nothing here."""


async def test_a_key_of_one_agent_reaches_nothing_else_whatever_its_role(api: Client) -> None:
    key = await api.make_key(role="spokestack_engineer", scope="host", agent="jack")
    reached = []
    for method, path, _ in ROUTES:
        url = filled(path, instance_id="default", agent_id="jill", audit_id="1")
        if path in OF_ANY_KEY:
            continue
        answer = await api.ask(method, url, key, json={})
        if path in OF_ITS_OWN and answer.status == 200:
            assert answer.json in ([], {"approvals": []}, {"agents": []}, {"drafts": []})
        elif answer.status not in (403, 404, 422):  # 422: a body is wanted
            reached.append((method, path, answer.status))
    assert reached == []
    assert (await api.get("/api/v1/registry/agents", key)).json["agents"] == []


async def test_a_role_taken_away_is_felt_at_the_next_request(api: Client) -> None:
    catalog = api.host.catalog
    key = await api.make_key(account="acme", role="client_contact", user="ann")
    grant = RoleGrant(role="instance_admin", account="acme")
    await catalog.grant_role(OPERATOR_ACTOR, "api:acme:ann", grant, key="give ann")
    roles = (await api.get("/api/v1/me", key)).json["roles"]
    assert [role["role"] for role in roles] == ["client_contact", "instance_admin"]
    await catalog.revoke_role(OPERATOR_ACTOR, "api:acme:ann", grant, key="take from ann")
    roles = (await api.get("/api/v1/me", key)).json["roles"]
    assert [role["role"] for role in roles] == ["client_contact"]
    await api.revoke(key)
    assert (await api.get("/api/v1/me", key)).status == 401


# --- who is meant ---------------------------------------------------------------------------------


async def test_a_key_without_a_user_may_name_one_and_gets_no_role_of_theirs(api: Client) -> None:
    key = await api.make_key(account="acme", role="client_contact")
    me = (await api.get("/api/v1/me?user_id=guest", key)).json
    assert (me["person"], me["user"]) == ("api:acme:guest", "guest")
    assert [role["role"] for role in me["roles"]] == ["client_contact"]
    own = (await api.get("/api/v1/me", key)).json
    assert own["person"] == f"api:acme:{own['key']}"
    assert (await api.get(f"/api/v1/me?user_id={own['key']}", key)).status == 200


async def test_a_key_without_a_user_names_nobody_who_has_a_key_or_a_role(api: Client) -> None:
    catalog = api.host.catalog
    grant = RoleGrant(role="instance_admin", account="acme")
    await catalog.grant_role(OPERATOR_ACTOR, "api:acme:chief", grant, key="give chief")
    await catalog.until(lambda snapshot: bool(snapshot.roles_held_by("api:acme:chief")))
    other = await api.make_key(account="acme")
    id = (await api.get("/api/v1/me", other)).json["key"]
    await api.make_key(account="acme", user="owner")
    await api.revoke(await api.make_key(account="acme", user="former"))
    engineer = {"account": "acme", "role": "spokestack_engineer", "scope": "host"}
    for key in (await api.make_key(account="acme"), await api.make_key(**engineer)):
        for user in ("chief", "owner", "former", id):
            refused = await api.get(f"/api/v1/me?user_id={user}", key)
            assert (refused.status, refused.json["field"]) == (403, "user_id"), user
            assert refused.json["detail"].startswith("This person has a key or a role of their own")
    elsewhere = await api.make_key(account="else")  # a name is another person in each account
    me = (await api.get("/api/v1/me?user_id=owner", elsewhere)).json
    assert me["person"] == "api:else:owner"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("user_id=ann", 200),
        ("user_id=bob", 403),
        ("user_id=ann&user_id=bob", 422),
        ("user_id=", 422),
        ("user_id=a%20b", 422),
        ("user_id=api:acme:ann", 422),
        ("user_id=a%00", 422),
    ],
)
async def test_a_key_with_a_user_stands_for_nobody_else(
    api: Client, query: str, status: int
) -> None:
    key = await api.make_key(account="acme", user="ann")
    answer = await api.get(f"/api/v1/me?{query}", key)
    assert answer.status == status
    assert status == 200 or answer.json["field"] == "user_id"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"user_id": "bob"}', 403),
        (b'{"user_id": ["ann"]}', 422),
        (b'{"user_id": "ann"}', 405),
        (b'{"user_id": "bob", "more": NaN}', 403),
        (b'{"user_id": "ann", "more": ' + b"[" * 100_000, 405),
        (b'{"deeper": {"user_id": "bob"}}', 405),
        (b'{"user_id": "bob"', 405),
    ],
)
async def test_the_body_may_name_the_user_as_well(api: Client, body: bytes, status: int) -> None:
    key = await api.make_key(account="acme", user="ann")
    answer = await api.ask(
        "POST", "/api/v1/me", key, data=body, Content_Type="application/json; charset=utf-8"
    )
    assert answer.status == status  # 405: the door let it through


async def test_who_asks_is_told_what_the_key_may_do(api: Client) -> None:
    ends = time.time() + 3600
    key = await api.make_key(
        account="acme",
        role="account_manager",
        client="nike",
        agent="jack",
        user="ann",
        expires=ends,
    )
    me = (await api.get("/api/v1/me", key)).json
    assert me["roles"] == [
        {"role": "account_manager", "scope": "client", "account": "acme", "client": "nike"}
    ]
    assert (me["person"], me["account"], me["scope"]) == ("api:acme:ann", "acme", "client")
    assert (me["client"], me["agent"], me["expires"][:4]) == ("nike", "jack", time.strftime("%Y"))
    operator = (await api.get("/api/v1/me")).json
    assert (operator["scope"], operator["key"], operator["account"]) == ("host", "env0", "default")


# --- names, origins, sizes ------------------------------------------------------------------------


async def test_only_our_own_names_are_answered(api: Client) -> None:
    port = api.host.url.rpartition(":")[2]
    for host in (
        "localhost",
        f"localhost:{port}",
        f"127.0.0.1:{port}",
        "[::1]",
        "LOCALHOST.",
        socket.gethostname(),
        "bots.localhost",
    ):
        assert (await api.get("/api/v1/me", Host=host)).status == 200, host
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "10.9.8.7",
        "127.0.0.1.evil.example",
        "a@localhost",
        "localhost:x",
        "[::1",
        "",
    ):
        answer = await api.get("/api/v1/me", Host=host)
        assert answer.status == 421, host
        assert b"evil" not in answer.body
        assert (await api.get("/api/v1/me", None, Host=host)).status == 421, host
        assert (await api.get("/docs", None, Host=host)).status == 421, host


async def test_pages_of_other_sites_are_refused_and_our_own_is_not(api: Client) -> None:
    url = api.host.url
    for origin in (url, url.replace("127.0.0.1", "localhost")):
        host = origin.removeprefix("http://")
        assert (await api.get("/api/v1/me", Origin=origin, Host=host)).status == 200, origin
    port = int(url.rpartition(":")[2])
    for origin in (
        "http://evil.example",
        "null",
        "",
        f"http://127.0.0.1:{port + 1}",
        "http://127.0.0.1",
        f"ftp://127.0.0.1:{port}",
        f"http://localhost:{port}",
        "http://[",
        f"http://127.0.0.1:{port}.evil.example",
    ):
        answer = await api.get("/api/v1/me", Origin=origin)
        assert answer.status == 403, origin
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_request_of_more_than_a_megabyte_is_refused(api: Client) -> None:
    large = b"x" * (1024 * 1024 + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 65536):
            yield large[start : start + 65536]

    fits = await api.ask("POST", "/api/v1/me", data=large[:-1])
    assert fits.status == 405
    url, headers = f"{api.host.url}/api/v1/me", {"Authorization": f"Bearer {OPERATOR_KEY}"}
    async with api.session.post(url, data=pieces(), headers=headers) as answer:
        assert answer.status == 413
    # By its length alone it is refused before anybody asks for a key.
    head = f"POST /api/v1/me HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(large)}\r\n\r\n"
    port = int(api.host.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 30)
    writer.transport.abort()


async def test_the_first_step_that_refuses_answers(api: Client) -> None:
    """Size, Host, Origin, key, person, permission: each of these requests has all later faults."""
    port = int(api.host.url.rpartition(":")[2])

    async def status(*lines: str) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = ["PUT /api/v1/registry/agents/nobody?user_id=bob HTTP/1.1", *lines, "", ""]
        writer.write("\r\n".join(head).encode())
        first = await asyncio.wait_for(reader.readline(), 30)
        writer.transport.abort()
        return int(first.split()[1])

    key = await api.make_key(account="acme", user="ann", role="account_manager")
    small, large = "Content-Length: 0", "Content-Length: 9999999"
    bad_host, bad_page = "Host: evil.example", "Origin: http://evil.example"
    good_host, bearer = f"Host: 127.0.0.1:{port}", f"Authorization: Bearer {key}"
    assert await status(large, bad_host, bad_page) == 413
    assert await status(small, bad_host, bad_page) == 421
    assert await status(small, good_host, bad_page) == 403
    assert await status(small, good_host) == 401
    assert await status(small, good_host, bearer) == 403
    named = await api.ask("PUT", "/api/v1/registry/agents/nobody?user_id=bob", key, json={})
    assert named.json["field"] == "user_id"
    asked = await api.ask("PUT", "/api/v1/registry/agents/nobody", key, json={})
    assert (asked.status, "field" in asked.json) == (403, False)


# --- errors ---------------------------------------------------------------------------------------


async def test_every_error_is_a_problem_and_repeats_nothing_of_the_request(api: Client) -> None:
    app = await api.app()

    @app.get("/api/v1/broken/{number}")
    @needs_key()
    async def broken(number: int) -> int:
        raise RuntimeError(f"the password is hunter2, at {number}")

    cases = {
        404: await api.get("/api/v1/never/marker"),
        405: await api.ask("DELETE", "/api/v1/me?marker=1"),
        422: await api.get("/api/v1/broken/marker"),
        500: await api.get("/api/v1/broken/7"),
    }
    for status, answer in cases.items():
        assert (answer.status, answer.json["status"]) == (status, status)
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json.keys() >= {"type", "title", "status", "detail"}
        assert b"marker" not in answer.body
        assert b"hunter2" not in answer.body
    assert cases[422].json["field"] == "number"
    assert cases[405].headers["Allow"] == "GET"


# --- the document ---------------------------------------------------------------------------------


async def test_the_openapi_document_has_every_route_and_every_refusal(api: Client) -> None:
    document = (await api.get("/openapi.json")).json
    found = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in operations
    }
    app = await api.app()
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    shown = {(method, route.path_format) for route in routes for method in route.methods or ()}
    assert found == shown - {("GET", "/openapi.json")}
    own = [(m, p) for m, p, _ in ROUTES if (m, p) in found]
    assert len(own) == len([1 for _, p, _ in ROUTES if not p.startswith(OPENAI_PREFIX)]) - 1
    for method, path in own:
        operation = document["paths"][path][method.lower()]
        answers = operation["responses"]
        assert answers.keys() >= {"401", "403", "404", "421", "422", "429", "503"}, path
        assert operation["description"], (method, path)
        assert operation["x-needs"], (method, path)
    assert document["security"] == [{"key": []}]
    assert "example" in document["components"]["schemas"]["Me"]


async def test_answers_are_kept_by_no_cache(api: Client) -> None:
    for key in (OPERATOR_KEY, None):
        answer = await api.get("/api/v1/me", key)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
