"""Internal skills of installed packages: found by their entry points, once, at start.

A package that cannot be loaded is a problem with its name; the others are loaded all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from bot.ops.tasks import run_in_daemon_thread
from bot.skills.api import GROUP, InternalSkill
from registry.errors import Problem

LOAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class InstalledSkills:
    """The internal skills of this host by name, the package of each, and what is wrong."""

    skills: Mapping[str, InternalSkill] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


async def discover_skills(seconds: float = LOAD_SECONDS) -> InstalledSkills:
    """Load what the packages of this environment register; each has `seconds` to be imported.

    A name that two packages give is left out: which one is meant cannot be told.
    """
    try:
        points = await run_in_daemon_thread(lambda: list(entry_points(group=GROUP)))
    except Exception as error:  # noqa: BLE001  (metadata of any package, written by anybody)
        wrong = _problem("installed packages", f"cannot be read: {type(error).__name__}: {error}")
        return InstalledSkills(problems=(wrong,))
    found: dict[str, dict[InternalSkill, str]] = {}
    problems: list[Problem] = []
    for point in sorted(points, key=_origin):
        loaded = await _load(point, seconds)
        if isinstance(loaded, Problem):
            problems.append(loaded)
            continue
        for skill in loaded:
            found.setdefault(skill.name, {}).setdefault(skill, _origin(point))
    for name, given in found.items():
        if len(given) > 1:
            why = f"both have an internal skill '{name}'"
            problems.append(_problem(" and ".join(given.values()), why, "rename one"))
    single = {name: next(iter(g.items())) for name, g in found.items() if len(g) == 1}
    return InstalledSkills(
        skills={name: skill for name, (skill, _) in single.items()},
        origins={name: origin for name, (_, origin) in single.items()},
        problems=tuple(problems),
    )


async def _load(point: EntryPoint, seconds: float) -> list[InternalSkill] | Problem:
    """The skill that an entry point names, or all of its module; a problem where there is none."""
    loading = run_in_daemon_thread(point.load)
    done, _ = await asyncio.wait([loading], timeout=seconds)
    if not done:
        loading.cancel()
        return _problem(_origin(point), f"was not imported within {seconds:g} s")
    if error := loading.exception():
        why = f"cannot be imported: {type(error).__name__}: {error}"
        return _problem(_origin(point), why[:500])
    loaded = loading.result()
    values = vars(loaded).values() if isinstance(loaded, ModuleType) else [loaded]
    skills = list(dict.fromkeys(one for one in values if isinstance(one, InternalSkill)))
    return skills or _problem(_origin(point), "has no function with @skill")


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "a package"
    return f"{package} ({point.value})"


def _problem(place: str, why: str, cure: str = "fix or remove the package") -> Problem:
    return Problem(place, why, cure, "error")
