"""The way from a bare Python to `.venv`: what is refused, with which word, and what is kept."""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("deploy/setup.py", "deploy/uv.lock", "pyproject.toml", "requirements.lock")

MISSING = """
import runpy, sys
sys.modules["ensurepip"] = None
sys.argv = [{script!r}]
runpy.run_path({script!r}, run_name="__main__")
"""
OLD = """
import collections, runpy, sys
sys.version_info = collections.namedtuple("v", "major minor micro")(3, 8, 18)
sys.version = "3.8.18 (an old one)"
sys.argv = [{script!r}]
runpy.run_path({script!r}, run_name="__main__")
"""

OFFLINE = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_FIND_LINKS": "",
    "PIP_NO_CACHE_DIR": "1",
    "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
    "UV_NO_CACHE": "1",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what setup reads, in a place with a space in its name."""
    place = tmp_path / "a checkout"
    for part in (*PARTS, "requirements-dev.lock"):
        target = place / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, target)
    return place


def call(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environ}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=50)


def loaded(checkout: Path) -> dict[str, Any]:
    return runpy.run_path(str(checkout / "deploy" / "setup.py"))


def test_a_python_without_ensurepip_is_told_what_to_install(checkout: Path) -> None:
    done = call(sys.executable, "-c", MISSING.format(script=str(checkout / "deploy/setup.py")))
    assert done.returncode == 1
    assert "without its module 'ensurepip'" in done.stderr
    assert "Fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_old_python_is_told_which_versions_fit(checkout: Path) -> None:
    code = OLD.format(script=str(checkout / "deploy/setup.py"))
    done = call(sys.executable, "-c", code, PATH="/nowhere")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "3.8.18" in done.stderr
    assert "Fix: " in done.stderr


def test_an_old_python_hands_over_to_a_newer_one_on_the_path(checkout: Path) -> None:
    path = checkout / "bin"
    path.mkdir()
    newer = path / f"python3.{sys.version_info[1]}"
    newer.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\necho took over\n')
    newer.chmod(0o755)
    code = OLD.format(script=str(checkout / "deploy/setup.py"))
    done = call(sys.executable, "-c", code, PATH=str(path))
    assert (done.returncode, done.stdout) == (0, "took over\n")


def test_an_index_out_of_reach_is_named_as_such_and_leaves_no_stamp(checkout: Path) -> None:
    done = call(sys.executable, str(checkout / "deploy/setup.py"), **OFFLINE)
    assert done.returncode == 1
    assert "The package index cannot be reached." in done.stderr
    assert "Fix: check the network" in done.stderr
    assert not (checkout / ".venv/.stamp").exists()


def test_a_stamped_environment_fits_until_a_lock_changes(checkout: Path) -> None:
    setup = loaded(checkout)
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").touch()
    assert not setup["fits"](False)
    (checkout / ".venv/.stamp").write_text(setup["digest"](False) + "\n")
    assert setup["fits"](False)
    assert not setup["fits"](True)
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("one-more==1.0\n")
    assert not setup["fits"](False)


def test_an_environment_that_was_moved_with_its_checkout_is_made_anew(checkout: Path) -> None:
    place = checkout / ".venv/bin"
    place.mkdir(parents=True)
    (place / "python").touch()
    (place / "activate").write_text(f'VIRTUAL_ENV="/before{checkout}/.venv"\n')
    assert "another folder" in loaded(checkout)["broken"]()


def test_an_environment_that_a_link_leads_to_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    kept = tmp_path / "of somebody else" / "bin" / "activate"
    kept.parent.mkdir(parents=True)
    kept.write_text("VIRTUAL_ENV=/elsewhere\n")
    (checkout / ".venv").symlink_to(kept.parents[1])
    done = call(sys.executable, str(checkout / "deploy/setup.py"), **OFFLINE)
    assert "making .venv" in done.stdout + done.stderr
    assert kept.read_text() == "VIRTUAL_ENV=/elsewhere\n"
    assert not (checkout / ".venv").is_symlink()


def test_the_command_runs_from_a_path_with_spaces(checkout: Path) -> None:
    script = checkout / "switchboard"
    (checkout / "house.py").write_text("def door():\n    print('open')\n")
    setup = loaded(checkout)
    text = setup["launcher"]("house:door").replace(str(setup["PYTHON"]), sys.executable)
    script.write_text(text)
    script.chmod(0o755)
    done = call(str(script), PYTHONPATH=str(checkout))
    assert (done.returncode, done.stdout) == (0, "open\n")


def test_the_versions_it_takes_are_those_of_the_project(checkout: Path) -> None:
    setup = loaded(checkout)
    (_, oldest), (_, newest) = setup["OLDEST"], setup["NEWEST"]
    project = (ROOT / "pyproject.toml").read_text()
    assert f'requires-python = ">=3.{oldest},<3.{newest + 1}"' in project


def test_a_package_whose_bytes_are_not_the_locked_ones_is_not_installed(
    checkout: Path, tmp_path: Path
) -> None:
    wheel = tmp_path / "planted-1.0-py3-none-any.whl"
    about = "planted-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n"
        )
        package.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        package.writestr(f"{about}/RECORD", "")
    lock, flags = tmp_path / "lock", ("--dry-run", "--no-index", "--find-links", str(tmp_path))
    pip = (sys.executable, "-m", "pip", "install", *flags, *loaded(checkout)["BY_HASH"])
    outcomes = {}
    for name, words in (("as it was", b""), ("planted", b"x"), ("without a hash", None)):
        digest = "" if words is None else hashlib.sha256(wheel.read_bytes() + words).hexdigest()
        lock.write_text("planted==1.0" + (f" --hash=sha256:{digest}" if digest else "") + "\n")
        outcomes[name] = call(*pip, "-r", str(lock)).returncode
    assert outcomes == {"as it was": 0, "planted": 1, "without a hash": 1}
