"""The lock files hold what the project names, each by its hashes, and agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)")
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


def test_a_dependency_that_is_not_locked_is_found() -> None:
    lock = locked("requirements.lock")
    assert missing(["aiohttp>=99", "no-such-thing"], lock) == ["aiohttp>=99", "no-such-thing"]


def test_the_development_lock_holds_the_same_versions_as_the_runtime_lock() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "deploy/uv.lock"])
def test_every_locked_package_has_hashes(name: str) -> None:
    entries = re.split(r"\n(?=[a-zA-Z])", (ROOT / name).read_text())
    bare = [entry for entry in entries if ENTRY.match(entry) and "--hash=sha256:" not in entry]
    assert bare == []


def test_uv_is_the_only_thing_installed_before_the_lock() -> None:
    assert list(locked("deploy/uv.lock")) == ["uv"]
