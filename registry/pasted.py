"""Secrets that were pasted into a document: found by their shape, never repeated."""

from __future__ import annotations

import math
import re
from collections import Counter

from registry.references import REFERENCE

VEIL = "[secret]"

_SHAPES = {
    "a bot token": r"\b\d{6,12}:[A-Za-z0-9_-]{30,}",
    "an API key": (
        r"\bsk-ant-[A-Za-z0-9_-]{8,}|\bsk-(?:proj-|or-v1-)?[A-Za-z0-9_-]*[A-Za-z0-9]{24,}"
        r"|\bAIza[A-Za-z0-9_-]{35}|\bAKIA[A-Z0-9]{16}\b"
    ),
    "an access token": (
        r"\bgh[oprsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}"
        r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{30,}"
        r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]*"
    ),
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
_KNOWN = {what: re.compile(shape) for what, shape in _SHAPES.items()}
_CREDENTIAL = re.compile(r"(?i)\b(?:bearer|basic)\s+(?!\$\{)[^\s,;]+")
_NAMES = re.compile(
    r"(?i)(?:^|[_-])(?:authorization|cookie|token|secret|password|passwd|credentials?|apikey"
    r"|(?:api|private|access|auth|secret)[_-]key)$"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_SEPARATORS = re.compile(r"[\s,;:=&?'\"()<>|]+")
_PIECE = re.compile(r"[^\s,;:=&?'\"()<>|]+")
_OPAQUE = re.compile(r"[A-Za-z0-9+/_.~-]{24,}\Z")


def known_secret(text: str) -> str | None:
    """What kind of well-known secret a text contains, or None."""
    return next((what for what, shape in _KNOWN.items() if shape.search(text)), None)


def secret_value(name: str, text: str) -> str | None:
    """What kind of secret a header or variable of this name holds in clear, or None."""
    if known := known_secret(text):
        return known
    if _CREDENTIAL.search(text):
        return "a credential"
    clear = REFERENCE.sub(" ", text)
    if _NAMES.search(name) and _says_something(clear):
        return "a secret"
    if any(_random(piece) for piece in _SEPARATORS.split(clear)):
        return "a long random text"
    return None


def veiled(name: str, text: str) -> str:
    """A text as people may read it: a word for each secret; nothing where its name says secret."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    if text.strip() and (_NAMES.search(plain) or _KNOWN["a private key"].search(text)):
        return VEIL
    for what, shape in _KNOWN.items():
        text = shape.sub(f"[{what}]", text)
    text = _CREDENTIAL.sub("[a credential]", text)
    return _PIECE.sub(lambda m: _hint(m[0]) if _random(m[0]) else m[0], text)


def _hint(piece: str) -> str:
    return f"[looks like a key: {piece[:4]}…{piece[-4:]}, {len(piece)} characters]"


def shown(text: object, width: int = 40) -> str:
    """A value as an error may repeat it: short, one line, and never one that holds a secret."""
    plain = str(text)
    if known_secret(plain) or any(_random(piece) for piece in _SEPARATORS.split(plain)):
        return "(hidden)"
    line = "".join(c if c.isprintable() else "·" for c in plain)
    return f"'{line}'" if len(line) <= width else f"'{line[:width]}…'"


def _says_something(text: str) -> bool:
    words = [w for w in text.split() if w.lower() not in {"bearer", "basic", "token"}]
    return any(len(word) >= 6 and not word.isdigit() for word in words)


def _random(piece: str) -> bool:
    if not _OPAQUE.match(piece) or piece.startswith(("/", ".", "~")) or _UUID.match(piece):
        return False
    if not any(c.isdigit() for c in piece) or not any(c.isalpha() for c in piece):
        return False
    counts = Counter(piece).values()
    entropy = -sum(n / len(piece) * math.log2(n / len(piece)) for n in counts)
    digits = sum(c.isdigit() for c in piece)
    return entropy >= 3.3 and (digits >= 4 or entropy >= 4.2)
