"""What a model or a server wrote, so that people can trust their eyes.

Characters that nobody sees are written out where people decide, and left out where they only read;
letters of other alphabets are written out where they stand for Latin ones; what looks like a secret
is not shown at all.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bot.redaction import HIDDEN
from registry.normalizing import normalized
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

_UNSEEN = re.compile(f"[{HIDDEN}]+")
_EMOJI = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_JOINING = re.compile(  # of scripts that join their letters, or hold them apart
    "[\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u180a\u1810-\u18af\u1900-\u1cff\ua840-\ua8ff"
    "\ua980-\uaaff\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00010fff"
    "\U00011000-\U00011fff]"
)
_STYLES = ("\ufe0e", "\ufe0f")
_FLAGS = tuple(  # of England, Scotland and Wales: a black flag and its letters, as tags
    "".join(chr(0xE0000 + ord(letter)) for letter in region) + "\U000e007f"
    for region in ("gbeng", "gbsct", "gbwls")
)


def readable(text: str) -> str:
    """The text without characters that nobody sees: marks of direction, tags, zero width.

    Those stay that an emoji, a flag or a word of a script that joins its letters is written with.
    """
    return text if text.isascii() else _UNSEEN.sub(_needed, text)


def _needed(unseen: re.Match[str]) -> str:
    """What of some unseen characters belongs to those around them."""
    run, text, (start, end) = unseen[0], unseen.string, unseen.span()
    before, after = text[start - 1 : start], text[end : end + 1]
    if _EMOJI.match(before):
        style = run[0] if run[0] in _STYLES else ""
        joined = run[len(style) :] == "\u200d" and _EMOJI.match(after)
        flag = next((f for f in _FLAGS if run.startswith(f)), "") if before == "\U0001f3f4" else ""
        return flag or (run if joined else style)
    if run in _JOINERS and _JOINING.match(before) and _JOINING.match(after):
        return run
    is_keycap = run == "\ufe0f" and after == "\u20e3" and before in (*"0123456789#*",)
    is_form = "\u1820" <= before <= "\u18aa" and "\u180b" <= run[0] <= "\u180f"
    return run[0] if is_keycap or is_form else ""


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
    plain = normalized("NFKC", char)
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
