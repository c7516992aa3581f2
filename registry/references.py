"""`${NAME}` references: where they stand, and their expansion at the moment of use."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from registry.errors import ReferenceMissing

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
TOO_SHORT = "its value is too short to be found in texts, so they may show it"
TOO_SHORT_CURE = "use a secret of 6 characters or more; write what is no secret in clear"
_OPENING = re.compile(r"\$\{")


def names(text: str) -> tuple[str, ...]:
    """The names that a text refers to, in order."""
    return tuple(REFERENCE.findall(text))


def malformed(text: str) -> bool:
    """Whether a `${` opens something that is no plain `${NAME}`."""
    return len(_OPENING.findall(text)) != len(REFERENCE.findall(text))


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
        return _one_line(name, environ[name])

    return REFERENCE.sub(replaced, value)


def _one_line(name: str, value: str) -> str:
    if any(ord(character) < 32 and character != "\t" for character in value):
        raise ReferenceMissing(f"${{{name}}} holds control characters; set it to one plain line")
    return value
