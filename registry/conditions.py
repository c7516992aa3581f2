"""Conditions as text: comparisons and boolean words over a fixed set of names, and nothing else.

Checked when they are written and when they are loaded, by what each part of them is; evaluated by
simpleeval with all else taken out of it. Where an evaluation fails, the condition does not hold.
"""

from __future__ import annotations

import ast
import difflib
import functools
import operator
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import simpleeval

from registry.normalizing import normalized

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
"""What a condition may speak of, and what it is."""

WORDS = "use ==, !=, in, not in, and, or, not, with names, texts, numbers and lists"

CHATS = ("private", "group")
_LOWER = ("role", "chat", "agent", "account")
_AMONG = {TEXT: (SET, LIST_OF[TEXT]), NUMBER: (LIST_OF[NUMBER],), TRUTH: ()}
_KEPT = (ast.Name, ast.UnaryOp, ast.BoolOp, ast.Compare)
_EQUAL = (ast.Eq, ast.NotEq)
_ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_MEMBER = (ast.In, ast.NotIn)
_CURES: Mapping[type[ast.AST], str] = {
    ast.Attribute: 'write "<flag>" in features for a flag; nothing else has parts',
    ast.Subscript: 'write "<flag>" in features',
    ast.Call: "functions cannot be called here",
    ast.BinOp: "nothing is computed here; compare what is there",
}


class ConditionWrong(ValueError):
    """A condition that cannot be; says what is wrong with it, and the cure."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure


class Doubtful(Exception):
    """Two texts differ by letter case or width alone: nobody knows which of them was meant."""


class _Text(str):
    """A text that is never compared with one that only looks the same."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str) or str.__eq__(self, other):
            return isinstance(other, str)
        if even(self) == even(other):
            raise Doubtful
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other


def check(text: str) -> None:
    """ConditionWrong where a text is no condition."""
    _parsed(text)


def holds(text: str, facts: Mapping[str, Any]) -> bool:
    """Whether a condition holds for these facts, by name; one that fails does not."""
    try:
        return _evaluated(_parsed(text), facts) is True
    except Exception:  # noqa: BLE001 - whatever goes wrong in here, the call is denied
        return False


@functools.lru_cache(maxsize=8192)
def even(text: str) -> str:
    """Without differences of letter case and width, by which a name could slip past a list."""
    return normalized("NFKC", normalized("NFKC", text).casefold())


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> ast.expr:
    if len(text) > LENGTH_LIMIT:
        raise ConditionWrong(
            f"is longer than {LENGTH_LIMIT} characters", "shorten it, or write several conditions"
        )
    if not text.isprintable() or "\\" in text:
        raise ConditionWrong("has a backslash or a hidden character", "write it in one plain line")
    tree = _tree(text)
    if sum(1 for _ in ast.walk(tree)) > PARTS_LIMIT or _depth(tree) > DEPTH_LIMIT:
        raise ConditionWrong("has too many parts", "shorten it, or write several conditions")
    if (kind := _kind(tree)) != TRUTH:
        raise ConditionWrong(f"says {kind}, and not whether something is so", WORDS)
    return tree


