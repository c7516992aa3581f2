"""Fails where an `__init__.py` is more than a docstring: `python deploy/docstrings_only.py bot`.

Rooms are entered by their modules: an import in a package would load a whole ring for one name.
A front door (`FRONTS`) hands on the names of its own modules, and does nothing besides: it is
light, and all that it hands on is wanted together (docs/decisions/0019-the-house.md).
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FRONTS = ("bot.skills",)


def beyond_docstring(path: Path) -> int | None:
    """The line of the first statement that has no place there; 1 where there is no docstring."""
    body = ast.parse(path.read_text(encoding="utf-8"), str(path)).body
    if not body or not isinstance(body[0], ast.Expr) or not isinstance(body[0].value, ast.Constant):
        return 1
    package = ".".join(path.parts[:-1])
    wrong = [one for one in body[1:] if package not in FRONTS or not _hands_on(one, package)]
    return wrong[0].lineno if wrong else None


def _hands_on(statement: ast.stmt, package: str) -> bool:
    """Whether a statement imports from a module of the package, or is `__all__`."""
    if isinstance(statement, ast.ImportFrom):
        return (statement.module or "").startswith(f"{package}.")
    return isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"


def main(folders: list[str]) -> int:
    """Print each offender as `path:line: …`; 1 if there is one."""
    found = [path for folder in folders for path in sorted(Path(folder).rglob("__init__.py"))]
    lines = [(path, beyond_docstring(path)) for path in found]
    wrong = [f"{path}:{line}" for path, line in lines if line is not None]
    for place in wrong:
        print(f"{place}: an __init__.py is a docstring and nothing else; move the code to a module")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
