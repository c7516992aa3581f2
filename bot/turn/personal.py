"""Personal data in a text: where it stands, and of which kind it is; pure.

Our patterns find what may be some, in time that grows with the text alone; libraries with the check
digits and number plans of the world judge it. They are loaded when the first text is looked at.
"""

from __future__ import annotations

import functools
import importlib
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from registry.normalizing import normalized

Kind = Literal[
    "e-mail address", "card number", "bank account", "telephone number", "identity number"
]
Taken = tuple[int, Kind] | None
"""How much of a candidate is personal data, and of which kind."""

REACH = 72
"""What has blanks in it is no longer, and is judged by no more characters than these."""

_LETTER = r"A-Za-z\u00c0-\u058f"
_EMAIL = re.compile(
    rf"(?<![{_LETTER}\d._%+-])[{_LETTER}\d._%+-]{{1,64}}@(?:[{_LETTER}\d-]{{1,63}}\.){{1,8}}"
    rf"(?:[{_LETTER}]{{2,63}}|xn--[A-Za-z\d-]{{1,59}})"
)
_ACCOUNT = re.compile(r"(?<![^\W_])[A-Za-z]{2}\d{2}(?: ?[A-Za-z\d]){11,30}(?![A-Za-z\d])")
_CARD = re.compile(r"(?<![^\W_])[2-6](?:[ -]?\d){12,18}(?!\d)")
_ABROAD = re.compile(r"(?<![\w+])(?:\+|00) ?\(?[1-9](?:[ ()./-]{0,2}\d){6,13}(?!\d)")
_AT_HOME = re.compile(r"(?<![\w+(])(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?!\d)")
_IDENTITIES = {
    "stdnum.us.ssn": re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    "stdnum.br.cpf": re.compile(r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])"),
    "stdnum.es.nif": re.compile(r"(?<![\w-])(?:\d{8}|[XYZxyz]-?\d{7})-?[A-Za-z](?![\w-])"),
    "stdnum.it.codicefiscale": re.compile(
        r"(?<!\w)[A-Za-z]{6}\d\d[A-Za-z]\d\d[A-Za-z]\d{3}[A-Za-z](?!\w)"
    ),
    "stdnum.fr.nir": re.compile(r"(?<!\w)[12](?:[ .-]?\d){14}(?!\w)"),
}
_ENDS = re.compile(r"[A-Za-z\d](?![A-Za-z\d])")
_MARKS = re.compile(r"[\\*`~]")
_OPEN = re.compile(r"[!-~\u00a1-\u058f]*")
"""What may still grow at the end of a text; looked for from behind."""
_WORD = re.compile(r"\S+")
_DIGIT = re.compile(r"\d")
_MAY_BEGIN = re.compile(r"[\d+(]")


@dataclass(frozen=True, slots=True)
class Found:
    """Personal data of a kind, from `start` to before `end`."""

    start: int
    end: int
    kind: Kind


def personal(text: str) -> list[Found]:
    """All personal data of a text, in order and without overlaps."""
    found, at = list[Found](), 0
    for line in text.split("\n"):
        found += [Found(at + one.start, at + one.end, one.kind) for one in _of_line(line)]
        at += len(line) + 1
    return found


@functools.lru_cache(maxsize=256)
def _of_line(line: str) -> list[Found]:
    """What a line has: no kind goes on in the next one, and a growing text asks again and again."""
    bare, places = _bare(line)
    merged: list[Found] = []
    for one in sorted(_all(bare), key=lambda one: (one.start, -one.end)):
        last = merged[-1] if merged else one
        if merged and one.start < last.end:
            merged[-1] = Found(last.start, max(last.end, one.end), last.kind)
        else:
            merged.append(one)
    if places is None:
        return merged
    return [Found(places[one.start], places[one.end - 1] + 1, one.kind) for one in merged]


