"""A host that forgets, at a signal, what it remembers of texts: each try of a bomb is the first.

Read by its interpreter when it starts, as this folder stands first on its path.
"""

from __future__ import annotations

import functools
import gc
import signal
from typing import Any


def _forget(*_: Any) -> None:
    gc.unfreeze()  # else what was there from the beginning is not among the objects
    for one in gc.get_objects():
        if isinstance(one, functools._lru_cache_wrapper):
            if one.__module__.startswith(("bot.", "registry.")) and one.cache_info().maxsize:
                one.cache_clear()
        elif _is(one, "bot.safety.validation", "SchemaValidator"):
            one._cache.clear()
        elif _is(one, "bot.ops.redaction", "_Matcher"):
            one._clean.clear()
    gc.freeze()


def _is(one: object, module: str, name: str) -> bool:
    return (type(one).__module__, type(one).__name__) == (module, name)


signal.signal(signal.SIGUSR2, _forget)
