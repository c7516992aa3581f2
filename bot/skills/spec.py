"""A skill ready to be called, and the result of a call."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from bot.ops.redaction import Secrets
from bot.skills.api import InternalSkill, SkillContext
from registry.errors import ReferenceMissing
from registry.skill import LONGEST_SECONDS, Skill

log = structlog.get_logger("skills")

RESULT_LIMIT = 200_000
CAUTION = "It may have taken effect: check before you try again, or ask for less"


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is known of a call before it runs: why it does not, or what people read who approve it.

    `right` is the tier that they must be allowed to write.
    """

    refusal: str = ""
    description: str = ""
    right: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """What looks at each call of one of the host's own tools before it runs, or people are asked.

    `state` names, as it is now, what a call would change: an approved call runs only while that is
    the same.
    """

    weigh: Callable[[Mapping[str, Any], SkillContext], Awaitable[Weighed]]
    state: Callable[[Mapping[str, Any], SkillContext], str]


@dataclass(frozen=True, slots=True)
class SkillSpec:
    """A skill's document with what a call needs: the function, or the header with its secret.

    `internal` says that a webhook's own host may be internal, since the operator wrote or listed
    it; `proxied` that elsewhere the operator's proxy judges. No answer shows one of the `secrets`.
    A tool of the host itself has a `guard`.
    """

    document: Skill = field(repr=False, hash=False)
    handler: InternalSkill | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    internal: bool = False
    proxied: bool = False
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)
    guard: Guard | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Its name, unique in its agent."""
        return self.document.name

    @property
    def description(self) -> str:
        """What the model reads of it."""
        return self.document.description or (self.handler.description if self.handler else "")

    @property
    def input_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its arguments."""
        own = self.document.input_schema
        return own or (self.handler.input_schema if self.handler else {})

    @property
    def key(self) -> str:
        """`skill:<name>`, by which policy knows it."""
        return f"skill:{self.name}"

    @property
    def digest(self) -> str:
        """A digest of what the skill is and where it leads, without its secret."""
        url = self.document.webhook_url or ""
        place = f"internal:{self.handler.name}" if self.handler else url
        return _digest([self.name, self.description, self.input_schema, place])

    def fingerprint(self, arguments: Any, context: SkillContext) -> str:
        """A digest of what a call would do: of the skill, and of what it would change."""
        if self.guard is None or not isinstance(arguments, Mapping):
            return self.digest[:24]
        return _digest([self.digest, self.guard.state(arguments, context)])[:24]

    @property
    def identity(self) -> str:
        """A digest of all that its answer may depend on, with its secret."""
        return _digest([self.digest, sorted(self.headers.items()), self.document.output_schema])

    def runs_like(self, other: SkillSpec) -> bool:
        """Whether a call of either is the same; who approves it is for the policy to say."""
        if self is other or self.name != other.name:
            return self is other
        rule = {"requires_approval": other.document.requires_approval}
        return replace(self, document=self.document.model_copy(update=rule)) == other


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def prepare_skill(
    document: Skill,
    handlers: Mapping[str, InternalSkill],
    expand: Callable[[str], str],
    secrets: Secrets,
    *,
    internal: bool,
    proxied: bool = False,
    seconds: float = LONGEST_SECONDS,
) -> SkillSpec | None:
    """The skill as a turn calls it; None where it is off, or, with a line in the log, incomplete.

    `handlers` are the internal skills of this host, `expand` replaces the `${NAME}` references of a
    text or raises ReferenceMissing; the rest goes into `SkillSpec`. `seconds` is how long a call
    may take where the document does not say.
    """
    if not document.enabled:
        return None
    if "timeout_seconds" not in document.model_fields_set and seconds < LONGEST_SECONDS:
        document = document.model_copy(update={"timeout_seconds": seconds})
    try:
        if document.execution_type == "internal":
            name = document.internal_handler or ""
            if name not in handlers:
                raise ReferenceMissing(f"no installed package has a skill '{name}'")
            return SkillSpec(document, handlers[name], secrets=secrets)
        headers = {}
        if auth := document.webhook_auth:
            secret = expand(f"${{{auth.variable}}}")
            value = f"Bearer {secret}" if auth.type == "bearer" else secret
            headers[auth.header or "Authorization"] = value
    except ReferenceMissing as error:
        log.error("skill.left_out", skill=document.name, why=str(error))
        return None
    return SkillSpec(document, headers=headers, internal=internal, proxied=proxied, secrets=secrets)


@dataclass(frozen=True, slots=True)
class SkillResult:
    """The result of a call as the spec's JSON; `unknown` where it may have taken effect."""

    body: Any
    error: bool = False
    unknown: bool = False

    @property
    def text(self) -> str:
        """The JSON as text; raises ValueError or RecursionError where there is none."""
        return json.dumps(self.body, ensure_ascii=False, allow_nan=False)


def skill_error(message: str, *, unknown: bool = False, **more: Any) -> SkillResult:
    """The result of a failed call; `more` goes into its body."""
    return SkillResult({"error": message} | more, error=True, unknown=unknown)


def timed_out() -> SkillResult:
    """The result of a call that took too long."""
    return skill_error("Request timed out", unknown=True, retry=True, suggestion=CAUTION)


def outcome_unknown(message: str) -> SkillResult:
    """The result of a call whose answer cannot be used; it may have taken effect."""
    return skill_error(f"Outcome unknown: {message}", unknown=True, suggestion=CAUTION)
