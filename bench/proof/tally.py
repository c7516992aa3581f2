"""What a fault has cost: counts, and words where something was not as it should be."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class Tally:
    """Counts of one row. `problems` break a promise; `missing` is not built yet; `notes` tell."""

    tries: int = 0
    messages: int = 0
    lost: int = 0
    disorder: int = 0
    tools: int = 0
    marked: int = 0
    unmarked: int = 0
    needless: int = 0
    takeover: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> Tally:
        """Everything of another on top; the same words stand once."""
        for one in fields(Tally):
            mine, more = getattr(self, one.name), getattr(other, one.name)
            if one.name in ("missing", "notes"):
                more = [words for words in more if words not in mine]
            setattr(self, one.name, mine + more)
        return self

    @property
    def broken(self) -> list[str]:
        """Everything that breaks the promise, in words."""
        counted = {
            "lost": self.lost,
            "out of order": self.disorder,
            "unrepeatable tools run twice": self.tools,
            "repeated without the mark": self.unmarked,
        }
        return [f"{count} {words}" for words, count in counted.items() if count] + self.problems

    @property
    def holds(self) -> bool:
        """Whether every promise of the row was kept."""
        return not self.broken

    def problem(self, words: str) -> None:
        """Something is not as it should be."""
        self.problems.append(words)

    def check(self, holds: object, words: str) -> None:
        """A promise, and what to say where it is broken."""
        if not holds:
            self.problem(words)
