"""Which tools may run, and which need approval. Pure: the one place where this is decided.

Tools are named `mcp:<server>:<tool>` and `skill:<name>`. A pattern is matched segment by segment
(`*` any characters, `?` one): no name, however odd, can reach into another segment. A bare pattern
(no colon) means the tool of that name: in a list that denies or asks, on every server; in a list
that allows, only where no other server of the agent offers the name as well. Lists that allow are
exact; lists that deny or ask do not care for letter case or width.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from bot.messages import DEFAULT_ACCOUNT, PersonId
from registry import conditions
from registry.conditions import normalized
from registry.policy import ToolCondition


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
    """For whom and where a call is made, and which features are on.

    `role` is admin or everyone, `chat` is private or group, `person` a numeric id,
    or the name of somebody over HTTP, who has shown the API key with the id `key`.
    """

    role: str = "everyone"
    features: frozenset[str] = frozenset()
    person: PersonId = 0
    chat: str = "private"
    agent: str = ""
    account: str = DEFAULT_ACCOUNT
    key: str = ""

    def variables(self, key: str) -> dict[str, object]:
        """The variables of a condition on the tool with this key, by name."""
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
class Policy:
    """The written rule, as lists of patterns; `allowed` is a list of lists that must all match.

    `runs` matches what runs without approval, `confirm` what needs it every time, `disabled` what
    is neither shown nor run.
    """

    runs: tuple[str, ...] = ()
    allowed: tuple[tuple[str, ...], ...] = ()
    disabled: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ()
    conditions: tuple[ToolCondition, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """Keys of all tools that the agent's servers and skills offer now.

    `complete` is False until every server has listed its tools: until then no bare name is known to
    be unambiguous, and none counts in a list that allows.
    """

    keys: frozenset[str]
    complete: bool = True
    _names: Counter[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", Counter(map(name_of, self.keys)))

    def is_single(self, key: str) -> bool:
        """Whether this tool is known to be the only one of its name."""
        return self.complete and key in self.keys and self._names[name_of(key)] == 1


def decide(policy: Policy, key: str, offered: OfferedTools, context: CallContext) -> Decision:
    """What happens to a call of the tool with this key.

    A tool of the host's own (`host:…`) needs no list that allows it, since it gives nothing new.
    """
    is_own = key.startswith("host:")
    if not is_own and not (
        _is_key(key) and all(any(permits(p, key, offered) for p in one) for one in policy.allowed)
    ):
        return Decision.DENY
    if any(forbids(pattern, key) for pattern in policy.disabled):
        return Decision.DENY
    for condition in policy.conditions:
        covers = any(forbids(pattern, key) for pattern in condition.tools)
        if covers and not _is_met(condition, key, context):
            return Decision.DENY
    if any(forbids(pattern, key) for pattern in policy.confirm):
        return Decision.CONFIRM
    runs = is_own or any(permits(pattern, key, offered) for pattern in policy.runs)
    return Decision.RUN if runs else Decision.ASK


def permits(pattern: str, key: str, offered: OfferedTools) -> bool:
    """Whether a pattern of a list that allows covers a tool."""
    if ":" not in pattern and not offered.is_single(key):
        return False
    return _covers(pattern, key, exact=True)


def forbids(pattern: str, key: str) -> bool:
    """Whether a pattern of a list that denies or asks covers a tool."""
    return _covers(pattern, key, exact=False)


def name_of(key: str) -> str:
    """The tool's own name: the last segment of its key."""
    return _segments(key)[-1]


def _is_met(condition: ToolCondition, key: str, context: CallContext) -> bool:
    """Whether a call meets a condition; "everyone" includes admins, a failed `when` is false."""
    fits = "everyone" in condition.roles or context.role in condition.roles
    if not fits or not context.features.issuperset(condition.features):
        return False
    return not condition.when or conditions.holds(condition.when, context.variables(key))


def _is_key(key: str) -> bool:
    kind, *rest = _segments(key)
    return all(rest) and len(rest) == {"mcp": 2, "skill": 1}.get(kind, -1)


def _segments(key: str) -> list[str]:
    return key.split(":", 1 if key.startswith("skill:") else 2)


@lru_cache(2048)  # asked for every tool and pattern at each turn
def _covers(pattern: str, key: str, *, exact: bool) -> bool:
    """Whether each segment matches; not `exact`: letter case and width do not count.

    Segments are taken apart first: a name may have a character that becomes a colon.
    """
    wanted, found = _segments(pattern), _segments(key)
    if ":" not in pattern:
        wanted, found = [pattern], [name_of(key)]
    if not exact:
        wanted, found = [*map(normalized, wanted)], [*map(normalized, found)]
    return len(wanted) == len(found) and all(
        _glob(one, other, exact=exact) for one, other in zip(wanted, found, strict=True)
    )


def _glob(pattern: str, text: str, *, exact: bool) -> bool:
    """Whether the whole text matches, in at most len(pattern) * len(text) steps.

    Where `exact` is set, a wildcard matches no control character.
    """
    if exact and any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in text):
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
