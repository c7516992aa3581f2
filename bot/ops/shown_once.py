"""Texts that may reach one message and nothing that is stored: they wait in memory alone."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_MARK = "shown-once-"
_PLACEHOLDER = re.compile(rf"{_MARK}[0-9a-f]{{16}}x*")
_LOST = "lost: revoke it"
KEPT_S = 600.0
"""How long a text waits for its message to be sent."""
SHORTEST = len(_MARK) + 16


@dataclass(slots=True, repr=False)
class ShownOnce:
    """Placeholders of the same length stand for the texts until the message leaves this process.

    After a restart, or on another replica, the text is gone, and the message says so.
    """

    now: Callable[[], float] = time.monotonic
    _waiting: dict[str, tuple[str, float]] = field(default_factory=dict, init=False)

    def hide(self, text: str) -> str:
        """A placeholder as long as the text, the same each time; ValueError for a short text."""
        if len(text) < SHORTEST:
            raise ValueError("the text is too short to be hidden")
        self._forget_old()
        known = [one for one, (hidden, _) in self._waiting.items() if hidden == text]
        if known:
            return known[0]
        placeholder = f"{_MARK}{secrets.token_hex(8)}".ljust(len(text), "x")
        self._waiting[placeholder] = (text, self.now() + KEPT_S)
        return placeholder

    def reveal(self, message: str) -> str:
        """A message with its texts in place of their placeholders, as it is sent."""
        if _MARK not in message:
            return message
        self._forget_old()
        return _PLACEHOLDER.sub(lambda found: self._text(found[0]), message)

    def _text(self, placeholder: str) -> str:
        if placeholder in self._waiting:
            return self._waiting[placeholder][0]
        return _LOST.ljust(len(placeholder))

    def _forget_old(self) -> None:
        now = self.now()
        for placeholder in [one for one, (_, ends) in self._waiting.items() if ends <= now]:
            del self._waiting[placeholder]
