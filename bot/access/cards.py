"""The card on which admins let somebody in: its text, its buttons, and what a press means.

Pure. `edits` and ALREADY_ANSWERED are shared with approvals, whose questions work the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from bot.access.rules import BLOCKED, MEMBER, Role
from bot.access.store import AccessRequest
from bot.messages import ANONYMOUS_ADMIN, Address, Buttons, Channel, OutgoingPart
from bot.safety.text_safety import safe_text

PREFIX = "ac"
TRACKED = "access"
"""How the name begins under which the outbox tracks a card's message."""
NAME_LIMIT = 64

STRANGER = "This bot is private; only its admins can let you in (your id is `{}`)."
STRANGE_GROUP = "This bot is private; only its admins can let this group in (its id is `{}`)."
WELCOME = "You have been let in. Just write to me."
WELCOME_GROUP = "This group has been let in: everybody here can talk to me now."
NOW_ADMIN = "You are an admin of this host now; /help lists what you can do."
NO_LONGER_OPEN = "This request is no longer open."
ACKNOWLEDGED = {MEMBER: "Let in.", BLOCKED: "Blocked."}
ALREADY_ANSWERED = "Answered already: {}"

_BUTTONS: tuple[tuple[str, str, Role], ...] = (("Allow", "a", MEMBER), ("Block", "b", BLOCKED))


class CardDecision(NamedTuple):
    """What a card's button says: which request, and which role it gives."""

    nonce: str
    role: Role


class CardRef(NamedTuple):
    """Which card a message shows: of which request, to which admin."""

    nonce: str
    admin: int


def is_card(data: str) -> bool:
    """Whether a press is on a card's button, or claims to be."""
    return data.startswith(f"{PREFIX}:")


def parse_callback(data: str) -> CardDecision | None:
    """The decision in a button's data; None where it is not valid."""
    parts, roles = data.split(":"), {letter: role for _, letter, role in _BUTTONS}
    if len(parts) != 3 or parts[0] != PREFIX or not parts[1] or parts[2] not in roles:
        return None
    return CardDecision(parts[1], roles[parts[2]])


def card_id(nonce: str, admin: int) -> str:
    """The name under which the outbox tracks a card's message."""
    return f"{TRACKED}:{nonce}:{admin}"


def parse_card_id(name: str) -> CardRef | None:
    """The card that a tracked message shows; None where it shows something else."""
    kind, _, rest = name.partition(":")
    nonce, _, admin = rest.rpartition(":")
    return CardRef(nonce, int(admin)) if kind == TRACKED and nonce else None


def buttons(request: AccessRequest) -> Buttons:
    """Allow and Block; none once the request is answered."""
    if request.role is not None:
        return ()
    return [[(text, f"{PREFIX}:{request.nonce}:{letter}") for text, letter, _ in _BUTTONS]]


def render(request: AccessRequest) -> str:
    """The card as an admin reads it, as Markdown."""
    bot, title = f"@{safe_text(request.bot)}", safe_text(request.title, NAME_LIMIT) or "A group"
    username = f"@{safe_text(request.username)}, " if request.username else ""
    who = f"{safe_text(request.name, NAME_LIMIT)} ({username}id `{request.person}`)"
    if request.person == ANONYMOUS_ADMIN:
        who = "An anonymous admin"
    if request.subject.kind == "person":
        lines = [f"**May this person use {bot}?**", f"{who} wrote to it."]
    else:
        done = f"{who} added {bot} to it" if request.added else f"{who} wrote to {bot} there"
        lines = [
            f"**May this group use {bot}?**",
            f"{title} (id `{request.subject.id}`): {done}.",
            "If you allow it, all its members may talk there.",
        ]
    if request.role is not None:
        mark = "✗" if request.role == BLOCKED else "✓"
        lines += ["", f"{mark} {_outcome(request)} by {safe_text(request.by, NAME_LIMIT)}"]
    return "\n".join(lines)


def already_decided(request: AccessRequest) -> str:
    """The reply to a press on a card that was answered before."""
    return ALREADY_ANSWERED.format(f"{_outcome(request)} by {' '.join(request.by.split())}.")


def _outcome(request: AccessRequest) -> str:
    return "blocked" if request.role == BLOCKED else "let in"


def edits(
    channel: Channel, address: Address, messages: Iterable[int], text: str, buttons: Buttons
) -> list[OutgoingPart]:
    """Edits of every message that shows a question; one that is gone is not sent anew."""
    return [
        replace(part, best_effort=True)
        for message in messages
        for part in channel.render(address, text, edit=message, buttons=buttons)
    ]
