"""Approval by people, as values: a sheet of calls that wait, and what a press or a text does to it.

Pure: nothing is stored or sent here. A sheet belongs to one suspended turn; its nonce is in every
button, and each call on it is decided once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import orjson

from bot.access.rules import HOST_ADMINS
from bot.messages import Address, TurnRef, User

REASON_SECONDS = 60.0
REASON_LIMIT = 500
PREFIX = "ap"

Choice = Literal["once", "always", "deny", "go"]
State = Literal["pending", "granted", "denied", "expired", "dropped", "unasked"]

_LETTERS: dict[str, Choice] = {"o": "once", "a": "always", "d": "deny", "g": "go"}
_LETTER_OF = {choice: letter for letter, choice in _LETTERS.items()}
ALL = -1


@dataclass(frozen=True, slots=True)
class ToolCallApproval:
    """One call on a sheet. `digest` covers tool and arguments, `definition` what the tool is.

    `always` says whether it may be allowed for good; `shown` is what people read of it.
    """

    call: str
    key: str
    digest: str
    definition: str
    always: bool
    shown: str
    state: State = "pending"
    by: int = 0
    name: str = ""
    kept: bool = False


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Calls of one suspended turn that wait for people.

    `approvers` holds "asker", "admins" (of the chat), "hostAdmins" and numeric ids. Until `until`
    (seconds since the epoch) it waits for presses, until `reason_until` for a typed reason of
    `reason_by`. `version` grows with each change in the store; `messages` are the ids that show it
    in its chat.
    """

    nonce: str
    turn: TurnRef
    address: Address
    asker: User
    message: int
    approvers: tuple[int | str, ...]
    asked: tuple[ToolCallApproval, ...]
    until: float
    reason: str = ""
    reason_by: int = 0
    reason_until: float = 0.0
    closed: bool = False
    version: int = 1
    messages: tuple[int, ...] = ()

    @property
    def pending(self) -> list[int]:
        """Indices of the calls that nobody has decided."""
        return [i for i, asked in enumerate(self.asked) if asked.state == "pending"]

    @property
    def wants_reason(self) -> bool:
        """Whether whoever denied may still type why."""
        return self.reason_until > 0 and not self.reason and not self.closed

    @property
    def due(self) -> float:
        """When the turn goes on by itself; 0: at once."""
        if self.pending:
            return self.until
        return self.reason_until if self.wants_reason else 0.0

    def dump(self) -> bytes:
        """The sheet as it is stored, without what the store keeps beside it."""
        body = asdict(self)
        del body["version"], body["messages"]
        body["address"]["was"] = body["address"].pop("migrated_from")  # its name in the store
        return orjson.dumps(body)


def load_request(body: bytes, version: int, shown: Sequence[tuple[int, int]]) -> ApprovalRequest:
    """A sheet as `dump` wrote it; `shown` are the chat and the number of each message of it."""
    raw: dict[str, Any] = orjson.loads(body)
    raw["turn"] = TurnRef(**raw["turn"])
    raw["address"]["migrated_from"] = raw["address"].pop("was", None)
    raw["address"] = Address(**raw["address"])
    raw["asker"] = User(**raw["asker"])
    raw["approvers"] = tuple(raw["approvers"])
    raw["asked"] = tuple(ToolCallApproval(**one) for one in raw["asked"])
    here = tuple(number for chat, number in shown if chat == raw["address"].chat)
    return ApprovalRequest(**raw, version=version, messages=here)


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """What a button of ours says: which sheet, which call (or ALL), and the choice."""

    nonce: str
    index: int
    choice: Choice


def callback_data(nonce: str, index: int, choice: Choice) -> str:
    """A button's data, at most 64 bytes."""
    return f"{PREFIX}:{nonce}:{'*' if index == ALL else index}:{_LETTER_OF[choice]}"


def is_ours(data: str) -> bool:
    """Whether a press is on a button of an approval, or pretends to be."""
    return data.startswith(f"{PREFIX}:")


def parse_callback(data: str) -> ApprovalDecision | None:
    """What a press says, or None where no button of ours can have said it."""
    parts = data.split(":")
    if len(parts) != 4 or parts[0] != PREFIX or not parts[1] or parts[3] not in _LETTERS:
        return None
    if parts[2] == "*":
        return ApprovalDecision(parts[1], ALL, _LETTERS[parts[3]])
    if not (parts[2].isascii() and parts[2].isdigit() and len(parts[2]) < 3):
        return None
    return ApprovalDecision(parts[1], int(parts[2]), _LETTERS[parts[3]])


