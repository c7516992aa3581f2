"""Conditions of profiles: what the state of a turn holds, compared and combined, and nothing else.

`v['path.to.value']` reads the state; a path that is not there is None. Values are true as they are
in Python. A condition is parsed as those of tools are (`registry.conditions`), checked by a grammar
of its own when a profile is loaded, and made into plain functions then, so that it can neither
call, reach nor cost more than it says. It never raises: values that cannot be compared are not
equal, and none is the larger one.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.conditions import expression
from registry.errors import InvalidValue

PARTS_LIMIT = 110
"""Parts of the tree of one condition: about a dozen comparisons."""
PATH = re.compile(r"\A[A-Za-z_][\w-]*+(?:\.[\w-]++)*+\Z")
LONGEST_PATH = 200
_QUOTED = re.compile(r"'''.*?'''|\"{3}.*?\"{3}|'[^']*'|\"[^\"]*\"")
"""A text in a condition, which has no backslash."""

Read = Callable[[str], Any]
"""The value at a dotted path of the state; None where there is none."""
_Value = Callable[[Read], Any]

_USAGE = (
    "use v['path.to.value'], texts, numbers, lists, True, False, None, with ==, !=, <, <=, >, >=, "
    "in, not in, is None, and, or, not"
)
_CURES: Mapping[type[ast.AST], str] = {
    ast.Attribute: "write the whole path into the brackets: v['state.step']",
    ast.Call: "functions cannot be called here",
    ast.BinOp: "arithmetic is not possible here; compare plain values",
    ast.Name: "read the state with v['path.to.value'], and put texts into quotes",
    ast.IfExp: "write it with and, or, not",
}
_COMMON = "zqjxkvbpgwyfmculdhrsnioate "
"""Letters that texts have often, the most frequent at the end; all others are rare."""
_NUMBERS = (int, float)
_SCALARS = (str, int, float)
_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition: its text, the paths that it reads, and whether it holds."""

    text: str
    paths: tuple[str, ...]
    _value: _Value = field(repr=False, compare=False)

    def holds(self, read: Read) -> bool:
        """Whether it holds for a state; False where the state itself cannot be read."""
        try:
            return bool(self._value(read))
        except Exception:  # noqa: BLE001 - a rule must not end the turn that it looks at
            return False


@functools.lru_cache(maxsize=4096)
def compiled(text: str) -> Condition:
    """The condition in a text; raises InvalidValue, with the column, where it is none."""
    paths: dict[str, None] = {}
    tree = expression(text, _USAGE, PARTS_LIMIT)
    _count_characters(tree, text)
    _check_spelling(text)
    value = _value_of(tree, paths)
    return Condition(text, tuple(paths), value)


def _count_characters(tree: ast.expr, text: str) -> None:
    """Make the columns of a tree those of its text: the parser counts bytes, without spaces."""
    before, raw = len(text) - len(text.lstrip()), text.strip().encode()
    for node in ast.walk(tree):
        if isinstance(node, ast.expr):
            node.col_offset = before + len(raw[: node.col_offset].decode(errors="replace"))


def _check_spelling(text: str) -> None:
    """Raise InvalidValue for what the parser passes over, or reads as something else.

    These are comments, and letters outside of texts that only look like those it knows.
    """
    plain = _QUOTED.sub(lambda found: " " * len(found[0]), text)
    for column, one in enumerate(plain, 1):
        if one == "#":
            cure = "write it into the profile, beside the condition"
            raise InvalidValue(f"has a comment at column {column}", cure)
        if not one.isascii():
            cure = "put texts into quotes, and write all else in ASCII"
            raise InvalidValue(f"has '{one}' outside of quotes at column {column}", cure)


def _value_of(node: ast.expr, paths: dict[str, None]) -> _Value:
    """What a part of a condition is worth, as a function of the state; notes the `paths` read."""
    match node:
        case ast.Constant() | ast.List() | ast.Tuple() | ast.UnaryOp(op=ast.USub()):
            constant = _constant(node)
            return lambda _read: constant
        case ast.Subscript(value=ast.Name(id="v"), slice=ast.Constant(value=str(path))):
            if not PATH.match(path) or len(path) > LONGEST_PATH:
                cure = "write names with dots between them, such as v['state.step']"
                raise _wrong(node, "reads a path that cannot be one", cure)
            paths[path] = None
            return lambda read: read(path)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            inner = _value_of(operand, paths)
            return lambda read: not inner(read)
        case ast.BoolOp(op=how, values=values):
            return _joined([_value_of(value, paths) for value in values], how)
        case ast.Compare():
            return _comparison(node, paths)
        case ast.Subscript():
            raise _wrong(node, "has brackets that read no path", "write v['path.to.value']")
    raise _wrong(node, "has a part that is not allowed", _CURES.get(type(node), _USAGE))


def _wrong(node: ast.expr, message: str, cure: str) -> InvalidValue:
    return InvalidValue(f"{message} at column {node.col_offset + 1}", cure)


