"""Sums in a sentence, worked out over a syntax tree of numbers and operators alone."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping

Number = int | float
LONGEST = 200
_ASKED = re.compile(
    r"^\s*(?:(?:please\s+)?(?:what(?:'s| is)|calculate|compute|how much is))?\s*", re.IGNORECASE
)
_SUM = re.compile(r"[\d\s.+\-*/%^()×÷]*\d[\d\s.+\-*/%^()×÷]*")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?")
_TWO: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class _NotASum(Exception):
    """Something that is not numbers and operators, or is too large."""


def worked_out(text: str) -> str | None:
    """The sum with its result ("12 * 3 = 36"), or None for a text that asks for no sum."""
    wanted = _ASKED.sub("", text, count=1).strip().rstrip("=?!. ").strip()
    if len(wanted) > LONGEST or _DATE.search(wanted) or not _SUM.fullmatch(wanted):
        return None
    plain = wanted.replace("×", "*").replace("÷", "/").replace("^", "**")
    try:
        tree = ast.parse(plain, mode="eval").body
        if isinstance(tree, ast.Constant):
            return None
        return f"{wanted} = {_written(_value(tree))}"
    except ZeroDivisionError:
        return f"{wanted} has no answer: it divides by zero"
    except (SyntaxError, ValueError, OverflowError, _NotASum):
        return None


def _written(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.10g}"


def _value(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if not isinstance(node, ast.BinOp):
        raise _NotASum("not a sum")
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, ast.Pow):
        return _power(left, right)
    if type(node.op) not in _TWO:
        raise _NotASum("not an operator")
    return _TWO[type(node.op)](left, right)


def _power(base: Number, exponent: Number) -> Number:
    if abs(exponent) > 64 or abs(base) > 1_000_000:
        raise _NotASum("too large")
    power: Number | complex = base**exponent
    if isinstance(power, complex):
        raise _NotASum("no real number")
    return power
