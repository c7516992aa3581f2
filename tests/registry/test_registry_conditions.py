"""Conditions as text: what may be written, what it means, and that nothing else ever happens."""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.conditions import LENGTH_LIMIT, NAMES, check, holds
from registry.errors import InvalidValue

ANN: dict[str, Any] = {
    "role": "everyone",
    "features": frozenset({"ai"}),
    "chat": "private",
    "person": 42,
    "agent": "clerk",
    "account": "default",
    "server": "files",
    "tool": "read_text",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('role in ["admin", "everyone"]', True),
        ("role in ('admin', 'manager')", False),
        ('"ai" in features and chat == "private"', True),
        ('"ai" not in features', False),
        ('not (role == "admin") and "beta" not in features', True),
        ("person in [41, 42]", True),
        ("person >= 43", False),
        ('agent == "clerk" and account != "other"', True),
        ('tool != "read_text" or server == "files"', True),
        ("True", True),
        ("False", False),
    ],
)
def test_a_condition_means_what_it_says(text: str, expected: bool) -> None:
    check(text)
    assert holds(text, ANN) is expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("role", "is a text, not something"),
        ('role == "admin" or "manager"', "joins a text with and, or, not"),
        ('rol == "admin"', "did you mean role?"),
        ("role == admin", "put texts into quotes"),
        ("features.ai", '"<flag>" in features'),
        ('features["ai"]', '"<flag>" in features'),
        ('features.get("ai")', "functions cannot be called"),
        ("person + 1 == 2", "arithmetic is not possible"),
        ('"adm" in role', "looks for a text in a text, which is not possible"),
        ('role > "a"', "not both numbers"),
        ("role == 1", "compares a text with a number, which is not possible"),
        ("person in features", "looks for a number in a set of texts, which is not possible"),
        ('1 < person < "x"', "three values"),
        ('role == "Admin"', "lower case"),
        ('chat == "channel"', "known: private, group"),
        ("role in []", "empty or mixed"),
        ('role in ["a", 1]', "empty or mixed"),
        ('role == "a\\x41"', "backslash"),
        ('role == "a\u202eb"', "hidden character"),
        ("role ==", "cannot be parsed"),
        ("", "cannot be parsed"),
        ('role == "a" and ' * 40 + "True", f"longer than {LENGTH_LIMIT}"),
        ("True and " * 30 + "(" * 3 + "not " * 30 + "True" + ")" * 3, "too many parts"),
    ],
)
def test_a_mistake_is_told_with_its_cure(text: str, words: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        check(text)
    assert words in f"{raised.value.message}; {raised.value.cure}"


@pytest.mark.parametrize("tool", ["READ_TEXT", "Read_text", "ｒead_text"])
@pytest.mark.parametrize(
    "text", ['tool == "read_text"', 'tool != "read_text"', 'tool in ["x", "read_text"]']
)
def test_a_name_that_differs_by_case_or_width_alone_fulfils_neither_yes_nor_no(
    text: str, tool: str
) -> None:
    facts = ANN | {"tool": tool}
    assert not holds(text, facts)
    assert not holds(f"not ({text})", facts)


def test_a_fact_that_is_missing_or_of_another_kind_fulfils_nothing() -> None:
    assert not holds('role != "admin"', {})
    assert not holds("person > 1", ANN | {"person": "2"})
    assert not holds('"ai" not in features', ANN | {"features": None})


# --- properties -----------------------------------------------------------------------------------

HOSTILE = [
    "9**9**9",
    "9**9**9 == 1",
    '"a" * 10**9 == role',
    '"a" * 999999999 in [role]',
    "role.__class__.__mro__ == 1",
    "().__class__.__bases__[0].__subclasses__()",
    '__import__("os").system("true")',
    'open("/etc/passwd").read() == role',
    'f"{role.__class__}" == role',
    'f"{9**9**9}" == role',
    "[x for x in features] == role",
    "{x: 1 for x in features} == 1",
    "(lambda: True)()",
    "(role := True)",
    "role if True else chat",
    "1 << 999999999 == 1",
    "True is True",
    "print(1) or True",
    "await role",
    "yield",
    "*role",
    "role == 'a'; import os",
    "import os",
    "-person == 1",
    "~person == 1",
    "features[0:9**9] == 1",
    "eval('True')",
    "not " * 120 + "True",
    "(" * 240 + "True" + ")" * 240,
    "[" * 240 + "1" + "]" * 240 + " == 1",
    "\x00",
    "role == '''a\nb'''",
    "...",
    "b'a' == role",
    "1j == person",
    "1.5 < person",
    "None == role",
]


class Witness:
    """Notes what the interpreter does outside of itself, while it looks."""

    BENIGN = frozenset({"compile", "object.__getattr__"})

    def __init__(self) -> None:
        self.looks = False
        self.seen: list[str] = []

    def __call__(self, event: str, _arguments: tuple[object, ...]) -> None:
        if self.looks and event not in self.BENIGN:
            self.seen.append(event)


WITNESS = Witness()
sys.addaudithook(WITNESS)  # cannot be taken away again, so it can be told to look elsewhere


def judged(text: str) -> tuple[bool, bool]:
    """Whether a text is a condition, and whether it holds; half a second of work at most."""
    WITNESS.seen.clear()
    began, WITNESS.looks = time.thread_time(), True
    try:
        held = holds(text, ANN)
        try:
            check(text)
            fits = True
        except InvalidValue:
            fits = False
    finally:
        WITNESS.looks = False
    assert time.thread_time() - began < 0.5
    assert WITNESS.seen == []
    return fits, held


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_is_a_condition_and_nothing_of_it_runs(text: str) -> None:
    assert judged(text) == (False, False)


PIECES = """and or not in == != < ( ) [ ] , 'a' "ai" 1 9 ** * . __class__ lambda: for if else f'{ }'
    := True None # @ - ~ ; import await print( é"""
pieces = st.sampled_from([*NAMES, *PIECES.split(), "\n", "\u202e"])


@given(st.lists(pieces, max_size=30).map(" ".join) | st.text(max_size=80))
def test_no_text_at_all_runs_code_or_takes_long(text: str) -> None:
    fits, held = judged(text)
    assert fits or not held


Tree = tuple[Any, ...]
words = st.sampled_from(["a", "b", "A", "ａ"])
comparisons = st.one_of(
    st.tuples(st.sampled_from(["==", "!="]), st.sampled_from(["tool", "server"]), words),
    st.tuples(st.sampled_from(["in", "not in"]), words, st.just("features")),
    st.tuples(
        st.sampled_from(["in", "not in"]),
        st.sampled_from(["tool", "server"]),
        st.lists(words, min_size=1, max_size=2).map(tuple),
    ),
    st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.just("person"), st.just(2)),
)
trees = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
    ),
    max_leaves=5,
)
facts = st.fixed_dictionaries(
    {
        "tool": words,
        "server": words,
        "features": st.frozensets(words, max_size=3),
        "person": st.integers(1, 3),
    }
)


