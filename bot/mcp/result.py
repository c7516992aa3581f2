"""The outcome of a call: its result as the model reads it, or why it has none. Without the SDK."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from bot.mcp.pictures import MOST_PIXELS, Sides, sides
from bot.ops.redaction import Secrets

REMAINDER_LIMIT = 500_000
BLOCKS_LIMIT = 200
IMAGES_LIMIT = 8
IMAGE_BASE64_LIMIT = 5_000_000
FILES_LIMIT = 20


current_request: ContextVar[RequestState | None] = ContextVar("current_request", default=None)


@dataclass(frozen=True, slots=True)
class ToolFile:
    """A file in a tool's answer, as the server sent it: nothing is decoded, and secrets are in it.

    One of `data` (base64), `text`, `block` (the place in the content of the image that it is) and
    `url` (of a link: the file is elsewhere, and has so many bytes as `size` claims) is set.
    """

    name: str
    mime_type: str
    data: str = ""
    text: str = ""
    block: int | None = None
    url: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The content of a `tool_result` block: text and image blocks, never empty.

    `remainder` is the text that was cut off, at most `REMAINDER_LIMIT` characters; `is_complete`
    says whether that is all of it. `is_unreadable`: the tool may have run, but its answer is lost.
    `files` are what clients over HTTP may fetch: images, resources, audio.
    """

    content: list[dict[str, Any]]
    is_error: bool = False
    remainder: str = ""
    is_complete: bool = True
    is_unreadable: bool = False
    files: tuple[ToolFile, ...] = ()

    @property
    def text(self) -> str:
        """All its text, block after block."""
        return "\n".join(block["text"] for block in self.content if block["type"] == "text")


def error_text(error: str, **more: Any) -> str:
    """What the model reads of a failure, as JSON: `{"error": …}`, and what `more` is known."""
    return json.dumps({"error": error} | more, ensure_ascii=False)


def error_result(text: str) -> ToolResult:
    """A result that tells the model what went wrong."""
    return ToolResult([_text_block(error_text(text))], is_error=True)


def unreadable_result(text: str) -> ToolResult:
    """A result that says why the answer cannot be read; what the call did is not known."""
    return ToolResult([_text_block(text)], is_error=True, is_unreadable=True)


def result_from(raw: Any, cap: int, secrets: Secrets) -> ToolResult:
    """The SDK's CallToolResult as ours, without secrets, with at most `cap` characters of text."""
    reader = _ContentReader(cap, secrets)
    for block in raw.content:
        reader.read(block)
    if not reader.has_text and raw.structured_content is not None:
        reader.add_text(json.dumps(raw.structured_content, ensure_ascii=False))
    remainder = _encodable("\n".join(reader.remainder))
    blocks = reader.blocks()
    return ToolResult(
        _as_error(blocks) if raw.is_error and not remainder else blocks,
        bool(raw.is_error),
        remainder[:REMAINDER_LIMIT],
        len(remainder) <= REMAINDER_LIMIT and not reader.dropped,
        files=tuple(reader.files),
    )


