"""`switchboard skill`: list the skills, show what one would be sent, or call it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bot.agents.resolver import AgentResolver
from bot.errors import ConfigError
from bot.messages import DEFAULT_ACCOUNT
from bot.settings import Settings
from bot.skills.api import SkillContext
from bot.skills.python_skill import InstalledSkills, discover_skills
from bot.skills.runner import SkillRunner
from bot.skills.spec import SkillSpec
from bot.startup import agent_resolver, described
from registry.skill import Skill

CALLER = SkillContext(DEFAULT_ACCOUNT, "test", "test", "")


async def skill_list(settings: Settings, agent: str | None) -> list[str]:
    """Lines: the internal skills of installed packages, then those of each agent, or of one."""
    handlers = await discover_skills()
    resolver = await _resolver(settings, handlers)
    known = resolver.catalog.snapshot().agents
    if agent is not None and agent not in known:
        raise _no_agent(settings, resolver, agent)
    shown = [agent] if agent else sorted(known)
    own = [line for one in shown for line in _of_agent(one, known[one].value.skills, resolver)]
    return [*_installed(handlers), "", *(own or ["No agent has any skills."])]


async def skill_test(
    settings: Settings, agent: str, name: str, given: str, *, send: bool
) -> list[str]:
    """Lines: the call, and with `send` the answer.

    Raises ConfigError where there is no such skill, or the input does not fit it.
    """
    handlers = await discover_skills()
    skill = await _found(settings, agent, name, handlers)
    arguments = _arguments(given)
    skills = SkillRunner()
    try:
        if wrong := await skills.argument_error(skill, arguments):
            raise ConfigError(f"the input does not fit inputSchema: {wrong}")
        lines = [*_call(skill, arguments, handlers)]
        if not send:
            return [*lines, "", "Nothing was sent; add --send to call it."]
        answer = await skills.call(skill, arguments, CALLER, skill.document.timeout_seconds)
    finally:
        await skills.close()
    return [*lines, "", f"{'error' if answer.error else 'ok'}: {answer.text}"]


def _installed(handlers: InstalledSkills) -> Iterator[str]:
    yield "internal skills of installed packages:"
    for name, skill in sorted(handlers.skills.items()):
        yield f"  {name}  {handlers.origins[name]}  {skill.description.splitlines()[0][:80]}"
    for problem in handlers.problems:
        yield f"  ! {problem}"
    if not handlers.skills and not handlers.problems:
        yield "  none"


def _of_agent(agent: str, skills: tuple[Skill, ...], resolver: AgentResolver) -> Iterator[str]:
    runnable = resolver.current(agent)
    usable = {skill.name for skill in runnable.tools.skills} if runnable else set()
    for skill in skills:
        state = "ready" if skill.name in usable else "not usable"
        state += ", asks first" if skill.requires_approval else ""
        state = state if skill.enabled else "disabled"
        target = skill.internal_handler or skill.webhook_url
        yield f"{agent}: {skill.name}  {skill.execution_type} {target}  {state}"


def _call(
    skill: SkillSpec, arguments: dict[str, object], handlers: InstalledSkills
) -> Iterator[str]:
    if skill.handler is not None:
        yield f"CALL {skill.handler.name} of {handlers.origins[skill.handler.name]}"
        yield json.dumps(arguments, ensure_ascii=False)
        return
    yield f"POST {skill.document.webhook_url}"
    yield from (f"{header}: ***" for header in skill.headers)
    context = {"instance_id": CALLER.instance_id, "user_id": CALLER.user_id}
    yield json.dumps({"input": arguments, "context": context}, ensure_ascii=False)


async def _resolver(settings: Settings, handlers: InstalledSkills) -> AgentResolver:
    """The agents of the file and the environment."""
    catalog = described(settings)
    await catalog.reload()
    return agent_resolver(settings, catalog, handlers)


async def _found(settings: Settings, agent: str, name: str, handlers: InstalledSkills) -> SkillSpec:
    resolver = await _resolver(settings, handlers)
    runnable = resolver.current(agent)
    if runnable is None:
        raise _no_agent(settings, resolver, agent)
    for skill in runnable.tools.skills:
        if skill.name == name:
            return skill
    known = ", ".join(skill.name for skill in runnable.tools.skills) or "none"
    raise ConfigError(f"agent '{agent}' has no skill '{name}' that can be called; it has: {known}")


def _no_agent(settings: Settings, resolver: AgentResolver, agent: str) -> ConfigError:
    known = ", ".join(sorted(resolver.catalog.snapshot().agents)) or "none"
    return ConfigError(f"there is no agent '{agent}' in {settings.agents_path}; known: {known}")


def _arguments(given: str) -> dict[str, object]:
    try:
        value = json.loads(given)
    except ValueError:
        raise ConfigError(f"the input is not valid JSON: {given[:60]!r}; write '{{}}'") from None
    if not isinstance(value, dict):
        raise ConfigError("the input must be a JSON object; write '{}'")
    return value
