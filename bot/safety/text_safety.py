"""Text by models, servers and strangers, made safe to show to people.

Where people decide, invisible characters and imitations of Latin letters are written out as code
points, and what looks like a secret is hidden; where they only read, invisible ones are left out.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bot.ops.redaction import INVISIBLE
from registry.normalizing import normal_form
from registry.secrets import redact

MAX_WARNINGS = 3
WARNING = "⚠️ Not what it looks like: {}."

Redact = Callable[[str], str]
"""Takes out of a text what people should not read."""

_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LINE_BREAKS = frozenset("\n\t")
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0\U000e0100-\U000e01ef]"
)
_JOINERS = frozenset("\u200c\u200d")
_JOINED = frozenset({"Lo", "Mn", "Mc", "So", "Sk"})
_BARE_LATIN = frozenset("\u0131\u0237\u0251\u0261")  # i and j without dots, a and g as in script
_TOKEN = re.compile(r"[^\s,;()<>\[\]{}\"']+")
_PART = re.compile(r"[^\W_]+")
_ADDRESS = re.compile(r"@|/|\w\.\w")
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+.!|<>~&$-]")

_INVISIBLE_RUN = re.compile(f"[{INVISIBLE}]+")
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


def printable(text: str, limit: int | None = None) -> str:
    """The text without control, bidirectional, zero-width and unassigned characters, cut."""
    if not text.isascii() or not text.isprintable():
        text = "".join(c for c in text if is_printable(c))
    if limit is not None and len(text) > limit:
        return text[: limit - 1] + "…"
    return text


def is_printable(char: str) -> bool:
    """Whether people see a character; line feeds and tabs count as seen."""
    if char in _LINE_BREAKS:
        return True
    is_selector = "\U000e0100" <= char <= "\U000e01ef"
    return unicodedata.category(char) not in _UNPRINTABLE and not is_selector


def safe_text(text: str, limit: int = 500) -> str:
    """A stranger's text for use in Markdown: on one line, with nothing that formats or links."""
    flat = " ".join(printable(text, limit).split())
    # By number, not behind a backslash: two brackets behind backslashes would be a formula.
    return _MARKDOWN.sub(lambda mark: f"&#{ord(mark[0])};", flat)


def strip_invisible(text: str) -> str:
    """The text without invisible characters: marks of direction, tags, zero width.

    Those stay that an emoji, a flag or a word of a script that joins its letters is written with.
    """
    return text if text.isascii() else _INVISIBLE_RUN.sub(_needed, text)


def _needed(invisible: re.Match[str]) -> str:
    """The part of a run of invisible characters that belongs to those around it."""
    run, text, (start, end) = invisible[0], invisible.string, invisible.span()
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


def redact_values(value: Any, screen: Redact, name: str = "") -> Any:
    """A JSON value without what looks like a secret or `screen` takes out, names included."""
    if isinstance(value, Mapping):
        return {
            screen(str(key)): redact_values(one, screen, str(key)) for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact_values(one, screen, name) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    text = value if isinstance(value, str) else str(value)
    shown = redact(name, screen(text))
    return value if shown == text else shown


def reveal(text: str, *, name: bool = False) -> tuple[str, list[str]]:
    """The text with deceptive characters written out, and a description of each kind of them.

    In a `name` or an address a word of imitated Latin letters alone deceives as well, elsewhere
    only one that mixes them with Latin ones.
    """
    if text.isascii() and text.isprintable():
        return text, []
    deceptive = {at: text[at] for at in (*_invisible(text), *_imitations(text, name=name))}
    shown = "".join(_code_point(c) if at in deceptive else c for at, c in enumerate(text))
    return shown, [
        f"{_code_point(c)} is {unicodedata.name(c, 'a hidden character').lower()}"
        for c in sorted(set(deceptive.values()))
    ]


def deception_warning(deceptive: list[str]) -> str:
    """One line on what deceives, or nothing."""
    if not deceptive:
        return ""
    more = f", and {len(deceptive) - MAX_WARNINGS} more" if len(deceptive) > MAX_WARNINGS else ""
    return WARNING.format(", ".join(deceptive[:MAX_WARNINGS]) + more)


def _invisible(text: str) -> Iterator[int]:
    """Positions of invisible characters, but for those that their neighbours are written with."""
    for at, char in enumerate(text):
        is_unseen = not is_printable(char) or _BLANK.match(char) or _selects_nothing(text, at)
        if is_unseen and not _joins(text, at):
            yield at


def _selects_nothing(text: str, at: int) -> bool:
    """Whether a selector of a variant stands where there is none to select."""
    if not "\ufe00" <= text[at] <= "\ufe0f":
        return False
    before, after = text[max(at - 1, 0) : at], text[at + 1 : at + 2]
    is_style = text[at] in _STYLES and bool(_EMOJI.match(before))
    return not is_style and after != "\u20e3"


def _joins(text: str, at: int) -> bool:
    neighbours = text[max(at - 1, 0)], text[min(at + 1, len(text) - 1)]
    return text[at] in _JOINERS and all(unicodedata.category(c) in _JOINED for c in neighbours)


def _imitations(text: str, *, name: bool) -> Iterator[int]:
    """Positions of letters that imitate Latin ones."""
    for token in _TOKEN.finditer(text):
        if token[0].isascii():
            continue
        strict = name or bool(_ADDRESS.search(token[0]))
        for part in _PART.finditer(text, *token.span()):
            found = [i for i, c in enumerate(part[0], part.start()) if _looks_latin(c)]
            letters = sum(c.isalpha() for c in part[0])
            is_mixed = any(c.isascii() and c.isalpha() for c in part[0])
            if is_mixed or (strict and len(found) == letters):
                yield from found


@functools.lru_cache(maxsize=4096)
def _looks_latin(char: str) -> bool:
    """Whether a letter looks like a Latin one, and is none that people type."""
    if char.isascii() or not char.isalpha():
        return False
    plain = normal_form("NFKC", char)
    if plain.isascii() or char in _BARE_LATIN:
        return True
    if unicodedata.name(char, "").startswith("LATIN "):
        return False
    from confusable_homoglyphs.confusables import confusables_data

    twins = [twin["c"] for twin in confusables_data.get(char, ())]
    return any(len(twin) == 1 and twin.isascii() and twin.isalnum() for twin in twins)


def _code_point(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩"
