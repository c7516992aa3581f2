"""The manifest: what the five documents demand, section by section, and which test shows it.

The entries are `requirements.toml`, a line each, the documents' headings `headings.toml`.
`python -m tests.requirements` prints the counts, `python -m tests.requirements 3` the entries of
document 3. An entry turns from "not yet" to "shown" by naming its `test`, one or several. Where an
audit changed an entry, `was` is its state before, and `why` says the reason: `make docs` writes
these into docs/requirements.md.
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
PAGE = HERE.parent / "docs/requirements.md"
FIELDS: dict[str, Any] = {
    "demand": str,
    "test": (str, list),
    "explains": bool,
    "was": str,
    "why": str,
}
STATES = ("shown", "not yet", "note", "missing")
"""What an entry can have been before an audit; `missing`: it was not there."""
BEGIN, END = "<!-- entries: begin -->", "<!-- entries: end -->"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one section of a document demands, and the tests that show it.

    `shown_by` are `tests/<path>.py::<test>` or `tests/<path>.py::<class>::<test>`, none means not
    yet. An entry that is not `normative` explains a section that demands nothing. `was` and `why`
    are empty where no audit changed it.
    """

    doc: int
    section: str
    id: str
    demand: str
    shown_by: tuple[str, ...] = ()
    normative: bool = True
    was: str = ""
    why: str = ""

    @property
    def state(self) -> str:
        """`shown`, `not yet` or `note`."""
        if not self.normative:
            return "note"
        return "shown" if self.shown_by else "not yet"


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
    odd += [name for name in ("was", "why") if (name in fields) != ("was" in fields)]
    if fields.get("was", "missing") not in STATES:
        odd.append("was")
    if odd or "demand" not in fields:
        raise ValueError(f"requirements.toml: {id_}: bad or missing {' '.join(odd) or 'demand'}")
    tests = fields.get("test", [])
    return Requirement(
        doc,
        section,
        id_,
        fields["demand"],
        (tests,) if isinstance(tests, str) else tuple(tests),
        not fields.get("explains", False),
        fields.get("was", ""),
        fields.get("why", ""),
    )


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
    kinds = Counter(entry.state for entry in entries)
    return Count(kinds["shown"], kinds["not yet"], kinds["note"])


def renewed(page: str, requirements: Iterable[Requirement] = REQUIREMENTS) -> str:
    """The page with the table of the entries that an audit changed, as they are now."""
    head, rest = page.split(BEGIN)
    rows = ["| entry | before | now | why |", "| --- | --- | --- | --- |"]
    for entry in requirements:
        if entry.was:
            why = entry.why.replace("|", "\\|")
            rows.append(f"| {entry.id} | {entry.was} | {entry.state} | {why} |")
    return "\n".join([f"{head}{BEGIN}", *rows, END + rest.partition(END)[2]])


def _lines(arguments: Sequence[str]) -> list[str]:
    if arguments:
        chosen = [entry for entry in REQUIREMENTS if str(entry.doc) in arguments]
        return [f"{entry.state:<12}{entry.id:<40}{entry.demand}" for entry in chosen]
    return [
        f"document {doc}: {count.shown} shown, {count.not_yet} not yet,"
        f" {count.explanations} explanations"
        for doc, count in summary().items()
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
        raise SystemExit
    sys.stdout.write("\n".join(_lines(sys.argv[1:])) + "\n")
