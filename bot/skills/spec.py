"""What a skill is to a turn, who calls it, and what a call comes to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.ops.redaction import Secrets
from bot.skills.api import InternalSkill
from registry.skill import CacheRule

SECONDS = 30.0
RESULT_LIMIT = 200_000


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """A skill ready to be called; `headers` hold its secret, `handler` is an internal one's code.

    `internal` says that a webhook's own host may be internal, since the operator wrote it or
    listed it; `proxied` that elsewhere the operator's proxy judges. `seconds` is how long a call
    may take. No answer shows one of the `secrets`.
    """

    name: str
    description: str
    input_schema: Mapping[str, Any] = field(hash=False)
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    internal: bool = False
    handler: InternalSkill | None = None
    output_schema: Mapping[str, Any] | None = field(default=None, hash=False)
    seconds: float = SECONDS
    cache: CacheRule | None = None
    proxied: bool = False
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)

    @property
    def key(self) -> str:
        """`skill:<name>`, by which policy knows it."""
        return f"skill:{self.name}"

    @property
    def digest(self) -> str:
        """A digest of what the skill is and where it leads, without its secret."""
        place = f"internal:{self.handler.name}" if self.handler else self.url
        said = [self.name, self.description, self.input_schema, place]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """A digest of all that its answer may depend on, with its secret."""
        said = [self.digest, sorted(self.headers.items()), self.output_schema]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SkillResult:
    """What a skill came to, as the spec's JSON; `unknown` where it may have taken effect."""

    body: Any
    error: bool = False
    unknown: bool = False

    @property
    def text(self) -> str:
        """The JSON as text; raises ValueError or RecursionError where there is none."""
        return json.dumps(self.body, ensure_ascii=False, allow_nan=False)


CAUTION = "It may have taken effect: check before you try again, or ask for less"


def timed_out(words: str) -> SkillResult:
    """A call that took too long."""
    return skill_error(words, unknown=True, retry=True, suggestion=CAUTION)


def unread(words: str) -> SkillResult:
    """A call that may have taken effect, and whose answer nobody can read."""
    return skill_error(f"Outcome unknown: {words}", unknown=True, suggestion=CAUTION)


def skill_error(words: str, *, unknown: bool = False, **more: Any) -> SkillResult:
    """A failure in the spec's shape."""
    return SkillResult({"error": words} | more, error=True, unknown=unknown)
