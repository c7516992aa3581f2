"""Internal skills of installed packages: found by their entry points, once, at start.

A package that cannot be loaded is a problem with its name; all others are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from bot.ops.tasks import run_in_daemon_thread
from bot.skills.api import GROUP, InternalSkill
from registry.errors import Problem

LOAD_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class InstalledSkills:
    """The internal skills of this host by name, where each comes from, and what is wrong."""

    skills: Mapping[str, InternalSkill] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    origin: str
    skills: tuple[InternalSkill, ...] = ()
    problem: Problem | None = None


async def discover_skills(seconds: float = LOAD_SECONDS) -> InstalledSkills:
    """What the packages of this environment register; each has `seconds` to be imported."""
    try:
        points = await run_in_daemon_thread(lambda: list(entry_points(group=GROUP)))
    except Exception as error:  # noqa: BLE001  (metadata of any package, written by anybody)
        wrong = _wrong("installed packages", f"cannot be read: {type(error).__name__}: {error}")
        return InstalledSkills(problems=(wrong,))
    found = [await _loaded(point, seconds) for point in sorted(points, key=_origin)]
    return _joined(found)


async def _loaded(point: EntryPoint, seconds: float) -> _Found:
    origin, loading = _origin(point), run_in_daemon_thread(point.load)
    done, _ = await asyncio.wait([loading], timeout=seconds)
    if not done:
        loading.cancel()
        return _Found(origin, problem=_wrong(origin, f"was not imported within {seconds:g} s"))
    if error := loading.exception():
        told = f"cannot be imported: {type(error).__name__}: {error}"
        return _Found(origin, problem=_wrong(origin, told[:500]))
    skills = tuple(_skills_of(loading.result()))
    if not skills:
        return _Found(origin, problem=_wrong(origin, "has no function with @skill"))
    return _Found(origin, skills)


def _skills_of(loaded: Any) -> Iterator[InternalSkill]:
    """The skill that was named, or all of a module."""
    values = vars(loaded).values() if isinstance(loaded, ModuleType) else [loaded]
    yield from dict.fromkeys(one for one in values if isinstance(one, InternalSkill))


def _joined(found: Iterable[_Found]) -> InstalledSkills:
    """All of them; a name that two give is nobody's, since which one is meant cannot be told."""
    given: dict[str, dict[InternalSkill, str]] = {}
    for one in found:
        for skill in one.skills:
            given.setdefault(skill.name, {}).setdefault(skill, one.origin)
    single = {name: skills for name, skills in given.items() if len(skills) == 1}
    clashes = [
        _wrong(" and ".join(skills.values()), f"both have an internal skill '{name}'", "rename one")
        for name, skills in given.items()
        if len(skills) > 1
    ]
    return InstalledSkills(
        skills={name: skill for name, skills in single.items() for skill in skills},
        origins={name: origin for name, skills in single.items() for origin in skills.values()},
        problems=(*(one.problem for one in found if one.problem), *clashes),
    )


def _origin(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "a package"
    return f"{package} ({point.value})"


def _wrong(place: str, told: str, cure: str = "mend or remove the package") -> Problem:
    return Problem(place, told, cure, "error")