def written(tree: Tree) -> str:
    """A tree as people write it."""
    how, *rest = tree
    if how == "not":
        return f"not ({written(rest[0])})"
    if how in ("and", "or"):
        return f"({written(rest[0])}) {how} ({written(rest[1])})"
    left, right = (
        repr(list(one)) if isinstance(one, tuple) else one if one in NAMES else repr(one)
        for one in rest
    )
    return f"{left} {how} {right}"


def fulfilled(tree: Tree, known: dict[str, Any]) -> bool | None:
    """The same rule a second time; None where nobody can say."""
    how, *rest = tree
    if how == "not":
        inner = fulfilled(rest[0], known)
        return None if inner is None else not inner
    if how in ("and", "or"):
        first = fulfilled(rest[0], known)
        if first is None or first is (how == "or"):
            return first
        return fulfilled(rest[1], known)
    left, right = (known.get(one, one) if isinstance(one, str) else one for one in rest)
    if how in ("in", "not in"):
        found = _among(left, right)
        return None if found is None else found is (how == "in")
    if isinstance(left, str):
        same = _among(left, (right,))
        return None if same is None else same is (how == "==")
    order = {"<": left < right, ">": left > right, "==": left == right}
    order |= {"<=": left <= right, ">=": left >= right, "!=": left != right}
    return bool(order[how])


def _among(item: str, several: Any) -> bool | None:
    folded = {unicodedata.normalize("NFKC", one).casefold() for one in several}
    if item in several:
        return True
    return None if unicodedata.normalize("NFKC", item).casefold() in folded else False


@given(trees, facts)
def test_a_condition_holds_where_the_written_rule_is_surely_fulfilled_and_nowhere_else(
    tree: Tree, known: dict[str, Any]
) -> None:
    text = written(tree)
    assume(len(text) <= LENGTH_LIMIT)
    check(text)
    assert holds(text, known) is (fulfilled(tree, known) is True)
