"""Modules of others that take seconds to load, for the one worker that runs their tests."""

from __future__ import annotations

import importlib
from typing import Any


class Lazily:
    """A module that is loaded where something of it is first used.

    Every worker loads every file of tests; a file that names `Lazily` stays on one worker.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # pytest looks for marks and fixtures in everything
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)
