"""From a skill's document to a skill that can be called: its secret, its rights, its handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from bot.redaction import Secrets
from bot.skills import InternalSkill
from bot.tools.skill import SkillSpec
from registry.errors import ReferenceMissing
from registry.skill import Skill, WebhookAuth

log = structlog.get_logger("plans")

Fill = Callable[[str], str]
"""A text with its `${NAME}` references filled in; raises ReferenceMissing."""


def ready(
    skill: Skill,
    handlers: Mapping[str, InternalSkill],
    fill: Fill,
    secrets: Secrets,
    *,
    internal: bool,
    proxied: bool = False,
) -> SkillSpec | None:
    """The skill as a turn calls it; None, and a line in the log, where it is off or cannot be had.

    `internal` says that a webhook may lead to an internal host, `proxied` that elsewhere the
    operator's proxy judges. No answer of the skill may show one of the `secrets`.
    """
    if not skill.enabled:
        return None
    try:
        if skill.execution_type == "internal":
            return replace(_internal(skill, handlers), secrets=secrets)
        return replace(_webhook(skill, fill, internal), proxied=proxied, secrets=secrets)
    except ReferenceMissing as error:
        log.error("skill.left_out", skill=skill.name, why=str(error))
        return None


def _internal(skill: Skill, handlers: Mapping[str, InternalSkill]) -> SkillSpec:
    handler = handlers.get(skill.internal_handler or "")
    if handler is None:
        raise ReferenceMissing(f"no installed package has a skill '{skill.internal_handler}'")
    return SkillSpec(
        name=skill.name,
        description=skill.description or handler.description,
        input_schema=skill.input_schema or handler.input_schema,
        handler=handler,
        output_schema=skill.output_schema,
        seconds=skill.timeout_seconds,
        cache=skill.cache,
    )


def _webhook(skill: Skill, fill: Fill, internal: bool) -> SkillSpec:
    return SkillSpec(
        name=skill.name,
        description=skill.description or "",
        input_schema=skill.input_schema or {},
        url=skill.webhook_url or "",
        headers=_headers(skill.webhook_auth, fill) if skill.webhook_auth else {},
        internal=internal,
        output_schema=skill.output_schema,
        seconds=skill.timeout_seconds,
        cache=skill.cache,
    )


def _headers(auth: WebhookAuth, fill: Fill) -> dict[str, str]:
    """The header that shows who calls."""
    secret = fill(f"${{{auth.variable}}}")
    return {auth.header or "Authorization": f"Bearer {secret}" if auth.type == "bearer" else secret}
