"""The table of roles: whatever is granted, revoked and tried, nothing happens that it forbids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from registry.access import AccessGrant
from registry.api_key import ApiKey, digest
from registry.binding import AgentBinding
from registry.catalog import Catalog
from registry.definition import AgentDefinition
from registry.errors import Denied, ReasonMissing, RegistryError
from registry.history import History
from registry.roles import (
    HOST_ADMIN,
    PERMISSIONS,
    Action,
    Actor,
    RoleGrant,
    RoleName,
    Target,
    Tier,
    Why,
    is_support,
    roles_for,
    verdict,
)
from registry.sources.file import FileSource
from registry.sources.redis import RedisStore
from simulators.testing.valkey import Valkey

ROOT = Actor("tg:1", HOST_ADMIN)
TABLE = """
spokestack_engineer  rw  rs  rs
instance_admin       r-  rw  rw
instance_manager     r-  r-  rw
account_manager      --  --  rw
client_contact       --  --  rl
"""
"""Spec 5, 9.31, by hand: agent_builder, instance, client; s: for support, l: some fields only."""
CELLS = {line.split()[0]: line.split()[1:] for line in TABLE.split("\n") if line}
TIERS: tuple[Tier, ...] = ("agent_builder", "instance", "client")


class HeldRole(NamedTuple):
    """A role as the oracle knows it; `client` is None for the whole account, `host` for all."""

    role: RoleName
    account: str = "default"
    client: str | None = None
    host: bool = False

    @property
    def grant(self) -> RoleGrant:
        scope = "host" if self.host else "client" if self.client else "account"
        return RoleGrant.model_validate(
            {"role": self.role, "scope": scope, "account": self.account, "client": self.client}
        )


def allowed(
    held: set[HeldRole], act: str, tier: Tier, account: str, client: str | None, *, reason: bool
) -> bool | None:
    """What the table says by hand: True, False, or None where only the reason is missing."""
    lacks_reason = False
    for one in held:
        cell = CELLS[one.role][TIERS.index(tier)]
        inside = one.host or (
            tier != "agent_builder"
            and one.account == account
            and (one.client is None or one.client == client)
        )
        if act == "read":
            if "r" in cell and (inside or tier == "agent_builder"):
                return True
        elif inside and "w" in cell:
            return True
        elif inside and "s" in cell:
            if reason:
                return True
            lacks_reason = True
    return None if lacks_reason else False


def may_give(held: set[HeldRole], given: HeldRole, *, reason: bool) -> bool | None:
    """Who may give which role, by docs/governance.md; None where only the reason is missing."""
    lacks_reason = False
    for one in held:
        if one.host:
            return True
        if given.host or one.account != given.account:
            continue
        if one.client is not None and one.client != given.client:
            continue
        if one.role == "spokestack_engineer" and given.role != "spokestack_engineer":
            if reason:
                return True
            lacks_reason = True
        if one.role == "instance_admin" and given.role != "spokestack_engineer":
            return True
        if one.role == "account_manager" and given.role == "client_contact":
            return True
    return None if lacks_reason else False


# --- the table alone ---


def test_the_table_is_the_one_of_the_document() -> None:
    letters = {"read": "r", "write": "w", "write_support": "s", "write_limited": "l"}
    mine = {
        role: ["".join(letters[one] for one in tiers[tier]).ljust(2, "-") for tier in TIERS]
        for role, tiers in PERMISSIONS.items()
    }
    assert {role: [cell.ljust(2, "-") for cell in cells] for role, cells in mine.items()} == CELLS


HELD = [
    HeldRole(role, account, client, host)
    for role, account, client, host in product(
        PERMISSIONS, ("default", "acme"), (None, "nike"), (False, True)
    )
    if not host or (role == "spokestack_engineer" and client is None and account == "default")
]
PLACES = [("default", None), ("acme", None), ("acme", "nike"), ("acme", "puma")]


def test_every_role_in_every_scope_may_what_the_table_says_and_no_more() -> None:
    wrong = []
    for one, tier, (account, client), act, reason in product(
        HELD, TIERS, PLACES, ("read", "write", "write_support", "delete"), (False, True)
    ):
        why = Why("a test") if reason else Why()
        said = verdict([one.grant], act, Target(tier, account, client), why)
        cell = allowed({one}, act, tier, account, client, reason=reason)
        known = act in ("read", "write")
        wanted = "yes" if known and cell else "needs a reason" if known and cell is None else "no"
        is_limited = said == "limited" and one.role == "client_contact" and act == "write"
        if said != wanted and not is_limited:
            wrong.append((one, tier, account, client, act, said))
    assert wrong == []


@pytest.mark.parametrize("odd", ["", "admin", "write_limited", "READ"])
def test_an_unknown_role_action_or_tier_is_no(odd: str) -> None:
    grants = [one.grant for one in HELD]
    assert verdict(grants, odd, Target("instance")) == "no"
    assert verdict(grants, "read", Target(odd)) == "no"  # type: ignore[arg-type]
    unknown = RoleGrant.model_construct(role=odd, scope="host", account="default", client=None)  # type: ignore[arg-type]
    assert verdict([unknown], "read", Target("client")) == "no"


@pytest.mark.parametrize(("action", "tier"), [*product(("read", "write"), TIERS)])
def test_the_roles_that_are_named_in_a_refusal_are_those_of_the_table(
    action: Action, tier: Tier
) -> None:
    letters = "r" if action == "read" else "ws"
    wanted = {role for role, cells in CELLS.items() if {*letters} & {*cells[TIERS.index(tier)]}}
    assert {*roles_for(action, tier)} == wanted


def test_a_write_for_support_is_known_as_one() -> None:
    engineer = HeldRole("spokestack_engineer").grant
    assert is_support([engineer], Target("instance"))
    assert not is_support([engineer, HeldRole("instance_admin").grant], Target("instance"))


# --- sequences on a store, with two replicas ---

PEOPLE = ("tg:2", "tg:3", "api:acme:ann")
ROLES_TO_GIVE = st.sampled_from(HELD)
AGENT = AgentDefinition(id="x", name="X")
ANN = AccessGrant(subject="person:5@*", level="member")
BINDING = AgentBinding.model_validate({"agentId": "x", "type": "ChatId", "bindingKey": "5"})
Do = Callable[[History, Actor, str, Why], Awaitable[object]]


class Deed(NamedTuple):
    """Something that people try, and what of the table it takes."""

    act: Action
    tier: Tier
    account: str
    client: str | None
    do: Do


def _read_audit(account: str, client: str | None) -> Do:
    tier: Tier = "client" if client else "instance"
    target = Target(tier, account, client)
    return lambda history, actor, _key, _why: history.audit(actor, target, count=3)


def _core(do: Do) -> Deed:
    return Deed("write", "agent_builder", "default", None, do)


def _account(do: Do) -> Deed:
    return Deed("write", "instance", "default", None, do)


DEEDS: Mapping[str, Deed] = {
    "create agent": _core(
        lambda h, a, key, why: h.catalog.create_agent(a, AGENT, key=key, why=why)
    ),
    "update agent": _core(
        lambda h, a, key, why: h.catalog.update_agent(
            a, AGENT.model_copy(update={"description": key}), key=key, why=why
        )
    ),
    "delete agent": _core(lambda h, a, key, why: h.catalog.delete_agent(a, "x", key=key, why=why)),
    "restore agent": _core(
        lambda h, a, key, why: h.catalog.write_document(
            a, "agent", "x", AGENT.to_text(), key=key, why=why
        )
    ),
    "look at agent": Deed(
        "read", "agent_builder", "default", None, lambda h, a, _, __: h.revisions(a, "agent", "x")
    ),
    "bind": _account(lambda h, a, key, why: h.catalog.bind(a, BINDING, key=key, why=why)),
    "unbind": _account(lambda h, a, key, why: h.catalog.unbind(a, BINDING.slot, key=key, why=why)),
    "set default": _account(
        lambda h, a, key, why: h.catalog.set_default(a, None, key=key, why=why)
    ),
    "let in": _account(lambda h, a, key, why: h.catalog.set_access(a, ANN, key=key, why=why)),
    "look at binding": Deed(
        "read",
        "instance",
        "default",
        None,
        lambda h, a, _, __: h.revisions(a, "binding", BINDING.slot),
    ),
    "audit of default": Deed("read", "instance", "default", None, _read_audit("default", None)),
    "audit of acme": Deed("read", "instance", "acme", None, _read_audit("acme", None)),
    "audit of nike": Deed("read", "client", "acme", "nike", _read_audit("acme", "nike")),
    "audit of puma": Deed("read", "client", "acme", "puma", _read_audit("acme", "puma")),
}

Step = tuple[Any, ...]
SOMEBODY = st.sampled_from(PEOPLE)
GRANTS = st.tuples(st.just("grant"), st.just("tg:1"), SOMEBODY, ROLES_TO_GIVE)
CHANGES = st.tuples(
    st.sampled_from(("grant", "grant", "revoke")), SOMEBODY, SOMEBODY, ROLES_TO_GIVE
)
STEPS = st.one_of(
    st.tuples(st.just("revoke"), st.just("tg:1"), SOMEBODY, ROLES_TO_GIVE),
    CHANGES,
    CHANGES,
    st.tuples(st.just("key"), SOMEBODY, ROLES_TO_GIVE),
    st.tuples(st.just("act"), SOMEBODY, st.sampled_from(sorted(DEEDS)), st.booleans()),
    st.tuples(st.just("act"), SOMEBODY, st.sampled_from(sorted(DEEDS)), st.booleans()),
)
SEQUENCES = st.tuples(
    st.lists(GRANTS, min_size=3, max_size=4), st.lists(STEPS, min_size=25, max_size=40)
).map(lambda parts: [*parts[0], *parts[1]])
"""First the operator gives roles, so that what follows is tried by people who have some."""


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[History]:
    """A catalog with a client of its own."""
    client = Redis.from_url(url)
    catalog = Catalog(FileSource(None), RedisStore(client))
    await catalog.open()
    try:
        yield History(catalog)
    finally:
        await catalog.close()
        await client.aclose()


async def test_no_sequence_of_grants_and_revocations_opens_what_the_table_forbids(
    valkey: Valkey,
) -> None:
    # The message of a failure says who tried what with which roles: nothing is shrunk.
    @settings(max_examples=30, deadline=None, phases=[Phase.generate])
    @given(SEQUENCES, st.randoms(use_true_random=False))
    def check(steps: list[Step], chance: Any) -> None:
        asyncio.run(_walk(valkey.url, steps, chance))

    await asyncio.to_thread(check)


async def _walk(url: str, steps: list[Step], chance: Any) -> None:
    """Each step on either of two replicas, judged by the oracle beforehand."""
    client = Redis.from_url(url)
    await client.flushall()
    await client.aclose()
    held: dict[str, set[HeldRole]] = {person: set() for person in PEOPLE}
    async with replica(url) as one, replica(url) as other:
        for number, (kind, who, *rest) in enumerate(steps):
            history = chance.choice((one, other))
            await _follows(history, held)
            actor = ROOT if who == "tg:1" else _actor(history, who)
            owned = {HeldRole("spokestack_engineer", host=True)} if who == "tg:1" else held[who]
            key = f"step {number}"
            if kind == "act":
                name, reason = rest
                deed = DEEDS[name]
                wanted = allowed(owned, *deed[:4], reason=reason)
                why = Why("a test") if reason else Why()
                assert await _tried(deed.do(history, actor, key, why)) is wanted, (who, name, owned)
            elif kind == "key":
                (role,) = rest
                made, reason = _key(number, role), bool(number % 2)
                why = Why("a test") if reason else Why()
                done = await _tried(history.catalog.create_key(actor, made, key=key, why=why))
                assert done is may_give(owned, role, reason=reason), (who, role, owned)
                assert (made.id in history.catalog.snapshot().document.keys) is bool(done)
            else:
                person, role = rest
                change = getattr(history.catalog, f"{kind}_role")
                reason = bool(number % 2)
                why = Why("a test") if reason else Why()
                done = await _tried(change(actor, person, role.grant, key=key, why=why))
                assert done is may_give(owned, role, reason=reason), (kind, who, role, owned)
                if done:
                    (held[person].add if kind == "grant" else held[person].discard)(role)


def _actor(history: History, person: str) -> Actor:
    """A person with the roles that this replica sees at this moment."""
    return Actor(person, history.catalog.snapshot().roles_held_by(person))


async def _follows(history: History, held: Mapping[str, set[HeldRole]]) -> None:
    """Waits until a replica sees the roles that were given last."""
    wanted = {p: {role.grant for role in roles} for p, roles in held.items()}
    async with asyncio.timeout(5):
        await history.catalog.until(
            lambda snapshot: all({*snapshot.roles_held_by(p)} == g for p, g in wanted.items())
        )


def _key(number: int, role: HeldRole) -> ApiKey:
    grant = role.grant
    return ApiKey(
        id=f"k{number}",
        hash=digest(str(number)),
        account=grant.account,
        role=grant.role,
        scope="host" if role.host else "account",
        client=grant.client,
    )


async def _tried(deed: Awaitable[object]) -> bool | None:
    """Whether something was not denied; None where only a reason is missing."""
    try:
        await deed
    except ReasonMissing:
        return None
    except Denied:
        return False
    except RegistryError:
        return True
    return True
