"""Every role and every command: who may send what, by the table of roles alone."""

from __future__ import annotations

from itertools import product

import pytest

from bot.command import split_reason
from registry.roles import HOST_ADMIN, PERMISSIONS, RoleGrant, RoleName, Why
from tests.commands.test_commands_page import whole_board

READ_AGENT, EDIT_AGENT = "agent_builder read", "agent_builder write"
READ, EDIT = "instance read", "instance write"
TAKES = {
    "agents": [READ_AGENT],
    "agent": [READ_AGENT],
    "instances": [READ],
    "instance": [READ],
    "newinstance": [EDIT],
    "editinstance": [EDIT],
    "deleteinstance": [EDIT],
    "versions": [READ_AGENT, READ],
    "diff": [READ_AGENT, READ],
    "addagent": [EDIT_AGENT],
    "newagent": [EDIT_AGENT],
    "clone": [EDIT_AGENT],
    "archive": [EDIT_AGENT],
    "deleteagent": [EDIT_AGENT],
    "edit": [EDIT_AGENT],
    "test": [EDIT_AGENT],
    "publish": [EDIT_AGENT],
    "discard": [EDIT_AGENT],
    "drafts": [READ_AGENT],
    "restore": [EDIT_AGENT, EDIT],
    "rollback": [EDIT_AGENT, EDIT],
    "reviews": [READ_AGENT],
    "bind": [EDIT],
    "unbind": [EDIT],
    "default": [EDIT],
    "people": [EDIT],
    "audit": [READ],
    "roles": [READ, "client write"],
    "keys": [READ, "client write"],
    "page": [READ, "client read"],
    "bots": [READ],
    "addbot": [EDIT],
    "newbot": [EDIT],
    "forget": [EDIT_AGENT],
    "status": [EDIT_AGENT],
    "deadletters": [EDIT_AGENT],
    "profiles": [READ_AGENT],
    "llmconfigs": [READ_AGENT],
    "addprofile": [EDIT_AGENT],
    "removeprofile": [EDIT_AGENT],
    "models": [READ_AGENT],
    "tools": [READ_AGENT],
    "reload": [EDIT_AGENT],
}
"""What of the table each command takes, any of several; all others are for everybody."""
ANYWHERE = {
    "agents",
    "agent",
    "drafts",
    "instances",
    "instance",
    "newinstance",
    "editinstance",
    "deleteinstance",
    "versions",
    "diff",
    "restore",
    "rollback",
    "audit",
    "reviews",
    "roles",
    "keys",
    "page",
    "bots",
    "addbot",
    "newbot",
    "bind",
    "unbind",
}
"""These may be tried with a role in whichever account; the catalog judges each document."""
NO_REASONS = {"people", "newagent", "deadletters"}
"""These take no reason, so that support may not use them."""


def may(role: RoleName, scope: str, account: str, command: str) -> bool:
    """Whether a role in a scope suffices for a command, by the words of the document."""
    for tier, action in (one.split() for one in TAKES[command]):
        cell = PERMISSIONS[role][tier]  # type: ignore[index]
        if tier == "agent_builder":
            reaches = action == "read" or scope == "host"
        elif tier == "instance":
            reaches = scope != "client" and (account == "default" or command in ANYWHERE)
        else:
            reaches = True
        fits = action in cell or (
            action == "write" and "write_support" in cell and command not in NO_REASONS
        )
        if reaches and fits:
            return True
    return False


def scopes(role: RoleName) -> list[RoleGrant]:
    """A role in the operator's account, in another one, for a client, and of the host."""
    found = [RoleGrant(role=role), RoleGrant(role=role, account="acme")]
    found.append(RoleGrant(role=role, scope="client", account="acme", client="nike"))
    if role == "spokestack_engineer":
        found.append(RoleGrant(role=role, scope="host"))
    return found


def test_every_role_sees_the_commands_that_the_table_gives_it_and_no_other() -> None:
    board, wrong = whole_board(), []
    free = {row.name for row in board.visible(HOST_ADMIN) if row.needs is None}
    assert free == {row.name for row in board.visible(())}
    assert {row.name for row in board.visible(HOST_ADMIN)} - free == set(TAKES)
    for role in PERMISSIONS:
        for grant in scopes(role):
            seen = {row.name for row in board.visible([grant])} - free
            wanted = {name for name in TAKES if may(role, grant.scope, grant.account, name)}
            if seen != wanted:
                wrong.append((grant.role, grant.place, seen ^ wanted))
    assert wrong == []


def test_every_button_of_a_menu_takes_what_the_command_beside_it_takes() -> None:
    """Those that only read take a role that reads, those that write one that writes.

    People's own presets take none.
    """
    board = whole_board()
    own = {name for name in board.actions if name.startswith("presets:")}
    assert {name for name, row in board.actions.items() if row.needs is None} == own
    for name, row in board.actions.items():
        if name in own:
            continue
        assert row.needs is not None, name
        assert row.needs in {one.needs for one in board.visible(HOST_ADMIN)}, name


@pytest.mark.parametrize("command", TAKES)
def test_a_refusal_names_the_roles_that_a_command_takes_and_no_other(command: str) -> None:
    row = whole_board().find(command)
    assert row is not None
    assert row.needs is not None
    said = row.needs.refusal
    assert said.startswith("Only admins of this host")
    enough = {role for role in PERMISSIONS if may(role, "account", "default", command)}
    assert {role for role in PERMISSIONS if f"`{role}`" in said} == enough


def test_the_least_role_is_named_first() -> None:
    row = whole_board().find("bots")
    assert row is not None
    assert row.needs is not None
    assert row.needs.refusal == (
        "Only admins of this host, and people with the role `instance_manager`, `instance_admin` "
        "or `spokestack_engineer`, may send this."
    )


@pytest.mark.parametrize(
    ("text", "rest", "why"),
    [
        ("jack", "jack", Why()),
        ("jack because", "jack", Why()),
        ("jack because too dry", "jack", Why("too dry")),
        ("jack 3 BECAUSE  of\n#OPS-12 again", "jack 3", Why("of #OPS-12 again", "OPS-12")),
        ("because #7", "", Why("#7", "7")),
        ("jack becauseof it", "jack becauseof it", Why()),
        ("a because b because c", "a", Why("b because c")),
        ("jack because UTF-8", "jack", Why("UTF-8")),
    ],
)
def test_a_reason_stands_at_the_end_with_its_ticket(text: str, rest: str, why: Why) -> None:
    assert split_reason(text) == (rest, why)


def test_a_reason_is_printable_and_no_longer_than_five_hundred_characters() -> None:
    (_, why) = split_reason("jack because \u202ea\x00b " + "x" * 900)
    assert why.reason.startswith("ab xxx")
    assert len(why.reason) == 500


def test_no_two_roles_are_told_apart_by_their_order() -> None:
    board = whole_board()
    for one, other in product(PERMISSIONS, repeat=2):
        grants = [RoleGrant(role=one), RoleGrant(role=other)]
        assert board.visible(grants) == board.visible(grants[::-1])
        assert len(board.visible(grants)) >= len(board.visible(grants[:1]))
