"""`switchboard skill test`: what a skill would be sent, and with `--send` what it answers."""

from __future__ import annotations

import json

from bot import agents
from bot.errors import ConfigError
from bot.settings import Settings
from bot.tools.skills import INSTANCE, SkillSpec, Webhooks, invalid
from registry.catalog import Catalog
from registry.environment import read_environment
from registry.stores.composite import CompositeStore
from registry.stores.file import FileStore
from registry.stores.memory import MemoryStore

SECONDS = 30.0


async def skill_test(
    settings: Settings, agent: str, name: str, given: str, *, send: bool
) -> list[str]:
    """The request, and the answer where it is sent, in lines.

    Raises ConfigError where there is no such skill, or the input does not fit it.
    """
    skill = await _found(settings, agent, name)
    arguments = _arguments(given)
    if wrong := invalid(skill.input_schema, arguments):
        raise ConfigError(f"the input does not fit inputSchema: {wrong}")
    body = {"input": arguments, "context": {"instance_id": INSTANCE, "user_id": "test"}}
    headers = [f"{header}: ***" for header in skill.headers]
    lines = [f"POST {skill.url}", *headers, json.dumps(body, ensure_ascii=False)]
    if not send:
        return [*lines, "", "Nothing was sent; --send does."]
    webhooks = Webhooks(SECONDS)
    try:
        answer = await webhooks.call(skill, arguments, "test", SECONDS)
    finally:
        await webhooks.close()
    return [*lines, "", f"{'error' if answer.error else 'ok'}: {answer.text}"]


async def _found(settings: Settings, agent: str, name: str) -> SkillSpec:
    path = settings.agents_file or agents.DEFAULT_AGENTS_FILE
    file = FileStore(path, read_environment(settings.environ, settings.hashes()), required=True)
    catalog = Catalog(CompositeStore(file, MemoryStore()))
    await catalog.open()
    try:
        plan = agents.plans(settings, catalog).of(agent)
    finally:
        await catalog.close()
    if plan is None:
        known = ", ".join(sorted(catalog.snapshot().agents)) or "none"
        raise ConfigError(f"there is no agent '{agent}' in {path}; there are: {known}")
    for skill in plan.skills:
        if skill.name == name:
            return skill
    known = ", ".join(skill.name for skill in plan.skills) or "none"
    raise ConfigError(f"agent '{agent}' has no skill '{name}' that can be called; it has: {known}")


def _arguments(given: str) -> dict[str, object]:
    try:
        value = json.loads(given)
    except ValueError:
        raise ConfigError(f"the input is no JSON: {given[:60]!r}; write '{{}}'") from None
    if not isinstance(value, dict):
        raise ConfigError("the input must be a JSON object; write '{}'")
    return value
