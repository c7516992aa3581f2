"""The walls of the house hold: each planted breach fails `make walls`, and the place is named."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("pyproject.toml", ".importlinter", "Makefile", "deploy/docstrings_only.py")
HEAD = '"""A planted room."""\n\nfrom __future__ import annotations\n'


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the house's code with its rules."""
    for package in ("bot", "registry", "simulators"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=only_folders_and_code)
    for file in FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def only_folders_and_code(folder: str, names: list[str]) -> list[str]:
    kept = [name for name in names if name.endswith(".py") or (Path(folder) / name).is_dir()]
    return [name for name in names if name not in kept or name == "__pycache__"]


def walls(house: Path, target: str = "walls") -> tuple[int, str]:
    """The exit code and the words of the check, without the terminal's wrapping."""
    command = ["make", "-s", "-k", target, f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def plant(house: Path, path: str, code: str) -> None:
    target = house / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(HEAD + "\n" + code)


def test_the_house_as_it_stands_passes(house: Path) -> None:
    assert walls(house) == (0, "")


FOR_TYPING = """from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import anthropic


def planted(client: anthropic.AsyncAnthropic) -> None:
    \"\"\"Takes a client.\"\"\"
"""
BREACHES = {
    "registry.errors -> bot.errors (l.5)": ("registry/errors.py", "import bot.errors"),
    "bot.turn.planted -> aiogram (l.5)": ("bot/turn/planted.py", "import aiogram"),
    "bot.turn.wired -> aiohttp (l.5)": ("bot/turn/wired.py", "import aiohttp"),
    "bot.store.planted -> bot.telegram (l.5)": ("bot/store/planted.py", "import bot.telegram"),
    "bot.tools.planted -> bot.settings (l.5)": ("bot/tools/planted.py", "import bot.settings"),
    "bot.turn.played -> simulators (l.5)": ("bot/turn/played.py", "import simulators"),
    "simulators.planted -> bot.errors (l.5)": ("simulators/planted.py", "import bot.errors"),
    "simulators.tested -> tests (l.5)": ("simulators/tested.py", "import tests.packages"),
    "simulators.timed -> bench (l.5)": ("simulators/timed.py", "import bench.report"),
    "bot.hosting.planted -> bot.telegram (l.5)": (
        "bot/hosting/planted.py",
        "import bot.telegram",
    ),
    "bot.approvals.planted -> bot.turn (l.5)": ("bot/approvals/planted.py", "import bot.turn"),
    "bot.ops.planted -> anthropic (l.8)": ("bot/ops/planted.py", FOR_TYPING),
}
"""Forbidden imports, also one for typing alone, each with the words that name it."""


def test_each_forbidden_import_is_named_with_its_line(house: Path) -> None:
    for path, code in BREACHES.values():
        plant(house, path, code + "\n")
    exit_code, said = walls(house)
    assert exit_code != 0
    assert [words for words in BREACHES if words not in said] == []


def test_a_cycle_a_package_without_a_place_and_a_relative_import_are_named(house: Path) -> None:
    plant(house, "bot/turn/there.py", "import bot.turn.back\n\nPLANTED = bot.turn.back\n")
    plant(house, "bot/turn/back.py", "import bot.turn.there\n\nPLANTED = bot.turn.there\n")
    plant(house, "bot/ops/planted.py", "from . import logging\n\nPLANTED = logging\n")
    plant(house, "bot/stray.py", "PLANTED = 1\n")
    for package in ("bot", "registry"):
        (house / package / "unplaced").mkdir()
        (house / package / "unplaced/__init__.py").write_text('"""A room nobody placed."""\n')
    code, said = walls(house)
    assert code != 0
    for words in (
        "No cycles are allowed in bot.turn.",
        "not listed as layers:",
        "- bot.unplaced",
        "- registry.unplaced",
        "- bot.stray",
        "Prefer absolute imports",
        "bot/ops/planted.py:5:1",
    ):
        assert words in said


@pytest.mark.parametrize("code", ["import os\n", "from bot.messages import Json\n", "PORTS = 1\n"])
def test_code_in_an_init_is_named(house: Path, code: str) -> None:
    """A front door may hand on its own names, and nothing else."""
    (house / "bot/ops/__init__.py").write_text('"""A room."""\n\n' + code)
    (house / "bot/turn/__init__.py").write_text('"""A room."""\n\n__all__: list[str] = []\n')
    (house / "bot/store/__init__.py").write_text("")
    door = house / "bot/skills/__init__.py"
    lines = door.read_text().count("\n")
    door.write_text(door.read_text() + code)
    exit_code, said = walls(house, "rooms")
    assert exit_code != 0
    places = ("bot/ops/__init__.py:3", "bot/turn/__init__.py:3", "bot/store/__init__.py:1")
    for place in (*places, f"bot/skills/__init__.py:{lines + 1}"):
        assert f"{place}: an __init__.py is a docstring and nothing else" in said


def test_check_and_test_both_go_through_the_walls() -> None:
    for target in ("check", "test"):
        command = ["make", "-n", target]
        plan = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for tool in (
            "ruff check",
            "ruff format --check",
            "docstrings_only",
            "lint-imports",
            "mypy",
        ):
            assert tool in plan
