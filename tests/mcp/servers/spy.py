"""A tool server that looks around instead, and what starts a host that is as powerless as it is.

`spy.py FILE FOLDER` writes what it can read of its parent and in a folder; `spy.py --powerless
UMASK COMMAND…` runs a command that may do nothing that other programs of its user may not, even
where that user is root.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_CAPBSET_DROP, CAPABILITIES = 24, 64
LIBC = ctypes.CDLL(None, use_errno=True)


def powerless(umask: str, command: list[str]) -> None:
    for one in range(CAPABILITIES):
        LIBC.prctl(PR_CAPBSET_DROP, one, 0, 0, 0)
    os.umask(int(umask, 8))
    os.execvp(command[0], command)


def tried(look: Callable[[], Any]) -> Any:
    try:
        return look()
    except OSError as error:
        return f"refused: {error.strerror}"


def peeked(pid: int) -> str:
    """What a debugger does first, at an address that nobody has."""
    vector = (ctypes.c_size_t * 2)(8, 8)
    LIBC.process_vm_readv(pid, vector, 1, vector, 1, 0)
    if ctypes.get_errno() != errno.EFAULT:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "nothing there"


def memory(process: Path) -> str:
    with (process / "mem").open("rb"):
        return "open"


def look_around(file: str, pid: int, folder: str) -> None:
    umask = os.umask(0o022)
    files = {one.name: tried(one.readlink) for one in Path("/proc/self/fd").iterdir()}
    process = Path(f"/proc/{pid}")
    seen = {
        "environ": tried(lambda: (process / "environ").read_bytes().decode(errors="replace")),
        "maps": tried(lambda: len((process / "maps").read_text())),
        "mem": tried(lambda: memory(process)),
        "files": tried(lambda: str((process / "fd" / "2").readlink())),
        "peek": tried(lambda: peeked(pid)),
        "folder": tried(lambda: sorted(one.name for one in Path(folder).iterdir())),
        "own pid": os.getpid(),
        "own environ": dict(os.environ),
        "own files": {name: str(file) for name, file in files.items()},
        "own umask": umask,
    }
    Path(f"{file}.new").write_text(json.dumps(seen), encoding="utf-8")
    Path(f"{file}.new").rename(file)


if __name__ == "__main__":
    if sys.argv[1] == "--powerless":
        powerless(sys.argv[2], sys.argv[3:])
    look_around(sys.argv[1], os.getppid(), sys.argv[2])
    sys.stdin.read()  # a server ends when its input does
