"""Conditions of profiles: what they mean for a state, where they are wrong, what none may do."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from registry.conditions import LENGTH_LIMIT
from registry.errors import InvalidValue
from registry.state_conditions import compiled

STATE: dict[str, Any] = {
    "state.current_action": {"name": "search", "arguments": {"query": "x"}},
    "state.current_action.name": "search",
    "state.step": 2,
    "state.turn_number": 1.0,
    "state.answer": "It is done.",
    "state.tools_used": ["search", "read"],
    "state.params.on": True,
    "state.params.empty": {},
    "state.params.numbers": [1, 2.5, False],
    "state.params.none_yet": [],
    "state.params.größe": "M",
    "inbox.count": 0,
    "person.role": "everyone",
}


def holds(text: str, state: dict[str, Any] = STATE) -> bool:
    return compiled(text).holds(state.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("True", True),
        ("v['state.current_action']", True),
        ("not v['state.current_action']", False),
        ("v['state.last_error']", False),
        ("v['state.last_error'] is None", True),
        ("v['state.last_error'] is not None", False),
        ("v['state.step'] == 2 and v['state.turn_number'] == 1", True),
        ("v['state.step'] >= 3 or 'read' in v['state.tools_used']", True),
        ("'write' not in v['state.tools_used']", True),
        ("'done' in v['state.answer']", True),
        ("'name' in v['state.current_action']", True),
        ("v['person.role'] in ['admin', 'everyone']", True),
        ("v['state.params.on'] == True", True),
        ("v['state.params.on'] == 1", False),
        ("v['state.step'] in [1, 2, 3]", True),
        ("v['state.step'] in [True, 2.0]", True),
        ("v['state.params.on'] in [1]", False),
        ("False in v['state.params.numbers'] and 0 not in v['state.params.numbers']", True),
        ("2.5 in v['state.params.numbers']", True),
        ("v['state.params.größe'] == 'M'", True),
        ("v['inbox.count'] < 1", True),
        ("v['state.step'] > -1", True),
        ("v['state.step'] > 'a' or v['state.step'] <= 'a'", False),
        ("v['state.answer'] < 'a'", True),
        ("v['state.last_error'] < 1 or v['state.last_error'] > 1", False),
        ("v['state.params.on'] >= 1", False),
        ("1 in v['state.step'] or 'x' in v['state.last_error']", False),
        ("1 in v['state.answer']", False),
        ("v['state.params.empty'] or v['state.params.none']", False),
        ("v['state.current_action.name'] == v['state.answer']", False),
        ("v['state.params.x'] != v['state.params.on']", True),
        ("v['state.params.x'] in ['a', None]", True),
        ("(v['state.last_error'] or v['state.params.x'] or v['person.role']) == 'everyone'", True),
        ("(v['state.step'] and v['inbox.count'] and v['person.role']) == 0", True),
        ("v['state.tools_used'] == ['search', 'read']", True),
        ("v['state.tools_used'] != ('search', 'read')", False),
        ("v['state.tools_used'] == []", False),
        ("v['state.tools_used'] != []", True),
        ("v['state.tools_used'] == ['read', 'search']", False),
        ("v['state.params.none_yet'] == [] and [] == v['state.params.none_yet']", True),
        ("v['state.params.none_yet'] != [] or v['state.params.none_yet']", False),
        ("v['state.params.nothing'] == []", False),
        ("v['state.params.numbers'] == [1.0, 2.5, False]", True),
        ("v['state.params.numbers'] == [1, 2.5, 0]", False),
        ("v['state.params.numbers'] != [1, 2.5, 0]", True),
        ("v['state.current_action'] in ['a']", False),
    ],
)
def test_a_condition_means_what_it_says(text: str, expected: bool) -> None:
    assert holds(text) is expected


def test_a_condition_names_the_paths_that_it_reads() -> None:
    read = compiled("v['b'] in v['a.b'] or not v['b']").paths
    assert read == ("b", "a.b")


def test_a_state_that_cannot_be_read_fulfils_nothing() -> None:
    def broken(_path: str) -> Any:
        raise KeyError

    assert not compiled("not v['state.step']").holds(broken)
    assert not compiled("v['a'] == v['b']").holds(lambda _path: Awkward())


class Awkward:
    """A value that can be asked nothing."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _other: object) -> bool:
        raise ValueError

    def __bool__(self) -> bool:
        raise ValueError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("state.step", "column 1; write the whole path into the brackets"),
        ("  step == 1", "column 3; read the state with v["),
        ("v['é'] == 1", "a path that cannot be one at column 1"),
        ("'größe' == size", "column 12; read the state with"),
        ("'日本語' in v['a'] and f(1)", "column 21; functions cannot be called"),
        ("v['a'] + 1 == 2", "column 1; arithmetic is not possible"),
        ("v['a'] == True if v['b'] else 1", "column 1; write it with and, or, not"),
        ("v['a'] ==", "cannot be parsed at column 10; use v["),
        ("  v['é'] === 1", "cannot be parsed at column 12; use v["),
        ("'ééé' $", "cannot be parsed at column 7; use v["),
        ("not", "cannot be parsed at column 4; use v["),
        ("", "cannot be parsed at column 1; use v["),
        ("v[a]", "brackets that read no path at column 1; write v['path.to.value']"),
        ("v['a..b']", "a path that cannot be one at column 1; write names with dots"),
        ("1 < v['a'] < 3", "compares three values at once at column 1"),
        ("v['a'] is True", "something else than None at column 1; write == or !="),
        ("v['a'] < True", "orders a value that has no order at column 1"),
        ("v['a'] in 5", "looks into a value that holds nothing at column 11"),
        ("v['a'] == ['b', ['c']]", "has a value that is not allowed at column 11"),
        ("v['a'] in [v['b']]", "has a value that is not allowed at column 12"),
        ("v['a'] == 'x\u200by'", "hidden character"),
        ("v['a'] == 1 and " * 40 + "True", f"longer than {LENGTH_LIMIT}"),
        ("v['a'] and " * 30 + "True", "too many parts"),
    ],
)
def test_a_mistake_is_told_with_its_column_and_its_cure(text: str, words: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        compiled(text)
    assert words in f"{raised.value.message}; {raised.value.cure}"


# --- properties ----------------------------------------------------------------------------------

HOSTILE = [
    "9**9**9",
    "9**9**9 == 1",
    "'a' * 10**9 == v['a']",
    "'a' * 999999999 in [v['a']]",
    "v.__class__",
    "v['a'].__class__.__mro__ == 1",
    "().__class__.__bases__[0].__subclasses__()",
    "v.get('a')",
    "v['a']['b']",
    "v['a'][0:9**9]",
    "v[v['a']]",
    "v['a', 'b']",
    "v[:]",
    "w['a']",
    "(v := {})['a']",
    '__import__("os").system("true")',
    'open("/etc/passwd").read() == v["a"]',
    'f"{v}" == v["a"]',
    'f"{9**9**9}" == v["a"]',
    "v[f'{1}']",
    "[x for x in v['a']] == 1",
    "{x: 1 for x in v['a']} == 1",
    "{'a': 1} == v['a']",
    "{1, 2} == v['a']",
    "(lambda: True)()",
    "lambda: True",
    "(v := True)",
    "v['a'] if True else 1",
    "1 << 999999999 == 1",
    "True is True",
    "print(1) or True",
    "await v",
    "yield",
    "*v",
    "v['a'] == 'a'; import os",
    "import os",
    "del v",
    "~v['a'] == 1",
    "-v['a'] == 1",
    "--1 == 1",
    "-True == 1",
    "v['a'] @ v['b']",
    "eval('True')",
    "not " * 120 + "True",
    "(" * 240 + "True" + ")" * 240,
    "[" * 240 + "1" + "]" * 240 + " == 1",
    "\x00",
    "v['a'] == '''a\nb'''",
    "v['a\\x00']",
    "v['" + "a" * 300 + "']",
    "v['../../etc/passwd']",
    "v['a b']",
    "...",
    "b'a' == v['a']",
    "1j == v['a']",
    "v",
    "self",
    "None.a",
    "True()",
    "v['a'] in v",
    "v == v",
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


def is_condition(text: str) -> bool:
    """Whether a text is a condition; half a second of work at most, and nothing but looking."""
    WITNESS.seen.clear()
    began, WITNESS.looks = time.thread_time(), True
    try:
        condition = compiled(text)
    except InvalidValue:
        return False
    else:
        assert isinstance(condition.holds(STATE.get), bool)
        assert isinstance(condition.holds(lambda _path: None), bool)
        return True
    finally:
        WITNESS.looks = False
        assert time.thread_time() - began < 0.5
        assert WITNESS.seen == []


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_is_a_condition(text: str) -> None:
    assert not is_condition(text)


PIECES = """v['state.step'] v['inbox.count'] v[ and or not in is == != < ( ) [ ] , 'a' "b" 1 9 **
    * . __class__ lambda: for if else f'{ }' := True None # @ - ~ ; import await print( é v"""
pieces = st.sampled_from([*PIECES.split(), "\n", "\u202e"])


@given(st.lists(pieces, max_size=30).map(" ".join) | st.text(max_size=80))
def test_no_text_at_all_runs_code_or_raises_anything_else(text: str) -> None:
    is_condition(text)


Tree = tuple[Any, ...]
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(-3, 3, allow_nan=False).map(lambda number: round(number, 1)),
    st.sampled_from(["", "a", "ab", "b"]),
)
values = st.one_of(
    plain, st.lists(plain, max_size=4), st.dictionaries(st.sampled_from("abc"), plain, max_size=2)
)
states = st.dictionaries(st.sampled_from(["x", "y.z", "y"]), values, max_size=3)
paths = st.sampled_from(["x", "y.z", "y", "gone"]).map(lambda path: ("read", path))
literals = plain.map(lambda value: ("is", value))
lists = st.lists(plain, max_size=3).map(lambda several: ("is", several))
sides = paths | literals
joined = st.tuples(st.sampled_from(["and", "or"]), sides, sides) | st.tuples(
    st.sampled_from(["and", "or"]), sides, sides, sides
)
comparisons = st.one_of(
    st.tuples(st.sampled_from(["==", "!="]), sides | lists | joined, sides | lists | joined),
    st.tuples(st.sampled_from(["<", "<=", ">", ">="]), paths, paths),
    st.tuples(st.sampled_from(["in", "not in"]), sides, paths | lists),
    st.tuples(st.sampled_from(["is", "is not"]).map(lambda how: f"{how} None"), paths),
)
trees = st.recursive(
    comparisons | paths,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner, inner),
    ),
    max_leaves=6,
)


