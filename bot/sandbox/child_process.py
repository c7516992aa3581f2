"""Runs a module that ends when its standard input does: `python -m …child_process bot run`.

The pipe's other end is held by the parent alone, so a parent that was killed takes it along.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading

_KILLED = 137


def main(arguments: list[str]) -> None:
    """Tie this process to its standard input, then be the module of the first argument."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_with, args=(pipe,), name="parent-death", daemon=True).start()
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os._exit(_KILLED)


if __name__ == "__main__":
    main(sys.argv[1:])
