"""Who may run what: one small pure module that decides; everything else obeys it.

Tools are named `mcp:<server>:<tool>` and `skill:<name>`. A pattern is matched segment by segment
(`*` any characters, `?` one): a name can never reach into another segment, whatever it contains.
A bare pattern (no colon) means the tool of that name: in a list that denies or asks, on every
server; in a list that allows, only where no other server of the agent offers the name as well.
Lists that allow are exact; lists that deny or ask do not care for letter case or width.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from bot.messages import DEFAULT_ACCOUNT
from registry import conditions
from registry.conditions import normalized

SEGMENTS = 2


class Decision(IntEnum):
    """What happens to a call; a higher one is stricter."""

    RUN = 0
    ASK = 1
    CONFIRM = 2
    """Ask every time: nobody can allow it for good."""
    DENY = 3
    """Never shown, never run."""


@dataclass(frozen=True, slots=True)
class CallContext:
    """Of whom, where and under which switches a call is made.

    `role` is admin or everyone, `chat` is private or group, `person` a numeric id.
    """

    role: str = "everyone"
    features: frozenset[str] = frozenset()
    person: int = 0
    chat: str = "private"
    agent: str = ""
    account: str = DEFAULT_ACCOUNT

    def about(self, key: str) -> dict[str, object]:
        """All that a condition on the tool with this key may speak of, by its name there."""
        return {
            "role": self.role,
            "features": self.features,
            "person": self.person,
            "chat": self.chat,
            "agent": self.agent,
            "account": self.account,
            "server": "" if key.startswith("skill:") else _segments(key)[1],
            "tool": name_of(key),
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """These tools are there only for these roles, where all these features are on, and `when`."""

    tools: tuple[str, ...]
    roles: frozenset[str] = frozenset({"everyone"})
    features: frozenset[str] = frozenset()
    when: str = ""

    def holds(self, facts: CallContext, key: str) -> bool:
        """Whether the facts fulfil it; an admin is one of everyone, a failure fulfils nothing."""
        fits = facts.role in self.roles or "everyone" in self.roles
        if not fits or not self.features <= facts.features:
            return False
        return not self.when or conditions.holds(self.when, facts.about(key))


@dataclass(frozen=True, slots=True)
class Policy:
    """The written rule. `allowed` is a list of lists: a tool must be in each one of them.

    `runs` matches what runs unasked, `confirm` what asks a person every time, `disabled` what is
    neither shown nor run.
    """

    runs: tuple[str, ...] = ()
    allowed: tuple[tuple[str, ...], ...] = ()
    disabled: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()

    def under(self, layer: Policy) -> Policy:
        """This policy narrowed by a further layer, which can take away and never add."""
        return Policy(
            runs=self.runs,
            allowed=(*self.allowed, *layer.allowed),
            disabled=(*self.disabled, *layer.disabled),
            confirm=(*self.confirm, *layer.confirm),
            conditions=(*self.conditions, *layer.conditions),
        )


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """Keys of all tools that the agent's servers offer now.

    `complete` is False while a server has not told yet what it has: then no bare name is surely
    unambiguous, and none counts in a list that allows.
    """

    keys: frozenset[str]
    complete: bool = True
    _names: Counter[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", Counter(map(name_of, self.keys)))

    def is_single(self, key: str) -> bool:
        """Whether this tool surely is the only one of its name."""
        return self.complete and key in self.keys and self._names[name_of(key)] == 1


def decide(policy: Policy, key: str, offer: OfferedTools, facts: CallContext) -> Decision:
    """What happens to a call of the tool with this key."""
    if not _is_key(key) or _denied(policy, key, offer, facts):
        return Decision.DENY
    if any(forbids(pattern, key) for pattern in policy.confirm):
        return Decision.CONFIRM
    runs = any(permits(pattern, key, offer) for pattern in policy.runs)
    return Decision.RUN if runs else Decision.ASK


def decide_own(policy: Policy, key: str, facts: CallContext) -> Decision:
    """What happens to a call of one of the host's own tools, which gives nothing new.

    Lists that deny or ask hold for it, lists that allow do not.
    """
    if _taken_away(policy, key, facts):
        return Decision.DENY
    asks = any(forbids(pattern, key) for pattern in policy.confirm)
    return Decision.CONFIRM if asks else Decision.RUN


def permits(pattern: str, key: str, offer: OfferedTools) -> bool:
    """Whether a pattern of a list that allows covers a tool."""
    if ":" not in pattern:
        return offer.is_single(key) and _glob(pattern, name_of(key), exact=True)
    wanted, found = _segments(pattern), _segments(key)
    return len(wanted) == len(found) and all(
        _glob(one, other, exact=True) for one, other in zip(wanted, found, strict=True)
    )


def forbids(pattern: str, key: str) -> bool:
    """Whether a pattern of a list that denies or asks covers a tool."""
    if ":" not in pattern:
        return _glob(normalized(pattern), normalized(name_of(key)), exact=False)
    wanted, found = _segments(pattern), _segments(key)
    return len(wanted) == len(found) and all(
        _glob(normalized(one), normalized(other), exact=False)
        for one, other in zip(wanted, found, strict=True)
    )


def name_of(key: str) -> str:
    """The tool's own name: the last segment of its key."""
    return _segments(key)[-1]


def _denied(policy: Policy, key: str, offer: OfferedTools, facts: CallContext) -> bool:
    allowed = all(any(permits(p, key, offer) for p in layer) for layer in policy.allowed)
    return not allowed or _taken_away(policy, key, facts)


def _taken_away(policy: Policy, key: str, facts: CallContext) -> bool:
    if any(forbids(pattern, key) for pattern in policy.disabled):
        return True
    return any(
        not condition.holds(facts, key)
        for condition in policy.conditions
        if any(forbids(pattern, key) for pattern in condition.tools)
    )


def _is_key(key: str) -> bool:
    kind, *rest = _segments(key)
    return all(rest) and len(rest) == {"mcp": 2, "skill": 1}.get(kind, -1)


def _segments(key: str) -> list[str]:
    return key.split(":", 1 if key.startswith("skill:") else SEGMENTS)


def _glob(pattern: str, text: str, *, exact: bool) -> bool:
    """Whether the whole text fits; at most pattern times text steps, whatever they contain.

    Where `exact` is set, a wildcard stands for no control character.
    """
    if exact and any(_is_control(c) for c in text):
        return pattern == text
    at = star = mark = 0
    found = -1
    while mark < len(text):
        if at < len(pattern) and pattern[at] == "*":
            found, star, at = mark, at, at + 1
        elif at < len(pattern) and pattern[at] in ("?", text[mark]):
            at, mark = at + 1, mark + 1
        elif found >= 0:
            found += 1
            at, mark = star + 1, found
        else:
            return False
    return not pattern[at:].strip("*")


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp")
