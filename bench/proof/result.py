"""The result of a row: counts, and words for every promise that was broken."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class Result:
    """Counts of one row. `problems` break a promise; `not_built` names what does not exist yet."""

    tries: int = 0
    messages: int = 0
    lost: int = 0
    disorder: int = 0
    repeated_tools: int = 0
    marked: int = 0
    unmarked: int = 0
    needless_marks: int = 0
    takeover: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    not_built: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Result) -> Result:
        """Adds another result; the same notes are kept once."""
        for one in fields(Result):
            mine, more = getattr(self, one.name), getattr(other, one.name)
            if one.name in ("not_built", "notes"):
                more = [words for words in more if words not in mine]
            setattr(self, one.name, mine + more)
        return self

    @property
    def broken(self) -> list[str]:
        """Every broken promise, in words."""
        counted = {
            "lost": self.lost,
            "out of order": self.disorder,
            "unrepeatable tools run twice": self.repeated_tools,
            "repeated without the mark": self.unmarked,
        }
        return [f"{count} {words}" for words, count in counted.items() if count] + self.problems

    @property
    def holds(self) -> bool:
        """Whether every promise of the row was kept."""
        return not self.broken

    def problem(self, words: str) -> None:
        """Records a broken promise."""
        self.problems.append(words)

    def check(self, holds: object, words: str) -> None:
        """Records a broken promise unless it holds."""
        if not holds:
            self.problem(words)
