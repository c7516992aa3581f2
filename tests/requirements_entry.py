"""One entry of the manifest, and the few words in which the manifest is written."""

from __future__ import annotations

from dataclasses import dataclass, replace


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


def need(id_: str, demand: str, shown_by: str | None = None) -> Requirement:
    """A demand; its document and section come from the `section` around it."""
    return Requirement(0, "", id_, demand, shown_by)


def note(id_: str, demand: str) -> Requirement:
    """The explanation of a section, or of a part of one, that demands nothing."""
    return Requirement(0, "", id_, demand, normative=False)


def section(doc: int, title: str, *entries: Requirement) -> tuple[Requirement, ...]:
    """The entries of one section: `title` is the heading's text, as `sections` gives it."""
    return tuple(replace(entry, doc=doc, section=title) for entry in entries)
