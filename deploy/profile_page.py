"""Rewrites the table of the state in docs/profiles.md: `python -m deploy.profile_page`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from registry.profile_state import PATHS, StatePath

PAGE = Path(__file__).resolve().parent.parent / "docs" / "profiles.md"
BEGIN, END = "<!-- state: begin -->\n", "<!-- state: end -->\n"


def main() -> None:
    """Put the table between its two marks."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(renewed(page), encoding="utf-8")


def renewed(page: str, paths: Mapping[str, StatePath] = PATHS) -> str:
    """The page with the table of today; ValueError where a mark is missing."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"{PAGE}: the marks {BEGIN.strip()} and {END.strip()} are gone")
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + _table(paths) + END + rest.partition(END)[2]


def _table(paths: Mapping[str, StatePath]) -> str:
    rows = ["| path | kind | fixed | what it is |", "| --- | --- | --- | --- |"]
    for path, one in paths.items():
        name = f"`{path}`, `{path}.…`" if one.open else f"`{path}`"
        rows.append(f"| {name} | {one.kind} | {'yes' if one.frozen else ''} | {one.about} |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    main()
