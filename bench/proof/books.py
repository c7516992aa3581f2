"""The ledger beside the server's own count: every request, to the token; pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.proof.ledger_voice import Served

Line = Mapping[str, Any]
Turn = tuple[str, str]
"""A line, and a turn's entry in it, or a chat."""


@dataclass
class Books:
    """What was found: rows of (what, requests, tokens in, tokens out), and what does not fit."""

    rows: list[tuple[str, int, int, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def row(self, what: str, requests: int, went_in: int, came_out: int) -> None:
        """One row more."""
        self.rows.append((what, requests, went_in, came_out))

    def check(self, holds: object, words: str) -> None:
        """A promise, and what to say where it is broken."""
        if not holds:
            self.problems.append(words)

    def table(self) -> str:
        """The rows in Markdown."""
        head = ["| | requests | tokens in | tokens out |", "| --- | ---: | ---: | ---: |"]
        return "\n".join([*head, *(f"| {w} | {n:,} | {i:,} | {o:,} |" for w, n, i, o in self.rows)])


def went_in(line: Line) -> int:
    """Tokens of a request: new ones, and those that the cache read or wrote."""
    return int(line["in"] + line["cacheRead"] + line["cacheWrite"])


def compared(served: Sequence[Served], lines: Sequence[Line]) -> Books:
    """Each answer of the server beside its line."""
    books = Books()
    by_message = {one.message: one for one in served}
    named = [line for line in lines if line["message"]]
    guessed = [line for line in lines if not line["message"]]
    times = Counter(line["message"] for line in named)
    twice = [message for message, count in times.items() if count > 1]
    books.check(not twice, f"{len(twice)} requests have two lines")
    strange = [line for line in named if line["message"] not in by_message]
    books.check(not strange, f"{len(strange)} lines are of no request that was served")
    named = [line for line in named if line["message"] in by_message]
    for line in named:
        _beside(books, line, by_message[line["message"]])
    unheard = [one for one in served if one.message not in times]
    books.row("served by the simulator", len(served), *_sum(served))
    for count in ("told", "estimated"):
        some = [line for line in named if line["count"] == count]
        theirs = [by_message[line["message"]] for line in some]
        books.row(f"of these with a line, {count}: the simulator", len(theirs), *_sum(theirs))
        books.row(f"of these with a line, {count}: the ledger", len(some), *_line_sum(some))
    _guesses(books, unheard, guessed, _turns(named, by_message))
    return books


def _beside(books: Books, line: Line, one: Served) -> None:
    fresh, out, read, wrote = one.counts
    entered = (line["in"], line["cacheRead"], line["cacheWrite"]) == (fresh, read, wrote)
    books.check(entered, f"{one.nonce}: in {went_in(line)}, served {one.went_in}")
    books.check(line["count"] in ("told", "estimated"), f"{one.nonce}: {line['count']}")
    if line["count"] == "told":
        books.check(line["out"] == out, f"{one.nonce}: out {line['out']}, served {out}")


def _turns(named: Sequence[Line], by_message: Mapping[str, Served]) -> dict[str, Turn]:
    """The turn of each message of a person, where a line tells it."""
    return {by_message[line["message"]].nonce: (line["line"], line["turn"]) for line in named}


def _guesses(
    books: Books, unheard: Sequence[Served], guessed: Sequence[Line], turns: Mapping[str, Turn]
) -> None:
    """Answers that nobody has heard: each has a guess in its turn, of the same size going in.

    A turn of which nothing was heard at all is known by its chat.
    """
    free: dict[Turn, list[Line]] = defaultdict(list)
    for line in guessed:
        turn = (line["line"], line["turn"])
        free[turn if turn in turns.values() else _chat(line)].append(line)
    found: list[Line] = []
    exact = 0
    for one in unheard:
        here = free.get(turns.get(one.nonce, one.chat), [])
        same = [line for line in here if went_in(line) == one.went_in] or here
        if not same:
            books.check(False, f"{one.nonce}: served ({one.went_in} in), and no line")
            continue
        guess = same[0]
        here.remove(guess)
        found.append(guess)
        exact += went_in(guess) == one.went_in
    books.row(
        "of these never heard by a host (killed): the simulator", len(unheard), *_sum(unheard)
    )
    books.row("of these never heard by a host: the ledger's guess", len(found), *_line_sum(found))
    books.row("… the same to the token going in", exact, 0, 0)
    rest = [line for lines in free.values() for line in lines]
    books.row("guesses of requests that were never served", len(rest), *_line_sum(rest))


def _chat(line: Line) -> Turn:
    return line["line"], line["conversation"]


def _sum(served: Sequence[Served]) -> tuple[int, int]:
    return sum(one.went_in for one in served), sum(one.counts[1] for one in served)


def _line_sum(lines: Sequence[Line]) -> tuple[int, int]:
    return sum(map(went_in, lines)), sum(line["out"] for line in lines)