def _tree(text: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConditionWrong("cannot be read", WORDS) from None


def _depth(tree: ast.AST) -> int:
    level, depth = [tree], 0
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _kind(node: ast.expr) -> str:
    """What a part is; ConditionWrong where it may not stand in a condition."""
    if isinstance(node, ast.Constant):
        return _kind_of_constant(node.value)
    if isinstance(node, ast.Name):
        return _kind_of_name(node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return _kind_of_list(node.elts)
    if isinstance(node, ast.BoolOp):
        return _all_true_or_false(node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _all_true_or_false([node.operand])
    if isinstance(node, ast.Compare):
        return _kind_of_comparison(node)
    raise ConditionWrong("has something that no condition may have", _CURES.get(type(node), WORDS))


def _kind_of_constant(value: object) -> str:
    kinds: Mapping[type, str] = {str: TEXT, int: NUMBER, bool: TRUTH}
    if type(value) not in kinds:
        raise ConditionWrong("has something that no condition may have", WORDS)
    return kinds[type(value)]


def _kind_of_name(name: str) -> str:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.6)
        known = ", ".join(NAMES)
        cure = f"did you mean {near[0]}?" if near else f"known are {known}; put texts into quotes"
        raise ConditionWrong("speaks of a name that is not there", cure)
    return NAMES[name]


def _kind_of_list(items: Iterable[ast.expr]) -> str:
    kinds = {_kind(item) for item in items}
    if len(kinds) != 1 or not kinds <= LIST_OF.keys():
        raise ConditionWrong("has a list that is empty or mixed", "list texts, or numbers")
    return LIST_OF[kinds.pop()]


def _all_true_or_false(nodes: Iterable[ast.expr]) -> str:
    if bad := next((kind for kind in map(_kind, nodes) if kind != TRUTH), None):
        told = f"joins {bad} by and, or, not"
        raise ConditionWrong(told, 'repeat the comparison: role == "a" or role == "b"')
    return TRUTH


def _kind_of_comparison(node: ast.Compare) -> str:
    if len(node.ops) > 1:
        raise ConditionWrong("compares three things at once", "join two comparisons by and")
    left, right = node.left, node.comparators[0]
    kinds, how = (_kind(left), _kind(right)), node.ops[0]
    fits = (
        (isinstance(how, _EQUAL) and kinds[0] == kinds[1] and kinds[0] in _AMONG)
        or (isinstance(how, _ORDERED) and kinds == (NUMBER, NUMBER))
        or (isinstance(how, _MEMBER) and kinds[1] in _AMONG.get(kinds[0], ()))
    )
    if not fits:
        raise ConditionWrong(f"compares {kinds[0]} with {kinds[1]}, which has no sense", WORDS)
    _can_be(left, right)
    _can_be(right, left)
    return TRUTH


def _can_be(name: ast.expr, other: ast.expr) -> None:
    """ConditionWrong where a name of ours is compared with what it never is."""
    if not isinstance(name, ast.Name) or name.id not in _LOWER:
        return
    texts = [one.value for one in ast.walk(other) if isinstance(one, ast.Constant)]
    if any(str(text) != str(text).lower() for text in texts):
        raise ConditionWrong(f"compares {name.id} with capitals", "write it in small letters")
    if name.id == "chat" and not set(texts) <= set(CHATS):
        raise ConditionWrong("speaks of a chat that is not there", f"known are {', '.join(CHATS)}")


def _evaluated(tree: ast.expr, facts: Mapping[str, Any]) -> object:
    evaluator = simpleeval.SimpleEval(operators=_OPERATORS, functions={}, names=_guarded(facts))
    nodes: dict[type[ast.AST], Any] = {kind: evaluator.nodes[kind] for kind in _KEPT}
    nodes[ast.Constant] = lambda node: _guard(node.value)
    nodes[ast.List] = nodes[ast.Tuple] = lambda node: [evaluator._eval(one) for one in node.elts]  # noqa: SLF001
    evaluator.nodes = nodes
    return evaluator.eval("", previously_parsed=tree)


def _guarded(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _guard(facts[name]) for name in NAMES if name in facts}


def _guard(value: Any) -> Any:
    if isinstance(value, str):
        return _Text(value)
    return [_Text(one) for one in sorted(value)] if isinstance(value, frozenset) else value


def _contains(item: object, among: Iterable[object]) -> bool:
    exact = isinstance(item, str) and any(str.__eq__(item, str(one)) for one in among)
    return exact or any(item == one for one in among)


_OPERATORS: Mapping[type[ast.AST], Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Not: operator.not_,
    ast.In: _contains,
    ast.NotIn: lambda item, among: not _contains(item, among),
}
