"""Changes, requests and the claim code on a real store: each is made once, whoever else tries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from bot.access.rules import ADMIN, BLOCKED, MEMBER, Access, Level, Subject
from bot.access.store import AccessChange, AccessRequest, AccessStore
from bot.messages import OutgoingPart
from bot.ops.tasks import SystemClock
from bot.store import keys
from bot.store.client import StoreClient
from registry.catalog import Catalog
from registry.errors import Denied
from registry.roles import RoleGrant
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore
from registry.sources.stored_values import ACCESS, AUDIT
from tests.host.stage import until
from tests.store.engines import Engine

ANN = Subject("person", 5, 7)
ASKED = AccessRequest("nonce", ANN, "bot:7", "echo_bot", 5, "Ann")
CARD = OutgoingPart(9, "message", {"text": "May Ann?"})
BOSS = 9


def change(
    key: str, level: Level | None = MEMBER, who: Subject = ANN, nonce: str = ""
) -> AccessChange:
    return AccessChange(who, level, BOSS, f"Boss {key}", key, 1_700_000_000, "Ann", nonce)


@asynccontextmanager
async def replica(client: StoreClient) -> AsyncIterator[AccessStore]:
    """What a host has of it, which has one admin."""
    catalog = Catalog(FileSource(Path("none.json")), RedisStore(client.redis))
    await catalog.open()
    access = Access({BOSS})
    catalog.subscribe(access.follow)
    access.follow(catalog.snapshot())
    try:
        yield AccessStore(client, access, catalog)
    finally:
        await catalog.close()


@asynccontextmanager
async def another(engine: Engine) -> AsyncIterator[AccessStore]:
    """What another replica has of it."""
    client = StoreClient(engine.connect(), SystemClock())
    try:
        async with replica(client) as grants:
            yield grants
    finally:
        await client.close()


@pytest.fixture
async def grants(client: StoreClient) -> AsyncIterator[AccessStore]:
    async with replica(client) as grants:
        yield grants


async def audited(client: StoreClient) -> int:
    return int(await client.command("XLEN", AUDIT))


def level_of(grants: AccessStore, subject: Subject = ANN) -> Level | None:
    """Whether somebody was let in or blocked, as this replica knows it."""
    entry = grants.access.grants.get(subject.name)
    return entry.value.level if entry else None


def overwrites(engine: Engine) -> None:
    """The test changes a document that is there, which takes more than fakeredis has."""
    engine.needs("redis.sha1hex in scripts")


@asynccontextmanager
async def killed_before(grants: AccessStore, step: str) -> AsyncIterator[None]:
    """The host ends at the moment when it would make this change of the registry."""

    async def and_no_further(*_given: object, **_more: object) -> None:
        raise SystemError("killed here")

    made = getattr(Catalog, step)
    setattr(Catalog, step, and_no_further)
    try:
        with pytest.raises(SystemError, match="killed here"):
            yield
    finally:
        setattr(Catalog, step, made)


async def test_a_change_is_made_and_audited_once_for_its_key(
    grants: AccessStore, client: StoreClient, engine: Engine
) -> None:
    overwrites(engine)
    for _ in range(2):
        assert (await grants.change_access(change("a"))).kind == "done"
    assert level_of(grants) == MEMBER
    for _ in range(2):
        assert (await grants.change_access(change("b", None))).kind == "done"
    assert (await grants.change_access(change("c", None))).kind == "absent"
    assert grants.access.grants == {}
    assert await audited(client) == 2


async def test_of_two_answers_to_one_request_one_counts_whatever_the_order(
    grants: AccessStore, client: StoreClient, engine: Engine
) -> None:
    async with another(engine) as others:
        for number in range(50):
            asked = replace(ASKED, nonce=f"n{number}", subject=Subject("person", 5, number + 1))
            assert await grants.open_request(asked) == asked
            answers = [
                replace(change(f"{number}{level}", level, asked.subject), nonce=asked.nonce)
                for level in (MEMBER, BLOCKED)
            ]
            outcomes = await asyncio.gather(
                grants.change_access(answers[0]), others.change_access(answers[1])
            )
            assert sorted(one.kind for one in outcomes) == ["done", "late"]
            request = await grants.find_request(asked.nonce)
            assert request is not None
            winner = (grants, others)[[one.kind for one in outcomes].index("done")]
            assert request.decision == level_of(winner, asked.subject)
            stored = orjson.loads(await client.command("GET", ACCESS + asked.subject.name))
            assert request.decision == stored["level"]
    assert await audited(client) == 50


async def test_a_subject_has_one_open_request_and_each_admin_one_card_of_it(
    grants: AccessStore, client: StoreClient, engine: Engine
) -> None:
    overwrites(engine)
    first = await grants.open_request(ASKED)
    again = await grants.open_request(replace(ASKED, nonce="other"))
    assert first == again == ASKED
    assert [await grants.post_card("nonce", 9, "bot:7", CARD) for _ in range(2)] == [True, False]
    assert await client.command("XLEN", keys.outbox("bot:7")) == 1
    (waiting,) = await grants.open_requests()
    assert waiting.cards[9].line == "bot:7"
    outcome = await grants.change_access(change("a"))
    assert outcome.nonce == "nonce"
    await grants.close_request(ANN, "nonce")
    assert await grants.open_requests() == []
    assert not await grants.post_card("nonce", 10, "bot:7", CARD)
    assert await grants.open_request(replace(ASKED, nonce="another")) == "known"
    await grants.change_access(change("x", None))
    late = await grants.change_access(change("b", BLOCKED, nonce="nonce"))
    assert late.kind == "late"
    fresh = replace(ASKED, nonce="another")
    assert await grants.open_request(fresh) == fresh
    await grants.close_request(ANN, "nonce")  # once more, after a crash: the new one stays
    assert await grants.open_request(replace(ASKED, nonce="third")) == fresh
    assert (await grants.change_access(change("c", nonce="never"))).kind == "absent"


async def test_whoever_was_let_in_or_blocked_in_all_bots_opens_no_request(
    grants: AccessStore,
) -> None:
    await grants.change_access(change("a", BLOCKED, ANN._replace(bot=0)))
    assert await grants.open_request(ASKED) == "known"


async def test_kill_9_between_the_decision_and_the_document_is_made_good_by_the_same_press(
    grants: AccessStore, client: StoreClient
) -> None:
    await grants.open_request(ASKED)
    press = change("press", nonce="nonce")
    async with killed_before(grants, "set_access"):
        await grants.change_access(press)
    assert level_of(grants) is None
    # Nobody asks twice, and nobody else answers meanwhile.
    again = await grants.open_request(replace(ASKED, nonce="other"))
    assert isinstance(again, AccessRequest)
    assert (again.nonce, again.decision) == ("nonce", MEMBER)
    assert not await grants.post_card("nonce", 10, "bot:7", CARD)
    assert (await grants.change_access(change("other", BLOCKED, nonce="nonce"))).kind == "late"
    for _ in range(2):
        assert (await grants.change_access(press)).kind == "done"
    assert level_of(grants) == MEMBER
    assert await audited(client) == 1


@pytest.mark.parametrize("by_hand", [False, True])
async def test_an_answer_that_is_carried_out_late_changes_nothing_that_was_decided_since(
    grants: AccessStore, client: StoreClient, engine: Engine, *, by_hand: bool
) -> None:
    overwrites(engine)
    await grants.open_request(ASKED)
    press = change("press", MEMBER, nonce="nonce")
    async with killed_before(grants, "set_access"):
        await grants.change_access(press)
    if by_hand:
        text = f'{{"subject": "{ANN.name}", "level": "blocked"}}'
        await client.command("SET", ACCESS + ANN.name, text)
        await grants.catalog.reload()
    else:
        outcome = await grants.change_access(change("command", BLOCKED))
        assert (outcome.kind, outcome.nonce) == ("done", "nonce")
    for _ in range(2):
        assert (await grants.change_access(press)).kind == "late"
    assert level_of(grants) == BLOCKED


async def test_another_replica_hears_of_a_change_within_a_second(
    grants: AccessStore, engine: Engine, client: StoreClient
) -> None:
    overwrites(engine)
    async with another(engine) as others:
        await grants.change_access(change("a"))
        await until(lambda: level_of(others) == MEMBER, 30.0)
        await grants.change_admin(BOSS, 5, is_admin=True, key="admin")
        await until(lambda: others.access.is_admin(5), 30.0)
        assert await grants.change_admin(BOSS, 5, is_admin=False, key="none")
        await grants.change_access(change("b", None))
        await until(lambda: level_of(others) is None and not others.access.is_admin(5), 30.0)
        assert await client.command("KEYS", f"{ACCESS}*") == []


async def test_a_manager_lets_in_and_blocks_but_makes_no_admins(grants: AccessStore) -> None:
    """The roles that count are those of the registry, not those that a button was shown to."""
    manager = RoleGrant(role="instance_admin")
    boss = grants.access.actor(BOSS)
    await grants.catalog.grant_role(boss, "tg:6", manager, key="manager")
    assert (grants.access.may_let_in(6), grants.access.is_admin(6)) == (True, False)
    assert (await grants.change_access(replace(change("a"), by=6))).kind == "done"
    for is_admin in (True, False):
        with pytest.raises(Denied):
            await grants.change_admin(6, 5 if is_admin else BOSS, is_admin=is_admin, key="admin")
    with pytest.raises(Denied):
        await grants.change_access(replace(change("b", BLOCKED), by=8))
    assert level_of(grants) == MEMBER
    assert grants.access.admins == {BOSS}


async def test_two_who_know_the_code_do_not_both_become_admin(
    grants: AccessStore, engine: Engine
) -> None:
    async with another(engine) as others:
        for number in range(20):
            await grants.offer_claim(f"CODE{number}")
            people = [2 * number + n + 100 for n in range(2)]
            done = await asyncio.gather(
                grants.claim(f"CODE{number}", people[0], f"k{people[0]}"),
                others.claim(f"CODE{number}", people[1], f"k{people[1]}"),
            )
            assert sorted(done) == ["done", "wrong"]
            winner = people[done.index("done")]
            again = await grants.claim("anything", winner, f"k{winner}")
            assert again == "done"  # the same entry, once more
        await until(lambda: len(grants.access.engineers) == 20, 30.0)


async def test_kill_9_between_the_code_and_the_role_is_made_good_by_the_same_message(
    grants: AccessStore, client: StoreClient
) -> None:
    await grants.offer_claim("CODE")
    async with killed_before(grants, "grant_role"):
        await grants.claim("CODE", 5, "k5")
    assert grants.access.engineers == frozenset()
    assert await grants.claim("CODE", 6, "k6") == "wrong"
    await grants.offer_claim("NEXT")  # by the next start, which knows no admin yet
    for _ in range(2):
        assert await grants.claim("CODE", 5, "k5") == "done"
    assert grants.access.engineers == {5}
    assert await grants.claim("NEXT", 6, "k6b") == "wrong"
    assert await audited(client) == 1


async def test_a_document_that_cannot_be_read_grants_nothing_and_hides_no_other(
    grants: AccessStore, client: StoreClient, engine: Engine
) -> None:
    overwrites(engine)
    await grants.change_access(change("a"))
    odd = {
        "person:6@7": "{",
        "person:7@7": '{"subject": "person:7@7", "level": "king"}',
        "person:8@7": '{"subject": "person:5@7", "level": "member"}',
        "king:5@7": '{"subject": "king:5@7", "level": "member"}',
        "x": "y",
    }
    for name, text in odd.items():
        await client.command("SET", ACCESS + name, text)
    snapshot = await grants.catalog.reload()
    assert set(grants.access.grants) == {ANN.name}
    places = " ".join(problem.place for problem in snapshot.problems)
    assert all(f"{ACCESS}{name}" in places for name in odd)
    assert (
        await grants.change_access(change("b", BLOCKED, Subject("person", 6, 7)))
    ).kind == "done"
    assert level_of(grants, Subject("person", 6, 7)) == BLOCKED


async def test_a_name_that_looks_like_a_secret_saves_nobody_from_a_block(
    grants: AccessStore,
) -> None:
    names = ["sk-ant-api03-" + "a" * 40, "7000001:" + "A" * 35, "${TOKEN}", "x" * 500, "\u202e"]
    for number, name in enumerate(names):
        who = Subject("person", number + 50, 7)
        await grants.change_access(replace(change(f"k{number}", BLOCKED, who), name=name))
        assert grants.access.is_blocked("person", who.id, 7)


# --- what an older version stored -----------------------------------------------------------------

OLD: dict[str, dict[str, Any]] = {
    "person:5@7": {"role": "member", "by": 9, "at": 1_700_000_000, "name": "Ann"},
    "person:6@*": {"role": "blocked", "by": 9, "at": 1_700_000_001, "name": ""},
    "chat:-100@7": {"role": "member", "by": 9, "at": 1_700_000_002, "name": "Team"},
    "person:8@*": {"role": "spokestack_engineer", "by": 8, "at": 1_700_000_003, "name": "Cat"},
}
ODD = {"person:7@7": b"{", "king:5@7": b"{}", "person:9@7": b'{"role": "king", "by": 1, "at": 1}'}


async def store_old(client: StoreClient) -> None:
    """Leave what the version before this one kept: one hash, and how often it was changed."""
    for name, body in {**{k: orjson.dumps(v) for k, v in OLD.items()}, **ODD}.items():
        await client.command("HSET", keys.OLD_GRANTS, name, body)
    await client.command("SET", keys.OLD_GRANTS_VERSION, 7)


def is_as_before(grants: AccessStore) -> bool:
    access = grants.access
    levels = {name: entry.value.level for name, entry in access.grants.items()}
    wanted = {name: old["role"] for name, old in OLD.items() if old["role"] in (MEMBER, BLOCKED)}
    return levels == wanted and access.engineers == {8}


async def test_the_grants_of_an_older_version_become_documents_once_whoever_else_does_it(
    grants: AccessStore, client: StoreClient, engine: Engine
) -> None:
    await store_old(client)
    async with another(engine) as others:
        with structlog.testing.capture_logs() as logs:
            await asyncio.gather(grants.upgrade(), others.upgrade())
        await until(lambda: is_as_before(grants) and is_as_before(others), 30.0)
    named = {entry["grant"] for entry in logs if entry["event"] == "grant.unreadable"}
    assert named == {name.encode() for name in ODD}
    assert await client.command("EXISTS", keys.OLD_GRANTS) == 0
    assert await client.command("TTL", keys.OLD_GRANTS_VERSION) > 0
    ann = grants.access.grants[ANN.name].value
    assert (ann.by, ann.at, ann.name) == ("9", 1_700_000_000, "Ann")
    assert await audited(client) == len(OLD)
    await grants.upgrade()
    assert await audited(client) == len(OLD)


async def test_an_upgrade_that_was_killed_goes_on_and_undoes_nothing_that_came_since(
    grants: AccessStore, client: StoreClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    overwrites(engine)
    await store_old(client)
    made: list[object] = []
    step = Catalog.set_access

    async def once(*given: Any, **more: Any) -> Any:
        if made:
            raise SystemError("killed here")
        made.append(given)
        return await step(*given, **more)

    monkeypatch.setattr(Catalog, "set_access", once)
    with pytest.raises(SystemError):
        await grants.upgrade()
    monkeypatch.undo()
    (known,) = grants.access.grants
    assert (await grants.change_access(change("a", None, Subject.parse(known)))).kind == "done"
    left = next(name for name, old in OLD.items() if old["role"] == MEMBER and name != known)
    await grants.change_access(change("b", BLOCKED, Subject.parse(left)))
    await grants.upgrade()
    assert known not in grants.access.grants
    assert level_of(grants, Subject.parse(left)) == BLOCKED
    assert grants.access.engineers == {8}
    assert await client.command("EXISTS", keys.OLD_GRANTS) == 0


async def test_an_admin_of_an_older_version_keeps_the_other_roles_that_they_hold(
    grants: AccessStore, client: StoreClient, engine: Engine
) -> None:
    overwrites(engine)
    boss, other = grants.access.actor(BOSS), RoleGrant(role="account_manager", account="acme")
    await grants.catalog.grant_role(boss, "tg:8", other, key="k")
    await store_old(client)
    await grants.upgrade()
    assert grants.catalog.snapshot().roles_held_by("tg:8") == (other, ADMIN)
