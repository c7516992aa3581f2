"""Rights go by numeric id; persons and chats are let in apart from each other."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.access.gate import AccessGate, render_card
from bot.access.rules import (
    ADMIN,
    BLOCKED,
    EVERYWHERE,
    MEMBER,
    Access,
    Admission,
    Kind,
    Level,
    Mode,
    Rule,
    Subject,
    new_code,
    normalize_code,
)
from bot.access.store import AccessRequest
from bot.messages import (
    ANONYMOUS_ADMIN,
    Address,
    CallbackPress,
    ChatMigration,
    Command,
    Event,
    IncomingMessage,
    Membership,
    ResumeTurn,
    Signal,
    User,
)
from bot.telegram.markdown import renderer
from registry.access import AccessGrant
from registry.roles import HOST_ADMIN, RoleDocument, RoleGrant
from registry.snapshot import Document, Entry, Governance, Snapshot

BOT, ANN, TEAM = 7, 5, -100
PRIVATE, GROUP = Address(BOT, ANN), Address(BOT, TEAM, private=False)


def test_only_a_listed_id_administers() -> None:
    access = Access(frozenset({7}))
    assert access.is_admin(7)
    assert not access.is_admin(8)


def test_the_id_of_anonymous_admins_administers_nothing_even_when_it_is_listed() -> None:
    access = Access(frozenset({ANONYMOUS_ADMIN}))
    assert not access.is_admin(ANONYMOUS_ADMIN)


def access(mode: Mode = "request", **lists: frozenset[int]) -> Access:
    return Access({9}, {BOT: Rule(mode, **lists)})


def granted(
    *grants: tuple[Kind, int, int, Level],
    mode: Mode = "request",
    roles: dict[int, tuple[RoleGrant, ...]] | None = None,
) -> Access:
    """What documents of the registry make of a private bot; roles are by person."""
    found = access(mode)
    levels = {Subject(kind, id, bot).name: level for kind, id, bot, level in grants}
    documents = {
        # A subject may be one that no valid document names: it must have no effect either.
        name: Entry(AccessGrant.model_construct(subject=name, level=level, by="9"), "", "")
        for name, level in levels.items()
    }
    own = {
        f"tg:{person}": Entry(RoleDocument(person=f"tg:{person}", grants=given), "", "")
        for person, given in (roles or {}).items()
    }
    found.follow(Snapshot.of(Document(governance=Governance(access=documents, roles=own))))
    return found


MANAGER = RoleGrant(role="instance_admin")
LESSER = (
    RoleGrant(role="instance_manager"),
    RoleGrant(role="account_manager"),
    RoleGrant(role="instance_admin", account="acme"),
    RoleGrant(role="instance_admin", scope="client", client="nike"),
    RoleGrant(role="spokestack_engineer"),
)
"""Roles that let their holder do other things than to say who may talk to the operator's bots."""


@pytest.mark.parametrize(
    ("found", "in_private", "in_group"),
    [
        (access("open"), "admitted", "admitted"),
        (access(), "stranger", "stranger"),
        (access("listed"), "stranger", "stranger"),
        (access(people=frozenset({ANN})), "admitted", "stranger"),
        (access(chats=frozenset({TEAM})), "stranger", "admitted"),
        (access(chats=frozenset({ANN}), people=frozenset({TEAM})), "stranger", "stranger"),
        (granted(("person", ANN, BOT, MEMBER)), "admitted", "stranger"),
        (granted(("person", ANN, EVERYWHERE, MEMBER)), "admitted", "stranger"),
        (granted(("chat", TEAM, BOT, MEMBER)), "stranger", "admitted"),
        (
            granted(("chat", ANN, BOT, MEMBER), ("person", TEAM, BOT, MEMBER)),
            "stranger",
            "stranger",
        ),
        (granted(("person", ANN, 8, MEMBER), ("chat", TEAM, 8, MEMBER)), "stranger", "stranger"),
        (granted(("person", ANN, BOT, BLOCKED), mode="open"), "blocked", "blocked"),
        (granted(("person", ANN, EVERYWHERE, BLOCKED), mode="open"), "blocked", "blocked"),
        (granted(("chat", TEAM, BOT, BLOCKED), mode="open"), "admitted", "blocked"),
        (granted(roles={ANN: (ADMIN,)}), "admitted", "admitted"),
        (granted(("person", ANN, BOT, BLOCKED), roles={ANN: (ADMIN,)}), "admitted", "admitted"),
        (granted(roles={ANN: (MANAGER,)}), "stranger", "stranger"),  # a role opens no chat
        (granted(("person", ANN, BOT, BLOCKED), roles={ANN: (MANAGER,)}), "blocked", "blocked"),
        (granted(roles={ANN: LESSER}), "stranger", "stranger"),
    ],
)
def test_who_may_talk_in_private_and_in_a_group(
    found: Access, in_private: Admission, in_group: Admission
) -> None:
    assert found.verdict(PRIVATE, ANN) == in_private
    assert found.verdict(GROUP, ANN) == in_group


def test_a_bot_that_no_setting_speaks_of_is_private() -> None:
    assert Access().verdict(Address(99, ANN), ANN) == "stranger"


def test_a_private_chat_speaks_for_its_own_person_alone() -> None:
    found = access(people=frozenset({ANN}))
    assert found.verdict(Address(BOT, 6), ANN) == "stranger"
    assert found.verdict(PRIVATE, 6) == "stranger"
    assert found.verdict(PRIVATE, None) == "stranger"


