"""The manifest is honest: whole, well formed, and every claim names a test that exists."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.requirements import (
    HEADINGS,
    PAGE,
    REQUIREMENTS,
    Count,
    Requirement,
    read,
    renewed,
    sections,
    summary,
)

ROOT = Path(__file__).resolve().parents[1]
ID = re.compile(r"[1-5](\.[a-z0-9]+(-[a-z0-9]+)*){2,}")
CLAIM = re.compile(r"(tests/(?:\w+/)*test_\w+\.py)((?:::\w+)+)")
HEADING = re.compile(r"#{2,4} \S")
DOCUMENTS = sorted(HEADINGS)
LEAST = {1: 65, 2: 29, 3: 110, 4: 53, 5: 487}
"""Demands of each document: one may be reworded, but none may disappear."""
NOT_RUN = ("skip", "skipif", "xfail", "importorskip", "attack")
"""Marks and calls of tests that do not run with the others, or may fail."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


def uncovered(doc: int, entries: Iterable[Requirement]) -> list[str]:
    """The sections without an entry; one with headings below it speaks through those."""
    covered = {entry.section for entry in entries if entry.doc == doc}
    return [s.title for s in sections(HEADINGS[doc]) if s.leaf and s.title not in covered]


def misplaced(entries: Iterable[Requirement]) -> list[str]:
    """The ids of entries whose section is no heading of their document."""
    known = {doc: {s.title for s in sections(HEADINGS[doc])} for doc in DOCUMENTS}
    return [entry.id for entry in entries if entry.section not in known[entry.doc]]


def badly_named(entries: Iterable[Requirement]) -> list[str]:
    """The ids that are malformed or belong to another document."""
    return [
        entry.id
        for entry in entries
        if not ID.fullmatch(entry.id) or not entry.id.startswith(f"{entry.doc}.")
    ]


def broken_claim(claim: str, root: Path) -> str | None:
    """Why `claim` names no test below `root`, or None where it does."""
    match = CLAIM.fullmatch(claim)
    if match is None:
        return f"{claim}: write it as tests/<path>.py::<test>"
    path = root / match[1]
    if not path.is_file():
        return f"{claim}: there is no file {match[1]}"
    *classes, test = match[2].removeprefix("::").split("::")
    module = ast.parse(path.read_text())
    found = _found(module, classes, test) if test.startswith("test_") else None
    if found is None:
        return f"{claim}: there is no such test in {match[1]}"
    marks = [*found.decorator_list, *(n for n in module.body if _is_pytestmark(n)), *found.body]
    if left := [name for node in marks for name in _names(node) if name in NOT_RUN]:
        return f"{claim}: does not always run: {left[0]}"
    return None if _asserts(found, module) else f"{claim}: asserts nothing"


def _found(node: ast.Module | ast.ClassDef, classes: list[str], test: str) -> Function | None:
    if not classes:
        named = [part for part in node.body if isinstance(part, Function) and part.name == test]
        return named[0] if named else None
    outer, *inner = classes
    within = [part for part in node.body if isinstance(part, ast.ClassDef) and part.name == outer]
    return next((one for part in within if (one := _found(part, inner, test)) is not None), None)


def _is_pytestmark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and "pytestmark" in _names(node)


def _names(node: ast.AST) -> list[str]:
    """All names and attributes in a piece of code."""
    parts = ast.walk(node)
    return [p.attr if isinstance(p, ast.Attribute) else getattr(p, "id", "") for p in parts]


def _asserts(function: Function, module: ast.Module) -> bool:
    """Whether a test can fail: by itself, or by a function of its module that it calls."""
    called = set(_names(function)) - {function.name}
    near = [n for n in ast.walk(module) if isinstance(n, Function) and n.name in called]
    return any(
        isinstance(part, ast.Assert) or getattr(part, "attr", "") == "raises"
        for one in (function, *near)
        for part in ast.walk(one)
    )


