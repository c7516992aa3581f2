"""Skills: an agent's own tools, each call judged on its way in and on its way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from bot.ops.plain_json import is_deep
from bot.safety.validation import Validation
from bot.skills.api import SkillContext
from bot.skills.python_skill import PythonSkillRunner
from bot.skills.spec import RESULT_LIMIT, SkillResult, SkillSpec, skill_error, unread
from bot.skills.webhook_skill import WebhookSkillRunner

log = structlog.get_logger("skills")

TOO_DEEP = "Skill answered with JSON that is nested too deep"
NO_TEXT = "Skill answered with what cannot be written as JSON"
TOO_LONG = f"Skill answered with more than {RESULT_LIMIT} bytes"
UNFIT = "Skill answered with what does not fit its outputSchema"


class SkillRunner:
    """Calls skills of every kind; every end of a call is an answer."""

    def __init__(self) -> None:
        self._webhooks = WebhookSkillRunner()
        self._internals = PythonSkillRunner()
        self._validation = Validation()
        self._told: set[tuple[str, str]] = set()

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], context: SkillContext, seconds: float
    ) -> SkillResult:
        """The skill's answer within `seconds` and its own deadline."""
        if wrong := await self.invalid(skill, arguments):
            return skill_error(f"Invalid input: {wrong}")
        kind = self._internals if skill.handler else self._webhooks
        found = await kind.call(skill, arguments, context, min(seconds, skill.seconds))
        return await self._judged(skill, found)

    async def invalid(self, skill: SkillSpec, arguments: Mapping[str, Any]) -> str | None:
        """What is wrong with a skill's arguments, in a sentence; None where they fit."""
        return await self._validation.misfit(skill.input_schema, arguments)

    def clashes(self, skill: str, tool: str) -> None:
        """Tell the operator, once, that a skill stands back behind a server's tool."""
        if (skill, tool) not in self._told:
            self._told.add((skill, tool))
            log.error("skill.left_out", skill=skill, why=f"{tool} has its name; rename the skill")

    async def close(self) -> None:
        """Close all connections."""
        await self._webhooks.close()
        await self._validation.close()

    async def _judged(self, skill: SkillSpec, answer: SkillResult) -> SkillResult:
        """The answer as the model may read it: of a bounded size, of the right shape, no secret.

        The skill has run: an answer that nobody can use tells nothing of what it did.
        """
        if is_deep(answer.body):
            return unread(TOO_DEEP)
        try:
            size = len(answer.text.encode())
        except (ValueError, TypeError):
            return unread(NO_TEXT)
        if skill.handler is not None and size > RESULT_LIMIT:
            return unread(TOO_LONG)
        if not answer.error and (wrong := await self._unfit(skill, answer.body)):
            return unread(f"{UNFIT}: {wrong}")
        own = isinstance(answer.body, dict) and bool(answer.body.get("error"))
        body = skill.secrets.hidden_in(answer.body)
        return replace(answer, body=body, error=answer.error or own)

    async def _unfit(self, skill: SkillSpec, body: Any) -> str | None:
        wanted = skill.output_schema
        return None if wanted is None else await self._validation.misfit(wanted, body)