def test_a_group_is_known_by_its_id_of_today_and_by_the_one_before() -> None:
    moved = Address(BOT, -1_000_000, private=False, migrated_from=TEAM)
    assert access(chats=frozenset({TEAM})).verdict(moved, ANN) == "admitted"
    assert access(chats=frozenset({-1_000_000})).verdict(moved, ANN) == "admitted"
    assert granted(("chat", TEAM, BOT, BLOCKED), mode="open").verdict(moved, ANN) == "blocked"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(get_args(Kind)),
            st.sampled_from([ANN, 6, 9, TEAM]),
            st.sampled_from([BOT, 8, EVERYWHERE]),
            st.sampled_from(get_args(Level)),
        )
    ),
    st.dictionaries(
        st.sampled_from([ANN, 6, 9, ANONYMOUS_ADMIN]),
        st.lists(st.sampled_from([ADMIN, MANAGER, *LESSER]), min_size=1).map(tuple),
    ),
    st.sampled_from(get_args(Mode)),
    st.sampled_from([ANN, 6]),
)
def test_no_grants_let_in_whom_none_of_them_names(
    grants: list[tuple[Kind, int, int, Level]],
    roles: dict[int, tuple[RoleGrant, ...]],
    mode: Mode,
    person: int,
) -> None:
    """Whatever else is granted, a stranger needs a grant of their own here, and no block of it."""
    found = granted(*grants, mode=mode, roles=roles)
    kept = {(kind, id, bot): level for kind, id, bot, level in grants}
    own = {kept.get(("person", person, bot)) for bot in (BOT, EVERYWHERE)}
    held = roles.get(person, ())
    verdict = found.verdict(Address(BOT, person), person)
    assert found.is_admin(person) == (ADMIN in held)
    assert found.may_let_in(person) == (ADMIN in held or MANAGER in held)
    if ADMIN in held:
        assert verdict == "admitted"
    elif BLOCKED in own:
        assert verdict == "blocked"
    else:
        assert (verdict == "admitted") == (mode == "open" or MEMBER in own)
    assert not found.is_admin(ANONYMOUS_ADMIN)
    assert not found.may_let_in(ANONYMOUS_ADMIN)


def test_a_person_acts_with_the_roles_that_they_hold_at_the_moment() -> None:
    """Whoever is listed in ADMINS holds both roles of the operator, as whoever was made one."""
    found = granted(roles={ANN: LESSER, 6: (ADMIN,)})
    assert found.actor(9).grants == HOST_ADMIN
    assert found.actor(ANN).grants == LESSER
    assert found.actor(6).grants == (*HOST_ADMIN, ADMIN)
    assert found.actor(7).grants == ()
    changes: list[frozenset[int]] = []
    found.roles_changed = lambda: changes.append(found.admins)
    for _ in range(2):
        found.follow(Snapshot.of(NOTHING))
    assert found.actor(6).grants == ()
    assert changes == [frozenset({9})]


NOTHING = Document()


# --- the gate -------------------------------------------------------------------------------------

STRANGER = User(6, "Eve")
CHATS = [Address(BOT, 6), GROUP]
SAID: dict[type, list[Any]] = {
    IncomingMessage: [
        IncomingMessage(place, STRANGER, 1, 1, "hello", command)
        for place, command in product(CHATS, [None, Command("start"), Command("people", "x")])
    ],
    CallbackPress: [
        CallbackPress(place, STRANGER, "1", data)
        for place, data in product(CHATS, ["ap:x:0:o", ""])
    ],
    Signal: [Signal(place, "stop", who) for place, who in product(CHATS, [STRANGER, None])],
}
PASSES = {ResumeTurn, ChatMigration, Membership}
"""What nobody says: it is the host's own, or Telegram's on a chat, and leads to no agent."""


def gate(found: Access) -> AccessGate:
    nothing: Any = None
    return AccessGate(found, nothing, nothing, nothing, nothing, nothing, nothing)


def test_every_kind_of_event_passes_the_gate_or_is_stopped_by_it() -> None:
    assert set(get_args(Event)) == set(SAID) | PASSES
    said = [event for events in SAID.values() for event in events]
    for mode in (access("request"), access("listed")):
        assert [event for event in said if gate(mode).admits(event)] == []
    assert all(gate(access("open")).admits(event) for event in said)
    blocked = granted(("person", 6, BOT, BLOCKED), ("chat", TEAM, BOT, BLOCKED), mode="open")
    passed = [event for event in said if gate(blocked).admits(event)]
    assert passed == [Signal(CHATS[0], "stop", None)]  # of which nobody knows who pressed it


def test_what_nobody_has_thought_of_is_stopped() -> None:
    class Guest:
        address = GROUP
        person = STRANGER

    event: Any = Guest()
    assert not gate(access()).admits(event)


def test_strangers_may_ask_for_their_id_and_claim_but_whoever_is_blocked_may_not() -> None:
    asked = [
        IncomingMessage(CHATS[0], STRANGER, 1, 1, "", Command(name)) for name in ("id", "claim")
    ]
    assert all(gate(access()).admits(event) for event in asked)
    blocked = granted(("person", 6, BOT, BLOCKED))
    assert not any(gate(blocked).admits(event) for event in asked)


def test_a_code_has_enough_letters_and_is_known_however_it_is_typed() -> None:
    codes = {new_code() for _ in range(100)}
    assert len(codes) == 100
    for code in codes:
        bare = code.replace("-", "")
        assert len(bare) == 16
        assert normalize_code(f" {code.lower()}\n") == normalize_code(bare) == bare


def test_the_card_of_a_group_names_no_bot_of_telegrams_where_an_anonymous_admin_wrote() -> None:
    group = Subject("chat", -9, 7)
    request = AccessRequest(
        "n", group, "bot:7", "abc_bot", ANONYMOUS_ADMIN, "Group", "GroupAnonymousBot"
    )
    said = renderer.render(render_card(request)).text
    assert "An anonymous admin wrote to @abc_bot there." in said
