"""Make `.venv` fit the lock files: `python3 deploy/setup.py [--dev]`.

Needs Python and a package index, nothing else: a pinned uv is installed first, by its hash, and
then installs what the lock names; where uv cannot run, pip does the same work. A `.venv` that fits
already is left alone. Parses on Python 3.7, so that an old one gets a sentence, not a traceback.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".stamp"
OLDEST, NEWEST = (3, 11), (3, 14)
LOCKS = {False: "requirements.lock", True: "requirements-dev.lock"}
PIP = (str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
BY_HASH = ("--retries", "1", "--no-deps", "--require-hashes")
OFFLINE = (
    "NewConnectionError",
    "NameResolutionError",
    "name resolution",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "SSLError",
    "Network is unreachable",
)
CURES = {  # family of system: how to get Python, how to get its venv module
    "debian": ("apt install python3", "apt install python3-venv"),
    "fedora": ("dnf install python3", "dnf install python3"),
    "alpine": ("apk add python3", "apk add python3 py3-pip"),
    "arch": ("pacman -S python", "pacman -S python"),
    "darwin": ("brew install python", "brew install python"),
}
FAMILIES = {"ubuntu": "debian", "rhel": "fedora", "centos": "fedora"}


class SetupFailed(Exception):
    """The environment cannot be made; the message names the cure."""


def main(arguments: list[str]) -> int:
    """Make or mend `.venv`; 0 when it fits, 1 with a word on stderr when it cannot be."""
    dev = "--dev" in arguments
    try:
        if fits(dev):
            return 0
        if not OLDEST <= sys.version_info[:2] <= NEWEST:
            other = another_python()
            os.execv(other, [other, __file__, *arguments])
        install(dev or was_dev())
    except SetupFailed as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    return 0


# --- the stamp ------------------------------------------------------------------------------------


def digest(dev: bool) -> str:
    """What a fitting `.venv` is made from: this place, this script, uv's pin and the lock."""
    whole = hashlib.sha256(str(ROOT).encode())
    for name in ("deploy/setup.py", "deploy/uv.lock", "pyproject.toml", LOCKS[dev]):
        whole.update(ROOT.joinpath(name).read_bytes())
    return whole.hexdigest()


def stamp() -> list[str]:
    """The digests that `.venv` was stamped with: its runtime, and its dev one if it has that."""
    return STAMP.read_text(encoding="utf-8").split() if STAMP.exists() else []


def fits(dev: bool) -> bool:
    """True when `.venv` was made from exactly these files, here."""
    return digest(dev) in stamp() and PYTHON.exists()


def was_dev() -> bool:
    """True when `.venv` has the development tools: they are kept."""
    return len(stamp()) > 1


# --- the interpreter ------------------------------------------------------------------------------


def another_python() -> str:
    """A path to a Python of a version that fits; SetupFailed where there is none."""
    from shutil import which

    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        path = which(f"python3.{minor}")
        if path and answers(path, f"import sys; sys.exit(sys.version_info[:2] != (3, {minor}))"):
            return path
    raise SetupFailed(
        f"needs Python 3.11 or newer (up to 3.14): {sys.executable} is "
        f"{sys.version.split()[0]}, and no python3.11 … python3.14 was found.\n{cure(0)}"
    )


def answers(python: str, code: str) -> bool:
    """True when that Python runs and the code exits with 0."""
    import subprocess

    quiet = subprocess.DEVNULL
    return subprocess.call([python, "-c", code], stdout=quiet, stderr=quiet) == 0


def cure(missing: int) -> str:
    """How to get Python (0), or its venv module (1), on this system."""
    ways = CURES.get(family())
    if ways is None:
        return "Fix: install Python from https://www.python.org/downloads/, then run this again."
    return f"Fix: {ways[missing]}, then run this again."


def family() -> str:
    """The family of this system as CURES names it, or an empty string."""
    if sys.platform == "darwin":
        return "darwin"
    release = Path("/etc/os-release")
    words = release.read_text(encoding="utf-8") if release.exists() else ""
    names = [line.partition("=")[2].strip('"') for line in words.splitlines() if "ID" in line]
    found = [FAMILIES.get(name, name) for line in names for name in line.split()]
    return next((name for name in found if name in CURES), "")


# --- the installation -----------------------------------------------------------------------------


def install(dev: bool) -> None:
    """Make `.venv` where there is none that works, bring it to the lock, add the project."""
    from time import monotonic

    began = monotonic()
    make_venv()
    say(f"installing what {LOCKS[dev]} names")
    lock = ROOT / LOCKS[dev]
    if not sync_with_uv(lock):
        sync_with_pip(lock)
    link_project()
    digests = [digest(False), digest(True)] if dev else [digest(False)]
    STAMP.write_text("\n".join(digests) + "\n", encoding="utf-8")
    say(f".venv is ready after {monotonic() - began:.0f} s")


