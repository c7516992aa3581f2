"""How commands write: plain text inside Markdown, lists that end, problems with their cures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeVar

from registry.errors import Problem

T = TypeVar("T")

_MARKS = re.compile(r"[\\`*_\[\]()~>#+=|{}!<&$-]")
_SIGNS = {"error": "✗", "warning": "⚠", "note": "·"}


def plain(text: str) -> str:
    """A text as Markdown that shows just this text."""
    # By number, not behind a backslash: two brackets behind backslashes would be a formula.
    return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text)


def code(text: str) -> str:
    """A text in fixed width, on one line."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def counted(number: int, what: str) -> str:
    """A number of things: "1 bot", "2 bots"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def first(items: Sequence[T], most: int) -> tuple[Sequence[T], str]:
    """The first items, and a line that says how many more there are."""
    rest = len(items) - most
    return items[:most], f"\n… and {rest} more" if rest > 0 else ""


def problem_lines(problems: Iterable[Problem], most: int = 12) -> str:
    """One line for each problem, with its place and cure; empty for none."""
    shown, more = first(list(problems), most)
    lines = [f"{_SIGNS[problem.level]} {plain(str(problem))}" for problem in shown]
    return "\n".join(lines) + more


def listed(*parts: str) -> str:
    """Paragraphs, without the empty ones."""
    return "\n\n".join(part for part in parts if part)
