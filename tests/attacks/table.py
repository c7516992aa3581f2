"""The table of attacks: what was tried, what must happen, and which tests try it again.

`attacks.toml` beside this file is the data. Each attack has one state:

- shown: `tests` names the tests that try it, as `tests/<path>.py` or `tests/<path>.py::<test>`,
  perhaps with the parameters of one case;
- pending: a change that is not in yet will show it; `tests` may name tests that are to come;
- untried: there is a reason why nobody can try it here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = HERE / "attacks.toml"
PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- attacks: begin -->\n", "<!-- attacks: end -->\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """One row: `id` is a number or a range of numbers, `threats` are names of the model's rows."""

    id: str
    group: str
    attack: str
    holds: str
    threats: tuple[str, ...]
    tests: tuple[str, ...] = ()
    pending: str = ""
    untried: str = ""

    @property
    def state(self) -> str:
        """`shown`, `pending` or `untried`."""
        if self.untried:
            return "untried"
        return "pending" if self.pending else "shown"

    @property
    def numbers(self) -> range:
        """The numbers that the row stands for; ValueError where its id is none."""
        first, _, last = self.id.partition("-")
        return range(int(first), int(last or first) + 1)


@dataclass(frozen=True, slots=True)
class Table:
    """The groups by id with their titles, the threats by name, and the attacks in order."""

    groups: dict[str, str]
    threats: dict[str, str]
    attacks: tuple[Attack, ...]

    def chosen(self, words: Iterable[str]) -> tuple[Attack, ...]:
        """The attacks of a group, a threat or a number; ValueError where a word is none of them."""
        wanted = {word.strip() for word in words if word.strip()}
        known = {name for attack in self.attacks for name in _names(attack)}
        if unknown := sorted(wanted - known):
            raise ValueError(
                f"there are no attacks {', '.join(unknown)}; name groups "
                f"({', '.join(self.groups)}), threats (A1 …) or numbers (66, 82-84)"
            )
        return tuple(one for one in self.attacks if not wanted or wanted & _names(one))


def _names(attack: Attack) -> set[str]:
    numbers = {str(number) for number in attack.numbers}
    return {attack.id, attack.group, *attack.threats, *numbers}


def load(path: Path = DATA) -> Table:
    """The table of a file; ValueError or TypeError where the file has another shape."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    attacks = [
        _attack(group["id"], fields) for group in data["group"] for fields in group["attack"]
    ]
    groups = {group["id"]: group["title"] for group in data["group"]}
    return Table(groups, data["threats"], tuple(attacks))


def _attack(group: str, fields: dict[str, object]) -> Attack:
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return Attack(group=group, **(fields | lists))  # type: ignore[arg-type]


def named_tests(attacks: Iterable[Attack]) -> list[str]:
    """All tests of the attacks that are shown; none that another one of them holds already."""
    named = {test for one in attacks if one.state == "shown" for test in one.tests}
    return sorted(test for test in named if not any(holds(other, test) for other in named - {test}))


def holds(name: str, test: str) -> bool:
    """Whether a name in the table stands for a test: a file, a function, or one case of it."""
    return test == name or test.startswith((f"{name}::", f"{name}["))


# --- the page -------------------------------------------------------------------------------------


def renewed(page: str, table: Table) -> str:
    """The page with today's table between its marks; ValueError where a mark is missing."""
    if BEGIN not in page or END not in page:
        raise ValueError(f"{PAGE}: the marks {BEGIN.strip()} and {END.strip()} are gone")
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + "\n".join(_lines(table)) + "\n" + END + rest.partition(END)[2]


def _lines(table: Table) -> Iterator[str]:
    yield from _rows(("threat", "", "attacks"), _by_threat(table))
    for group, title in table.groups.items():
        yield ""
        yield f"### {title}"
        yield ""
        rows = [
            (one.id.replace("-", "–"), one.attack, _outcome(one))
            for one in table.attacks
            if one.group == group
        ]
        yield from _rows(("", "attack", "what happens"), rows)


def _by_threat(table: Table) -> Iterator[Sequence[str]]:
    for name, words in table.threats.items():
        found = sorted(
            (one for one in table.attacks if name in one.threats), key=lambda one: one.numbers.start
        )
        yield name, words, ", ".join(one.id.replace("-", "–") for one in found)


def _outcome(attack: Attack) -> str:
    words = {
        "shown": attack.holds,
        "pending": f"**Not yet:** {attack.holds}",
        "untried": f"*Not tried:* {attack.untried}",
    }
    return words[attack.state]


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