def _constant(node: ast.expr) -> Any:
    """A text, a number, True, False or None, or a list of such."""
    match node:
        case ast.Constant(value=float() as value) if math.isinf(value):
            raise _wrong(node, "has a number that is too large", "write a smaller one")
        case ast.Constant(value=value) if type(value) in (str, int, float, bool, type(None)):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            if not isinstance(value, bool):
                return -_constant(node.operand)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            if not any(isinstance(item, ast.List | ast.Tuple) for item in items):
                return tuple(map(_constant, items))
    raise _wrong(node, "has a value that is not allowed", "use texts, numbers and flat lists")


def _joined(values: Sequence[_Value], how: ast.boolop) -> _Value:
    if len(values) == 2:  # what nearly all conditions have, and quicker
        one, other = values
        if isinstance(how, ast.And):
            return lambda read: one(read) and other(read)
        return lambda read: one(read) or other(read)
    is_and = isinstance(how, ast.And)

    def joined(read: Read) -> Any:
        found = None
        for value in values:
            found = value(read)
            if bool(found) is not is_and:
                break
        return found

    return joined


def _comparison(node: ast.Compare, paths: dict[str, None]) -> _Value:
    if len(node.ops) > 1:
        raise _wrong(node, "compares three values at once", "join two comparisons with and")
    how, right = node.ops[0], node.comparators[0]
    one, other = _value_of(node.left, paths), _value_of(right, paths)
    match how:
        case ast.Eq():
            return _equality(one, other, right)
        case ast.NotEq():
            equal = _equality(one, other, right)
            return lambda read: not equal(read)
        case ast.In() | ast.NotIn():
            found = _membership(one, other, node.left, right)
            return found if isinstance(how, ast.In) else lambda read: not found(read)
        case ast.Is() | ast.IsNot():
            if not isinstance(right, ast.Constant) or right.value is not None:
                raise _wrong(node, "uses `is` with something else than None", "write == or !=")
            is_none = isinstance(how, ast.Is)
            return lambda read: (one(read) is None) is is_none
    for side in (node.left, right):
        if isinstance(side, ast.List | ast.Tuple) or (
            isinstance(side, ast.Constant) and type(side.value) not in (str, int, float)
        ):
            raise _wrong(node, "orders a value that has no order", "order numbers, or texts")
    return _ordered(one, other, _ORDER[type(how)])


def _equality(one: _Value, other: _Value, node: ast.expr) -> _Value:
    """Whether two values are the same; with a text or a number it is quicker to know."""
    if isinstance(node, ast.Constant) and isinstance(constant := node.value, str):
        return lambda read: one(read) == constant
    if isinstance(node, ast.Constant) and _is_number(constant):

        def equals(read: Read) -> bool:
            value = one(read)
            return bool(value == constant) and not isinstance(value, bool)

        return equals
    return lambda read: _same(one(read), other(read))


def _ordered(one: _Value, other: _Value, how: Callable[[Any, Any], bool]) -> _Value:
    """Whether two numbers, or two texts, are in an order."""

    def holds(read: Read) -> bool:
        left, right = one(read), other(read)
        if _is_number(left):
            return _is_number(right) and how(left, right)
        return isinstance(left, str) and isinstance(right, str) and how(left, right)

    return holds


def _membership(item: _Value, items: _Value, left: ast.expr, node: ast.expr) -> _Value:
    """Whether an item is in a list, a text in a text, or a name in an object."""
    first, second = _rarest(left)
    if isinstance(node, ast.List | ast.Tuple):  # known now: no matter how long the list is
        known = frozenset(map(_hashed, _constant(node)))

        def among(read: Read) -> bool:
            value = item(read)
            return _is_plain(value) and _hashed(value) in known

        return among
    if isinstance(node, ast.Constant) and not isinstance(node.value, str):
        raise _wrong(node, "looks into a value that holds nothing", "look into a list or a text")

    def holds(read: Read) -> bool:
        value, several = item(read), items(read)
        if isinstance(several, str):
            if first not in several or second not in several:
                return False  # one letter is looked for twenty times as fast as a text
            return isinstance(value, str) and value in several
        if isinstance(several, Mapping):
            return isinstance(value, str) and value in several
        if not isinstance(several, Sequence):
            return False
        if isinstance(value, str):  # nothing but the same text equals it: quicker
            return value in several
        return any(_same(value, one) for one in several)

    return holds


def _rarest(node: ast.expr) -> tuple[str, str]:
    """The two letters of a text that other texts have least often; '' where it is not known."""
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return "", ""
    letters = sorted({*node.value}, key=lambda one: (_COMMON.find(one), one))
    return "".join(letters[:1]), "".join(letters[1:2])


def _same(one: Any, other: Any) -> bool:
    """Whether two values are of one kind and equal: 1 is 1.0, but neither True nor '1'.

    Lists are equal where what is in them is.
    """
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is type(other) or (_is_number(one) and _is_number(other)):
        return bool(one == other)
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, _SCALARS)


def _hashed(value: Any) -> tuple[bool, Any]:
    """A plain value so that True and 1 are two."""
    return isinstance(value, bool), value
