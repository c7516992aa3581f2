"""Slugs, the names of the registry's keys in Redis, and the revisions of their values."""

from __future__ import annotations

import hashlib
import re

SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
SLUG_RULE = "1 to 64 of a-z, 0-9, hyphen and underscore, beginning with a letter or digit"

PREFIX = "agent:"
DEFINITION = "agent:definition:"
BINDING = "agent:binding:"
DEFAULT = "agent:default"
AUDIT = "agent:audit"
REPLAY = "agent:replay:"


def is_slug(text: str) -> bool:
    """Whether a text can be an id; a slug never leaves its directory or its key."""
    return SLUG.match(text) is not None


def slug(text: str) -> str | None:
    """The slug that reads most like a text, or None where nothing of it is left."""
    worn = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:64]
    return worn if is_slug(worn) else None


def definition_key(agent_id: str) -> str:
    """Where an agent's definition lives: `agent:definition:<id>`."""
    return DEFINITION + agent_id


def binding_key(slot: str) -> str:
    """Where a binding lives: `agent:binding:<type>:<key>`, then `:bot:<bot>` where it has one."""
    return BINDING + slot


def replay_key(key: str) -> str:
    """Where the outcome of a change is remembered under its idempotency key."""
    return REPLAY + key


def revision_of(value: str | bytes) -> str:
    """The revision of a raw value: its SHA-1 in hex, which a Redis script can compute as well."""
    raw = value.encode() if isinstance(value, str) else value
    return hashlib.sha1(raw, usedforsecurity=False).hexdigest()
