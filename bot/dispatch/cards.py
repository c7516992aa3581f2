"""The card on which admins let somebody in: its words, its buttons, and what a press says; pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

from bot.access import BLOCKED, MEMBER, Role
from bot.events import ANONYMOUS_ADMIN
from bot.ports import Buttons, Request
from bot.tools.sheets import plain

PREFIX = "ac"
SHOWS = "access"
NAME_LIMIT = 64

STRANGER = "This bot is private; only its admins can let you in (your id is `{}`)."
STRANGE_GROUP = "This bot is private; only its admins can let this group in (its id is `{}`)."
WELCOME = "You have been let in. Just write to me."
WELCOME_GROUP = "This group has been let in: everybody here can talk to me now."
NOW_ADMIN = "You are an admin of this host now; /help lists what you can do."
GONE = "This request is no longer open."
LET_IN = "Let in."
SHUT_OUT = "Blocked."

_ROLES: dict[str, Role] = {"a": MEMBER, "b": BLOCKED}


class Tap(NamedTuple):
    """What a button of a card says: which request, and what becomes of it."""

    nonce: str
    role: Role


class Shown(NamedTuple):
    """Which card a message shows: the request's, to this admin."""

    nonce: str
    admin: int


def is_card(data: str) -> bool:
    """Whether a press is on a card's button, or pretends to be."""
    return data.startswith(f"{PREFIX}:")


def tap_of(data: str) -> Tap | None:
    """What a press says, or None where no button of a card can have said it."""
    parts = data.split(":")
    if len(parts) != 3 or parts[0] != PREFIX or not parts[1] or parts[2] not in _ROLES:
        return None
    return Tap(parts[1], _ROLES[parts[2]])


def shows(nonce: str, admin: int) -> str:
    """The name of what a card's message shows."""
    return f"{SHOWS}:{nonce}:{admin}"


def shown(name: str) -> Shown | None:
    """The card that a name stands for, or None for anything else."""
    kind, _, rest = name.partition(":")
    nonce, _, admin = rest.rpartition(":")
    return Shown(nonce, int(admin)) if kind == SHOWS and nonce else None


def buttons(request: Request) -> Buttons:
    """Allow first, then Block; none once the request is answered."""
    if request.role is not None:
        return ()
    return [[(words, f"{PREFIX}:{request.nonce}:{letter}") for words, letter in _BUTTONS]]


_BUTTONS: tuple[tuple[str, Literal["a", "b"]], ...] = (("Allow", "a"), ("Block", "b"))


def card(request: Request) -> str:
    """The card as an admin reads it, as Markdown."""
    bot = f"@{plain(request.bot)}"
    who = f"{plain(request.name, NAME_LIMIT)}"
    who += f" (@{plain(request.username)}, id `{request.person}`)" if request.username else (
        f" (id `{request.person}`)"
    )  # fmt: skip
    if request.person == ANONYMOUS_ADMIN:
        who = "An anonymous admin"
    if request.subject.kind == "person":
        lines = [f"**May this person use {bot}?**", f"{who} wrote to it."]
    else:
        title = plain(request.title, NAME_LIMIT) or "A group"
        done = f"{who} added {bot} to it" if request.added else f"{who} wrote to {bot} there"
        lines = [
            f"**May this group use {bot}?**",
            f"{title} (id `{request.subject.id}`): {done}.",
            "If you allow it, all its members may talk there.",
        ]
    return "\n".join([*lines, *_outcome(request)])


def answered(request: Request) -> str:
    """What an admin reads who presses a card that was answered already."""
    return f"Answered already: {_done(request)} by {' '.join(request.by.split())}."


def _outcome(request: Request) -> list[str]:
    if request.role is None:
        return []
    mark = "✗" if request.role == BLOCKED else "✓"
    return ["", f"{mark} {_done(request)} by {plain(request.by, NAME_LIMIT)}"]


def _done(request: Request) -> str:
    return "blocked" if request.role == BLOCKED else "let in"
