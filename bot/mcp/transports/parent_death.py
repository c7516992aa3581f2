"""Runs a command that dies when its parent does: `python -I -S parent_death.py <pid> <command…>`.

`<pid>` is the parent's; `<pid>,<umask>` runs it with this umask, in octal digits.

Standard library only, and started as a file: it must come up in a few milliseconds.
On Linux the kernel kills the command with the thread that started it; elsewhere it only ends when
its standard input does.
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Tie this process to its parent and become the command; exits 127 if it cannot be run."""
    parent, _, umask = argv[0].partition(",")
    if umask:
        os.umask(int(umask, 8))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it died before the line above
            os._exit(1)
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execvp(argv[1], argv[1:])  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"cannot run {argv[1]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
