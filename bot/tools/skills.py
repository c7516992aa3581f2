"""Skills: an agent's own tools, each call judged on its way in and on its way out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from bot.skills import SkillContext
from bot.tools.internal import Internals
from bot.tools.mcp.tool import printable
from bot.tools.skill import RESULT_LIMIT, Answered, SkillSpec, failed
from bot.tools.webhooks import Webhooks
from registry import schema

log = structlog.get_logger("skills")

DEPTH_LIMIT = 100
TOO_DEEP = "Skill answered with JSON that is nested too deep"
NO_TEXT = "Skill answered with what cannot be written as JSON"
TOO_LONG = f"Skill answered with more than {RESULT_LIMIT} bytes"
UNFIT = "Skill answered with what does not fit its outputSchema"


class Skills:
    """Calls skills of every kind; every end of a call is an answer."""

    def __init__(self) -> None:
        self._webhooks = Webhooks()
        self._internals = Internals()
        self._told: set[tuple[str, str]] = set()

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], context: SkillContext, seconds: float
    ) -> Answered:
        """The skill's answer within `seconds` and its own deadline."""
        if wrong := invalid(skill.input_schema, arguments):
            return failed(f"Invalid input: {wrong}")
        kind = self._internals if skill.handler else self._webhooks
        found = await kind.call(skill, arguments, context, min(seconds, skill.seconds))
        return _judged(skill, found)

    def clashes(self, skill: str, tool: str) -> None:
        """Tell the operator, once, that a skill stands back behind a server's tool."""
        if (skill, tool) not in self._told:
            self._told.add((skill, tool))
            log.error("skill.left_out", skill=skill, why=f"{tool} has its name; rename the skill")

    async def close(self) -> None:
        """Close all connections."""
        await self._webhooks.close()


def invalid(wanted: Mapping[str, Any], value: Any) -> str | None:
    """What is wrong with a value, in a sentence; None where it fits the schema."""
    found = schema.misfit(wanted, value)
    return None if found is None else f"{printable(found[0], 300)} at {found[1][:80]}"


def _judged(skill: SkillSpec, answer: Answered) -> Answered:
    """The answer as the model may read it: of a bounded size, of the right shape, no secret."""
    if _is_deep(answer.body):
        return failed(TOO_DEEP)
    try:
        size = len(answer.text.encode())
    except (ValueError, TypeError):
        return failed(NO_TEXT)
    if skill.handler is not None and size > RESULT_LIMIT:
        return failed(TOO_LONG)
    if not answer.error and (wrong := _unfit(skill, answer.body)):
        return failed(f"{UNFIT}: {wrong}")
    own = isinstance(answer.body, dict) and bool(answer.body.get("error"))
    body = skill.secrets.hidden_in(answer.body)
    return replace(answer, body=body, error=answer.error or own)


def _is_deep(body: Any) -> bool:
    """Whether there are more levels than whoever reads it later can be sure to walk down."""
    level = [body] if isinstance(body, dict | list) else []
    for _ in range(DEPTH_LIMIT):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [x for one in inner for x in one if isinstance(x, dict | list)]
    return bool(level)


def _unfit(skill: SkillSpec, body: Any) -> str | None:
    return None if skill.output_schema is None else invalid(skill.output_schema, body)
