"""The process of a host: what it keeps from other programs of its user, and when it collects.

Private are its memory (on Linux: no debugger, no /proc/<pid>/mem or environ, no core dump), the
secrets of its environment, and the files that it makes.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bot.errors import ConfigError
from registry.errors import Problem

GC_THRESHOLDS = (5000, 20, 50)
_PR_SET_DUMPABLE = 4
_original_umask: list[int] = []


def pause_gc() -> None:
    """Stop collecting garbage: much is about to be loaded, and none of it will go.

    The libraries are half a million objects that never become garbage; walking them again and again
    costs a fifth of the CPU of a busy host, and pauses that a person can feel.
    """
    gc.disable()


def resume_gc() -> None:
    """Collect again, without looking at what is loaded now.

    Does nothing where `pause_gc` was not called, as in a process that is not ours alone.
    """
    if gc.isenabled():
        return
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def keep_private(*, dumpable: bool = False) -> None:
    """Make files private to this user from now on, and the memory unless `dumpable`."""
    _original_umask[:] = [os.umask(0o077)]
    if not dumpable and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def original_umask() -> int | None:
    """The umask before `keep_private`, for the operator's own programs; None where it still is."""
    return _original_umask[0] if _original_umask else None


def erase_variables(names: Iterable[str]) -> None:
    """Remove variables from the environment; on Linux their values are overwritten as well.

    So no program that is started inherits them, and nobody reads them in what the system shows of
    this process. Call it while no other thread reads the environment.
    """
    wanted = set(names)
    if sys.platform == "linux":
        _overwrite(wanted)
    for name in wanted:
        os.environ.pop(name, None)


def _overwrite(names: set[str]) -> None:
    """Write zeros over the values where the system put them when the process began."""
    import ctypes

    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    index = 0
    while address := entries[index]:
        name, _, value = ctypes.string_at(address).partition(b"=")
        if os.fsdecode(name) in names:
            ctypes.memset(address + len(name) + 1, 0, len(value))
        index += 1


# --- the data folder, which others may reach -----------------------------------------------------


def private_folder(folder: Path, data_dir: Path) -> None:
    """Make a folder in DATA_DIR, or DATA_DIR itself, where it does not exist yet.

    Raises ConfigError where it cannot be used, and where others could put something into it.
    """
    if folder == data_dir and (found := data_dir_problem(data_dir)):
        raise ConfigError(str(found))
    with data_dir_errors(data_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        problem = writable_by_others(folder)
    if problem:
        raise ConfigError(str(Problem("DATA_DIR", *problem)))


def data_dir_problem(folder: Path) -> Problem | None:
    """Why DATA_DIR cannot be used; it is tried, and nothing is left behind."""
    is_there = os.path.lexists(folder)
    try:
        if is_there:
            with tempfile.TemporaryFile(dir=folder):
                problem = writable_by_others(folder)
            return Problem("DATA_DIR", *problem) if problem else None
        near = next(one for one in folder.absolute().parents if os.path.lexists(one))
        Path(tempfile.mkdtemp(prefix=".switchboard-", dir=near)).rmdir()
    except OSError as error:
        return _unusable(folder, error)
    return None


def _unusable(data_dir: Path, error: OSError) -> Problem:
    cure = "make it a folder that this user may write to, or choose another DATA_DIR"
    return Problem("DATA_DIR", f"{data_dir} cannot be used: {error.strerror}", cure)


def writable_by_others(folder: Path) -> tuple[str, str] | None:
    """Why others could put something into a folder, and the fix; None if nobody could.

    Raises OSError where it cannot be looked at.
    """
    for link in (one for one in (folder, *folder.absolute().parents) if one.is_symlink()):
        if link.lstat().st_uid not in (0, os.geteuid()):
            why = f"it leads through {link}, a link that another user has made"
            return why, "remove it, or choose another DATA_DIR"
    real = folder.stat()
    if real.st_uid != os.geteuid():
        why = f"{folder} belongs to another user (id {real.st_uid})"
        return why, f"run `chown {os.geteuid()} {folder}`, or choose another DATA_DIR"
    if real.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = f"others may write to {folder} (mode {stat.S_IMODE(real.st_mode):04o})"
        return why, f"run `chmod 700 {folder}`, or set DATA_DIR to a new folder inside it"
    return None


def replaceable_parent(folder: Path) -> Path | None:
    """A parent of this folder in which others could put another in its place, if there is one."""
    for parent in folder.resolve().parents:
        with contextlib.suppress(OSError):
            mode = parent.stat().st_mode
            if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
                return parent
    return None


@contextlib.contextmanager
def data_dir_errors(data_dir: Path) -> Iterator[None]:
    """Raise ConfigError where the system refuses DATA_DIR, or a link stands for a file of ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConfigError(
                f"DATA_DIR {data_dir}: {error.filename} is a symbolic link in place of a file of "
                "the host. Remove it, and find out who made it."
            ) from None
        raise ConfigError(str(_unusable(data_dir, error))) from None


def open_private(path: Path, flags: int) -> int:
    """The descriptor of a file of our own; raises OSError where a link stands in its place."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
