"""Grants, requests and the claim code on a real store: each is made once, whoever else tries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bot.access.rules import BLOCKED, ENGINEER, EVERYWHERE, MEMBER, Access, Role, Subject
from bot.access.store import AccessRequest, AccessStore, RoleChange
from bot.hosting.fleet import Notifications
from bot.messages import OutgoingPart
from bot.ops.tasks import SystemClock
from bot.store import keys
from bot.store.client import StoreClient
from registry.sources.stored_values import AUDIT
from tests.host.stage import until
from tests.store.engines import Engine

ANN = Subject("person", 5, 7)
ASKED = AccessRequest("nonce", ANN, "bot:7", "echo_bot", 5, "Ann")
CARD = OutgoingPart(9, "message", {"text": "May Ann?"})


def change(key: str, role: Role | None = MEMBER, who: Subject = ANN, nonce: str = "") -> RoleChange:
    return RoleChange(who, role, 9, f"Boss {key}", key, "Ann", nonce)


@asynccontextmanager
async def another(engine: Engine) -> AsyncIterator[AccessStore]:
    """What another replica has of it."""
    client = StoreClient(engine.connect(), SystemClock())
    try:
        yield AccessStore(client, Access())
    finally:
        await client.close()


@pytest.fixture
def grants(client: StoreClient) -> AccessStore:
    return AccessStore(client, Access())


async def audited(client: StoreClient) -> int:
    return int(await client.command("XLEN", AUDIT))


async def test_a_change_is_made_and_audited_once_for_its_key(
    grants: AccessStore, client: StoreClient
) -> None:
    for _ in range(2):
        assert (await grants.change_role(change("a"))).kind == "done"
    assert grants.access.grants[ANN].role == MEMBER
    for _ in range(2):
        assert (await grants.change_role(change("b", None))).kind == "done"
    assert (await grants.change_role(change("c", None))).kind == "absent"
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
                replace(change(f"{number}{role}", role, asked.subject), nonce=asked.nonce)
                for role in (MEMBER, BLOCKED)
            ]
            outcomes = await asyncio.gather(
                grants.change_role(answers[0]), others.change_role(answers[1])
            )
            assert sorted(one.kind for one in outcomes) == ["done", "late"]
            request = await grants.find_request(asked.nonce)
            assert request is not None
            await grants.refresh()
            assert request.role == grants.access.grants[asked.subject].role
    assert await audited(client) == 50


async def test_a_subject_has_one_open_request_and_each_admin_one_card_of_it(
    grants: AccessStore, client: StoreClient
) -> None:
    first = await grants.open_request(ASKED)
    again = await grants.open_request(replace(ASKED, nonce="other"))
    assert first == again == ASKED
    assert [await grants.post_card("nonce", 9, "bot:7", CARD) for _ in range(2)] == [True, False]
    assert await client.command("XLEN", keys.outbox("bot:7")) == 1
    (waiting,) = await grants.open_requests()
    assert waiting.cards[9].line == "bot:7"
    outcome = await grants.change_role(change("a"))
    assert outcome.nonce == "nonce"
    assert await grants.open_requests() == []
    assert not await grants.post_card("nonce", 10, "bot:7", CARD)
    assert await grants.open_request(replace(ASKED, nonce="another")) == "known"
    await grants.change_role(change("x", None))
    assert await grants.open_request(replace(ASKED, nonce="another")) != "known"
    late = await grants.change_role(change("b", BLOCKED, nonce="nonce"))
    assert late.kind == "late"
    assert (await grants.change_role(change("c", nonce="never"))).kind == "absent"


async def test_another_replica_hears_of_a_change_and_without_the_message_within_a_sweep(
    grants: AccessStore, engine: Engine, client: StoreClient
) -> None:
    async with another(engine) as others:
        notifications = Notifications(client, SystemClock(), others)
        unblocked: list[int] = []
        listening = asyncio.create_task(
            notifications.listen_forever(lambda _: None, lambda: unblocked.append(1))
        )
        await until(lambda: len(unblocked) == 3)
        await grants.change_role(change("a"))
        await until(lambda: ANN in others.access.grants, 30.0)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await grants.change_role(change("b", None))
        assert ANN in others.access.grants
        await notifications.changed_lines()
        assert ANN not in others.access.grants
        before = client.round_trips
        await notifications.changed_lines()
        assert client.round_trips - before == 1


async def test_two_who_know_the_code_do_not_both_become_admin(
    grants: AccessStore, engine: Engine
) -> None:
    async with another(engine) as others:
        for number in range(20):
            await grants.offer_claim(f"CODE{number}")
            people = [Subject("person", 2 * number + n + 1, EVERYWHERE) for n in range(2)]
            tries = [
                replace(change(f"k{one.id}", ENGINEER, one), by=one.id, nonce="") for one in people
            ]
            done = await asyncio.gather(
                grants.claim(f"CODE{number}", tries[0]), others.claim(f"CODE{number}", tries[1])
            )
            assert sorted(done) == ["done", "wrong"]
            winner = tries[done.index("done")]
            assert await grants.claim("anything", winner) == "done"  # the same entry, once more
        await grants.refresh()
        assert len(grants.access.admins) == 20


async def test_a_grant_that_cannot_be_read_grants_nothing_and_hides_no_other(
    grants: AccessStore, client: StoreClient
) -> None:
    await grants.change_role(change("a"))
    odd = {"person:6@7": "{", "person:7@7": '{"role": 5, "x": 1}', "king:5@7": "{}", "x": "y"}
    for name, body in odd.items():
        await client.command("HSET", keys.GRANTS, name, body)
    await grants.refresh()
    assert set(grants.access.grants) == {ANN}
