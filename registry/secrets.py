"""Secrets: `${NAME}` references to them, and those in plain text, found by their shape."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping

from registry.errors import ReferenceMissing

REDACTED = "[secret]"
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
TOO_SHORT = "its value is too short to be redacted, so messages may show it"
TOO_SHORT_CURE = (
    "use a secret of at least 6 characters; if it is not secret, write the value itself"
)

_KNOWN = {
    "a bot token": (re.compile(r"\b\d{6,12}:[A-Za-z0-9_-]{30,}"), (":",)),
    "an API key": (
        re.compile(
            r"\bsk-ant-[A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{35}|\bAKIA[A-Z0-9]{16}\b"
            # Tried once for each run of these characters, or a text of many "sk-" would be read as
            # often as it is long: the first "sk-" of a run has all that a later one could have.
            r"|(?<![A-Za-z0-9_-])(?:(?!\bsk-)[A-Za-z0-9_-])*+"
            r"sk-(?:[A-Za-z0-9]{0,23}[_-])*+[A-Za-z0-9]{24,}"
        ),
        ("sk-", "AIza", "AKIA"),
    ),
    "an access token": (
        re.compile(
            r"\bgh[oprsu]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bglpat-[\w-]{20,}"
            r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bhf_[A-Za-z0-9]{30,}|\bnpm_[A-Za-z0-9]{30,}"
            r"|(?<![\w-])(?:(?!\beyJ)[\w-])*+eyJ[\w-]{10,}+\.eyJ[\w-]{10,}+\.[\w-]*"
        ),
        (
            *("gho_", "ghp_", "ghr_", "ghs_", "ghu_", "github_pat_", "glpat-", "xox", "hf_"),
            *("npm_", "eyJ"),
        ),
    ),
    "a key of a service": (
        re.compile(
            r"\b(?:[rs]k_live_|whsec_|figd_|sbp_|sb_secret_|lin_api_|ntn_|shp(?:at|ca|pa|ss)_|nfp_"
            r"|do[opr]_v1_|gl(?:sa|c)_|sbk_|pscale_(?:tkn|pw|oauth)_|napi_|gsk_|xai-|tvly-|pplx-|r8_"
            r"|xapp-|GOCSPX-|ya29\.|hvs\.|dp\.pt\.|sntr[yu]s_|pypi-|NRAK-|PMAK-|ATATT3|SG\.)"
            r"[A-Za-z0-9_.-]{20,}"
        ),
        (
            *("k_live_", "whsec_", "figd_", "sbp_", "sb_secret_", "lin_api_", "ntn_", "shp"),
            *("nfp_", "_v1_", "glsa_", "glc_", "sbk_", "pscale_", "napi_", "gsk_", "xai-", "tvly-"),
            *("pplx-", "r8_", "xapp-", "GOCSPX-", "ya29.", "hvs.", "dp.pt.", "sntr", "pypi-"),
            *("NRAK-", "PMAK-", "ATATT3", "SG."),
        ),
    ),
    "a private key": (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), ("-----BEGIN",)),
}
"""The shape of each kind, and what a text with one contains at least: a much quicker test."""
_CREDENTIAL = re.compile(r"(?i)\b(?:bearer|basic)\s+(?!\$\{)[^\s,;]+")
_NAMES = re.compile(
    r"(?i)(?:^|[_-])(?:authorization|cookie|token|secret|password|passwd|credentials?|apikey"
    r"|(?:api|private|access|auth|secret|account)[_-]key)$"
)
_IN_QUERIES = re.compile(r"(?i)(?:^|[_-])(?:key|sig|signature|auth|pass|pwd)$")
_PAIR = re.compile(
    r"(?i)(?<![\w.-])([a-z][\w.-]{0,80}+)\s*+[=:]\s*+"
    r"(?=(?:(?:bearer|basic|token)\s++)?+([^\s;&]{1,100}))"
)
_OTHERS_REFERENCE = re.compile(
    r"(?i:(?:bearer|basic|token)\s++)?+(?:\$([A-Z_]\w*+)|%([A-Z_]\w*+)%"
    r"|(?:\$\{|\{\{)\s*+(?:(?:env|input|secrets)[.:])?+([A-Za-z_]\w*+)\s*+\}\}?)\Z"
)
_USER_AND_PASSWORD = re.compile(r"://[^\s/?#@:]*+:(?!\$)[^\s/?#@]++@")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_PIECE = re.compile(r"[^\s,;:=&?'\"()<>|]+")
_LOOKED_AT = 4096
_OPAQUE = re.compile(r"[A-Za-z0-9+/_.~-]{24,}\Z")


def detect_secret(text: str) -> str | None:
    """What kind of well-known secret a text contains, or None."""
    return next((what for what, shape in _likely(text) if shape.search(text)), None)


def _likely(text: str) -> list[tuple[str, re.Pattern[str]]]:
    """The kinds of secrets that a text may hold."""
    known = _KNOWN.items()
    return [(what, shape) for what, (shape, hints) in known if any(hint in text for hint in hints)]


def hide_known(text: str) -> str:
    """A text with a placeholder for each secret of a well-known shape."""
    for what, shape in _likely(text):
        text = shape.sub(f"[{what}]", text)
    return text


def has_password(text: str) -> bool:
    """Whether an address with user and password in plain text is in a text."""
    return "@" in text and bool(_USER_AND_PASSWORD.search(text))


def names_secret(option: str) -> bool:
    """Whether what follows an option of a program (`--api-key`) is a secret, as its name says."""
    return option.startswith("-") and bool(_NAMES.search(option.rstrip("=")))


def secret_pair(argument: str) -> str | None:
    """The name of a secret that an argument holds with its value (`Password=…`, `X-Api-Key: …`)."""
    for name, value in _PAIR.findall(argument):
        spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.lstrip("-"))
        if _NAMES.search(spelled) and len(value) >= 6 and not value.startswith(("$", "-", "{")):
            return str(name)
    return None


def query_secret(name: str, text: str) -> str | None:
    """What kind of secret a parameter of an address holds in plain text, or None."""
    is_mixed = any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
    if _IN_QUERIES.search(name) and is_mixed and len(text) >= 8 and "$" not in text:
        return "a secret"
    return secret_value(name, text)


def others_reference(text: str) -> str | None:
    """The name that a value refers to as other programs do (`$NAME`, `{{NAME}}`), or None."""
    match = None if REFERENCE.search(text) else _OTHERS_REFERENCE.match(text.strip())
    return match[1] or match[2] or match[3] if match else None


def secret_value(name: str, text: str) -> str | None:
    """What kind of secret a header or variable of this name holds in plain text, or None."""
    if known := detect_secret(text):
        return known
    if _CREDENTIAL.search(text):
        return "a credential"
    if has_password(text):
        return "a password in an address"
    clear = REFERENCE.sub(" ", text)
    words = [word for word in clear.split() if word.lower() not in ("bearer", "basic", "token")]
    if _NAMES.search(name) and any(len(word) >= 6 and not word.isdigit() for word in words):
        return "a secret"
    if any(map(_random, _PIECE.findall(clear))):
        return "a long random text"
    return None


def redact(name: str, text: str) -> str:
    """A text with a placeholder for each secret; redacted as a whole where its name says so."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    if text.strip() and (_NAMES.search(plain) or _KNOWN["a private key"][0].search(text)):
        return REDACTED
    text = hide_known(text)
    text = _CREDENTIAL.sub("[a credential]", text)
    hint = "[looks like a key: {0:.4}…{1}, {2} characters]"
    return _PIECE.sub(
        lambda m: hint.format(m[0], m[0][-4:], len(m[0])) if _random(m[0]) else m[0], text
    )