def _as_error(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A tool's own words on its failure in the form of all failures, unless they are JSON."""
    if [block["type"] for block in blocks] != ["text"] or blocks[0]["text"][:1] in ("{", "["):
        return blocks
    return [_text_block(error_text(blocks[0]["text"]))]


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": _encodable(text)}


def _encodable(text: str) -> str:
    # A lone half of a surrogate pair would fail only when the request to the model is written.
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(slots=True)
class _ContentReader:
    """Turns the SDK's content blocks into ours, up to `cap` characters of text."""

    cap: int
    secrets: Secrets
    shown: int = 0
    offered: int = 0
    dropped: int = 0
    images: int = 0
    notes_dropped: int = 0
    has_text: bool = False
    remainder: list[str] = field(default_factory=list)
    files: list[ToolFile] = field(default_factory=list)
    _blocks: list[dict[str, Any]] = field(default_factory=list)
    _joined: list[str] = field(default_factory=list)

    def read(self, block: Any) -> None:
        if block.type == "text":
            self.add_text(block.text)
        elif block.type == "image":
            self._add_image(block.data, block.mime_type)
            self._add_data("", block.mime_type, block.data)
        elif block.type == "audio":
            self._add_note(f"[audio of type {block.mime_type[:80]}, which cannot be played here]")
            self._add_data("", block.mime_type, block.data)
        elif block.type == "resource_link":
            head = f"[resource] {block.title or block.name}: {block.uri}"
            self.add_text("\n".join(filter(None, (head, block.description))))
            kind, uri, size = block.mime_type or "", str(block.uri), block.size
            self._add_file(ToolFile(block.name, kind, url=uri, size=size))
        else:
            self._read_resource(block.resource)

    def _read_resource(self, resource: Any) -> None:
        uri, kind = str(resource.uri), resource.mime_type or ""
        if (text := getattr(resource, "text", None)) is not None:
            self.add_text(f"[resource {uri}]\n{text}")
            self._add_file(ToolFile(uri, kind or "text/plain", text=text))
            return
        if kind.startswith("image/"):
            self._add_image(resource.blob, kind)
        else:
            shown = kind[:80] or "unknown"
            self.add_text(f"[resource {uri} of type {shown}, which is not text]")
        self._add_data(uri, kind, resource.blob)

    def _add_data(self, name: str, kind: str, data: str) -> None:
        """Note a file; of an image that was just added, only where it is."""
        newest = self._blocks[-1] if self._blocks else {}
        if newest.get("source", {}).get("data") is data:
            self._add_file(ToolFile(name, kind, block=len(self._blocks) - 1))
        else:
            self._add_file(ToolFile(name, kind, data=data))

    def _add_file(self, file: ToolFile) -> None:
        if len(self.files) < FILES_LIMIT:
            self.files.append(file)

    def add_text(self, text: str) -> None:
        """Add text, redacted before it is cut: two halves of a secret would not be found."""
        self.has_text = self.has_text or bool(text.strip())
        room = max(0, self.cap + REMAINDER_LIMIT - self.offered)
        over = max(0, len(text) - room)
        self.dropped += over
        text = self.secrets.redact(text[:room], cut=over > 0)
        self.offered += over + len(text)
        shown = text[: self.cap - self.shown]
        self.shown += len(shown)
        if shown.strip() and len(self._blocks) < BLOCKS_LIMIT:
            self._blocks.append(_text_block(shown))
        elif shown.strip():
            self._joined.append(shown)
        if len(shown) < len(text):
            self.remainder.append(text[len(shown) :])

    def _add_note(self, note: str) -> None:
        if len(self._blocks) < BLOCKS_LIMIT:
            self._blocks.append(_text_block(self.secrets.redact(note)))
        else:
            self.notes_dropped += 1

    def _add_image(self, data: str, named_kind: str) -> None:
        if self.images >= IMAGES_LIMIT:
            self._add_note(f"[an image was left out: at most {IMAGES_LIMIT} are shown]")
        elif len(data) > IMAGE_BASE64_LIMIT:
            self._add_note(f"[an image of {len(data)} characters was left out: it is too large]")
        elif (found := self._look(data)) is None:
            self._add_note(f"[an image of type {named_kind[:80]}, which cannot be shown here]")
        elif max(found[1]) > MOST_PIXELS:
            width, height = found[1]
            self._add_note(f"[an image of {width}×{height} pixels was left out: it is too large]")
        else:
            source = {"type": "base64", "media_type": found[0], "data": data}
            self._blocks.append({"type": "image", "source": source})

    def _look(self, data: str) -> tuple[str, Sides] | None:
        self.images += 1  # also where it is none: looking takes its time
        try:
            return sides(base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            return None

    def blocks(self) -> list[dict[str, Any]]:
        """All blocks, with notes on what is missing."""
        notes = []
        if self._joined:
            notes.append("\n".join(self._joined))
        if self.notes_dropped:
            notes.append(f"[{self.notes_dropped} more parts that cannot be shown here]")
        if self.offered > self.shown:
            notes.append(f"[cut: the first {self.shown} of {self.offered} characters are shown]")
        if not self._blocks and not notes:
            notes.append("(the tool returned nothing)")
        return [*self._blocks, *map(_text_block, notes)]


@dataclass(slots=True)
class ConnectionState:
    """Whether a connection is lost, and why; its transport and its callers may say so.

    `changed` is set if the server may offer something else, or may be gone: a list shows which.
    `trouble` is what may explain an error that follows; `notes` say what the transport left out of
    a list.
    """

    lost: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    trouble: str = ""
    notes: list[str] = field(default_factory=list)

    def lose(self, reason: str) -> None:
        """Give the connection up, unless it is lost already."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()


@dataclass(slots=True)
class RequestState:
    """Whether a request may have reached its server; set by the transport.

    `failure` says what HTTP made of it, where it failed, and `status` is the server's answer to
    that; `refused`, that a status refused it, or the session that it came in.
    """

    sent: bool = False
    failure: str = ""
    status: int = 0
    refused: bool = False


class CallLost(Exception):
    """A call that ended without an answer.

    `sent` says whether it may have run, `connection` whether the whole connection is lost with it,
    `silent` whether nothing broke and the answer just did not come in time. `status` is HTTP's.
    """

    def __init__(
        self, reason: str, *, sent: bool, connection: bool = True, silent: bool = False
    ) -> None:
        super().__init__(reason)
        self.sent = sent
        self.connection = connection
        self.silent = silent
        self.status = 0