def written(tree: Tree) -> str:
    """A tree as people write it."""
    how, *rest = tree
    match how:
        case "read":
            return f"v['{rest[0]}']"
        case "is":
            return repr(rest[0])
        case "not":
            return f"not ({written(rest[0])})"
        case "is None" | "is not None":
            return f"{written(rest[0])} {how}"
    parts = [
        f"({text})" if one[0] in ("and", "or") else text
        for one, text in zip(rest, map(written, rest), strict=True)
    ]
    return f" {how} ".join(parts)


def worth(tree: Tree, state: dict[str, Any]) -> Any:
    """The same rule a second time."""
    how, *rest = tree
    if how == "read":
        return state.get(rest[0])
    if how == "is":
        return rest[0]
    if how in ("and", "or"):
        *before, last = (worth(part, state) for part in rest)
        return next((one for one in before if bool(one) is (how == "or")), last)
    one, *others = (worth(part, state) for part in rest)
    if how == "not":
        return not one
    if how in ("is None", "is not None"):
        return (one is None) is (how == "is None")
    (other,) = others
    if how in ("==", "!="):
        return alike(one, other) is (how == "==")
    if how in ("in", "not in"):
        return among(one, other) is (how == "in")
    texts = isinstance(one, str) and isinstance(other, str)
    if not texts and not (number(one) and number(other)):
        return False
    order = {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}
    return order[how]


