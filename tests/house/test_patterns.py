"""No pattern of the code takes more than its time on any text: twice the text, twice the time.

Every pattern is found, wherever it stands in the code. Texts that could drive it mad are made from
the pattern itself: its own beginnings and pieces again and again, with an end that does not fit.
"""

from __future__ import annotations

import ast
import gc
import importlib
import itertools
import re
import re._parser as grammar  # type: ignore[import-not-found]
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.house.doubling import MOST, SHORT, growth

ROOT = Path(__file__).parents[2]
ANCHORED = frozenset({"match", "fullmatch"})
"""Uses of a pattern that begin at one place; all others go over the whole text."""
MADE_INSIDE = {"bot/sandbox/messages/errands.py": r"(?:^|[^a-z0-9])get_current_time$"}
"""Patterns that are made of names when they are used: one of each."""

TINY = 20
FAR_TOO_LONG = 0.01
"""Seconds for a tiny text: whoever takes that never comes to the end of a short one."""
LONGEST = 16_000
"""What is quadratic takes far more than what is worth timing here."""
UNITS, HEADS = 48, 3
ENDS = ("", "\x01", "!")


@dataclass(frozen=True)
class Found:
    """A pattern, where it stands, and how it is used."""

    place: str
    pattern: re.Pattern[Any]
    anchored: bool = False


