"""Documents in a folder, one file each, live within a second: which changed, and the last good."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import structlog

from registry.errors import DocumentErrors, Problem, one_line
from registry.snapshot import Document, Entry
from registry.sources.file import (
    LOOK_SECONDS,
    Signature,
    decoded,
    is_settled,
    read_regular,
    signature_of,
    unreadable,
)
from registry.sources.json_yaml import EMPTY, read_value
from registry.validation import RawValue

_log = structlog.get_logger("registry")
T = TypeVar("T")
LONGEST = 256 * 1024
"""Bytes of a file."""
_COST_SHARE = 50
"""A look may take this part of the time; with more files there are fewer looks."""
_LONGEST_PAUSE = 0.5
"""Between two looks, so that a change is in force within a second."""


@dataclass(frozen=True, slots=True)
class SeenFile(Generic[T]):
    """A file as it was seen: its last good value, and what is wrong with it now.

    `raw` are the bytes that were read last, None where it could not be read. `is_settled` is False
    where another write may leave the signature as it is. One that `is_doubtful` may be half
    written.
    """

    signature: Signature | None = None
    is_settled: bool = True
    raw: bytes | None = None
    entry: Entry[T] | None = None
    problems: tuple[Problem, ...] = ()
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """What a look found: files by what tells them apart, and what is wrong with folders."""

    files: Mapping[str, SeenFile[T]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    is_there: bool = False


def _nothing() -> None:
    """What is called after a change as long as nobody follows."""


@dataclass(eq=False)
class FollowedFolder(Generic[T]):
    """A folder whose files are followed; which they are and how one is read says a subclass.

    A file that cannot be used changes nothing but `document.problems`: its last good version and
    all other files stay in force. Where the `folder` is `required` its absence is a problem.
    """

    folder: Path
    required: bool = field(default=False, kw_only=True)
    look_seconds: float = field(default=LOOK_SECONDS, kw_only=True)
    document: Document = field(default_factory=Document, init=False)
    _seen: Look[T] = field(default_factory=Look, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _changed: Callable[[], None] = field(default_factory=lambda: _nothing, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    what: ClassVar[str]
    """What its files are, in words of the log: `instances`."""

    # --- what a subclass says --------------------------------------------------------------------

    def _listed(
        self, known: Mapping[str, SeenFile[T]], problems: list[Problem]
    ) -> Iterator[tuple[str, bool]]:
        """What tells the files apart that are there, in order, each with whether to look at it.

        Those that are `known` of a folder which cannot be read are not to be looked at. Raises
        OSError for the folder itself.
        """
        raise NotImplementedError

    def path_of(self, name: str) -> str:
        """The file that a name means."""
        raise NotImplementedError

    def _read(self, raw: bytes, place: str, name: str) -> tuple[Entry[T], Sequence[Problem]]:
        """What is in a file, and what is surprising in it; raises DocumentErrors."""
        raise NotImplementedError

    def _absent(self, name: str) -> Iterator[Problem]:
        """What is to be told where a file that was listed is not there."""
        raise NotImplementedError

    def _document(self, look: Look[T]) -> Document:
        """The document that the files make together."""
        raise NotImplementedError

    # --- following -------------------------------------------------------------------------------

    async def open(self, changed: Callable[[], None] = lambda: None) -> None:
        """Read everything; then follow it until `close`, and call `changed` after each change."""
        await self.reload()
        self._changed = changed
        self._task = asyncio.create_task(self._follow(), name=f"registry {self.what}")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def reload(self) -> None:
        """Read everything again, now."""
        await self._look(all_anew=True)

    async def _follow(self) -> None:
        pause = self.look_seconds
        while True:
            await asyncio.sleep(max(pause, self.look_seconds))
            began = time.perf_counter()
            try:
                await self._look()
            except Exception:  # noqa: BLE001 - following must continue after any error
                _log.exception(f"{self.what}.failed")
            cost = (time.perf_counter() - began) * _COST_SHARE
            pause = min(cost, _LONGEST_PAUSE) if self._seen.is_there else _LONGEST_PAUSE

    async def _look(self, *, all_anew: bool = False) -> None:
        """Take what is there now; `all_anew` reads every file, and tells what is wrong at once."""
        async with self._lock:
            before = self._seen
            look = await asyncio.to_thread(self._looked, before, all_anew=all_anew)
            self._seen = look
            if look is before or _shown(look) == _shown(before):
                return
            told = {*self.document.problems}
            self.document = self._document(look)
            new = [str(one) for one in self.document.errors if one not in told]
            if new and self._task is not None:
                _log.warning(f"{self.what}.refused", problems=new)
        self._changed()

    # --- in a thread -----------------------------------------------------------------------------

    def _looked(self, before: Look[T], *, all_anew: bool) -> Look[T]:
        """What is there now; only files that have changed are read."""
        problems: list[Problem] = []
        files, known = dict[str, SeenFile[T]](), before.files
        try:
            for name, is_new in self._listed(known, problems):
                seen = known.get(name)
                file = self._seen_now(name, seen, problems, all_anew) if is_new else seen
                files |= {name: file} if file is not None else {}
        except FileNotFoundError:
            if not known and not self.required:
                return Look()
            so = f"; the last good {self.what} stay in use" if known else ""
            cure = "put it back" if known else "create it, or fix the path"
            gone = Problem(str(self.folder), f"the folder is missing{so}", cure)
            return replace(before, problems=(gone,), is_there=False)
        except OSError as error:
            return replace(before, problems=(unreadable(self.folder, error),))
        is_same = len(files) == len(known) and all(known.get(one) is files[one] for one in files)
        if is_same and before.is_there and tuple(problems) == before.problems:
            return before
        return Look(files, tuple(problems), is_there=True)

    def _seen_now(
        self, name: str, seen: SeenFile[T] | None, problems: list[Problem], all_anew: bool
    ) -> SeenFile[T] | None:
        """A file as it is now; None where it is not there."""
        path = self.path_of(name)
        try:
            signature = signature_of(path)
        except OSError as error:
            problems.append(unreadable(Path(path), error))
            return seen
        if signature is None:
            problems += self._absent(name)
            return None
        if seen and seen.is_settled and seen.signature == signature and not all_anew:
            return seen
        return self._file(name, seen, signature, all_anew=all_anew)

    def _file(
        self, name: str, before: SeenFile[T] | None, signature: Signature, *, all_anew: bool
    ) -> SeenFile[T]:
        """A file that has changed, or may have, as it is now."""
        path = Path(self.path_of(name))
        try:
            raw = read_regular(path, LONGEST + 1)
        except OSError as error:
            wrong = (unreadable(path, error),)
            return replace(before or SeenFile(), is_settled=False, raw=None, problems=wrong)
        settled = is_settled(signature)
        if before and before.raw == raw and not before.is_doubtful:
            return replace(before, signature=signature, is_settled=settled)
        try:
            entry, told = self._read(raw, one_line(str(path)), name)
        except DocumentErrors as wrong:
            kept, last = (before.entry, before.problems) if before else (None, ())
            if not all_anew and (before is None or before.raw != raw):
                # It may be half written: it is told where the next look sees the same.
                return SeenFile(signature, False, raw, kept, last, is_doubtful=True)
            so = tuple(still_in_force(one) if kept else one for one in wrong.problems)
            return SeenFile(signature, settled, raw, kept, so)
        return SeenFile(signature, settled, raw, entry, tuple(told))


def _shown(look: Look[T]) -> tuple[object, ...]:
    """What of a look the document is made of."""
    values = {name: (one.entry, one.problems) for name, one in look.files.items()}
    return values, look.problems


def problems_of(look: Look[T]) -> tuple[Problem, ...]:
    """Everything that a look found wrong."""
    found = (problem for file in look.files.values() for problem in file.problems)
    return (*look.problems, *found)


def still_in_force(problem: Problem) -> Problem:
    """A problem of a file whose last good version counts."""
    message = f"{problem.message} (the last good version stays in force)"
    return replace(problem, message=message)


def object_in(raw: bytes, place: str, example: str, *, yaml: bool = True) -> RawValue:
    """The object in a file; raises DocumentErrors."""
    try:
        part = read_value(decoded(raw, place, LONGEST), place, yaml=yaml)
    except DocumentErrors as wrong:
        cure = f"write at least {example if yaml else _as_json(example)}"
        told = (replace(p, cure=cure) if p.message == EMPTY else p for p in wrong.problems)
        raise DocumentErrors(told) from None
    if not isinstance(part.value, dict):
        cure = f"write name: value lines, such as {example}"
        cure = cure if yaml else f"write an object, such as {_as_json(example)}"
        raise DocumentErrors([Problem(part.place, "it must be an object", cure)])
    return part


def _as_json(example: str) -> str:
    name, _, value = example.partition(": ")
    return f'{{"{name}": "{value}"}}'
