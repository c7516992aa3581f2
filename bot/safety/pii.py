"""Personal data in a text: where it is, and of which kind; pure.

Patterns find candidates in time linear in the text; libraries with the world's check digits and
number plans judge them. They are loaded when the first candidate is judged.
"""

from __future__ import annotations

import functools
import importlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from registry.normalizing import normal_form

Kind = Literal[
    "e-mail address", "card number", "bank account", "telephone number", "identity number"
]
Match = tuple[int, Kind] | None
"""How many characters of a candidate are personal data, and of which kind."""

MAX_SPACED = 72
"""Characters of a candidate with spaces in it, at most: no more are judged."""

_LETTER = r"A-Za-z\u00c0-\u058f"
_EMAIL = re.compile(
    rf"(?<![{_LETTER}\d._%+-])[{_LETTER}\d._%+-]{{1,64}}@(?:[{_LETTER}\d-]{{1,63}}\.){{1,8}}"
    rf"(?:[{_LETTER}]{{2,63}}|xn--[A-Za-z\d-]{{1,59}})"
)
_ACCOUNT = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?: ?[A-Za-z\d]){11,30}(?![A-Za-z\d])")
_CARD = re.compile(r"(?<![^\W_])[2-6](?:[ -]?\d){12,18}(?!\d)")
_INTERNATIONAL = re.compile(r"(?<![\w+])(?:\+|00) ?\(?[1-9](?:[ ()./-]{0,2}\d){6,13}(?!\d)")
_NATIONAL = re.compile(r"(?<![\w+(])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?!\d)")
_IDENTITIES = {
    "stdnum.us.ssn": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "stdnum.br.cpf": re.compile(r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])"),
    "stdnum.es.nif": re.compile(r"(?<![\w-])(?:\d{8}|[XYZxyz]-?\d{7})-?[A-Za-z](?![\w-])"),
    "stdnum.it.codicefiscale": re.compile(
        r"(?<!\w)[A-Za-z]{6}\d\d[A-Za-z]\d\d[A-Za-z]\d{3}[A-Za-z](?!\w)"
    ),
    "stdnum.fr.nir": re.compile(r"(?<!\w)[12](?:[ .-]?\d){14}(?!\w)"),
}
_GROUP_END = re.compile(r"[A-Za-z\d](?![A-Za-z\d])")
_MARKS = re.compile(r"[\\*`~]")
_OPEN_TAIL = re.compile(r"[!-~\u00a1-\u058f]*")
"""What may still grow at the end of a text; matched against the reversed text."""
_WORD = re.compile(r"\S+")
_DIGIT = re.compile(r"\d")
_NUMBER_START = re.compile(r"[\d+(]")


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data of a kind, from `start` to before `end`."""

    start: int
    end: int
    kind: Kind


def find_pii(text: str) -> list[Found]:
    """All personal data of a text, in order and without overlaps."""
    found, at = list[Found](), 0
    for line in text.split("\n"):
        found += [Found(at + one.start, at + one.end, one.kind) for one in _in_line(line)]
        at += len(line) + 1
    return found


@functools.lru_cache(maxsize=256)
def _in_line(line: str) -> list[Found]:
    """The personal data of one line: none goes across lines; cached for texts that grow."""
    plain, positions = _plain_text(line)
    merged: list[Found] = []
    for one in sorted(_candidates(plain), key=lambda one: (one.start, -one.end)):
        last = merged[-1] if merged else one
        if merged and one.start < last.end:
            merged[-1] = Found(last.start, max(last.end, one.end), last.kind)
        else:
            merged.append(one)
    if positions is None:
        return merged
    return [Found(positions[one.start], positions[one.end - 1] + 1, one.kind) for one in merged]


def stable_prefix(text: str) -> int:
    """The length of the beginning that more text cannot change: nothing in it is half written."""
    before = text.rfind("\n") + 1
    line = text[before:]
    plain, positions = _plain_text(line)
    tail = _OPEN_TAIL.match(plain[::-1])
    at = len(plain) - (tail.end() if tail else 0)
    near = max(0, len(plain) - MAX_SPACED)
    words = _WORD.finditer(plain, max(plain.rfind(" ", 0, near), plain.rfind("\t", 0, near)) + 1)
    at = min([at, *(word.start() for word in words if _NUMBER_START.search(word[0]))])
    if positions is not None:
        at = positions[at] if at < len(positions) else len(line)
    return before + at


@functools.lru_cache(maxsize=64)
def _plain_text(text: str) -> tuple[str, list[int] | None]:
    """The text in plain characters, and the position of each of them; None: the same as before."""
    if text.isascii() and not _MARKS.search(text):
        return text, None
    found = [(plain, i) for i, char in enumerate(text) if (plain := _plain_character(char))]
    return "".join(char for char, _ in found), [i for _, i in found]


@functools.lru_cache(maxsize=4096)
def _plain_character(char: str) -> str:
    """One plain character for one of another width, digit, dash or space; none for a hidden one."""
    if char.isascii():
        return "" if _MARKS.match(char) else char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category in ("Pd", "Zs", "Cf"):
        return {"Pd": "-", "Zs": " ", "Cf": ""}[category]
    plain = normal_form("NFKC", char)
    return plain if len(plain) == 1 else char


def _candidates(text: str) -> Iterator[Found]:
    if "@" in text:
        yield from (Found(m.start(), m.end(), "e-mail address") for m in _EMAIL.finditer(text))
    if not _DIGIT.search(text):
        return
    for pattern, kind, is_valid in _NUMBERS:
        yield from _judged(text, pattern, functools.partial(_longest, kind, is_valid))
    for library, pattern in _IDENTITIES.items():
        yield from _judged(text, pattern, functools.partial(_identity, library))


def _judged(text: str, pattern: re.Pattern[str], judge: Callable[[str], Match]) -> Iterator[Found]:
    """The candidates that a judge accepts; inside one that it refuses another may begin."""
    at = 0
    while match := pattern.search(text, at):
        verdict = judge(match[0])
        at = match.start() + (verdict[0] if verdict else 1)
        if verdict:
            yield Found(match.start(), at, verdict[1])


def _longest(kind: Kind, is_valid: Callable[[str], bool], candidate: str) -> Match:
    """The longest beginning of a candidate that is valid: other words may follow the number."""
    ends = [match.end() for match in _GROUP_END.finditer(candidate)][::-1]
    return next(((end, kind) for end in ends if is_valid(candidate[:end])), None)


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return len(digits) >= 13 and len(set(digits)) > 1 and _is_valid("stdnum.luhn", digits)


def _is_account(text: str) -> bool:
    bare = text.replace(" ", "").upper()
    if len(bare) < 15:
        return False
    remainder = int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97  # a quick check
    return remainder == 1 and _is_valid("stdnum.iban", bare)


def _is_phone(text: str) -> bool:
    import phonenumbers

    region = None if text.startswith(("+", "00")) else "US"
    try:
        number = phonenumbers.parse(re.sub(r"\A00 ?", "+", text), region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)


def _identity(library: str, candidate: str) -> Match:
    is_valid = _is_valid(library, re.sub(r"[ .-]", "", candidate))
    return (len(candidate), "identity number") if is_valid else None


def _is_valid(library: str, text: str) -> bool:
    return bool(importlib.import_module(library).is_valid(text))


_NUMBERS: tuple[tuple[re.Pattern[str], Kind, Callable[[str], bool]], ...] = (
    (_ACCOUNT, "bank account", _is_account),
    (_CARD, "card number", _is_card),
    (_INTERNATIONAL, "telephone number", _is_phone),
    (_NATIONAL, "telephone number", _is_phone),
)
