"""What the registry stores: ids, keys in Redis, revisions of values, entries of the audit."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
SLUG_RULE = "1 to 64 of a-z, 0-9, hyphen and underscore, beginning with a letter or digit"

PREFIX = "agent:"
DEFINITION = "agent:definition:"
"""Before an agent's id: the key of its definition."""
BINDING = "agent:binding:"
"""Before a binding's slot: its key."""
DEFAULT = "agent:default"
AUDIT = "agent:audit"
REPLAY = "agent:replay:"
"""Before an idempotency key: where a change is remembered by it."""


def is_slug(text: str) -> bool:
    """Whether a text can be an id; a slug never leaves its directory or its key."""
    return SLUG.match(text) is not None


def slug(text: str) -> str | None:
    """The slug that reads most like a text, or None where nothing of it is left."""
    shortened = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:64]
    return shortened if is_slug(shortened) else None


def revision_of(value: str | bytes) -> str:
    """The revision of a raw value: its SHA-1 in hex, which a Redis script can compute as well."""
    raw = value.encode() if isinstance(value, str) else value
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A raw value as it is stored; a change of it must expect its revision."""

    value: str
    revision: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changes what. `key` is the change's idempotency key: a replay changes nothing.

    `at` is in seconds since the epoch, `detail` a sentence without secrets.
    """

    actor: str
    action: str
    target: str
    key: str
    at: float
    detail: str = ""

    def fields(self) -> dict[str, str]:
        """The entry as it is written."""
        return {**asdict(self), "at": f"{self.at:.3f}"}


def fingerprint(action: str, key: str, value: str = "") -> str:
    """What tells one change from another under the same idempotency key."""
    return revision_of(f"{action}\n{key}\n{value}")
