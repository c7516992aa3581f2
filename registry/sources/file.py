"""The agents file and the environment as one read-only source, live within a second of a save."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from registry.errors import DocumentErrors, Problem
from registry.snapshot import Document
from registry.sources.json_yaml import read_document
from registry.validation import RawDocument, build, merge

_log = structlog.get_logger("registry")
LOOK_SECONDS = 0.25
GRAIN_SECONDS = 2.0
"""The coarsest write time that file systems record."""
_SETTLE_SECONDS = 0.1
_SETTLE_TRIES = 4
_NOTHING = RawDocument()

Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Look:
    """The file at one look: its bytes (None: absent) or its error, and its stat signature.

    If the file was written just before the look (`is_settled` is False), another write may not
    change its signature.
    """

    content: bytes | Problem | None
    signature: Signature | None = field(default=None, compare=False)
    is_settled: bool = field(default=True, compare=False)


@dataclass(eq=False, slots=True)
class FileSource:
    """The operator's document: a file (or none) under the environment, which wins field by field.

    After a good file, a bad or missing one changes nothing but `document.problems`.
    """

    path: Path | None
    environment: RawDocument = _NOTHING
    legacy: RawDocument | None = None
    required: bool = field(default=False, kw_only=True)
    look_seconds: float = field(default=LOOK_SECONDS, kw_only=True)
    document: Document = field(default_factory=Document, init=False)
    _good: Document | None = field(default=None, init=False)
    _had_file: bool = field(default=False, init=False)
    _seen: _Look | None = field(default=None, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _changed: Callable[[], None] = field(default=lambda: None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def consequence(self) -> str:
        """What is in force while the document has errors, as a sentence; empty if it has none."""
        if not self.document.errors:
            return ""
        if self._good:
            return "The last good version stays in force."
        return "None of its agents and bindings is in force until that is corrected."

    @property
    def is_unknown(self) -> bool:
        """Whether nothing is known of what it sets: it has errors, and there is no good copy."""
        return self._good is None and bool(self.document.errors)

    async def open(self, changed: Callable[[], None] = lambda: None) -> None:
        """Read the file; then follow it until `close`, and call `changed` after each change."""
        await self.reload()
        self._changed = changed
        if self.path is not None:
            self._task = asyncio.create_task(self._follow(self.path), name="registry file")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def reload(self) -> None:
        """Read the file again, now."""
        async with self._lock:
            look = await asyncio.to_thread(self._look)
            if look == self._seen:
                self._seen = look
                return
            await self._take(look)

    async def _follow(self, path: Path) -> None:
        # A look costs less than a watch, and sees what no file system reports: network folders,
        # links that are changed to another file, a folder that is created later.
        while True:
            await asyncio.sleep(self.look_seconds)
            if self._seen is not None and self._seen.is_settled:
                with suppress(OSError):
                    if await asyncio.to_thread(signature_of, path) == self._seen.signature:
                        continue
            await self.reload()

    async def _take(self, look: _Look) -> None:
        """Read what a look saw; if it has errors, look again: it may be half written."""
        found = await asyncio.to_thread(self._read, look)
        tries = _SETTLE_TRIES if self._good else 0
        while tries and not isinstance(found, Document):
            tries -= 1
            await asyncio.sleep(_SETTLE_SECONDS)
            before, look = look, await asyncio.to_thread(self._look)
            if look == before:
                break
            found = await asyncio.to_thread(self._read, look)
        self._seen = look
        if isinstance(found, Document):
            self._good = self.document = found
            self._had_file |= look.content is not None
        else:
            good = self._good or Document()
            self.document = replace(good, problems=(*found, *good.problems))
            problems = [str(problem) for problem in found]
            _log.warning("document.refused", problems=problems, kept_last_good=bool(self._good))
        self._changed()

    def _look(self) -> _Look:
        signature = None
        with suppress(OSError):
            signature = signature_of(self.path) if self.path else None
        settled = signature is None or is_settled(signature)
        return _Look(_content(self.path) if self.path else None, signature, settled)

    def _read(self, look: _Look) -> Document | tuple[Problem, ...]:
        """The document of a look, or what is wrong with it."""
        try:
            if look.content is None and self.path and (self.required or self._had_file):
                so = "; the last good copy stays in use" if self._good else ""
                cure = "put it back" if self._had_file else "create it, or fix the path"
                return (Problem(str(self.path), f"the file is missing{so}", cure),)
            file = _raw_document(look.content, self.path)
            return build(merge(file, self.environment, self.legacy))
        except DocumentErrors as errors:
            return errors.problems


def read_file(path: Path, *, required: bool) -> RawDocument:
    """The raw document of an agents file, empty without one; raises `DocumentErrors`."""
    content = _content(path)
    if content is None and required:
        cure = "create it, or fix the path"
        raise DocumentErrors([Problem(str(path), "the file is missing", cure)])
    return _raw_document(content, path)


def read_regular(path: Path, most: int = -1) -> bytes:
    """The bytes of a file, all or at most so many.

    Raises OSError, also for a pipe or a device, which might never end.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        return file.read(most)


def _content(path: Path) -> bytes | Problem | None:
    """The bytes of a file, or why it cannot be read; None where it is not there."""
    try:
        return read_regular(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return unreadable(path, error)


def unreadable(path: Path, error: OSError) -> Problem:
    """The problem of a file or folder that cannot be read."""
    message = f"it cannot be read: {error.strerror}"
    return Problem(str(path), message, "make it readable for the host")


def decoded(content: bytes, place: str, most: int | None = None) -> str:
    """The text of a file; raises DocumentErrors for other than UTF-8, or for too many bytes."""
    if most is not None and len(content) > most:
        problem = Problem(place, f"it has more than {most} bytes", "make it smaller")
        raise DocumentErrors([problem])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(f"{place}:{line}", "it is not UTF-8 text", "save it as UTF-8")
        raise DocumentErrors([problem]) from None


def _raw_document(content: bytes | Problem | None, path: Path | None) -> RawDocument:
    if content is None:
        return _NOTHING
    if isinstance(content, Problem):
        raise DocumentErrors([content])
    return read_document(decoded(content, str(path)), str(path))


def signature_of(path: str | Path) -> Signature | None:
    """What changes with a file; None where it is not there.

    These are its last write (ns), its last change of any kind (ns), which no program can set back,
    its bytes and its inode.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as quick, and asked for of a thousand files
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def is_settled(signature: Signature) -> bool:
    """Whether another write would change the signature: the last one is long enough ago."""
    now = time.time()
    return all(abs(now - at / 1e9) > GRAIN_SECONDS for at in signature[:2])
