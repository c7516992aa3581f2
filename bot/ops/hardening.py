"""What a host keeps to itself, also from other programs of the same user, such as tool servers.

Its memory (on Linux: no debugger, no /proc/<pid>/mem or environ, no core dump), the secrets that it
was given in its environment, and the files that it makes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

_PR_SET_DUMPABLE = 4
_given_umask: list[int] = []


def keep_private(*, dumpable: bool = False) -> None:
    """Files made from now on are this user's alone, and so is the memory, unless `dumpable`."""
    _given_umask[:] = [os.umask(0o077)]
    if not dumpable and sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def given_umask() -> int | None:
    """The umask that the process was started with, for programs that are not ours; None: as it is.

    What they make is for whoever the operator says.
    """
    return _given_umask[0] if _given_umask else None


def forget(names: Iterable[str]) -> None:
    """Take variables out of the environment; on Linux their values are overwritten as well.

    So no program that is started inherits them, and nobody reads them in what the system shows of
    this process. Call it while no other thread reads the environment.
    """
    wanted = set(names)
    if sys.platform == "linux":
        _overwrite(wanted)
    for name in wanted:
        os.environ.pop(name, None)


def _overwrite(names: set[str]) -> None:
    """Zeros for the values where the system put them when the process began."""
    import ctypes

    places = ctypes.POINTER(ctypes.c_void_p).in_dll(ctypes.CDLL(None), "environ")
    index = 0
    while place := places[index]:
        name, _, value = ctypes.string_at(place).partition(b"=")
        if os.fsdecode(name) in names:
            ctypes.memset(place + len(name) + 1, 0, len(value))
        index += 1
