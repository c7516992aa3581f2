"""What tools give beside text, kept for the clients of a turn over HTTP.

A file is stored with its turn's line, and what is known of it goes into the record of the call's
result; so a turn that is resumed still has it. Links are only told: nothing is fetched.
"""

from __future__ import annotations

import base64
import binascii
import mimetypes
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

import structlog

from bot.mcp.result import ToolFile
from bot.messages import Json
from bot.ops.tasks import offload_if_long
from bot.store.artifacts import (
    KEPT_MS,
    MOST_BYTES,
    MOST_OF_TURN,
    MOST_TURN_BYTES,
    ArtifactStore,
    StoredArtifact,
)
from bot.store.journal import Record
from bot.tools.calls import Call, Result

log = structlog.get_logger("artifacts")

ARTIFACTS = "artifacts"
"""Where the record of a result says what is known of its artifacts."""
MOST_NAME = 100
MOST_ADDRESS = 4096
MOST_SIZE = 2**53 - 1
"""What JSON holds exactly everywhere."""
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,63}")
_OF_TEXT = re.compile(r"text/|application/(.+\+)?(json|xml|yaml|javascript|x-ndjson)\Z")
_NOT_NAMED = frozenset('"<>|:*?')
_UNKNOWN = "application/octet-stream"


def artifacts_in(records: Sequence[Record]) -> list[Json]:
    """What is known of the artifacts in the records of a turn."""
    return [one for record in records for one in record.body.get(ARTIFACTS, ())]


@dataclass(slots=True, repr=False)
class TurnArtifacts:
    """Keeps the files of one turn over HTTP; `redact` takes secrets out of their text."""

    store: ArtifactStore
    line: str
    turn: str
    redact: Callable[[str], str]
    wall: Callable[[], float]
    _count: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def resume(self, records: Sequence[Record]) -> None:
        """Count what the turn kept before."""
        for one in artifacts_in(records):
            self._count += 1
            self._bytes += 0 if "url" in one else one["size"]

    async def keep(self, call: Call, result: Result) -> list[Json]:
        """Store the files of a result, as far as they are not too large; what is known of each."""
        found: list[Json] = []
        stored: list[StoredArtifact] = []
        for number, file in enumerate(result.files, 1):
            if self._count >= MOST_OF_TURN:
                log.info("artifact.left_out", why="too many", line=self.line)
                break
            try:
                if file.url:
                    found += self._linked(file)
                elif (one := await self._read(call, result, number)) is not None:
                    stored.append(one)
                    found.append(self._told(one.id, one.name, one.mime_type, len(one.raw)))
            except ValueError as error:  # an address that is none
                log.info("artifact.left_out", why=type(error).__name__, line=self.line)
        await self.store.keep(self.line, stored)
        return found

    def _told(self, id: str, name: str, mime_type: str, size: int | None) -> Json:
        self._count += 1
        expires = int(self.wall()) + KEPT_MS // 1000
        told = {"id": id, "name": name, "mime_type": mime_type, "size": size}
        return {**told, "expires": expires}

    def _linked(self, file: ToolFile) -> list[Json]:
        """A link that a client may follow: what it names is not fetched here."""
        if len(file.url) > MOST_ADDRESS:
            return []
        url = self.redact(file.url)
        if urlsplit(url).scheme not in ("http", "https") or not url.isprintable():
            return []
        name, size = self._name_of(file.name or url, "link"), file.size
        size = size if size is not None and 0 <= size <= MOST_SIZE else None
        told = self._told(self._new_id(), name, _type_of(file.mime_type, name), None)
        return [{**told, "size": size, "expires": None, "url": url}]

    async def _read(self, call: Call, result: Result, number: int) -> StoredArtifact | None:
        """The file as it is stored; None where it is too large, or not readable."""
        file = result.files[number - 1]
        data = file.data or file.text
        if file.block is not None:
            data = result.content[file.block]["source"]["data"]
        if len(data) > 2 * MOST_BYTES:
            log.info("artifact.left_out", why="too large", line=self.line)
            return None
        kind = _type_of(file.mime_type, file.name)
        raw = await offload_if_long(len(data), lambda: self._bytes_of(file, data, kind))
        if raw is None or len(raw) > min(MOST_BYTES, MOST_TURN_BYTES - self._bytes):
            why = "not readable" if raw is None else "too large"
            log.info("artifact.left_out", why=why, line=self.line)
            return None
        self._bytes += len(raw)
        otherwise = f"{call.tool}-{number}{mimetypes.guess_extension(kind) or ''}"
        name = self._name_of(file.name, self._name_of(otherwise, "file"))
        return StoredArtifact(self._new_id(), name, kind, raw)

    def _bytes_of(self, file: ToolFile, data: str, kind: str) -> bytes | None:
        if file.text:
            return self.redact(data).encode("utf-8", "replace")
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return None
        if _OF_TEXT.match(kind):
            try:
                return self.redact(raw.decode()).encode()
            except UnicodeDecodeError:
                return raw
        return raw

    def _name_of(self, text: str, otherwise: str) -> str:
        """A plain file name: the last part of an address, without what no file is named."""
        if len(text) > MOST_ADDRESS:
            return otherwise
        path = urlsplit(text).path if "://" in text else text
        last = unquote(path).replace("\\", "/").rstrip("/").rpartition("/")[2]
        shown = self.redact(last)
        plain = "".join(one for one in shown if one.isprintable() and one not in _NOT_NAMED)
        return plain.strip(" .")[:MOST_NAME] or otherwise

    def _new_id(self) -> str:
        return f"{self.turn}-{secrets.token_hex(6)}"


def _type_of(claimed: str, name: str) -> str:
    """A media type in the form that a header takes; what it claims decides nothing."""
    plain = claimed.partition(";")[0].strip().lower()
    if _TYPE.fullmatch(plain):
        return plain
    return mimetypes.guess_type(name[-MOST_NAME:])[0] or _UNKNOWN
