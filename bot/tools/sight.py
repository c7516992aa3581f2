"""What a model or a server wrote, so that people can trust their eyes.

Characters that nobody sees are written out, and so are letters of other alphabets where they stand
for Latin ones; what looks like a secret is not shown at all.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from registry.pasted import veiled

Screen = Callable[[str], str]
"""Takes out of a text what people should not read."""

MOST_TOLD = 3
WARNING = "⚠️ Not what it looks like: {}."

_KEPT = frozenset("\n\t")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e01ef]"
)
_JOINERS = frozenset("\u200c\u200d")
_JOINED = frozenset({"Lo", "Mn", "Mc", "So", "Sk"})
_BARE_LATIN = frozenset("\u0131\u0237\u0251\u0261")  # i and j without dots, a and g as in script
_TOKEN = re.compile(r"[^\s,;()<>\[\]{}\"']+")
_PART = re.compile(r"[^\W_]+")
_ADDRESS = re.compile(r"@|/|\w\.\w")


def screened(value: Any, screen: Screen, name: str = "") -> Any:
    """A JSON value without secrets and without what `screen` takes out, names included."""
    if isinstance(value, Mapping):
        return {screen(str(key)): screened(one, screen, str(key)) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [screened(one, screen, name) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    text = value if isinstance(value, str) else str(value)
    shown = veiled(name, screen(text))
    return value if shown == text else shown


def visible(text: str, *, name: bool = False) -> tuple[str, list[str]]:
    """The text as it is, and a word for each kind of character in it that deceives.

    A `name` and an address deceive also where all of it is of letters that look like Latin ones,
    any other word where such letters stand among Latin ones.
    """
    if text.isascii() and text.isprintable():
        return text, []
    told = {at: text[at] for at in (*_unseen(text), *_strangers(text, name=name))}
    shown = "".join(_code_point(c) if at in told else c for at, c in enumerate(text))
    return shown, [f"{_code_point(c)} is {_name(c)}" for c in sorted(set(told.values()))]


def warning(told: list[str]) -> str:
    """One line of what deceives, or nothing."""
    if not told:
        return ""
    more = f", and {len(told) - MOST_TOLD} more" if len(told) > MOST_TOLD else ""
    return WARNING.format(", ".join(told[:MOST_TOLD]) + more)


def _unseen(text: str) -> Iterator[int]:
    """Where characters stand that nobody sees; those that join foreign letters belong there."""
    for at, char in enumerate(text):
        hidden = unicodedata.category(char) in _HIDDEN or _BLANK.match(char)
        if hidden and char not in _KEPT and not _joins(text, at):
            yield at


def _joins(text: str, at: int) -> bool:
    """Whether a joiner stands between signs that are written with joiners."""
    beside = text[max(at - 1, 0)], text[min(at + 1, len(text) - 1)]
    return text[at] in _JOINERS and all(unicodedata.category(c) in _JOINED for c in beside)


def _strangers(text: str, *, name: bool) -> Iterator[int]:
    """Where letters stand that pretend to be Latin ones."""
    for token in _TOKEN.finditer(text):
        if token[0].isascii():
            continue
        strict = name or bool(_ADDRESS.search(token[0]))
        for part in _PART.finditer(text, *token.span()):
            found = [i for i, c in enumerate(part[0], part.start()) if _looks_latin(c)]
            letters = sum(c.isalpha() for c in part[0])
            among = any(c.isascii() and c.isalpha() for c in part[0])
            if among or (strict and len(found) == letters):
                yield from found


@functools.lru_cache(maxsize=4096)
def _looks_latin(char: str) -> bool:
    """Whether a letter is none of the Latin ones that everybody types, and looks like one."""
    if char.isascii() or not char.isalpha():
        return False
    plain = unicodedata.normalize("NFKC", char)
    if plain.isascii() or char in _BARE_LATIN:
        return True
    if unicodedata.name(char, "").startswith("LATIN "):
        return False
    from confusable_homoglyphs.confusables import confusables_data

    twins = [twin["c"] for twin in confusables_data.get(char, ())]
    return any(len(twin) == 1 and twin.isascii() and twin.isalnum() for twin in twins)


def _code_point(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩"


def _name(char: str) -> str:
    return unicodedata.name(char, "a hidden character").lower()