def settled(text: str) -> int:
    """Up to where more text changes nothing: behind it something may be half written."""
    before = text.rfind("\n") + 1
    line = text[before:]
    bare, places = _bare(line)
    tail = _OPEN.match(bare[::-1])
    at = len(bare) - (tail.end() if tail else 0)
    near = max(0, len(bare) - REACH)
    words = _WORD.finditer(bare, max(bare.rfind(" ", 0, near), bare.rfind("\t", 0, near)) + 1)
    at = min([at, *(word.start() for word in words if _MAY_BEGIN.search(word[0]))])
    if places is not None:
        at = places[at] if at < len(places) else len(line)
    return before + at


@functools.lru_cache(maxsize=64)
def _bare(text: str) -> tuple[str, list[int] | None]:
    """The text in plain characters, without hidden ones and marks, and where each of them stood."""
    if text.isascii() and not _MARKS.search(text):
        return text, None
    kept = [(_plain(c), i) for i, c in enumerate(text)]
    kept = [(char, i) for char, i in kept if char]
    return "".join(char for char, _ in kept), [i for _, i in kept]


@functools.lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """One plain character for one of another width, digit, dash or space; none for a hidden one."""
    if char.isascii():
        return "" if _MARKS.match(char) else char
    kind = unicodedata.category(char)
    if kind == "Nd":
        return str(unicodedata.digit(char))
    if kind in ("Pd", "Zs", "Cf"):
        return {"Pd": "-", "Zs": " ", "Cf": ""}[kind]
    folded = normalized("NFKC", char)
    return folded if len(folded) == 1 else char


def _all(text: str) -> Iterator[Found]:
    if "@" in text:
        yield from (Found(m.start(), m.end(), "e-mail address") for m in _EMAIL.finditer(text))
    if not _DIGIT.search(text):
        return
    yield from _judged(text, _ACCOUNT, _account)
    yield from _judged(text, _CARD, _card)
    yield from _judged(text, _ABROAD, _phone)
    yield from _judged(text, _AT_HOME, _phone)
    for library, pattern in _IDENTITIES.items():
        yield from _judged(text, pattern, functools.partial(_identity, library))


def _judged(text: str, pattern: re.Pattern[str], judge: Callable[[str], Taken]) -> Iterator[Found]:
    """What a judge takes of the candidates; one that it refuses may hide another."""
    at = 0
    while match := pattern.search(text, at):
        taken = judge(match[0])
        at = match.start() + (taken[0] if taken else 1)
        if taken:
            yield Found(match.start(), at, taken[1])


def _card(candidate: str) -> Taken:
    for end in _group_ends(candidate):
        digits = re.sub(r"\D", "", candidate[:end])
        if len(digits) >= 13 and len(set(digits)) > 1 and _valid("stdnum.luhn", digits):
            return end, "card number"
    return None


def _account(candidate: str) -> Taken:
    for end in _group_ends(candidate):
        bare = candidate[:end].replace(" ", "").upper()
        if len(bare) >= 15 and _remainder(bare) == 1 and _valid("stdnum.iban", bare):
            return end, "bank account"
    return None


def _remainder(bare: str) -> int:
    """What is left of an account number by 97: the quick half of its judgement."""
    return int("".join(str(int(c, 36)) for c in bare[4:] + bare[:4])) % 97


def _phone(candidate: str) -> Taken:
    import phonenumbers

    region = None if candidate.startswith(("+", "00")) else "US"
    for end in _group_ends(candidate):
        try:
            number = phonenumbers.parse(re.sub(r"\A00 ?", "+", candidate[:end]), region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return end, "telephone number"
    return None


def _identity(library: str, candidate: str) -> Taken:
    fits = _valid(library, re.sub(r"[ .-]", "", candidate))
    return (len(candidate), "identity number") if fits else None


def _group_ends(candidate: str) -> list[int]:
    """Where a candidate may end, the longest first: other words may follow what is looked for."""
    return [match.end() for match in _ENDS.finditer(candidate)][::-1]


def _valid(library: str, text: str) -> bool:
    return bool(_judge(library)(text))


@functools.cache
def _judge(library: str) -> Callable[[str], bool]:
    return importlib.import_module(library).is_valid  # type: ignore[no-any-return]
