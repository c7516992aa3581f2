"""Every error the registry raises on purpose, and the problems it reports as values.

RegistryError
├── DocumentErrors        a document is wrong; every problem found, each with its place and fix
├── Denied                the actor may not change this
│   └── ReasonMissing     they may, but only with a reason or a ticket
├── ReviewNeeded          the change is kept, and live once a second person has approved it
├── ReviewWaits           another person's change of this agent waits for its approval
├── FileUnusable          what the agents file sets is not known, so nothing of that kind is changed
├── Owned                 the file or the environment owns it: it is changed there
│   └── Packaged          it comes with the package: it is replaced, never deleted
├── InUse                 something else refers to it, so it is not deleted
├── AlreadyThere          an agent with this id exists
├── NotThere              there is nothing under this id
├── RevisionConflict      somebody else has changed it in the meantime
│   └── Overtaken         a draft was made from an agent that was changed since; it is kept
├── Unrestorable          that revision or change cannot be brought back
├── Trampled              a rollback would undo a later change too
├── KeyReused             an idempotency key was used for another change before
├── ReferenceMissing      a `${NAME}` has no value, or may not be used here
├── WrongKind             a key of the store holds a list or the like where a text should be
└── RegistryUnavailable   the store is away; a repeat with the same key is safe
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Literal

_VERB = re.compile(r"(is|has|must|may|cannot|begins|looks|would) ")

_LINE = re.compile(r":(\d{1,9})\Z")


def one_line(place: str) -> str:
    """The name of a file with line breaks and characters that nobody sees written out."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in place)


Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where (`file:line`, variable or Redis key), and how to fix it.

    `path` is the dotted path of the field in its document, where it is of one.
    """

    place: str
    message: str
    cure: str
    level: Level = "error"
    path: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Keep the name of a file on one line: it could look like a line of the host's own."""
        if not self.place.isprintable():
            object.__setattr__(self, "place", one_line(self.place))

    def __str__(self) -> str:
        is_said_of_place = self.place.isidentifier() and _VERB.match(self.message)
        text = f"{self.place}{' ' if is_said_of_place else ': '}{self.message}"
        return f"{text}; {self.cure}" if self.cure else text


_LEVELS: tuple[Level, ...] = ("error", "warning", "note")


def worst_first(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once: errors, then warnings, then notes; those of one file by line."""
    unique = [*dict.fromkeys(problems)]
    files = [*dict.fromkeys(_LINE.sub("", problem.place) for problem in unique)]

    def order(problem: Problem) -> tuple[int, int, int]:
        line = _LINE.search(problem.place)
        file = files.index(_LINE.sub("", problem.place))
        return _LEVELS.index(problem.level), file, int(line[1]) if line else 0

    return sorted(unique, key=order)


def summary(problems: Collection[Problem]) -> str:
    """How many problems there are: "no errors, 3 notes"."""
    if not problems:
        return "no problems found"
    counts = Counter(problem.level for problem in problems)
    parts = [f"{n} {level}{'s' if n > 1 else ''}" for level in _LEVELS if (n := counts[level])]
    return ", ".join(parts if counts["error"] else ["no errors", *parts])


class InvalidValue(ValueError):
    """A value that a field refuses: what is wrong and the fix, never the value of a secret."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


class RegistryError(Exception):
    """The root of all errors of the registry."""


class DocumentErrors(RegistryError):
    """A document cannot be used; `problems` holds every mistake found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Denied(RegistryError):
    """The actor may not make this change."""


class ReasonMissing(Denied):
    """The change needs a reason or a ticket."""


class ReviewNeeded(RegistryError):
    """The change of an agent is kept until a second person approves it, for what `needs` says."""

    def __init__(self, agent: str, needs: Collection[str], *, replaces: bool = False) -> None:
        named = " and ".join(needs)
        message = (
            f"the change of agent '{agent}' waits for a second person, who is named for {named}"
        )
        own = "; your earlier change that waited is dropped for it" if replaces else ""
        super().__init__(f"{message}{own}")
        self.agent = agent
        self.needs = tuple(needs)


class ReviewWaits(RegistryError):
    """A change of this agent `by` somebody else waits: it is not replaced without a word."""

    def __init__(self, agent: str, by: str) -> None:
        message = f"a change of agent '{agent}' by {by} waits for a second person"
        super().__init__(f"{message}; let it be approved or rejected first (/reviews)")
        self.by = by


class Owned(RegistryError):
    """The file or the environment owns it; `place` says where."""

    def __init__(self, what: str, place: str) -> None:
        super().__init__(f"{what} is set in {place} and is changed only there")
        self.place = place


class Packaged(Owned):
    """It comes with the package: a document of the same name replaces it, nothing deletes it."""

    def __init__(self, what: str) -> None:
        RegistryError.__init__(self, f"{what} comes with the package; replace it, or leave it")
        self.place = "the package"


class FileUnusable(RegistryError):
    """The agents file cannot be used, and there is no good copy: what it owns is not known."""

    def __init__(self) -> None:
        super().__init__(
            "the agents file cannot be used, so what it sets is not known; fix it first"
        )


class InUse(RegistryError):
    """Something else refers to it, and the message says what: it is not deleted."""


class AlreadyThere(RegistryError):
    """An agent with this id exists."""


class NotThere(RegistryError):
    """There is nothing under this id."""


class RevisionConflict(RegistryError):
    """The value is no longer the one that the change was made for."""


class Overtaken(RevisionConflict):
    """Since a draft was made, `by` changed these `fields` of its agent; the draft is kept.

    `act` is changed, created or deleted.
    """

    def __init__(self, agent: str, by: str, fields: Collection[str], act: str = "changed") -> None:
        named = f" ({', '.join(fields)})" if fields else ""
        message = f"{by or 'somebody else'} {act} agent '{agent}' since your draft was made{named}"
        super().__init__(f"{message}; your draft is kept: compare it, then update or discard it")
        self.by = by
        self.fields = tuple(fields)


class Unrestorable(RegistryError):
    """A revision cannot be restored, or a change not taken back; the message says why."""


class Trampled(RegistryError):
    """A rollback is refused, as a later change touched the same field; `later` is its record."""

    def __init__(self, number: int, later: int, by: str) -> None:
        message = f"record {later} by {by} changed the same field after record {number}"
        super().__init__(f"{message}; roll that one back first")
        self.later = later


class KeyReused(RegistryError):
    """An idempotency key was used before, for another change."""


class ReferenceMissing(RegistryError):
    """A `${NAME}` has no value here, or this document may not use it."""


class WrongKind(RegistryError):
    """A key of the store holds another kind of value than it should: no repeat will help."""

    def __init__(self, key: str, held: str, wanted: str = "text") -> None:
        super().__init__(f"{key} holds a {held} in the store, not a {wanted}: delete it with DEL")
        self.key = key


class RegistryUnavailable(RegistryError):
    """The store is away; a repeat with the same idempotency key is safe."""
