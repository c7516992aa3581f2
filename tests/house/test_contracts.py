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


def walls(house: Path) -> tuple[int, str]:
    """The exit code and the words of the check, without the terminal's wrapping."""
    command = ["make", "-s", "-k", "walls", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def plant(house: Path, path: str, code: str) -> None:
    target = house / path
    target.parent.mkdir(exist_ok=True)
    target.write_text(HEAD + "\n" + code)


def test_the_house_as_it_stands_passes(house: Path) -> None:
    assert walls(house) == (0, "")


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        (
            "registry/errors.py",
            "import bot.errors\n\nPLANTED = bot.errors\n",
            "registry.errors -> bot.errors (l.5)",
        ),
        (
            "bot/turn/planted.py",
            "import aiogram\n\nPLANTED = aiogram\n",
            "bot.turn.planted -> aiogram (l.5)",
        ),
        (
            "bot/turn/planted.py",
            "import aiohttp\n\nPLANTED = aiohttp\n",
            "bot.turn.planted -> aiohttp (l.5)",
        ),
        (
            "bot/store/planted.py",
            "import bot.telegram\n\nPLANTED = bot.telegram\n",
            "bot.store.planted -> bot.telegram (l.5)",
        ),
        (
            "bot/tools/planted.py",
            "import bot.settings\n\nPLANTED = bot.settings\n",
            "bot.tools.planted -> bot.settings (l.5)",
        ),
        (
            "bot/turn/planted.py",
            "import simulators\n\nPLANTED = simulators\n",
            "bot.turn.planted -> simulators (l.5)",
        ),
        (
            "simulators/planted.py",
            "import bot.errors\n\nPLANTED = bot.errors\n",
            "simulators.planted -> bot.errors (l.5)",
        ),
        (
            "simulators/planted.py",
            "import tests.packages\n\nPLANTED = tests.packages\n",
            "simulators.planted -> tests (l.5)",
        ),
        (
            "simulators/planted.py",
            "import bench.report\n\nPLANTED = bench.report\n",
            "simulators.planted -> bench (l.5)",
        ),
        (
            "bot/hosting/planted.py",
            "import bot.telegram\n\nPLANTED = bot.telegram\n",
            "bot.hosting.planted -> bot.telegram (l.5)",
        ),
        (
            "bot/approvals/planted.py",
            "import bot.turn\n\nPLANTED = bot.turn\n",
            "bot.approvals.planted -> bot.turn (l.5)",
        ),
        (
            "bot/stray.py",
            "import bot.errors\n\nPLANTED = bot.errors\n",
            "bot.stray",
        ),
    ],
)
def test_a_forbidden_import_is_named_with_its_line(
    house: Path, path: str, code: str, words: str
) -> None:
    plant(house, path, code)
    exit_code, said = walls(house)
    assert exit_code != 0
    assert words in said


def test_an_import_for_typing_alone_counts(house: Path) -> None:
    plant(
        house,
        "bot/ops/planted.py",
        "from typing import TYPE_CHECKING\n\n"
        "if TYPE_CHECKING:\n    import anthropic\n\n\n"
        "def planted(client: anthropic.AsyncAnthropic) -> None:\n"
        '    """Takes a client."""\n',
    )
    code, said = walls(house)
    assert code != 0
    assert "bot.ops.planted -> anthropic (l.8)" in said


def test_a_cycle_inside_a_package_is_named(house: Path) -> None:
    plant(house, "bot/turn/there.py", "import bot.turn.back\n\nPLANTED = bot.turn.back\n")
    plant(house, "bot/turn/back.py", "import bot.turn.there\n\nPLANTED = bot.turn.there\n")
    code, said = walls(house)
    assert code != 0
    assert "No cycles are allowed in bot.turn." in said


@pytest.mark.parametrize("package", ["bot", "registry"])
def test_a_package_without_a_place_is_named(house: Path, package: str) -> None:
    (house / package / "unplaced").mkdir()
    (house / package / "unplaced/__init__.py").write_text('"""A room nobody placed."""\n')
    code, said = walls(house)
    assert code != 0
    assert "not listed as layers:" in said
    assert f"- {package}.unplaced" in said


def test_a_relative_import_is_named(house: Path) -> None:
    plant(house, "bot/ops/planted.py", "from . import logging\n\nPLANTED = logging\n")
    code, said = walls(house)
    assert code != 0
    assert "Prefer absolute imports" in said
    assert "bot/ops/planted.py:5:1" in said


@pytest.mark.parametrize("code", ["import os\n\nPLANTED = os\n", "__all__: list[str] = []\n"])
def test_code_in_an_init_is_named(house: Path, code: str) -> None:
    (house / "bot/ops/__init__.py").write_text('"""A room."""\n\n' + code)
    exit_code, said = walls(house)
    assert exit_code != 0
    assert "bot/ops/__init__.py:3: an __init__.py is a docstring and nothing else" in said


@pytest.mark.parametrize("code", ["import os\n", "from bot.messages import Json\n", "PORTS = 1\n"])
def test_a_front_door_that_does_more_than_hand_on_its_own_names_is_named(
    house: Path, code: str
) -> None:
    door = house / "bot/skills/__init__.py"
    lines = door.read_text().count("\n")
    door.write_text(door.read_text() + code)
    exit_code, said = walls(house)
    assert exit_code != 0
    assert f"bot/skills/__init__.py:{lines + 1}: an __init__.py is a docstring" in said


def test_an_init_without_a_docstring_is_named(house: Path) -> None:
    (house / "bot/ops/__init__.py").write_text("")
    assert walls(house)[0] != 0


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
