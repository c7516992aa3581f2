"""The table of attacks is honest: its tests are there, it is whole, and the page says the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.attacks.__main__ import Outcomes, main, told
from tests.attacks.table import PAGE, ROOT, Attack, Table, holds, load, named_tests, renewed
from tests.conftest import COLLECTED

TABLE = load()
TRIED_FIRST = 145
"""So many attacks were tried before there was a table; later ones have numbers above."""


def missing(name: str, root: Path = ROOT) -> str | None:
    """Why a name in the table stands for no test below `root`, or None where it does."""
    file, *inner = name.partition("[")[0].split("::")
    path = root / file
    if not (file.startswith("tests/") and path.name.startswith("test_") and path.is_file()):
        return f"{name}: there is no file of tests {file}"
    defined = _defined(path)
    if not defined or (inner and not (len(inner) == 1 and inner[0] in defined)):
        return f"{name}: there is no such test in {file}"
    return None


@cache
def _defined(path: Path) -> frozenset[str]:
    """The tests of a file."""
    return frozenset(
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


def all_names(table: Table = TABLE) -> Iterator[tuple[Attack, str]]:
    return ((attack, name) for attack in table.attacks for name in attack.tests)


def test_every_attack_has_one_state_and_says_all_that_its_state_wants() -> None:
    wrong = [
        attack.id
        for attack in TABLE.attacks
        if (bool(attack.pending) and bool(attack.untried))
        or (attack.state == "shown" and not attack.tests)
        or (attack.state == "untried" and attack.tests)
        or not (attack.attack and attack.holds and attack.threats)
    ]
    assert wrong == []


def test_every_number_stands_for_one_attack_and_none_is_left_out() -> None:
    numbers = Counter(number for attack in TABLE.attacks for number in attack.numbers)
    assert [number for number, times in numbers.items() if times > 1] == []
    assert max(numbers) >= TRIED_FIRST
    assert sorted(numbers) == list(range(1, max(numbers) + 1))


def test_every_threat_has_an_attack_and_every_attack_names_threats_that_there_are() -> None:
    named = {threat for attack in TABLE.attacks for threat in attack.threats}
    assert named == set(TABLE.threats) == {f"A{number}" for number in range(1, 29)}


def test_every_test_that_is_named_exists() -> None:
    shown = [name for attack, name in all_names() if attack.state == "shown"]
    assert [why for name in shown if (why := missing(name))] == []


def test_every_test_that_is_named_is_collected(request: pytest.FixtureRequest) -> None:
    """Files that this run has read whole; `make attack` runs what is named, and misses the rest."""
    config = request.config
    if any("::" in word for word in config.args) or config.getoption("lf"):
        pytest.skip("this run has read parts of files")
    found = config.stash[COLLECTED]
    files = {test.partition("::")[0] for test in found}
    named = [name for one, name in all_names() if one.state == "shown" and _file(name) in files]
    if not named:
        pytest.skip("this run has read no file that is named")
    assert [name for name in named if not any(holds(name, test) for test in found)] == []


def _file(name: str) -> str:
    return name.partition("::")[0]


def test_what_is_pending_is_listed_and_pends_no_longer_than_its_tests_are_missing() -> None:
    pending = [attack for attack in TABLE.attacks if attack.state == "pending"]
    there = [one.id for one in pending if one.tests and not any(map(missing, one.tests))]
    assert there == [], "their tests are there: take `pending` out of attacks.toml"
    if pending:  # a skip is the one way to say something that the summary of every run shows
        changes = {one.pending: "" for one in pending}
        for one in pending:
            changes[one.pending] += f" {one.id}"
        pytest.skip("; ".join(f"pending: {change}{ids}" for change, ids in changes.items()))


def test_every_test_marked_attack_is_named_by_an_attack() -> None:
    names = [name for _, name in all_names()]
    marked = [test for path in sorted(ROOT.glob("tests/**/test_*.py")) for test in _marked(path)]
    assert marked
    assert [one for one in marked if not any(holds(name, one) for name in names)] == []


def _marked(path: Path) -> Iterator[str]:
    """Tests of a file that have the marker, by themselves or by their file."""
    source, file = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    if "mark.attack" not in source:
        return
    body = ast.parse(source).body
    whole = any(
        isinstance(node, ast.Assign)
        and "pytestmark" in (text := ast.unparse(node))
        and "mark.attack" in text
        for node in body
    )
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = " ".join(map(ast.unparse, node.decorator_list))
            if node.name.startswith("test_") and (whole or "mark.attack" in marks):
                yield f"{file}::{node.name}"


def test_the_page_has_the_table_of_today() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page, TABLE), "run `make docs`"


# --- the command ----------------------------------------------------------------------------------

ONE = Attack("1", "g", "a", "h", ("A1",), ("tests/test_a.py::test_one",))
FILE = Attack("2", "g", "a", "h", ("A1",), ("tests/test_a.py",))
CASE = Attack("3", "g", "a", "h", ("A2",), ("tests/test_a.py::test_many[x]",))
LATER = Attack("4-6", "h", "a", "h", ("A2",), pending="doors")
NEVER = Attack("7", "h", "a", "h", ("A2",), untried="no network.")
SMALL = Table({"g": "G", "h": "H"}, {"A1": "", "A2": ""}, (ONE, FILE, CASE, LATER, NEVER))


def outcomes(passed: list[str], failed: list[str]) -> Outcomes:
    found = Outcomes()
    found.passed, found.failed = set(passed), set(failed)
    return found


def test_an_attack_holds_where_all_that_it_names_ran_and_nothing_failed() -> None:
    one, many = "tests/test_a.py::test_one", "tests/test_a.py::test_many[x]"
    all_well = outcomes([one, many], [])
    assert [all_well.of(attack) for attack in (ONE, FILE, CASE)] == ["held"] * 3
    assert [all_well.of(attack) for attack in (LATER, NEVER)] == ["pending", "untried"]
    broken = outcomes([one], [many])
    assert [broken.of(attack) for attack in (ONE, FILE, CASE)] == ["held", "broken", "broken"]
    assert (all_well.status(SMALL.attacks), broken.status(SMALL.attacks)) == (0, 1)
    never_ran = outcomes([one], [])
    assert [never_ran.of(attack) for attack in (ONE, CASE)] == ["held", "broken"]
    assert "1 held, 2 BROKEN, 1 pending, 1 not tried; 9 s" in told(
        SMALL, SMALL.attacks, broken, 9.2
    )


def test_attacks_are_chosen_by_group_threat_and_number_and_a_wrong_word_is_told() -> None:
    assert SMALL.chosen([""]) == SMALL.attacks
    assert SMALL.chosen(["h"]) == (LATER, NEVER)
    assert SMALL.chosen(["A1", "5"]) == (ONE, FILE, LATER)
    assert SMALL.chosen(["4-6"]) == (LATER,)
    with pytest.raises(ValueError, match="no attacks nonsense; name groups"):
        SMALL.chosen(["h", "nonsense"])


def test_a_test_is_run_once_though_several_attacks_name_it_or_its_file() -> None:
    assert named_tests(SMALL.attacks) == ["tests/test_a.py"]
    assert named_tests([ONE, CASE, ONE, LATER]) == [*CASE.tests, *ONE.tests]


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_some.py::test_other",
        "tests/test_some.py::helper",
        "tests/test_none.py",
        "tests/some.py",
        "elsewhere/test_some.py",
    ],
)
def test_a_name_that_stands_for_no_test_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for file in ("test_some.py", "some.py"):
        (tmp_path / "tests" / file).write_text("def test_it(): ...\ndef helper(): ...\n")
    assert missing("tests/test_some.py::test_it[a::b]", tmp_path) is None
    assert missing("tests/test_some.py", tmp_path) is None
    assert name in (missing(name, tmp_path) or "")


def test_a_word_that_names_no_attack_is_told_and_nothing_is_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--rows", "A7,nonsense"]) == 2
    assert "there are no attacks nonsense; name groups (conditions" in capsys.readouterr().err


def test_the_command_tries_what_is_asked_for_and_says_what_held() -> None:
    command = [sys.executable, "-m", "tests.attacks", "--rows", "90,145"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 held, 0 BROKEN, 0 pending, 1 not tried" in done.stdout
