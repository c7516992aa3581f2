"""Browsers at the gate: keys and links become cookies, and what a cookie does not open."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bot.http.api.app import make_app
from bot.http.api.visitors import KEY_COOKIE
from bot.store.sign_ins import SignIn, SignIns
from registry.access import AccessGrant
from registry.roles import OPERATOR_ACTOR, RoleGrant
from simulators.testing.valkey import Valkey
from tests.host.stage import staged
from tests.http.accounts import Browser, Talk, browser, events_in, said, talking
from tests.http.api import OPERATOR_KEY, ApiAnswer, client_of, filled, routes_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIGNED = "/api/v1/artifacts/{artifact_id}"  # it needs no key
ROUTES = [
    (method, filled(path, account="acme", instance="sales-smb"), path)
    for method, path, _ in routes_of(make_app())
    if path != SIGNED
]
OF_PAGE = {
    *("/session", "/api/v1/me", "/api/v1/approvals", "/api/v1/approvals/{approval_id}"),
    "/accounts/{account}/agents",
    *(
        f"/accounts/{{account}}/agents/{{instance}}/{end}"
        for end in ("chat", "stream", "history", "stop")
    ),
}
"""What a cookie opens; a route that is new is closed to it until this list names it."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    """One host for most tests of this module."""
    async with staged(tmp_path_factory.mktemp("sign_in")) as stage, talking(stage) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def ann(talk: Talk) -> AsyncIterator[Browser]:
    """A browser in which Ann is signed in with a key of her own."""
    key = await talk.client.make_key(account="acme", user="ann")
    async with browser(talk) as found:
        assert (await found.ask("POST", "/session", {"key": key}))[0] == 204
        yield found


def cookie_of(one: Browser) -> str:
    (found,) = [cookie.value for cookie in one.session.cookie_jar if cookie.key == KEY_COOKIE]
    return found


# --- a key becomes a cookie ----------------------------------------------------------------------


async def test_a_key_becomes_a_cookie_that_no_script_reads_and_the_store_has_its_hash_alone(
    talk: Talk,
) -> None:
    key = await talk.client.make_key(account="acme", user="ann")
    async with browser(talk) as page:
        assert (await page.ask("GET", "/session"))[0] == 401
        status, body, headers = await page.ask("POST", "/session", {"key": key})
        assert (status, body) == (204, b"")
        cookie = headers["Set-Cookie"]
        assert all(
            part in cookie for part in ("HttpOnly", "Path=/", "SameSite=strict", "Max-Age=43200")
        )
        assert "Secure" not in cookie
        value = cookie_of(page)
        assert len(value) == 43
        store = talk.host.store
        kept = await store.command("KEYS", "api:sign-in:*")
        assert kept
        texts = [await store.command("GET", name) for name in kept]
        assert all(
            value.encode() not in name + text for name, text in zip(kept, texts, strict=True)
        )
        assert 43_000 < await store.command("TTL", kept[0]) <= 43_200

        status, body, _ = await page.ask("GET", "/session")
        assert b'"person":"api:acme:ann"' in body
        assert b'"accounts":["acme"]' in body
        status, _, headers = await page.ask("DELETE", "/session")
        assert (status, "Max-Age=0" in headers["Set-Cookie"]) == (204, True)
        again = {"Cookie": f"{KEY_COOKIE}={value}"}
        assert (await talk.client.get("/session", None, **again)).status == 401


async def test_a_page_talks_with_its_cookie_in_two_tabs(talk: Talk, ann: Browser) -> None:
    talk.stage.script.on("One.", "Two.")
    path = talk.path()
    both = await asyncio.gather(
        *(ann.ask("POST", f"{path}/stream", {"message": m, "session_id": "tab"}) for m in "ab")
    )
    answers = [said(events_in(body.decode())) for _, body, _ in both]
    assert sorted(answers) == ["One.", "Two."]
    status, body, _ = await ann.ask("GET", f"{path}/history?session_id=tab")
    assert (status, body.count(b'"role":"human"')) == (200, 2)
    talk.stage.script.on("By GET.")
    status, body, _ = await ann.ask("GET", f"{path}/stream?message=hello")
    assert said(events_in(body.decode())) == "By GET."
    assert (await ann.ask("GET", "/api/v1/me"))[0] == 200
    assert (await ann.ask("GET", "/api/v1/approvals"))[1] == b'{"approvals":[]}'


async def test_a_sign_in_for_one_person_stands_for_nobody_else(talk: Talk) -> None:
    key = await talk.client.make_key(account="acme", role="instance_admin")
    async with browser(talk) as page:
        body = {"key": key, "user_id": "cleo"}
        assert (await page.ask("POST", "/session", body))[0] == 204
        _, body_, _ = await page.ask("GET", "/api/v1/me")
        assert b'"person":"api:acme:cleo"' in body_
        assert (await page.ask("GET", "/session?user_id=ben"))[0] == 403
        body = {"message": "hi", "user_id": "ben"}
        assert (await page.ask("POST", f"{talk.path()}/chat", body))[0] == 403
        # Once the person can ask for themselves, the cookie stands for them no more.
        grant = RoleGrant(role="spokestack_engineer", account="acme")
        await talk.host.catalog.grant_role(OPERATOR_ACTOR, "api:acme:cleo", grant, key="give cleo")
        await talk.host.catalog.until(lambda found: bool(found.roles_held_by("api:acme:cleo")))
        assert (await page.ask("GET", "/api/v1/me"))[0] == 403


async def test_a_key_that_is_revoked_or_expires_ends_its_cookies_at_once(talk: Talk) -> None:
    key = await talk.client.make_key(account="acme", user="ann")
    brief = await talk.client.make_key(account="acme", expires=time.time() + 2)
    async with browser(talk) as page, browser(talk) as other:
        assert (await page.ask("POST", "/session", {"key": key}))[0] == 204
        assert (await other.ask("POST", "/session", {"key": brief}))[0] == 204
        assert (await page.ask("GET", "/session"))[0] == 200
        await talk.client.revoke(key)
        assert (await page.ask("GET", "/session"))[0] == 401
        async with asyncio.timeout(20):
            while (await other.ask("GET", "/session"))[0] == 200:
                pass
        assert (await other.ask("GET", "/session"))[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"key": ""},
        {"key": "wrong"},
        {"key": None},
        {"key": [OPERATOR_KEY]},
        {"key": OPERATOR_KEY, "link": "x"},
        {"link": ""},
        {"link": "x" * 43},
        {"link": "x" * 5000},
        {"user_id": "ann"},
        [OPERATOR_KEY],
        OPERATOR_KEY,
    ],
)
async def test_what_is_no_key_signs_nobody_in(talk: Talk, body: object) -> None:
    bare = await talk.client.get("/api/v1/me", None)
    answer = await talk.client.ask("POST", "/session", None, json=body)
    assert (answer.status, answer.body) == (401, bare.body)
    assert "Set-Cookie" not in answer.headers


async def test_a_sign_in_is_json_small_and_has_no_key_in_its_address(talk: Talk) -> None:
    form = f"key={OPERATOR_KEY}"
    text = f'{{"key": "{OPERATOR_KEY}"}}'
    for data, kind in ((form, "application/x-www-form-urlencoded"), (text, "text/plain")):
        answer = await talk.client.ask("POST", "/session", None, data=data, Content_Type=kind)
        assert answer.status == 401, kind
    url = f"/session?key={OPERATOR_KEY}"
    assert (await talk.client.ask("POST", url, None, json={"key": OPERATOR_KEY})).status == 401
    large = {"key": OPERATOR_KEY, "user_id": "x" * 9000}
    assert (await talk.client.ask("POST", "/session", None, json=large)).status == 413
    assert (await talk.client.ask("POST", "/session", json={})).status == 204


# --- what a cookie does not open -----------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "route"), ROUTES)
async def test_a_cookie_opens_the_routes_of_the_page_and_no_other(
    talk: Talk, ann: Browser, method: str, path: str, route: str
) -> None:
    if route == "/session" and method != "GET":
        return
    status, body, _ = await ann.ask(method, path, {} if method != "GET" else None)
    bare = await talk.client.get("/api/v1/me", None)
    if route in OF_PAGE:
        assert status != 401
    else:
        assert (status, body) == (401, bare.body)


FOREIGN = [
    ("http://evil.example", "cross-site"),
    ("http://evil.example", "same-origin"),
    ("null", "cross-site"),
    ("null", "same-origin"),
    ("", "same-origin"),
    ("own:1", "same-site"),
    ("own:1", None),
    ("https://127.0.0.1", "same-site"),
    ("own", "cross-site"),
    ("own", "same-site"),
    ("own", "none"),
    ("own", "SAME-ORIGIN"),
    (None, "cross-site"),
    (None, "same-site"),
    (None, "none"),
    (None, "cross-site, same-origin"),
    (None, None),
]
"""What browsers send along from pages elsewhere, from no page, and what would look like ours."""


@pytest.mark.parametrize(("origin", "site"), FOREIGN)
async def test_a_cookie_cannot_write_or_begin_a_turn_from_elsewhere(
    talk: Talk, ann: Browser, origin: str | None, site: str | None
) -> None:
    url = talk.host.url
    port = int(url.rpartition(":")[2])
    where = (
        f"http://127.0.0.1:{port + 1}" if origin == "own:1" else url if origin == "own" else origin
    )
    sent = {"Cookie": f"{KEY_COOKIE}={cookie_of(ann)}"}
    sent |= {} if where is None else {"Origin": where}
    sent |= {} if site is None else {"Sec_Fetch_Site": site}
    had, path = len(talk.stage.requests()), talk.path()
    for method, end, body in (
        ("POST", f"{path}/chat", {"message": "hi"}),
        ("POST", f"{path}/stream", {"message": "hi"}),
        ("GET", f"{path}/stream?message=hi", None),
        ("POST", f"{path}/stop", {"output_id": "0" * 24}),
        ("POST", "/api/v1/approvals/x", {"decision": "approve"}),
        ("DELETE", "/session", None),
    ):
        answer = await talk.client.ask(method, end, None, json=body, **sent)
        assert (answer.status, answer.json["type"]) == (
            403,
            "urn:switchboard:problem:foreign-origin",
        ), end
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await ann.ask("GET", "/session"))[0] == 200
    assert len(talk.stage.requests()) == had


async def test_a_cookie_reads_from_our_page_or_the_address_bar_alone(
    talk: Talk, ann: Browser
) -> None:
    sent = {"Cookie": f"{KEY_COOKIE}={cookie_of(ann)}"}
    found = {
        site: (
            await talk.client.get("/accounts/acme/agents", None, Sec_Fetch_Site=site, **sent)
        ).status
        for site in ("same-origin", "none", "same-site", "cross-site", "")
    }
    assert found == {"same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403, "": 403}
    shown = await talk.client.get("/accounts/acme/agents", None, **sent)
    assert (shown.status, shown.headers["Cross-Origin-Resource-Policy"]) == (200, "same-origin")
    assert shown.headers["Cache-Control"] == "no-store"


async def test_cookies_that_are_not_ours_or_stand_twice_open_nothing(
    talk: Talk, ann: Browser
) -> None:
    value = cookie_of(ann)
    for cookie in (
        f"Switchboard_key={value}",
        f"switchboard_key={value[:-1]}",
        f'switchboard_key="{value}"',
        f"switchboard_key={value}x",
        f"switchboard_key=%{ord(value[0]):x}{value[1:]}",
        "switchboard_key=",
        "switchboard_key",
        f"switchboard_key={OPERATOR_KEY}",
        f"other=switchboard_key={value}",
        f"switchboard_chat={value}",
    ):
        assert (await talk.client.get("/session", None, Cookie=cookie)).status == 401, cookie
    own = {"Cookie": f"{KEY_COOKIE}={value}"}
    for path in (
        *("//session", "/session/", "/Session", "/session%0a", "/session;a", "/session%00"),
        *("/api/v1/me/", "/api/v1/approvals/a/b", "/accounts/acme", "/accounts/acme/agents/"),
        *("/accounts/acme/agents/sales-smb", "/accounts/acme/agents/sales-smb/chat%0a"),
        *("/accounts/acme%2fagents%2fx/agents", "/api/v1/registry/agents", "/openapi.json"),
    ):
        assert (await talk.client.get(path, None, **own)).status == 401, path
    twice = f"{KEY_COOKIE}={value}; {KEY_COOKIE}={value}"
    answer = await talk.client.get("/session", None, Cookie=twice)
    assert (answer.status, answer.json["field"]) == (400, "cookie")
    url, header = f"{talk.host.url}/session", ("Cookie", f"{KEY_COOKIE}={value}")
    async with talk.client.session.get(url, headers=[header, header]) as two:
        assert two.status == 400
    url = f"/session?x={value}"
    assert (await talk.client.get(url, None, Cookie=f"{KEY_COOKIE}={value}")).status == 401
    for name in ("X-Forwarded-Host", "X-Original-URL", "X-HTTP-Method-Override", "Forwarded"):
        sent = {name: "/session", "Cookie": f"{KEY_COOKIE}={value}"}
        assert (await talk.client.get("/api/v1/keys", None, **sent)).status == 401, name


async def test_where_a_key_is_shown_as_well_the_cookie_does_not_count(
    talk: Talk, ann: Browser
) -> None:
    ben = await talk.client.make_key(account="acme", user="ben")
    sent = {"Cookie": f"{KEY_COOKIE}={cookie_of(ann)}"}
    assert (await talk.client.get("/session", ben, **sent)).json["person"] == "api:acme:ben"
    for header in ("Bearer wrong", "Bearer ", "", "Basic eA=="):
        answer = await talk.client.get("/session", None, Authorization=header, **sent)
        assert answer.status == 401, header


# --- links ---------------------------------------------------------------------------------------


async def test_a_link_signs_in_once_whichever_replica_is_asked(
    tmp_path_factory: pytest.TempPathFactory, valkey: Valkey
) -> None:
    found = list[ApiAnswer]()
    async with staged(tmp_path_factory.mktemp("links")) as stage:
        boss = stage.person("Boss")
        common = {"REDIS_URL": valkey.url, "ADMINS": str(boss.id)}
        two = stage.host(HTTP_API="1", **common, DATA_DIR=str(stage.folder / "two"))
        async with (
            talking(stage, **common, DATA_DIR=str(stage.folder / "one")) as here,
            two as second,
            client_of(second) as there,
        ):
            links = SignIns(here.host.store)
            who = SignIn(person=boss.id, name="Boss", bot=7)
            for _ in range(10):
                code = await links.make_link(who)
                tries = [
                    client.ask("POST", "/session", None, json={"link": code})
                    for client in (here.client, there, here.client, there)
                ]
                found = await asyncio.gather(*tries)
                assert sorted(one.status for one in found) == [204, 401, 401, 401]
            (cookie,) = [one.headers["Set-Cookie"] for one in found if one.status == 204]
            shown = {"Cookie": cookie.partition(";")[0]}
            for client in (here.client, there):
                session = (await client.get("/session", None, **shown)).json
                assert (session["person"], session["name"]) == (f"tg:{boss.id}", "Boss")
                assert session["key"] is None
            # A link for somebody without a role opens nothing, nor does one that is too old.
            code = await links.make_link(SignIn(person=boss.id + 1, name="Eve", bot=7))
            assert (await there.ask("POST", "/session", None, json={"link": code})).status == 401
            code = await links.make_link(who)
            (name,) = await here.host.store.command("KEYS", "api:sign-in-link:*")
            assert 290 < await here.host.store.command("TTL", name) <= 300
            assert code.encode() not in name
            assert (await there.get(f"/session?link={code}", None)).status == 401


async def test_page_in_a_private_chat_gives_a_link_that_is_nowhere_else(
    tmp_path_factory: pytest.TempPathFactory, valkey: Valkey
) -> None:
    async with staged(tmp_path_factory.mktemp("page")) as stage:
        echo, boss, eve = stage.bot("Echo"), stage.person("Boss"), stage.person("Eve")
        stage.environ["ADMINS"] = str(boss.id)
        office, room = stage.world.private(boss, echo), stage.world.private(eve, echo)
        public = {"PUBLIC_URL": "https://bots.example/"}
        async with talking(stage, REDIS_URL=valkey.url, **public) as talk:
            catalog = talk.host.catalog
            shown = await stage.ask(boss, office, echo, "/page")
            (code,) = re.findall(r"https://bots\.example/#([\w-]{43})\b", shown)
            written = [one.read_bytes() for one in valkey.folder.rglob("*") if one.is_file()]
            assert b"shown-once-" in b"".join(written)
            assert code.encode() not in b"".join(written)
            refused = await stage.ask(eve, room, echo, "/page")
            assert refused.startswith("Only admins of this host, and people with the role")

            # Over https the cookie is for https alone, and nobody else's page uses the link.
            sent = {"Host": "bots.example", "Origin": "https://evil.example"}
            body = {"link": code}
            assert (
                await talk.client.ask("POST", "/session", None, json=body, **sent)
            ).status == 403
            sent["Origin"] = "http://bots.example"
            assert (
                await talk.client.ask("POST", "/session", None, json=body, **sent)
            ).status == 403
            sent["Origin"] = "https://bots.example"
            answer = await talk.client.ask("POST", "/session", None, json=body, **sent)
            assert (answer.status, "Secure" in answer.headers["Set-Cookie"]) == (204, True)
            cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}
            stage.script.on("Hello, Boss.")
            url = "/accounts/default/agents/simple-chat/chat"
            json = {"message": "hello"}
            talked = await talk.client.ask("POST", url, None, json=json, **sent, **cookie)
            assert (talked.status, talked.json["response"]) == (200, "Hello, Boss.")
            me = (await talk.client.get("/api/v1/me", None, **cookie)).json
            assert (me["person"], me["scope"], me["key"]) == (f"tg:{boss.id}", "host", None)

            # Somebody with a role in one account reaches that account, for as long as they have it.
            grant = RoleGrant(role="client_contact", scope="client", account="acme", client="nike")
            await catalog.grant_role(OPERATOR_ACTOR, f"tg:{eve.id}", grant, key="give eve")
            shown = await stage.ask(eve, room, echo, "/page")
            (code,) = re.findall(r"#([\w-]{43})\b", shown)
            answer = await talk.client.ask("POST", "/session", None, json={"link": code})
            cookie = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}

            async def status(path: str) -> int:
                return (await talk.client.get(path, None, **cookie)).status

            assert await status("/accounts/acme/agents") == 200
            assert await status("/accounts/default/agents") == 404
            assert await status("/accounts/other/agents") == 404
            blocked = AccessGrant(subject=f"person:{eve.id}@*", level="blocked", by="operator")
            await catalog.set_access(OPERATOR_ACTOR, blocked, key="block eve")
            assert await status("/accounts/acme/agents") == 401
            await catalog.clear_access(OPERATOR_ACTOR, blocked.subject, key="let eve")
            assert await status("/accounts/acme/agents") == 200
            await catalog.revoke_role(OPERATOR_ACTOR, f"tg:{eve.id}", grant, key="take from eve")
            assert await status("/accounts/acme/agents") == 401


async def test_page_says_where_no_page_is_served(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with staged(tmp_path_factory.mktemp("no_page")) as stage:
        echo, boss = stage.bot("Echo"), stage.person("Boss")
        stage.environ["ADMINS"] = str(boss.id)
        office = stage.world.private(boss, echo)
        async with stage.host():
            assert "HTTP_API=1" in await stage.ask(boss, office, echo, "/page")
