"""Conditions as text: comparisons and boolean words over a fixed set of names, and nothing else.

A condition is parsed as a Python expression, and each part of it is checked against a short list
when it is written and when it is loaded; only a checked tree is evaluated. A condition that cannot
be evaluated does not hold.
"""

from __future__ import annotations

import ast
import difflib
import functools
import operator
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from registry.errors import InvalidValue
from registry.normalizing import normal_form

LENGTH_LIMIT = 500
PARTS_LIMIT = 100
DEPTH_LIMIT = 12

TEXT, NUMBER, TRUTH, SET = "a text", "a number", "true or false", "a set of texts"
LIST_OF = {TEXT: "a list of texts", NUMBER: "a list of numbers"}

NAMES: Mapping[str, str] = {
    "role": TEXT,
    "features": SET,
    "chat": TEXT,
    "person": NUMBER,
    "agent": TEXT,
    "account": TEXT,
    "server": TEXT,
    "tool": TEXT,
}
"""The names that a condition may use, and what each one is."""

CHATS = ("private", "group")
ROLES = ("admin", "everyone")
_LOWERCASE = ("role", "chat", "agent", "account")
_SEARCHABLE = {TEXT: (SET, LIST_OF[TEXT]), NUMBER: (LIST_OF[NUMBER],), TRUTH: ()}
_EQUALITY = (ast.Eq, ast.NotEq)
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_MEMBERSHIP = (ast.In, ast.NotIn)

_USAGE = "use ==, !=, in, not in, and, or, not, with names, texts, numbers and lists"
_SHORTEN = "shorten it, or write several conditions"
_CURES: Mapping[type[ast.AST], str] = {
    ast.Attribute: 'write "<flag>" in features for a flag; nothing else can have parts',
    ast.Subscript: 'write "<flag>" in features',
    ast.Call: "functions cannot be called here",
    ast.BinOp: "arithmetic is not possible here; compare plain values",
}


class AmbiguousComparison(Exception):
    """Two texts differ only by letter case or width: unclear whether they mean the same."""


def check(text: str) -> None:
    """Raise InvalidValue where a text is not a condition."""
    _parse(text)


def unmet(text: str, features: Collection[str]) -> Iterator[tuple[str, str]]:
    """The roles that nobody has, and the features that are not on, of a valid condition."""
    known = {"role": ROLES, "features": features}
    for node in ast.walk(_parse(text)):
        if isinstance(node, ast.Compare):
            sides = (node.left, node.comparators[0])
            names = [one.id for one in sides if isinstance(one, ast.Name) and one.id in known]
            parts = [part for one in sides for part in ast.walk(one)]
            texts = [str(one.value) for one in parts if isinstance(one, ast.Constant)]
            yield from ((name, one) for name in names for one in texts if one not in known[name])


def holds(text: str, facts: Mapping[str, Any]) -> bool:
    """Whether a condition holds for these facts by name; False where it cannot be evaluated."""
    try:
        return _evaluate(_parse(text), facts) is True
    except Exception:  # noqa: BLE001 - any fault in here denies the call
        return False


@functools.lru_cache(maxsize=8192)
def normalized(text: str) -> str:
    """A text without differences in case and width, which could let a name slip past a list."""
    return normal_form("NFKC", normal_form("NFKC", text).casefold())


@functools.lru_cache(maxsize=1024)
def _parse(text: str) -> ast.expr:
    """The checked tree of a condition."""
    tree = expression(text)
    if (kind := _kind(tree)) != TRUTH:
        raise InvalidValue(f"is {kind}, not something that is true or false", _USAGE)
    return tree


def expression(text: str, usage: str = _USAGE, parts: int = PARTS_LIMIT) -> ast.expr:
    """The tree of one short expression, not yet checked; raises InvalidValue."""
    if len(text) > LENGTH_LIMIT:
        raise InvalidValue(f"is longer than {LENGTH_LIMIT} characters", _SHORTEN)
    if not text.isprintable() or "\\" in text:
        raise InvalidValue("has a backslash or a hidden character", "write it in one plain line")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        column = getattr(error, "offset", None)  # 0 at the end of the text
        before = len(text) - len(text.lstrip())
        column = before + column if column else len(text.rstrip()) + 1
        raise InvalidValue(f"cannot be parsed at column {column}", usage) from None
    if sum(1 for _ in ast.walk(tree)) > parts or _depth(tree) > DEPTH_LIMIT:
        raise InvalidValue("has too many parts", _SHORTEN)
    return tree


