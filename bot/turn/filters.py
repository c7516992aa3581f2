"""What may not go out: secrets, personal data, blocked topics; in answers and previews; pure.

A preview ends where nothing of that kind can be half written. Questions are another matter: who
approves has to see what is allowed, so they show the ends of what answers do not show at all.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bot.turn.personal import Found, personal, settled

Handling = Literal["off", "warn", "redact", "block"]
STRICTNESS: tuple[Handling, ...] = ("off", "warn", "redact", "block")

REDACTED = "[{} removed]"
SHORTENED: Mapping[str, Callable[[str], str]] = {
    "e-mail address": lambda text: f"{text[0]}…@{text.partition('@')[2]}",
    "identity number": lambda _text: "[identity number hidden]",
}
SECRET = "[secret]"  # noqa: S105 - what stands in the place of one
WARNING = "_(This answer contains personal data.)_"
WITHHELD = "I can't show this answer: it contains personal data."
BLOCKED = "I can't talk about that here."
PROMPT = "Do not help with or talk about these topics, and say so plainly: {}."

_LEAST_SECRET = 8
_FOREIGN = re.compile(r"[^\x00-\x7f]")


def stricter(*handlings: Handling) -> Handling:
    """The strictest of several ways to handle personal data."""
    return max(handlings, key=STRICTNESS.index, default="off")


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of one agent: its blocked topics, and how personal data is handled.

    `secrets` are values that the host knows and that nobody may read.
    """

    topics: tuple[str, ...] = ()
    personal: Handling = "off"
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def out(self, text: str) -> str:
        """A text as it may go out."""
        text = self._without_secrets(text)
        if self._is_blocked(text):
            return BLOCKED
        found = personal(text) if self.personal != "off" else []
        if not found:
            return text
        if self.personal == "redact":
            return _replaced(text, found, _removed)
        return WITHHELD if self.personal == "block" else f"{text}\n\n{WARNING}"

    def preview(self, text: str) -> str:
        """As much of a growing text as surely may go out; it may be nothing yet."""
        text = self._without_secrets(text[: self._before_secrets(text)])
        end, found = self._before_topics(text), list[Found]()
        if self.personal != "off":
            found, end = personal(text), min(end, settled(text))
        end = min([end, *(one.start for one in found if one.start < end < one.end)])
        found = [one for one in found if one.end <= end]
        if self._is_blocked(text) or (found and self.personal == "block"):
            return ""
        return _replaced(text[:end], found if self.personal == "redact" else [], _removed)

    def question(self, text: str) -> str:
        """A text as whoever approves may read it: secrets hidden, personal data shortened."""
        text = self._without_secrets(text)
        if self.personal in ("off", "warn"):
            return text
        return _replaced(text, personal(text), _shortened)

    def kept(self, text: str) -> str:
        """A tool's text as the model may read it and the store may keep it: secrets hidden."""
        return self._without_secrets(text)

    def prompt(self) -> str | None:
        """What the model is told of blocked topics."""
        return PROMPT.format(", ".join(self.topics)) if self.topics else None

    def _without_secrets(self, text: str) -> str:
        for secret in _known(self.secrets):
            text = text.replace(secret, SECRET)
        return text

    def _before_secrets(self, text: str) -> int:
        """Where a secret may begin that is not written to its end."""
        known, begin = _known(self.secrets), _beginnings(self.secrets)
        first = max(0, len(text) - len(known[0])) if known else len(text)
        for at in range(first, len(text)):
            if (those := begin.get(text[at])) and any(s.startswith(text[at:]) for s in those):
                return at
        return len(text)

    def _before_topics(self, text: str) -> int:
        """Where a topic may begin that is not written to its end."""
        spoken = [folded(topic) for topic in self.topics]
        if not spoken:
            return len(text)
        most = max(len(topic.split()) for topic in spoken)
        words = (at for at, word in _words_back(text) if folded(word))
        by_words = next(itertools.islice(words, most - 1, None), 0)
        wide = max((2 * len(topic) for topic in spoken if not topic.isascii()), default=0)
        return min(by_words, max(0, len(text) - wide))

    def _is_blocked(self, text: str) -> bool:
        if not self.topics:
            return False
        flat = f" {folded(text)}"
        return any(f" {t}" in flat if t.isascii() else t in flat for t in map(folded, self.topics))


@functools.lru_cache(maxsize=256)
def _known(secrets: tuple[str, ...]) -> list[str]:
    """Those that are long enough to be told from words, the longest first."""
    found = (secret for secret in secrets if len(secret) >= _LEAST_SECRET)
    return sorted(found, key=len, reverse=True)


@functools.lru_cache(maxsize=256)
def _beginnings(secrets: tuple[str, ...]) -> dict[str, list[str]]:
    """The secrets by their first character."""
    found: dict[str, list[str]] = {}
    for secret in _known(secrets):
        found.setdefault(secret[0], []).append(secret)
    return found


def folded(text: str) -> str:
    """The words of a text alone, whatever stands between, before or inside of them unseen."""
    seen = _FOREIGN.sub(_if_seen, unicodedata.normalize("NFKC", text))
    return re.sub(r"[\W_]+", " ", seen.casefold()).strip()


def _if_seen(match: re.Match[str]) -> str:
    return "" if unicodedata.category(match[0]) == "Cf" else match[0]


def _words_back(text: str) -> Iterator[tuple[int, str]]:
    """The words of a text and where each begins, the last one first."""
    while text := text.rstrip():
        at = max(text.rfind(blank) for blank in " \n\t") + 1
        yield at, text[at:]
        text = text[:at]


def _replaced(text: str, found: list[Found], put: Callable[[str, Found], str]) -> str:
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], put(text[one.start : one.end], one)]
        at = one.end
    return "".join([*parts, text[at:]])


def _removed(_text: str, one: Found) -> str:
    return REDACTED.format(one.kind)


def _shortened(text: str, one: Found) -> str:
    if one.kind in SHORTENED:
        return SHORTENED[one.kind](text)
    return f"[{one.kind} that ends in {text[-4:]}]"
