"""The garbage collector's rhythm: quiet while we load, then only what came since is looked at.

The libraries are some half a million objects that never become garbage; walking over them again and
again costs a fifth of the CPU of a busy host, and pauses that a person can feel.
"""

from __future__ import annotations

import gc

THRESHOLDS = (5000, 20, 50)


def loading() -> None:
    """Much is about to be loaded, and nothing of it will go."""
    gc.disable()


def loaded() -> None:
    """All is loaded: what is there now stays out of every later collection.

    Does nothing where `loading` was not called, as in a process that is not ours alone.
    """
    if gc.isenabled():
        return
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
