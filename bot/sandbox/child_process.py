"""Runs a module that ends when its standard input does: `python -P child_process.py bot run`.

The pipe's other end is held by the parent alone, so a parent that was killed takes it along. It is
run as a file, so that no module of the folder where the parent was started takes our place.
"""

from __future__ import annotations

import os
import runpy
import sys
import threading
from pathlib import Path

_KILLED = 137
_ROOT = str(Path(__file__).resolve().parents[2])


def main(arguments: list[str]) -> None:
    """Tie this process to its standard input, then be the module of the first argument."""
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_end_with, args=(pipe,), name="parent-death", daemon=True).start()
    if _ROOT not in map(os.path.realpath, sys.path):  # neither installed nor in PYTHONPATH
        sys.path.insert(0, _ROOT)
    sys.argv = arguments
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _end_with(pipe: int) -> None:
    while os.read(pipe, 1024):
        pass
    os._exit(_KILLED)


if __name__ == "__main__":
    main(sys.argv[1:])