@dataclass
class Uses:
    """What the code says of its patterns by name."""

    methods: dict[str, set[str]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    """Names that are handed on as values: nobody knows what becomes of them."""


def modules() -> Iterator[tuple[Path, str]]:
    for package in ("registry", "bot"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__main__.py":
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                yield path, name.removesuffix(".__init__")


def every_pattern() -> tuple[Found, ...]:
    uses, found = Uses(), dict[tuple[Any, int], Found]()
    trees = [(path, name, ast.parse(path.read_text("utf-8"))) for path, name in modules()]
    for path, _, tree in trees:
        _note_uses(path, tree, uses)
    for path, name, tree in trees:
        module = importlib.import_module(name)
        for place, pattern, anchored in _of_module(path, module, tree, uses):
            before = found.get((pattern.pattern, pattern.flags))
            both = anchored and (before is None or before.anchored)
            found[pattern.pattern, pattern.flags] = Found(place, pattern, both)
    return tuple(sorted(found.values(), key=lambda one: one.place))


def _note_uses(path: Path, tree: ast.AST, uses: Uses) -> None:
    inner = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            name = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            uses.methods.setdefault(_known_as(name, path), set()).add(node.attr)
            inner.add(id(node.value))
        elif (
            isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in inner
        ):
            uses.whole.add(_known_as(node.id, path))


def _known_as(name: str, path: Path) -> str:
    """What begins with a line is its own file's alone."""
    return f"{path}:{name}" if name.startswith("_") else name


def _of_module(
    path: Path, module: ModuleType, tree: ast.AST, uses: Uses
) -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    """The patterns that a module holds by name, and those that it writes where it uses them."""
    place = str(path.relative_to(ROOT))
    names = set[str]()
    for name, value in [*vars(module).items()]:
        for pattern in _patterns_in(value):
            names.add(name)
            known_as = _known_as(name, path)
            known = uses.methods.get(known_as, set())
            held = isinstance(value, re.Pattern) and known_as not in uses.whole
            yield f"{place}:{name}", pattern, held and bool(known) and known <= ANCHORED
    for call in _calls_of_re(tree):
        yield from _of_call(place, module, call, names)


def _of_call(
    place: str, module: ModuleType, call: ast.Call, names: set[str]
) -> Iterator[tuple[str, re.Pattern[Any], bool]]:
    assert isinstance(call.func, ast.Attribute)
    code = compile(ast.Expression(call.args[0]), place, "eval")
    try:
        written = eval(code, dict(vars(module)))
    except NameError:
        # Made inside of a function, or in a loop: then it is held by name, or one is told above.
        assert names or place in MADE_INSIDE, f"{place}:{call.lineno}"
        written = MADE_INSIDE.get(place)
    if call.func.attr != "compile" and written is not None:
        yield f"{place}:{call.lineno}", re.compile(written), call.func.attr in ANCHORED
    elif place in MADE_INSIDE and written is not None:
        yield f"{place}:{call.lineno}", re.compile(written), False


def _calls_of_re(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr != "escape"
        ):
            yield node


def _patterns_in(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping):
        yield from (p for one in value.values() for p in _patterns_in(one))
    elif isinstance(value, tuple | list | frozenset) and len(value) < 200:
        yield from (p for one in value for p in _patterns_in(one))


# --- texts that could drive a pattern mad ---------------------------------------------------------


def texts(pattern: re.Pattern[Any], size: int) -> Iterator[Any]:
    for head, unit, end in _recipes(pattern):
        yield text_of(pattern, head, unit, end, size)


def text_of(pattern: re.Pattern[Any], head: str, unit: str, end: str, size: int) -> Any:
    text = head + unit * max(1, size // len(unit)) + end
    return text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text


@cache
def _recipes(pattern: re.Pattern[Any]) -> tuple[tuple[str, str, str], ...]:
    flags = pattern.flags & ~re.DEBUG
    parsed = grammar.parse(pattern.pattern, flags)
    pieces = sorted({one for one in _pieces(parsed) if 0 < len(one) < 200}, key=_by_size)
    pairs = [a + b for a, b in itertools.product(pieces[:9], pieces[:9])]
    units = list(dict.fromkeys([*pieces[:40], *pieces[-10:], *pairs]))[:UNITS]
    around = [("", end) for end in ENDS]
    around += [(one, ENDS[1]) for one in pieces if len(one) > 1][-HEADS:]
    return tuple((head, unit, end) for unit in units for head, end in around)


def _by_size(text: str) -> tuple[int, str]:
    return len(text), text


def _pieces(parsed: Any) -> Iterator[str]:
    """What its parts and its beginnings match, once each, and as little as they may."""
    begun = ""
    for kind, value in parsed:
        for times in (0, 1):
            yield _sample(kind, value, times)
        begun += _sample(kind, value, 1)
        yield begun
        if str(kind) == "IN":
            yield from (chr(one) for how, one in value if str(how) == "LITERAL")
        for inner in _inside(kind, value):
            yield from _pieces(inner)


def _inside(kind: Any, value: Any) -> list[Any]:
    match str(kind):
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
        case "SUBPATTERN":
            return [value[3]]
        case "BRANCH":
            return [*value[1]]
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
        case "ATOMIC_GROUP":
            return [value]
        case _:
            return []


def _sample(kind: Any, value: Any, times: int) -> str:
    match str(kind):
        case "LITERAL":
            return chr(value)
        case "NOT_LITERAL":
            return "b" if value == ord("a") else "a"
        case "ANY":
            return "a"
        case "IN":
            return _member(value)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, high, inner = value
            return _samples(inner, times) * int(min(max(low, times), high))
        case "BRANCH":
            return _samples(value[1][0], times)
        case "ASSERT" | "ASSERT_NOT":
            return ""
        case _:
            return "".join(_samples(inner, times) for inner in _inside(kind, value))


def _samples(parsed: Any, times: int) -> str:
    return "".join(_sample(kind, value, times) for kind, value in parsed)


_LIKELY = "aA0_-. \t\n,:/@<>{}[]()'\"`~*$\\=+éß\x01"
_KINDS: Mapping[str, Callable[[str], bool]] = {
    "CATEGORY_DIGIT": str.isdigit,
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_WORD": lambda char: char.isalnum() or char == "_",
}


def _member(items: Any) -> str:
    """A character that a set has."""
    has = [(str(how), one) for how, one in items]
    wanted = has[0][0] != "NEGATE"
    own = [chr(one) for how, one in has if how == "LITERAL"]
    own += [chr(one[0]) for how, one in has if how == "RANGE"]
    fitting = (char for char in (*own, *_LIKELY) if _is_in(has, char) is wanted)
    return next(fitting, "a")


def _is_in(has: list[tuple[str, Any]], char: str) -> bool:
    for how, one in has:
        if how == "LITERAL" and one == ord(char):
            return True
        if how == "RANGE" and one[0] <= ord(char) <= one[1]:
            return True
        if how == "CATEGORY":
            name = str(one)
            plain = name.replace("_NOT_", "_")
            if _KINDS[plain](char) is (plain == name):
                return True
    return False


# --- how long it takes ----------------------------------------------------------------------------


def seconds(found: Found, text: Any) -> float:
    """CPU seconds of this thread for one use of the pattern over a text."""
    begun = time.thread_time()
    if found.anchored:
        found.pattern.match(text)
    else:
        for _ in found.pattern.finditer(text):
            pass
    return time.thread_time() - begun


def slowest(found: Found) -> list[tuple[str, str, str]]:
    """The recipes whose short texts take longest."""
    spent = [
        (seconds(found, text_of(found.pattern, *recipe, SHORT)), recipe)
        for recipe in _recipes(found.pattern)
    ]
    return [recipe for _, recipe in sorted(spent, reverse=True)[:3]]


def misbehaviour(found: Found) -> str:
    """What is wrong with a pattern, or nothing."""
    for text in texts(found.pattern, TINY):
        if min(seconds(found, text) for _ in range(2)) > FAR_TOO_LONG:
            return f"{found.place}: {text!r} takes forever"
    for recipe in slowest(found):
        text_of_size = partial(text_of, found.pattern, *recipe)
        ratio, size = growth(partial(seconds, found), text_of_size, LONGEST)
        if ratio > MOST:
            return f"{found.place}: twice {recipe!r} of {size} takes {ratio:.1f} times as long"
    return ""


@pytest.fixture(autouse=True)
def _without_garbage() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_twice_the_text_takes_no_pattern_much_more_than_twice_the_time() -> None:
    found = every_pattern()
    assert len(found) > 90
    wrong = [misbehaviour(one) for one in found]
    assert [words for words in wrong if words] == []


@pytest.mark.parametrize(
    "pattern", [r"(a+)+$", r"\bsk-[\w-]*\w{24}", r"\\\(.*?\\\)", r"[ \t]*=", r"(?:x:\d+)+\Z"]
)
def test_a_pattern_that_runs_away_is_found_out(pattern: str) -> None:
    assert misbehaviour(Found("here", re.compile(pattern, re.DOTALL)))