def _marked_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Every line, and whether it is a heading; nothing inside a code fence is one."""
    fenced = False
    for line in text.splitlines():
        fence = line.startswith("```")
        fenced ^= fence
        yield line.rstrip(), not fenced and not fence and bool(HEADING.match(line))


def _document(doc: int) -> str:
    folder = os.environ.get("SWITCHBOARD_SPECS")
    if not folder:
        pytest.skip("SWITCHBOARD_SPECS does not name the folder of the documents")
    (path,) = Path(folder).glob(f"{doc}-*.md")
    return path.read_text(encoding="utf-8")


def test_ids_are_unique() -> None:
    twice = [id_ for id_, times in Counter(entry.id for entry in REQUIREMENTS).items() if times > 1]
    assert twice == []


def test_ids_are_well_formed_and_begin_with_their_document() -> None:
    assert badly_named(REQUIREMENTS) == []


@pytest.mark.parametrize("bad", ["2.preset.many", "1.preset", "1.Preset.many", "1.a..b", "1.a.b "])
def test_a_malformed_id_is_found(bad: str) -> None:
    assert badly_named([Requirement(1, "Overview", bad, "Something holds.")]) == [bad]


@pytest.mark.parametrize("doc", DOCUMENTS)
def test_every_section_of_a_document_has_an_entry(doc: int) -> None:
    assert uncovered(doc, REQUIREMENTS) == []


def test_a_section_without_an_entry_is_found() -> None:
    without = [entry for entry in REQUIREMENTS if entry.section != "9.15 Notification Delivery"]
    assert uncovered(5, without) == ["9.15 Notification Delivery"]


def test_every_entry_stands_under_a_heading_of_its_document() -> None:
    assert misplaced(REQUIREMENTS) == []


def test_an_entry_under_no_heading_is_found() -> None:
    lost = Requirement(2, "Somewhere", "2.lost.entry", "Something holds.")
    assert misplaced([lost]) == ["2.lost.entry"]


def test_a_title_that_occurs_twice_is_led_by_its_chapter() -> None:
    headings = ("## A", "### Parts", "## B", "### Parts", "### More")
    assert [s.title for s in sections(headings)] == ["A", "A / Parts", "B", "B / Parts", "More"]


def test_only_a_heading_without_headings_below_is_a_leaf() -> None:
    headings = ("## A", "### B", "#### C", "### D", "## E")
    assert [s.title for s in sections(headings) if s.leaf] == ["C", "D", "E"]


def test_every_demand_is_one_whole_sentence() -> None:
    odd = [e.id for e in REQUIREMENTS if not re.fullmatch(r"[A-Z`].{15,}\.", e.demand)]
    assert odd == []


def test_no_demand_is_made_twice_in_one_document() -> None:
    made = Counter((entry.doc, entry.section, entry.demand) for entry in REQUIREMENTS)
    assert [demand for demand, times in made.items() if times > 1] == []


def test_every_claim_names_a_test_that_exists() -> None:
    claims = {claim for entry in REQUIREMENTS for claim in entry.shown_by}
    assert [broken for claim in sorted(claims) if (broken := broken_claim(claim, ROOT))] == []


@pytest.mark.parametrize("doc", DOCUMENTS)
def test_no_demand_disappears(doc: int) -> None:
    count = summary()[doc]
    assert count.shown + count.not_yet >= LEAST[doc]


def test_the_page_tells_of_every_entry_that_an_audit_changed() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == renewed(page), "run `make docs`"


def test_an_entry_that_an_audit_opened_has_no_test_and_one_that_was_missing_says_why() -> None:
    entry = {"demand": "It holds.", "was": "shown", "why": "Shown for a | half."}
    (read_back,) = read({"1": {"Overview": {"1.a.half": entry}}})
    page = renewed("a <!-- entries: begin --> old <!-- entries: end --> z", [read_back])
    assert page.splitlines()[3] == "| 1.a.half | shown | not yet | Shown for a \\| half. |"
    assert page.startswith("a ")
    assert page.endswith(" z")


def test_an_explanation_claims_no_test() -> None:
    assert [e.id for e in REQUIREMENTS if e.shown_by and not e.normative] == []


@pytest.mark.parametrize(
    "claim",
    [
        "tests/test_some.py::test_plain",
        "tests/test_some.py::test_awaited",
        "tests/test_some.py::TestGroup::test_inside",
        "tests/test_some.py::test_by_another",
        "tests/test_some.py::test_raising",
    ],
)
def test_a_claim_of_a_test_that_is_there_holds(claim: str, tmp_path: Path) -> None:
    _plant(tmp_path)
    assert broken_claim(claim, tmp_path) is None


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        ("tests/test_other.py::test_plain", "no file"),
        ("tests/test_some.py::test_missing", "no such test"),
        ("tests/test_some.py::helper", "no such test"),
        ("tests/test_some.py::test_inside", "no such test"),
        ("tests/test_some.py::TestGroup::test_plain", "no such test"),
        ("tests/test_some.py::TestOther::test_inside", "no such test"),
        ("tests/test_some.py", "write it as"),
        ("test_some.py::test_plain", "write it as"),
        ("tests/../test_some.py::test_plain", "write it as"),
        ("tests/some.py::test_plain", "write it as"),
        ("tests/test_some.py::test_empty", "asserts nothing"),
        ("tests/test_some.py::test_skipped", "does not always run"),
        ("tests/test_some.py::test_left", "does not always run"),
        ("tests/test_left.py::test_plain", "does not always run"),
    ],
)
def test_a_claim_of_a_test_that_is_not_there_is_found(
    claim: str, word: str, tmp_path: Path
) -> None:
    _plant(tmp_path)
    assert word in (broken_claim(claim, tmp_path) or "")


def _plant(root: Path) -> None:
    (root / "tests").mkdir()
    (root / "tests/test_some.py").write_text(
        "def test_plain(): assert plain()\n"
        "async def test_awaited(): assert 1\n"
        "def helper(): assert 1\n"
        "def test_by_another(): helper()\n"
        "def test_raising():\n    with pytest.raises(ValueError): int('a')\n"
        "def test_empty(): int('1')\n"
        "@pytest.mark.skipif(True)\ndef test_skipped(): assert 1\n"
        "def test_left():\n    pytest.skip('not here')\n    assert 1\n"
        "class TestGroup:\n    def test_inside(self): assert 1\n"
    )
    (root / "tests/test_left.py").write_text(
        "pytestmark = pytest.mark.xfail\ndef test_plain(): assert 1\n"
    )


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"demand": "It holds.", "tests": "tests/a.py::test_b"}, "bad or missing tests"),
        ({"demand": "It holds.", "test": True}, "bad or missing test"),
        ({"demand": "It holds.", "explains": "true"}, "bad or missing explains"),
        ({"test": "tests/a.py::test_b"}, "bad or missing demand"),
        ({"demand": "It holds.", "was": "shown"}, "bad or missing why"),
        ({"demand": "It holds.", "was": "often", "why": "So."}, "bad or missing was"),
        ({"demand": "It holds.", "why": "So."}, "bad or missing why"),
    ],
)
def test_a_malformed_entry_is_refused_by_its_id(entry: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=f"1.a.bad: .*{problem}"):
        read({"1": {"Overview": {"1.a.bad": entry}}})


def test_the_summary_counts_shown_and_not_yet_for_each_document() -> None:
    entries = read(
        {
            "2": {
                "Overview": {
                    "2.a.shown": {"demand": "It holds.", "test": "tests/test_some.py::test_plain"},
                    "2.a.open": {"demand": "It holds."},
                    "2.a.later": {"demand": "It holds."},
                    "2.a.note": {"demand": "It is so.", "explains": True},
                }
            }
        }
    )
    counts = summary(entries)
    assert counts[2] == Count(shown=1, not_yet=2, explanations=1)
    assert counts[1] == Count(shown=0, not_yet=0, explanations=0)


def test_the_module_prints_a_line_of_counts_for_each_document() -> None:
    command = [sys.executable, "-m", "tests.requirements"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"document {doc}" for doc in DOCUMENTS]
    first = summary()[1]
    assert f"{first.shown} shown, {first.not_yet} not yet" in lines[0]


@pytest.mark.parametrize("doc", DOCUMENTS)
def test_the_headings_kept_here_are_those_of_the_document(doc: int) -> None:
    found = [line for line, heading in _marked_lines(_document(doc)) if heading]
    assert tuple(found) == HEADINGS[doc]


@pytest.mark.parametrize("doc", DOCUMENTS)
def test_every_heading_with_text_of_its_own_has_an_entry_of_its_own(doc: int) -> None:
    names = iter(sections(HEADINGS[doc]))
    current, speaking = "", set()
    for line, heading in _marked_lines(_document(doc)):
        if heading:
            current = next(names).title
        elif current and line.strip("- "):
            speaking.add(current)
    assert speaking - {entry.section for entry in REQUIREMENTS if entry.doc == doc} == set()
