"""The manifest: what the five documents demand, section by section, and which test shows it.

The entries are `requirements.toml`, a line each, the documents' headings `headings.toml`.
`python -m tests.requirements` prints the counts, `python -m tests.requirements 3` the entries of
document 3. An entry turns from "not yet" to "shown" by naming its `test`.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FIELDS = {"demand": str, "test": str, "explains": bool}


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one section of a document demands, and the test that shows it.

    `shown_by` is `tests/<path>.py::<test>` or `tests/<path>.py::<class>::<test>`, None means not
    yet. An entry that is not `normative` explains a section that demands nothing.
    """

    doc: int
    section: str
    id: str
    demand: str
    shown_by: str | None = None
    normative: bool = True


def read(entries: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> list[Requirement]:
    """The entries of a parsed manifest: document, then section, then id."""
    return [
        _entry(int(doc), section, id_, fields)
        for doc, by_section in entries.items()
        for section, by_id in by_section.items()
        for id_, fields in by_id.items()
    ]


def _entry(doc: int, section: str, id_: str, fields: Mapping[str, Any]) -> Requirement:
    odd = [name for name, value in fields.items() if not isinstance(value, FIELDS.get(name, ()))]
    if odd or "demand" not in fields:
        raise ValueError(f"requirements.toml: {id_}: bad or missing {' '.join(odd) or 'demand'}")
    explains = fields.get("explains", False)
    return Requirement(doc, section, id_, fields["demand"], fields.get("test"), not explains)


REQUIREMENTS = tuple(read(tomllib.loads((HERE / "requirements.toml").read_text("utf-8"))))
HEADINGS: dict[int, tuple[str, ...]] = {
    int(doc): tuple(lines)
    for doc, lines in tomllib.loads((HERE / "headings.toml").read_text("utf-8")).items()
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of a document; a `leaf` has no heading below it."""

    title: str
    leaf: bool


@dataclass(frozen=True, slots=True)
class Count:
    """How many demands of a document are shown by a test, and how many are not yet."""

    shown: int
    not_yet: int
    explanations: int


def sections(headings: Sequence[str]) -> list[Section]:
    """The sections of a document; a title that occurs twice is led by its chapter: `A / B`."""
    titles = [heading.lstrip("#").strip() for heading in headings]
    seen = Counter(titles)
    chapter, found = "", []
    for heading, title, below in zip(headings, titles, [*headings[1:], "#"], strict=True):
        chapter = title if _depth(heading) == 2 else chapter
        name = f"{chapter} / {title}" if seen[title] > 1 else title
        found.append(Section(name, leaf=_depth(below) <= _depth(heading)))
    return found


def summary(requirements: Iterable[Requirement] = REQUIREMENTS) -> dict[int, Count]:
    """The counts for each document."""
    entries = list(requirements)
    return {doc: _count(entry for entry in entries if entry.doc == doc) for doc in HEADINGS}


def _depth(heading: str) -> int:
    return len(heading) - len(heading.lstrip("#"))


def _count(entries: Iterable[Requirement]) -> Count:
    kinds = Counter(_state(entry) for entry in entries)
    return Count(kinds["shown"], kinds["not yet"], kinds["explanation"])


def _state(entry: Requirement) -> str:
    if not entry.normative:
        return "explanation"
    return "shown" if entry.shown_by else "not yet"


def _lines(arguments: Sequence[str]) -> list[str]:
    if arguments:
        chosen = [entry for entry in REQUIREMENTS if str(entry.doc) in arguments]
        return [f"{_state(entry):<12}{entry.id:<40}{entry.demand}" for entry in chosen]
    return [
        f"document {doc}: {count.shown} shown, {count.not_yet} not yet,"
        f" {count.explanations} explanations"
        for doc, count in summary().items()
    ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(_lines(sys.argv[1:])) + "\n")