def shown(text: object, width: int = 40) -> str:
    """A value as an error may repeat it: short, one line, and never one that holds a secret."""
    plain = str(text)[:_LOOKED_AT]
    if detect_secret(plain) or any(map(_random, _PIECE.findall(plain))):
        return "(hidden)"
    line = "".join(c if c.isprintable() else "·" for c in plain)
    return f"'{line}'" if len(line) <= width else f"'{line[:width]}…'"


def _random(piece: str) -> bool:
    if not _OPAQUE.match(piece) or piece.startswith(("/", ".", "~")) or _UUID.match(piece):
        return False
    if not any(c.isdigit() for c in piece) or not any(c.isalpha() for c in piece):
        return False
    counts = Counter(piece).values()
    entropy = -sum(n / len(piece) * math.log2(n / len(piece)) for n in counts)
    digits = sum(c.isdigit() for c in piece)
    return entropy >= 3.3 and (digits >= 4 or entropy >= 4.2)


def reference_names(text: str) -> tuple[str, ...]:
    """The names that a text refers to, in order."""
    return tuple(REFERENCE.findall(text))


def malformed_reference(text: str) -> bool:
    """Whether a `${` begins anything but a plain `${NAME}`."""
    return text.count("${") != len(REFERENCE.findall(text))


def expand(value: str, environ: Mapping[str, str], allowed: Collection[str] | None = None) -> str:
    """A value with its references replaced; raises `ReferenceMissing` by name, never by value.

    With `allowed` given only these names may be used.
    """

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if allowed is not None and name not in allowed:
            raise ReferenceMissing(f"${{{name}}} may not be used here; list it in AGENT_SECRETS")
        if name not in environ:
            raise ReferenceMissing(f"${{{name}}} is not set; set it in the host's environment")
        if any(ord(character) < 32 and character != "\t" for character in environ[name]):
            message = f"${{{name}}} holds control characters; set it to one plain line"
            raise ReferenceMissing(message)
        return environ[name]

    return REFERENCE.sub(replaced, value)
