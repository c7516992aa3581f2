"""What may not go out: personal data and blocked topics, in answers and in their previews; pure.

Found are e-mail addresses, payment cards and bank accounts (by their check digits), and telephone
numbers with a country code. A preview ends where nothing of that kind can be half written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REDACTED = "[{} removed]"
WARNING = "_(This answer contains personal data.)_"
WITHHELD = "I can't show this answer: it contains personal data."
BLOCKED = "I can't talk about that here."
PROMPT = "Do not help with or talk about these topics, and say so plainly: {}."

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_PHONE = re.compile(r"(?<![\w+])(?:\+|00)[1-9](?:[ ()./-]{0,2}\d){7,13}(?!\d)")
_DIGITS = re.compile(r"(?<![A-Za-z])\d+(?:[ -]\d+)*(?![A-Za-z])")
_ACCOUNT = re.compile(r"(?<![A-Za-z\d])[A-Z]{2}\d{2}(?: ?[A-Z\d])+")
_GROUP_END = re.compile(r"[A-Z\d](?![A-Z\d])")
_MAY_GROW = re.compile(r"[\d+(]")


def _is_card(digits: str) -> bool:
    numbers = [int(c) for c in reversed(digits)]
    total = sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(numbers))
    return 13 <= len(digits) <= 19 and total % 10 == 0 and len(set(digits)) > 1


def _is_account(bare: str) -> bool:
    turned = bare[4:] + bare[:4]
    return 15 <= len(bare) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _without_cards(found: re.Match[str]) -> str:
    """A run of digit groups without the groups that make a card's number."""
    groups = re.findall(r"\d+[ -]?", found[0])
    kept: list[str] = []
    while groups:
        lengths = range(min(len(groups), 19), 0, -1)
        run = (n for n in lengths if _is_card(re.sub(r"\D", "", "".join(groups[:n]))))
        size = next(run, 0)
        gap = re.sub(r"\d", "", groups[size - 1]) if size else ""
        kept.append(REDACTED.format("card number") + gap if size else groups[0])
        del groups[: size or 1]
    return "".join(kept)


def _without_account(found: re.Match[str]) -> str:
    """A text without the bank account that it begins with, if it does."""
    text = found[0]
    ends = [match.end() for match in _GROUP_END.finditer(text)]
    for end in reversed([end for end in ends if end <= 48]):
        if _is_account(text[:end].replace(" ", "")):
            return REDACTED.format("bank account") + text[end:]
    return text


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
        safe = _finished(text)
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
    text = _EMAIL.sub(REDACTED.format("e-mail address"), text)
    text = _ACCOUNT.sub(_without_account, text)
    text = _DIGITS.sub(_without_cards, text)
    return _PHONE.sub(REDACTED.format("telephone number"), text)


def _finished(text: str) -> str:
    """The text up to where something may still grow: a last word, and numbers before it."""
    words = re.findall(r"\s*\S+", text)
    if words and not text[-1].isspace():
        words.pop()
    while words and _MAY_GROW.search(words[-1]):
        words.pop()
    return "".join(words)


def _spoken(topic: str) -> str:
    return " ".join(topic.replace("_", " ").casefold().split())
