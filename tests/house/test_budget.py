"""What the house may come to: how large it is, and how many parts a class is built from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST = {"lines": 68_500, "lines of code": 49_000, "files": 285}
"""What there is today, and no more: a feature that is added brings its own lines."""
MOST_PARTS = 7
LEAST_LINES = 40
SMALL = {"bot/__main__.py": "the name by which Python runs the package"}
"""Modules that are shorter, each with its reason."""
VALUES = {"BaseModel", "BaseSettings", "RegistryModel", "Protocol", "TypedDict", "NamedTuple"}
"""Bases of classes that hold data or describe it: these may have as many fields as they need."""


@cache
def modules() -> dict[str, str]:
    """The modules of host and registry by path; the sandbox is a tool beside them."""
    found = sorted(path for top in ("bot", "registry") for path in (ROOT / top).rglob("*.py"))
    names = {path.relative_to(ROOT).as_posix(): path for path in found}
    return {
        name: path.read_text("utf-8")
        for name, path in names.items()
        if path.name != "__init__.py" and not name.startswith("bot/sandbox/")
    }


def lines_of_code(text: str) -> int:
    """The lines that are neither blank nor prose."""
    prose = set[int]()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return sum(
        number not in prose and bool(line.strip()) and not line.strip().startswith("#")
        for number, line in enumerate(text.splitlines(), 1)
    )


def test_the_house_is_no_larger_than_it_may_be() -> None:
    texts = modules().values()
    size = {
        "lines": sum(len(text.splitlines()) for text in texts),
        "lines of code": sum(map(lines_of_code, texts)),
        "files": len(texts),
    }
    assert {what: size[what] for what in MOST if size[what] > MOST[what]} == {}


def test_a_module_is_long_enough_to_be_one() -> None:
    small = {name for name, text in modules().items() if len(text.splitlines()) < LEAST_LINES}
    assert small == set(SMALL)


def test_no_class_is_built_from_more_than_seven_parts() -> None:
    trees = {name: ast.parse(text) for name, text in modules().items()}
    assert too_many_parts(trees) == []


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("class A:\n def __init__(self, a, b, c, d, *, e, f, g): 0", []),
        ("class A:\n def __init__(self, a, b, c, d, *, e, f, g, h): 0", ["m.py:A (8)"]),
        ("class E(Exception):\n def __init__(self, a, b, c, d, e, f, g, h): 0", []),
        ("@dataclass\nclass A:\n" + " a: S\n" * 8 + " async def go(self): 0", ["m.py:A (8)"]),
        ("@dataclass\nclass A:\n" + " a: S = field(init=False)\n" * 8 + " async def f(): 0", []),
        ("@dataclass\nclass V:\n" + " a: int\n" * 8, []),
        (
            "class S:\n async def go(self): 0\n@dataclass\nclass V:\n" + " a: S\n" * 8,
            ["m.py:V (8)"],
        ),
        ("class M(BaseModel):\n async def go(self): 0\n" + " a: int\n" * 8, []),
    ],
)
def test_what_counts_as_a_part(code: str, names: list[str]) -> None:
    assert too_many_parts({"m.py": ast.parse(code)}) == names


def too_many_parts(trees: dict[str, ast.Module]) -> list[str]:
    """The classes that are built from too many parts, each as `<module>:<class> (<parts>)`."""
    classes = [(name, node) for name, tree in trees.items() for node in _classes(tree)]
    found = [(name, node.name) for name, node in classes if _is_service(node)]
    every = {own for _, own in found}
    registry = {own for name, own in found if name.startswith("registry/")}  # it knows no others
    counted = [
        (name, node.name, _parts(node, registry if name.startswith("registry/") else every))
        for name, node in classes
    ]
    return [f"{name}:{own} ({parts})" for name, own, parts in counted if parts > MOST_PARTS]


def _classes(tree: ast.Module) -> Iterator[ast.ClassDef]:
    for node in ast.walk(tree):
        bases = {name.id for base in getattr(node, "bases", ()) for name in _names(base)}
        is_error = any(base.endswith(("Error", "Exception")) for base in bases)
        if isinstance(node, ast.ClassDef) and not is_error and not bases & VALUES:
            yield node


def _names(node: ast.AST) -> Iterator[ast.Name]:
    return (one for one in ast.walk(node) if isinstance(one, ast.Name))


def _is_service(node: ast.ClassDef) -> bool:
    """Whether a class does something that takes time, and so is a collaborator of others."""
    return any(isinstance(one, ast.AsyncFunctionDef) for one in node.body)


def _parts(node: ast.ClassDef, services: set[str]) -> int:
    """Parameters of `__init__`; or fields, of a dataclass that is a service or holds one."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return len(one.args.args) + len(one.args.kwonlyargs) - 1
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return 0
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and _is_given(one)]
    held = {name.id for one in fields for name in _names(one.annotation)}
    return len(fields) if _is_service(node) or held & services else 0


def _is_given(field: ast.AnnAssign) -> bool:
    """Whether whoever makes the object says what is in the field."""
    is_constant = "ClassVar" in ast.unparse(field.annotation)
    return not is_constant and "init=False" not in ast.unparse(field)
