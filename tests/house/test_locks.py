"""The lock files hold what the project names, each by its hashes, and agree with each other."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")
CODE = ("bot", "registry", "simulators")
NOT_IMPORTED = {
    "genai-prices": "imported by name, in a thread",
    "mcp-server-time": "a program that agents start",
    "python-multipart": "starlette reads uploads with it",
    "python-stdnum": "imported by name, one kind of number at a time",
}
FOR_TESTS = {"pytest-asyncio": "the simulators' pytest plugin"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    found = [match for line in lines if (match := ENTRY.match(line))]
    return {canonicalize_name(match["name"]): match["version"] for match in found}


def missing(requirements: list[str], lock: dict[str, str]) -> list[str]:
    wanted = [Requirement(text) for text in requirements]
    found = [(each, lock.get(canonicalize_name(each.name))) for each in wanted]
    return [str(each) for each, version in found if not version or version not in each.specifier]


def test_the_runtime_lock_satisfies_every_dependency() -> None:
    assert missing(PROJECT["project"]["dependencies"], locked("requirements.lock")) == []


def test_the_development_lock_satisfies_every_tool() -> None:
    assert missing(PROJECT["dependency-groups"]["dev"], locked("requirements-dev.lock")) == []


def imported() -> set[str]:
    """The distributions that the product imports."""
    modules: set[str] = set()
    for path in (path for folder in CODE for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    owners = packages_distributions()
    foreign = modules - {*CODE, "switchboard_bots"} - sys.stdlib_module_names
    return {canonicalize_name(owner) for module in foreign for owner in owners[module]}


def test_the_product_imports_what_it_names_and_names_what_it_imports() -> None:
    named = {canonicalize_name(Requirement(t).name) for t in PROJECT["project"]["dependencies"]}
    wanted = imported()
    assert wanted - named == set(FOR_TESTS)
    assert named - wanted == set(NOT_IMPORTED)


def test_a_dependency_that_is_not_locked_is_found() -> None:
    lock = locked("requirements.lock")
    assert missing(["aiohttp>=99", "no-such-thing"], lock) == ["aiohttp>=99", "no-such-thing"]


def test_the_development_lock_holds_the_same_versions_as_the_runtime_lock() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()


@pytest.mark.parametrize(
    "name",
    ["requirements.lock", "requirements-dev.lock", "deploy/uv.lock", "deploy/fuzzer.lock"],
)
def test_every_locked_package_has_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[a-zA-Z])", (ROOT / name).read_text())
    bare = [entry for entry in entries if ENTRY.match(entry) and "--hash=sha256:" not in entry]
    assert bare == []


def test_uv_is_the_only_thing_installed_before_the_lock() -> None:
    assert list(locked("deploy/uv.lock")) == ["uv"]
