"""The garbage collector: off while we load, afterwards only for what came since.

The libraries are half a million objects that never become garbage; walking them again and again
costs a fifth of the CPU of a busy host, and pauses that a person can feel.
"""

from __future__ import annotations

import gc

THRESHOLDS = (5000, 20, 50)


def pause() -> None:
    """Stop collecting: much is about to be loaded, and none of it will go."""
    gc.disable()


def resume() -> None:
    """Collect again, without looking at what is loaded now.

    Does nothing where `pause` was not called, as in a process that is not ours alone.
    """
    if gc.isenabled():
        return
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