def _depth(tree: ast.AST) -> int:
    """How many levels a tree has; it has at most `PARTS_LIMIT` parts."""
    return 1 + max(map(_depth, ast.iter_child_nodes(tree)), default=0)


def _kind(node: ast.expr) -> str:
    """What a part is; raises InvalidValue where it is not allowed in a condition."""
    match node:
        case ast.Constant(value=value):
            if kind := {str: TEXT, int: NUMBER, bool: TRUTH}.get(type(value)):
                return kind
        case ast.Name(id=name):
            return _kind_of_name(name)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            kinds = {_kind(item) for item in items}
            if len(kinds) != 1 or not kinds <= LIST_OF.keys():
                raise InvalidValue("has a list that is empty or mixed", "list texts, or numbers")
            return LIST_OF[kinds.pop()]
        case ast.BoolOp(values=values):
            return _kind_of_joined(values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _kind_of_joined([operand])
        case ast.Compare():
            return _kind_of_comparison(node)
    raise InvalidValue("has a part that is not allowed", _CURES.get(type(node), _USAGE))


def _kind_of_name(name: str) -> str:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.6)
        known = ", ".join(NAMES)
        cure = f"did you mean {near[0]}?" if near else f"known: {known}; put texts into quotes"
        raise InvalidValue("uses an unknown name", cure)
    return NAMES[name]


def _kind_of_joined(nodes: Iterable[ast.expr]) -> str:
    if wrong := next((kind for kind in map(_kind, nodes) if kind != TRUTH), None):
        cure = 'repeat the comparison: role == "a" or role == "b"'
        raise InvalidValue(f"joins {wrong} with and, or, not", cure)
    return TRUTH


def _kind_of_comparison(node: ast.Compare) -> str:
    if len(node.ops) > 1:
        raise InvalidValue("compares three values at once", "join two comparisons with and")
    left, right, how = node.left, node.comparators[0], node.ops[0]
    one, other = _kind(left), _kind(right)
    if isinstance(how, _ORDER) and (one, other) != (NUMBER, NUMBER):
        raise InvalidValue("orders values that are not both numbers", _USAGE)
    if isinstance(how, _MEMBERSHIP) and other not in _SEARCHABLE.get(one, ()):
        raise InvalidValue(f"looks for {one} in {other}, which is not possible", _USAGE)
    if isinstance(how, _EQUALITY) and (one != other or one not in _SEARCHABLE):
        raise InvalidValue(f"compares {one} with {other}, which is not possible", _USAGE)
    if not isinstance(how, (*_ORDER, *_MEMBERSHIP, *_EQUALITY)):
        raise InvalidValue("has a part that is not allowed", _USAGE)
    _check_possible(left, right)
    _check_possible(right, left)
    return TRUTH


def _check_possible(name: ast.expr, other: ast.expr) -> None:
    """Raise InvalidValue where a name is compared with a text that it never is."""
    if not isinstance(name, ast.Name) or name.id not in _LOWERCASE:
        return
    texts = [one.value for one in ast.walk(other) if isinstance(one, ast.Constant)]
    if any(str(text) != str(text).lower() for text in texts):
        raise InvalidValue(f"compares {name.id} with capital letters", "write it in lower case")
    if name.id == "chat" and not set(texts) <= set(CHATS):
        raise InvalidValue("uses an unknown kind of chat", f"known: {', '.join(CHATS)}")


def _evaluate(node: ast.expr, facts: Mapping[str, Any]) -> Any:
    """The value of a checked part; raises where a fact is missing, or of another kind."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return facts[name]
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_evaluate(item, facts) for item in items]
        case ast.UnaryOp(operand=operand):
            return not _evaluate(operand, facts)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_evaluate(value, facts) for value in values)
        case ast.BoolOp(values=values):
            return any(_evaluate(value, facts) for value in values)
        case ast.Compare(left=left, ops=[how], comparators=[right]):
            return _COMPARISONS[type(how)](_evaluate(left, facts), _evaluate(right, facts))
    raise TypeError(type(node).__name__)


def _contains(item: object, items: Iterable[object]) -> bool:
    """Whether an item is one of several of its own kind; texts as `normalized` says."""
    several = list(items)
    if isinstance(items, str) or any(type(one) is not type(item) for one in several):
        raise TypeError("different kinds of values")
    if item in several:
        return True
    if isinstance(item, str) and normalized(item) in map(normalized, map(str, several)):
        raise AmbiguousComparison
    return False


_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: lambda left, right: _contains(left, [right]),
    ast.NotEq: lambda left, right: not _contains(left, [right]),
    ast.In: _contains,
    ast.NotIn: lambda item, items: not _contains(item, items),
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
