"""Approval requests as values: tool calls that wait for people, and what a decision changes.

Nothing is stored or sent here. A request belongs to one suspended turn; its nonce is in every
button, and each of its calls is decided once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar, get_args

import orjson

from bot.messages import Address, PersonId, TurnRef, User
from bot.tools.calls import Call, PolicyResult

REASON_SECONDS = 60.0
REASON_LIMIT = 500
PREFIX = "ap"
ALL = -1
"""As a decision's index: all calls that are still open."""

T = TypeVar("T")
Choice = Literal["once", "always", "deny", "go"]
State = Literal["pending", "granted", "denied", "expired", "dropped", "unasked"]

_CHOICES: dict[str, Choice] = {choice[0]: choice for choice in get_args(Choice)}
_DATA = re.compile(rf"{PREFIX}:([^:]+):(\*|[0-9]{{1,2}}):([{''.join(_CHOICES)}])")


PendingCall = tuple[Call, PolicyResult]
"""A call that needs a person, and what the policy says of it."""


@dataclass(frozen=True, slots=True)
class Suspension:
    """A turn that cannot continue without a person; `unsent_text` is what it has not said yet."""

    calls: tuple[PendingCall, ...]
    unsent_text: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallApproval:
    """One call of a request: what it is, and what was decided.

    `digest` covers the tool and its arguments, `fingerprint` the tool's definition. `always` says
    whether the call may be allowed permanently, `permanent` whether it was. `description` is what
    people read of it. `right` is the tier that who allows it must be allowed to write, if any.
    """

    call_id: str
    key: str
    digest: str
    fingerprint: str
    always: bool
    description: str
    state: State = "pending"
    decided_by: PersonId = 0
    decided_by_name: str = ""
    permanent: bool = False
    right: str = ""


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """What a button says: which request, which of its calls (or ALL), and the choice."""

    nonce: str
    index: int
    choice: Choice


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """Calls of one suspended turn that wait for people.

    `message` is the message that asked for the turn. `approvers` holds "asker", "admins" (of the
    chat), "hostAdmins" and numeric ids. Presses count until `expires_at`, a typed reason of
    `reason_by` until `reason_until` (both seconds since the epoch). It was asked with `seconds` to
    answer it, 0 where that is not known. `preset` is the one of the turn's agent, '' for none.
    `version` grows with each change in the store; `messages` are the ids of the messages that show
    the request in its chat.
    """

    nonce: str
    turn: TurnRef
    address: Address
    asker: User
    message: int
    approvers: tuple[int | str, ...]
    calls: tuple[ToolCallApproval, ...]
    expires_at: float
    reason: str = ""
    reason_by: PersonId = 0
    reason_until: float = 0.0
    closed: bool = False
    seconds: float = 0.0
    preset: str = ""
    version: int = 1
    messages: tuple[int, ...] = ()

    @property
    def pending(self) -> list[int]:
        """Indices of the calls that are not decided yet."""
        return [i for i, call in enumerate(self.calls) if call.state == "pending"]

    @property
    def is_seen(self) -> bool:
        """Whether the question has reached its chat; an event stream takes it at once."""
        return bool(self.messages) or self.address.stream is not None

    @property
    def wants_reason(self) -> bool:
        """Whether the person who denied may still type why."""
        return self.reason_until > 0 and not self.reason and not self.closed

    @property
    def due(self) -> float:
        """When the turn resumes by itself (seconds since the epoch); 0 means at once."""
        if self.pending:
            return self.expires_at
        return self.reason_until if self.wants_reason else 0.0

    def is_open_for(self, decision: ApprovalDecision, now: float) -> bool:
        """Whether this decision would still change something."""
        if self.closed:
            return False
        if decision.choice == "go":
            return self.wants_reason
        return now < self.expires_at and bool(self.affected(decision))

    def apply(self, decision: ApprovalDecision, person: User, now: float) -> ApprovalRequest:
        """The request after a decision of a person who may make it."""
        if decision.choice == "go":
            return replace(self, reason_until=0.0)
        chosen = self.affected(decision)
        denied, permanent = decision.choice == "deny", decision.choice == "always"
        decided: dict[str, Any] = {"state": "denied" if denied else "granted"}
        decided |= {"decided_by": person.id, "decided_by_name": person.name, "permanent": permanent}
        calls = [replace(c, **decided) if i in chosen else c for i, c in enumerate(self.calls)]
        after = replace(self, calls=tuple(calls))
        if denied and not self.reason:
            return replace(after, reason_by=person.id, reason_until=now + REASON_SECONDS)
        return after

    def affected(self, decision: ApprovalDecision) -> list[int]:
        """Indices of the calls that a decision is about and that are still open."""
        wanted = [i for i in self.pending if decision.index in (ALL, i)]
        return [i for i in wanted if decision.choice != "always" or self.calls[i].always]

    def with_reason(self, text: str) -> ApprovalRequest:
        """The request with the reason that the person who denied has typed."""
        return replace(self, reason=text.strip()[:REASON_LIMIT], reason_until=0.0)

    def move_to_chat(self, chat: int) -> ApprovalRequest:
        """The request in the supergroup that its group became; no message shows it there yet."""
        old = self.address
        address = replace(old, chat=chat, topic=None, migrated_from=old.original_id)
        return replace(self, address=address, message=0, messages=())

    def close(self, rest: Literal["expired", "dropped", "unasked"]) -> ApprovalRequest:
        """The request as it ends: `rest` is the state of the calls that were not decided."""
        calls = tuple(replace(c, state=rest) if c.state == "pending" else c for c in self.calls)
        return replace(self, calls=calls, closed=True, reason_until=0.0)

    def dump(self) -> bytes:
        """The request as JSON, without the fields that the store keeps beside it."""
        return orjson.dumps(self, default=_stored, option=orjson.OPT_PASSTHROUGH_DATACLASS)