def make_venv() -> None:
    """Keep a `.venv` that works here; else make one, or say what is missing."""
    from importlib import import_module

    why = broken()
    if why is None:
        return
    try:
        for module in ("venv", "ensurepip"):
            import_module(module)
    except ImportError as problem:
        raise SetupFailed(
            f"{sys.executable} comes without its module {problem.name!r}.\n{cure(1)}"
        ) from None
    say(f"making .venv with Python {sys.version.split()[0]} ({why})")
    if VENV.is_symlink():
        VENV.unlink()  # what it leads to is somebody else's, and would be emptied
    done, words = call(sys.executable, "-m", "venv", "--clear", str(VENV))
    if not done:
        raise SetupFailed(f"python -m venv failed:\n{words}\n{cure(1)}")


def broken() -> str | None:
    """Why `.venv` has to be made again, or None when it can be used."""
    activate = VENV / "bin" / "activate"
    if not (PYTHON.exists() and activate.exists()):
        return "there is none yet"
    words = activate.read_text(encoding="utf-8")
    if not any(f"{mark}{VENV}" in words for mark in "='\""):
        return "the present one was made for another folder"
    test = f"import sys, pip; sys.exit(not {OLDEST} <= sys.version_info[:2] <= {NEWEST})"
    if answers(str(PYTHON), test):
        return None
    return "the present one has no pip, or another version of Python"


def sync_with_uv(lock: Path) -> bool:
    """Install by uv; False where uv cannot run or cannot do it, so that pip has to."""
    pin = str(ROOT / "deploy" / "uv.lock")
    done, words = call(*PIP, *BY_HASH, "--only-binary", ":all:", "-r", pin)
    if not done:
        stop_if_offline(words)
        return False
    sync = (str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", "--python", str(PYTHON))
    return call(*sync, "--require-hashes", "--compile-bytecode", str(lock))[0]


def sync_with_pip(lock: Path) -> None:
    """Install by pip alone: slower, and the same hashes."""
    say("uv cannot do it here, so pip does: this takes longer")
    done, words = call(*PIP, *BY_HASH, "-r", str(lock))
    if not done:
        stop_if_offline(words)
        raise SetupFailed(f"pip could not install what {lock.name} names:\n{words}")


def stop_if_offline(words: str) -> None:
    """SetupFailed with a cure when an installer's words are those of a missing network."""
    if any(sign in words for sign in OFFLINE):
        raise SetupFailed(
            f"{words}\nThe package index cannot be reached.\n"
            "Fix: check the network; behind a proxy set HTTPS_PROXY, for a mirror set "
            "PIP_INDEX_URL and UV_DEFAULT_INDEX; then run this again."
        )


def call(*command: str) -> tuple[bool, str]:
    """Run a command to its end: whether it worked, and the last lines of what it said."""
    import subprocess

    out, err = subprocess.PIPE, subprocess.STDOUT
    try:
        done = subprocess.run(command, stdout=out, stderr=err, check=False)
    except OSError as problem:
        return False, str(problem)
    words = done.stdout.decode(errors="replace").splitlines()
    return done.returncode == 0, "\n".join(words[-12:])


def say(words: str) -> None:
    """One line of progress."""
    print(f"setup: {words}", flush=True)


# --- the project itself ---------------------------------------------------------------------------


def link_project() -> None:
    """Install this checkout in place: a path file, its metadata and the command.

    What an editable install writes, without a build: nothing is fetched, nothing is compiled.
    """
    import tomllib

    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    (site,) = VENV.glob("lib/python3*/site-packages")
    files = project_files(project)
    for name, text in files.items():
        path = site / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.parent.name == "bin":
            path.chmod(0o755)


def project_files(project: dict[str, object]) -> dict[str, str]:
    """The files of the installation by their paths below site-packages."""
    name, version, scripts = project["name"], project["version"], project["scripts"]
    assert isinstance(name, str)
    assert isinstance(scripts, dict)
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    files = {f"../../../bin/{command}": launcher(target) for command, target in scripts.items()}
    points = [f"{command} = {target}" for command, target in scripts.items()]
    files[f"{plain}.pth"] = f"{ROOT}\n"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files[f"{info}/INSTALLER"] = "deploy/setup.py\n"
    files[f"{info}/entry_points.txt"] = "\n".join(["[console_scripts]", *points, ""])
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    return files


def launcher(target: str) -> str:
    """A command that calls `module:function`; its head bears spaces and length in the path."""
    from shlex import quote

    module, _, function = target.partition(":")
    head = f"#!/bin/sh\n'''exec' {quote(str(PYTHON))} \"$0\" \"$@\"\n' '''\n"
    return f"{head}import sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
