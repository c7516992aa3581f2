"""Internal skills: found by the entry points of installed packages, and run within a deadline.

A package that cannot be loaded is a problem with its name; the others are loaded anyway. A
skill runs on the loop or in a thread; none takes the host down.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

import structlog
from pydantic_core import PydanticSerializationError, to_jsonable_python

from bot.ops.tasks import TaskSet, run_in_daemon_thread
from bot.skills.api import GROUP, InternalSkill, InvalidArguments, SkillContext, SkillError
from bot.skills.spec import SkillResult, SkillSpec, outcome_unknown, skill_error, timed_out
from registry.errors import Problem

log = structlog.get_logger("skills")

LOAD_SECONDS = 10.0
THREADS = 16
ERROR_LIMIT = 2000


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
    skills, origins = dict[str, InternalSkill](), dict[str, str]()
    for name, given in found.items():
        if len(given) == 1:
            ((skills[name], origins[name]),) = given.items()
        else:
            why = f"both have an internal skill '{name}'"
            problems.append(_problem(" and ".join(given.values()), why, "rename one"))
    return InstalledSkills(skills, origins, tuple(problems))


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


class PythonSkillRunner:
    """Runs functions of installed packages; plain ones in threads, a bounded number of them."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = asyncio.Semaphore(threads)
        self._abandoned = TaskSet()

    async def call(
        self, skill: SkillSpec, arguments: Mapping[str, Any], context: SkillContext, seconds: float
    ) -> SkillResult:
        """The function's result within `seconds`; a failure is a result as well."""
        assert skill.handler is not None
        try:
            work = skill.handler.bind(arguments, context)
        except InvalidArguments as wrong:
            return skill_error(f"Invalid input: {wrong}")
        is_async = inspect.iscoroutinefunction(skill.handler.function)
        run = self._on_loop if is_async else self._in_thread
        try:
            return _result(await run(work, seconds))
        except TimeoutError:
            return timed_out()
        except SkillError as error:
            return skill_error(str(error)[:ERROR_LIMIT], **({"retry": True} if error.retry else {}))
        except Exception as error:  # anybody's code: its end is a result
            # Its message may hold what no model should read: it goes to the log alone.
            log.error("skill.failed", skill=skill.name, exc_info=error)
            kind = type(error).__name__
            return skill_error(f"Skill failed: {kind}", unknown=True, type=kind)

    async def _on_loop(self, work: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        return await self._within(asyncio.ensure_future(_without_exit(work)), seconds)

    async def _in_thread(self, work: Callable[[], Any], seconds: float) -> Any:
        began = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._threads.acquire()
        except TimeoutError:
            text = "Skill was not started: too many calls of slow skills are still running"
            raise SkillError(text, retry=True) from None
        left = max(0.0, seconds - (time.monotonic() - began))
        return await self._within(run_in_daemon_thread(work, self._threads.release), left)

    async def _within(self, future: asyncio.Future[Any], seconds: float) -> Any:
        """Its result; one that ignores its cancellation is abandoned, not waited for."""
        try:
            done, _ = await asyncio.wait([future], timeout=seconds)
        finally:
            if not future.done():
                self._abandoned.add(future)
                future.cancel()
        if not done:
            raise TimeoutError
        if future.cancelled():
            raise RuntimeError("the function cancelled itself")
        return future.result()


async def _without_exit(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run a skill whose sys.exit() must not end the loop, and with it the host."""
    try:
        return await work()
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from None


def _result(value: Any) -> SkillResult:
    try:
        return SkillResult(to_jsonable_python(value))
    except (PydanticSerializationError, ValueError, TypeError):
        return outcome_unknown("Skill returned a value that is not JSON")
