"""The texts of specializations: those of the package, under a file that is live within a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from registry.errors import DocumentErrors, Problem
from registry.fields import dotted, issues_of
from registry.snapshot import PACKAGED
from registry.sources.file import LOOK_SECONDS, decoded, read_regular, unreadable
from registry.sources.json_yaml import read_value

if TYPE_CHECKING:
    from registry.specializations import SpecializationDocument, Specializations

_log = structlog.get_logger("registry")
_PACKAGED_FILE = Path(__file__).parents[1] / "data" / "specializations.yaml"
_SETTLE_SECONDS = 0.1
LONGEST = 256 * 1024
"""Bytes of a file."""


@cache
def packaged() -> Specializations:
    """The texts that come with the package."""
    from registry.specializations import Specializations  # most hosts have no tasks

    return Specializations((_read(_PACKAGED_FILE.read_bytes(), PACKAGED),))


@dataclass(eq=False, slots=True)
class SpecializationFile:
    """The texts in force: those of the file at `path`, if there is one, over the package's.

    A file that cannot be used changes nothing but `problems`: its last good version stays in force.
    """

    path: Path | None = None
    look_seconds: float = field(default=LOOK_SECONDS, kw_only=True)
    problems: tuple[Problem, ...] = field(default=(), init=False)
    _good: Specializations | None = field(default=None, init=False)
    _seen: bytes | Problem | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def current(self) -> Specializations:
        """The texts in force; the package's are read when they are first needed."""
        return self._good or packaged()

    def text(self, vertical: str | None, region: str | None, language: str | None) -> str:
        """What is said of a specialization now: see `Specializations.text`."""
        return self.current.text(vertical, region, language)

    def values(self) -> dict[str, list[str]]:
        """The values that have a text now, by dimension."""
        return self.current.all_values()

    async def open(self, changed: Callable[[], None] = lambda: None) -> None:
        """Read the file; then follow it until `close`, and call `changed` after each change."""
        if self.path is not None:
            await self.reload()
            follow = self._follow(self.path, changed)
            self._task = asyncio.create_task(follow, name="specializations")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def reload(self) -> bool:
        """Read the file again, now; whether that changed anything."""
        if self.path is None:
            return False
        seen = await asyncio.to_thread(_content, self.path)
        if seen == self._seen:
            return False
        try:
            good = await asyncio.to_thread(_over_the_package, seen, str(self.path))
        except DocumentErrors as wrong:
            if self._good is not None:  # it may be half written
                await asyncio.sleep(_SETTLE_SECONDS)
                if await asyncio.to_thread(_content, self.path) != seen:
                    return await self.reload()
            self.problems = tuple(map(self._with_consequence, wrong.problems))
        else:
            self._good, self.problems = good, ()
        self._seen = seen
        return True

    async def _follow(self, path: Path, changed: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(self.look_seconds)
            try:
                if await self.reload():
                    if self.problems:
                        problems = [str(one) for one in self.problems]
                        _log.warning("specializations.refused", problems=problems)
                    else:
                        _log.info("specializations.read", file=str(path))
                    changed()
            except Exception:  # noqa: BLE001 - following must continue after any error
                _log.exception("specializations.failed")

    def _with_consequence(self, problem: Problem) -> Problem:
        kept = "the last good version stays" if self._good else "the packaged texts stay"
        return replace(problem, message=f"{problem.message} ({kept} in force)")


def file_problems(path: Path) -> tuple[Problem, ...]:
    """What is wrong with a file of specializations."""
    try:
        _over_the_package(_content(path), str(path))
    except DocumentErrors as wrong:
        return wrong.problems
    return ()


def _content(path: Path) -> bytes | Problem:
    try:
        return read_regular(path, LONGEST + 1)
    except FileNotFoundError:
        return Problem(str(path), "the file is missing", "create it, or fix the path")
    except OSError as error:
        return unreadable(path, error)


def _over_the_package(content: bytes | Problem, place: str) -> Specializations:
    """The texts of a file over the package's; raises DocumentErrors."""
    from registry.specializations import Specializations

    if isinstance(content, Problem):
        raise DocumentErrors([content])
    return Specializations((_read(content, place), *packaged().documents))


def _read(content: bytes, place: str) -> SpecializationDocument:
    """The document in a file; raises DocumentErrors, which name line and field."""
    from registry.specializations import SpecializationDocument

    part = read_value(decoded(content, place, LONGEST), place, yaml=not place.endswith(".json"))
    try:
        return SpecializationDocument.model_validate(part.value)
    except ValidationError as error:
        raise DocumentErrors(
            Problem(part.at(one.path), one.message, one.cure, path=dotted(one.path))
            for one in issues_of(error, SpecializationDocument)
        ) from None
