"""What may not go out: personal data and blocked topics, in answers and in their previews; pure.

Found are e-mail addresses, payment cards and bank accounts (by their check digits), and telephone
numbers with a country code. A preview ends where nothing of that kind can be half written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTED = "[{} removed]"
WARNING = "_(This answer contains personal data.)_"
WITHHELD = "I can't show this answer: it contains personal data."
BLOCKED = "I can't talk about that here."
PROMPT = "Do not help with or talk about these topics, and say so plainly: {}."

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_CARD = re.compile(r"(?<![\dA-Za-z])\d(?:[ -]?\d){12,18}(?![\dA-Za-z])")
_IBAN = re.compile(r"(?<![A-Za-z\d])[A-Z]{2}\d{2}(?: ?[A-Z\d]{2,4}){3,8}(?![A-Za-z\d])")
_PHONE = re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){7,13}(?!\d)")
# What may still grow into one of these: a last word, or digits with what stands between them.
_GROWING = re.compile(r"(?:[\d ()./+-]|[A-Z\d]{2,4} (?=[A-Z\d ]*\Z))*\S*\Z")


def _card(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = [d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits[::-1])]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _iban(text: str) -> bool:
    bare = text.replace(" ", "")
    turned = bare[4:] + bare[:4]
    return 15 <= len(bare) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _any(_text: str) -> bool:
    return True


_KINDS: list[tuple[str, re.Pattern[str], Callable[[str], bool]]] = [
    ("e-mail address", _EMAIL, _any),
    ("bank account", _IBAN, _iban),
    ("card number", _CARD, _card),
    ("telephone number", _PHONE, _any),
]


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of one agent; `personal` is redact, warn or block, None lets all pass."""

    topics: tuple[str, ...] = ()
    personal: str | None = None

    def out(self, text: str) -> str:
        """A text as it may go out."""
        if self._is_blocked(text):
            return BLOCKED
        redacted = redact(text) if self.personal else text
        if redacted == text or self.personal == "redact":
            return redacted
        return WITHHELD if self.personal == "block" else f"{text}\n\n{WARNING}"

    def preview(self, text: str) -> str:
        """As much of a growing text as surely may go out; it may be nothing yet."""
        if not self.topics and self.personal is None:
            return text
        safe = _GROWING.sub("", text)
        if self._is_blocked(safe) or (self.personal == "block" and redact(safe) != safe):
            return ""
        return redact(safe) if self.personal == "redact" else safe

    def prompt(self) -> str | None:
        """What the model is told of blocked topics."""
        return PROMPT.format(", ".join(self.topics)) if self.topics else None

    def _is_blocked(self, text: str) -> bool:
        flat = " ".join(text.casefold().split())
        return any(_spoken(topic) in flat for topic in self.topics)


def redact(text: str) -> str:
    """The text without personal data."""
    for kind, pattern, holds in _KINDS:
        mark = REDACTED.format(kind)
        text = pattern.sub(lambda m, mark=mark, holds=holds: mark if holds(m[0]) else m[0], text)  # type: ignore[misc]
    return text


def _spoken(topic: str) -> str:
    return " ".join(topic.replace("_", " ").casefold().split())