def is_named_approver(sheet: ApprovalRequest, person: int) -> bool:
    """Whether a person may approve by id alone; the chat's admins are not looked up here."""
    return person in sheet.approvers or ("asker" in sheet.approvers and person == sheet.asker.id)


def is_personal_grant(sheet: ApprovalRequest, person: int) -> bool:
    """Whether what this person allows for good holds for them alone.

    In a group, who asks can answer for nobody else.
    """
    return not sheet.address.private and _right(sheet, person) == "asker"


def grant_is_valid(grant: Mapping[str, Any], approvers: Sequence[int | str], person: int) -> bool:
    """Whether what somebody allowed for good holds today, for a turn of this person.

    It does as long as whoever allowed it may approve such a turn.
    """
    if grant.get("by") in approvers:
        return True
    right = grant.get("as", "asker")
    return right in approvers and (right != "asker" or grant.get("by") == person)


def is_open_for(sheet: ApprovalRequest, tap: ApprovalDecision, now: float) -> bool:
    """Whether the sheet has something that this tap can still decide.

    Once its time is over it has not, also where nobody has closed it yet.
    """
    if sheet.closed:
        return False
    if tap.choice == "go":
        return sheet.wants_reason
    return now < sheet.until and bool(_chosen(sheet, tap))


def apply_decision(
    sheet: ApprovalRequest, tap: ApprovalDecision, person: User, now: float
) -> ApprovalRequest:
    """The sheet after a press of somebody who may."""
    if tap.choice == "go":
        return replace(sheet, reason_until=0.0)
    chosen = _chosen(sheet, tap)
    state: State = "denied" if tap.choice == "deny" else "granted"
    asked = tuple(
        replace(one, state=state, by=person.id, name=person.name, kept=tap.choice == "always")
        if i in chosen
        else one
        for i, one in enumerate(sheet.asked)
    )
    after = replace(sheet, asked=asked)
    if state == "denied" and not sheet.reason:
        return replace(after, reason_by=person.id, reason_until=now + REASON_SECONDS)
    return after


def _chosen(sheet: ApprovalRequest, tap: ApprovalDecision) -> list[int]:
    wanted = sheet.pending if tap.index == ALL else [tap.index]
    found = [i for i in wanted if i in sheet.pending]
    return [i for i in found if tap.choice != "always" or sheet.asked[i].always]


def move_to_chat(sheet: ApprovalRequest, to: int) -> ApprovalRequest:
    """The sheet where its chat is now; messages of its old place are not there."""
    address = replace(sheet.address, chat=to, topic=None, migrated_from=sheet.address.original_id)
    return replace(sheet, address=address, message=0, messages=())


def with_reason(sheet: ApprovalRequest, text: str) -> ApprovalRequest:
    """The sheet with the reason that whoever denied has typed."""
    return replace(sheet, reason=text.strip()[:REASON_LIMIT], reason_until=0.0)


def close(
    sheet: ApprovalRequest, rest: Literal["expired", "dropped", "unasked"]
) -> ApprovalRequest:
    """The sheet as it ends: what nobody decided is expired or dropped, or nobody was asked."""
    asked = tuple(
        replace(one, state=rest) if one.state == "pending" else one for one in sheet.asked
    )
    return replace(sheet, asked=asked, closed=True, reason_until=0.0)


def grant_name(agent: str, key: str, definition: str) -> str:
    """The name of an "Always": agent, tool and what the tool is."""
    return f"{agent}|{definition}|{key}"


def _right(sheet: ApprovalRequest, person: int, *, host_admin: bool = False) -> str:
    """By which right somebody decides: as one who is named, as who asked, or as which admin."""
    if person in sheet.approvers:
        return "named"
    if is_named_approver(sheet, person):
        return "asker"
    return HOST_ADMINS if host_admin and HOST_ADMINS in sheet.approvers else "admins"


def new_grants(
    before: ApprovalRequest, after: ApprovalRequest, now: float, *, host_admin: bool = False
) -> dict[str, bytes]:
    """What a press allowed for good, by the grant's name; `host_admin`: whether one pressed."""

    def body(one: ToolCallApproval) -> bytes:
        right = _right(after, one.by, host_admin=host_admin)
        return orjson.dumps({"by": one.by, "name": one.name, "at": int(now), "as": right})

    return {
        grant_name(after.turn.agent, one.key, one.definition): body(one)
        for old, one in zip(before.asked, after.asked, strict=True)
        if one.kept and not old.kept
    }
