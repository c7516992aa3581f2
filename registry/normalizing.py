"""Unicode normal forms of untrusted texts, in time linear in the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, Literal

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

MOST_MARKS: Final = 30
"""Combining marks in a row that are put in order together: as many as Unicode's stream-safe form.

Sorting a longer run takes the square of its length, and no other thread runs meanwhile.
"""
PIECE: Final = 4_000
"""Characters that are normalised in one go, for the same reason: one may become eighteen."""

_MARK: Final = r"(?:[^\x00-\x7f\w]|[\uff9e\uff9f])"  # no combining mark is anything else
_RUN: Final = re.compile(f"{_MARK}{{{MOST_MARKS}}}")
_MARKS: Final = re.compile(f"{_MARK}{{0,{MOST_MARKS}}}")


def normal_form(form: Form, text: str) -> str:
    """The text in a normal form; a run of more than `MOST_MARKS` marks is cut into shorter ones.

    Decomposed, it has as many characters as the text's own ones decomposed one by one.
    """
    if text.isascii():
        return text
    if len(text) <= MOST_MARKS:
        return unicodedata.normalize(form, text)
    return "".join(unicodedata.normalize(form, piece) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = _end(text, at)
        for run in _RUN.finditer(text, at, end):
            yield text[at : run.end()]
            at = run.end()
        yield text[at:end]
        at = end


def _end(text: str, at: int) -> int:
    """Where a piece ends: before a blank, else behind the marks of its last character."""
    end = at + PIECE
    if end >= len(text):
        return len(text)
    blank = text.rfind(" ", at + PIECE // 2, end)
    if blank >= 0:
        return blank
    marks = _MARKS.match(text, end)
    return marks.end() if marks else end