_NAMES: Mapping[type, str] = {
    TurnRef: "entry conversation agent",
    Address: "bot chat topic private was instance stream grows preset",
    User: "id name username language key may_decide is_named",
    ToolCallApproval: "call key digest definition always shown state by name kept right",
    ApprovalRequest: "nonce turn address asker message approvers asked until "
    "reason reason_by reason_until closed seconds preset",
}
"""The names under which values are stored, in the order of their fields."""


def _stored(value: Any) -> dict[str, Any]:
    names = _NAMES[type(value)].split()
    return {n: getattr(value, field.name) for n, field in zip(names, fields(value), strict=False)}


def _loaded(kind: type[T], raw: Mapping[str, Any], **more: Any) -> T:
    # Releases before this one did not store the last names of each kind.
    return kind(*(raw[name] for name in _NAMES[kind].split() if name in raw), **more)


def load_request(body: bytes, version: int, shown: Sequence[tuple[int, int]]) -> ApprovalRequest:
    """A request as `dump` wrote it; `shown` has the chat and the id of each message of it."""
    raw: dict[str, Any] = orjson.loads(body)
    address = raw["address"] = _loaded(Address, raw["address"])
    raw["turn"], raw["asker"] = _loaded(TurnRef, raw["turn"]), _loaded(User, raw["asker"])
    raw["approvers"] = tuple(raw["approvers"])
    raw["asked"] = tuple(_loaded(ToolCallApproval, one) for one in raw["asked"])
    messages = tuple(message for chat, message in shown if chat == address.chat)
    return _loaded(ApprovalRequest, raw, version=version, messages=messages)


def callback_data(nonce: str, index: int, choice: Choice) -> str:
    """A button's data, at most 64 bytes."""
    return f"{PREFIX}:{nonce}:{'*' if index == ALL else index}:{choice[0]}"


def is_approval(data: str) -> bool:
    """Whether a press is on an approval button, or claims to be."""
    return data.startswith(f"{PREFIX}:")


def parse_callback(data: str) -> ApprovalDecision | None:
    """The decision in a button's data; None where it is not valid."""
    match = _DATA.fullmatch(data)
    if match is None:
        return None
    nonce, index, letter = match.groups()
    return ApprovalDecision(nonce, ALL if index == "*" else int(index), _CHOICES[letter])
