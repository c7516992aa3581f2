"""agents.json and the environment as one read-only store, live within a second of a save."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from registry.errors import DocumentErrors, Problem
from registry.keys import BINDING, DEFAULT, DEFINITION
from registry.snapshot import Document
from registry.sources.store import Listener, Listeners
from registry.validation import RawDocument, combine, read_file_text

_log = structlog.get_logger("registry")
LOOK_SECONDS = 0.25
_GRAIN_SECONDS = 2.0
"""File systems tell the time of a write no finer than this."""
_SETTLE_SECONDS = 0.1
_SETTLE_TRIES = 4


_Signature = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Look:
    """What the file was at one look: its bytes (None: absent), its error, its stat signature.

    A file that was written just then may be written once more without its signature changing.
    """

    content: bytes | None
    error: Problem | None = None
    signature: _Signature | None = field(default=None, compare=False)
    is_settled: bool = field(default=True, compare=False)


class FileStore:
    """The operator's document: a file (or none) under the environment, which wins field by field.

    A bad or missing file changes nothing once a good one was seen; the problem says so.
    """

    def __init__(
        self,
        path: Path | None,
        environment: RawDocument | None = None,
        legacy: RawDocument | None = None,
        *,
        required: bool = False,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._path = path
        self._environment = environment or RawDocument()
        self._legacy = legacy
        self._required = required
        self._look_seconds = look_seconds
        self._good: Document | None = None
        self._had_file = False
        self._seen: _Look | None = None
        self._turn = asyncio.Lock()
        self._listeners = Listeners()
        self._task: asyncio.Task[None] | None = None
        self.document = Document()

    async def open(self) -> None:
        """Read the file once; then follow it until `close`."""
        await self._reload()
        if self._path is not None:
            self._task = asyncio.create_task(self._follow(self._path), name="registry file")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def owner(self, key: str) -> str | None:
        """The place in file or environment that a key is set at, or None."""
        document = self.document
        if key == DEFAULT:
            return document.default_agent_id.place if document.default_agent_id else None
        if key.startswith(DEFINITION):
            agent = document.agents.get(key.removeprefix(DEFINITION))
            return agent.place if agent else None
        binding = document.bindings.get(key.removeprefix(BINDING))
        return binding.place if binding else None

    async def list(self) -> Document:
        """Read the file again, now."""
        await self._reload()
        return self.document

    def watch(self, listener: Listener) -> Callable[[], None]:
        """Call a listener after each change; the result ends that."""
        return self._listeners.add(listener)

    async def _follow(self, path: Path) -> None:
        # A look costs less than waiting to be told, and sees what no file system tells of: network
        # folders, links that are turned to another file, a folder that comes later.
        while True:
            await asyncio.sleep(self._look_seconds)
            if await asyncio.to_thread(self._may_differ, path):
                await self._reload()

    def _may_differ(self, path: Path) -> bool:
        seen = self._seen
        if seen is None or not seen.is_settled:
            return True
        try:
            return _signature(path) != seen.signature
        except OSError:
            return True

    async def _reload(self) -> None:
        async with self._turn:
            before = self._seen
            look = await asyncio.to_thread(self._look)
            if before is not None and look == before:
                self._seen = look
                return
            await self._take(look)

    async def _take(self, look: _Look) -> None:
        document = await asyncio.to_thread(self._read, look)
        for _ in range(_SETTLE_TRIES if self._good else 0):
            if isinstance(document, Document):
                break
            await asyncio.sleep(_SETTLE_SECONDS)  # a save in progress is no mistake
            again = await asyncio.to_thread(self._look)
            if again == look:
                break
            look = again
            document = await asyncio.to_thread(self._read, look)
        self._seen = look
        self._show(document)

    def _show(self, found: Document | tuple[Problem, ...]) -> None:
        if isinstance(found, Document):
            self._good = self.document = found
            self._had_file |= self._seen is not None and self._seen.content is not None
        else:
            kept = self._good or Document()
            warnings = [p for p in kept.problems if p.level != "error"]
            self.document = replace(kept, problems=(*found, *warnings))
            _log.warning(
                "document refused", problems=[str(p) for p in found], kept=bool(self._good)
            )
        self._listeners.tell()

    def _look(self) -> _Look:
        if self._path is None:
            return _Look(None)
        try:
            signature = _signature(self._path)
            if signature is None:
                return _Look(None)
            is_settled = abs(time.time() - signature[0] / 1e9) > _GRAIN_SECONDS
            return _Look(self._path.read_bytes(), None, signature, is_settled)
        except FileNotFoundError:
            return _Look(None)
        except OSError as error:
            told = f"it cannot be read: {error.strerror}"
            cure = "make it a file that the host may read"
            return _Look(None, Problem(str(self._path), told, cure))

    def _read(self, look: _Look) -> Document | tuple[Problem, ...]:
        try:
            return combine(self._file_draft(look), self._environment, self._legacy)
        except DocumentErrors as errors:
            return errors.problems

    def _file_draft(self, look: _Look) -> RawDocument:
        if look.error is not None:
            raise DocumentErrors([look.error])
        if look.content is None:
            if self._path is not None and (self._required or self._had_file):
                kept = "; the last good copy stays in use" if self._good else ""
                told, cure = f"the file is not there{kept}", "put it back"
                raise DocumentErrors([Problem(str(self._path), told, cure)])
            return RawDocument()
        try:
            return read_file_text(look.content.decode("utf-8-sig"), str(self._path))
        except UnicodeDecodeError as error:
            line = look.content[: error.start].count(b"\n") + 1
            cure = "save it as UTF-8"
            place = f"{self._path}:{line}"
            raise DocumentErrors([Problem(place, "it is not UTF-8 text", cure)]) from None


def _signature(path: Path) -> _Signature | None:
    """What changes with a file: its last write (ns), bytes and inode; None: it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
