"""What `make run` starts, and that `make help` tells of every target for people."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the Makefile, Python, and a command that says how it was called."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    programs = {"switchboard": 'echo "$@"', "python": f'exec "{sys.executable}" "$@"'}
    for name, line in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def started(place: Path, **environ: str) -> str:
    clean = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
    clean["PYTHONPATH"] = str(ROOT)
    command = ["make", "-s", "-o", "setup", "run", f"BIN={place}"]
    done = subprocess.run(
        command, cwd=place, env=clean | environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_run_without_a_token_starts_the_sandbox(place: Path) -> None:
    assert started(place) == "sandbox"


def test_run_with_a_token_in_the_environment_starts_the_host(place: Path) -> None:
    assert started(place, BOTS__3__TOKEN="1:x") == "run"


@pytest.mark.parametrize(
    "line",
    [
        "BOTS__0__TOKEN=1:x",
        "export BOTS__12__TOKEN_FILE=/run/token",
        "BOTS__0__TOKEN = 1:x",
        "export   BOTS__0__TOKEN='1:x'",
        "bots__0__token=1:x",
        "BOTS__0__TOKEN: 1:x",
        "BOT_0_TOKEN=1:x",
        "TELEGRAM_BOT_TOKEN=1:x",
    ],
)
def test_run_with_a_token_in_the_env_file_starts_the_host_however_it_is_written(
    place: Path, line: str
) -> None:
    (place / ".env").write_text(f"ADMINS=1\n{line}\n")
    assert started(place) == "run"


@pytest.mark.parametrize("line", ["#BOTS__0__TOKEN=1:x", "BOTS__0__TOKEN=", "GITHUB_TOKEN=x"])
def test_a_token_that_is_a_comment_or_empty_is_none(place: Path, line: str) -> None:
    (place / ".env").write_text(line + "\n")
    assert started(place) == "sandbox"


def test_help_tells_of_every_target_that_the_readme_names(place: Path) -> None:
    said = subprocess.run(["make"], cwd=place, capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named
    assert [target for target in named if f"make {target} " not in said] == []
