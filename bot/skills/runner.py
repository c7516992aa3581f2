"""Calls an agent's skills: arguments and results are checked, results bounded and redacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog

from bot.ops.lenient_json import is_too_deep
from bot.safety.validation import SchemaValidator
from bot.skills.api import SkillContext
from bot.skills.python_skill import PythonSkillRunner
from bot.skills.spec import RESULT_LIMIT, SkillResult, SkillSpec, outcome_unknown, skill_error

if TYPE_CHECKING:
    from bot.skills.webhook_skill import WebhookSkillRunner

log = structlog.get_logger("skills")


class SkillRunner:
    """Calls skills of every kind; every call ends in a result.

    Its `validator` checks the input of all other tools as well: they share one process.
    """

    def __init__(self) -> None:
        self._webhooks: WebhookSkillRunner | None = None
        self._python = PythonSkillRunner()
        self.validator = SchemaValidator()
        self._reported: set[tuple[str, str]] = set()

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], context: SkillContext, seconds: float
    ) -> SkillResult:
        """The skill's result within `seconds` and its own deadline."""
        if wrong := await self.argument_error(skill, arguments):
            return skill_error(f"Invalid input: {wrong}")
        runner = self._python if skill.handler else self._webhook_runner()
        limit = min(seconds, skill.document.timeout_seconds)
        return await self._checked(skill, await runner.call(skill, arguments, context, limit))

    async def argument_error(self, skill: SkillSpec, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with a skill's arguments, in a sentence; None where they fit."""
        return await self.validator.mismatch(skill.input_schema, arguments)

    def report_clash(self, skill: str, tool: str) -> None:
        """Log, once, that a skill is left out because a server's tool has its name."""
        if (skill, tool) not in self._reported:
            self._reported.add((skill, tool))
            log.error("skill.left_out", skill=skill, why=f"{tool} has its name; rename the skill")

    async def close(self) -> None:
        """Close all connections."""
        if self._webhooks is not None:
            await self._webhooks.close()
        await self.validator.close()

    def _webhook_runner(self) -> WebhookSkillRunner:
        if self._webhooks is None:
            from bot.skills.webhook_skill import WebhookSkillRunner  # its HTTP client is heavy

            self._webhooks = WebhookSkillRunner()
        return self._webhooks

    async def _checked(self, skill: SkillSpec, result: SkillResult) -> SkillResult:
        """The result as the model may read it: of a bounded size, of the right shape, no secret.

        The skill has run: an unusable result does not say what it did.
        """
        if is_too_deep(result.body):
            return outcome_unknown("Skill answered with JSON that is nested too deep")
        try:
            size = len(result.text.encode())
        except (ValueError, TypeError):
            return outcome_unknown("Skill answered with a value that cannot be written as JSON")
        if skill.handler is not None and size > RESULT_LIMIT:
            return outcome_unknown(f"Skill answered with more than {RESULT_LIMIT} bytes")
        schema = None if result.error else skill.document.output_schema
        if schema is not None and (wrong := await self.validator.mismatch(schema, result.body)):
            text = "Skill answered with a value that does not fit its outputSchema"
            return outcome_unknown(f"{text}: {wrong}")
        is_error = isinstance(result.body, dict) and bool(result.body.get("error"))
        body = skill.secrets.redact_json(result.body)
        return replace(result, body=body, error=result.error or is_error)