def number(value: Any) -> bool:
    return type(value) in (int, float)


def alike(one: Any, other: Any) -> bool:
    if number(one) and number(other):
        return bool(one == other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(alike(*pair) for pair in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


def among(item: Any, items: Any) -> bool:
    if isinstance(items, str | dict):
        return isinstance(item, str) and item in items
    return isinstance(items, list) and any(alike(item, one) for one in items)


@given(trees, states)
def test_a_condition_holds_where_its_rule_does_and_nowhere_else(
    tree: Tree, state: dict[str, Any]
) -> None:
    text = written(tree)
    assume(len(text) <= LENGTH_LIMIT)
    try:
        compiled(text)
    except InvalidValue as wrong:
        assume("too many parts" not in wrong.message)
        raise
    assert holds(text, state) is bool(worth(tree, state))


def test_a_dozen_comparisons_are_one_condition() -> None:
    assert holds(" or ".join(["v['state.step'] == 3"] * 11 + ["v['state.step'] < 3"]))


words = st.text("abqzé7 ", max_size=6)


@given(words, st.text("abqzé7 ", max_size=40) | st.lists(words, max_size=3))
def test_a_text_is_found_wherever_it_stands(wanted: str, where: Any) -> None:
    condition = compiled(f"'{wanted}' in v['state.answer']")
    assert condition.holds(lambda _path: where) is (wanted in where)
    assert compiled(f"'{wanted}' not in v['a']").holds(lambda _path: where) is (wanted not in where)
