"""What a tool answered, as the Messages API takes it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

REST_LIMIT = 500_000
BLOCKS_LIMIT = 200
IMAGES_LIMIT = 8
IMAGE_BASE64_LIMIT = 5_000_000

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The content of a `tool_result` block: text and image blocks, never empty.

    `rest` is the text that was cut off, at most `REST_LIMIT` characters; `whole` says whether that
    is all of it. `unread` says that the tool may have run, and nobody can read what it answered.
    """

    content: list[dict[str, Any]]
    is_error: bool = False
    rest: str = ""
    whole: bool = True
    unread: bool = False

    @property
    def text(self) -> str:
        """All its text, block after block."""
        return "\n".join(block["text"] for block in self.content if block["type"] == "text")


def error_result(words: str) -> ToolResult:
    """A result that says what went wrong, for the model to read."""
    return ToolResult([{"type": "text", "text": _encodable(words)}], is_error=True)


def unread_result(words: str) -> ToolResult:
    """A result that says why the answer cannot be read; what the call did is not known."""
    return replace(error_result(words), unread=True)


class Hide(Protocol):
    """Takes secrets out of a text, whose end may be `cut` off."""

    def __call__(self, text: str, *, cut: bool = False) -> str: ...  # noqa: D102


def _as_it_is(text: str, *, cut: bool = False) -> str:  # noqa: ARG001
    return text


def result_from(raw: Any, cap: int, hide: Hide = _as_it_is) -> ToolResult:
    """The SDK's CallToolResult as ours, with at most `cap` characters of text.

    `hide` looks at a text before it is cut: nobody would find two halves of a secret.
    """
    sheet = _ContentReader(cap, hide)
    for block in raw.content:
        _READERS[block.type](sheet, block)
    if not sheet.has_text and raw.structured_content is not None:
        sheet.write(json.dumps(raw.structured_content, ensure_ascii=False))
    rest = sheet.rest()
    whole = len(rest) <= REST_LIMIT and not sheet.lost
    return ToolResult(sheet.blocks(), bool(raw.is_error), rest[:REST_LIMIT], whole)


@dataclass(slots=True)
class _ContentReader:
    """Blocks being written, up to a number of characters."""

    cap: int
    hide: Hide
    written: int = 0
    offered: int = 0
    lost: int = 0
    images: int = 0
    unsaid: int = 0
    has_text: bool = False
    _blocks: list[dict[str, Any]] = field(default_factory=list)
    _more: list[str] = field(default_factory=list)
    _rest: list[str] = field(default_factory=list)

    def write(self, text: str) -> None:
        self.has_text = self.has_text or bool(text.strip())
        most = max(0, self.cap + REST_LIMIT - self.offered)
        self.lost += max(0, len(text) - most)
        self.offered += max(0, len(text) - most)
        text = self.hide(text[:most], cut=len(text) > most)
        self.offered += len(text)
        kept = text[: self.cap - self.written]
        self.written += len(kept)
        if kept.strip() and len(self._blocks) < BLOCKS_LIMIT:
            self._end(kept)
        elif kept.strip():
            self._more.append(kept)
        if len(kept) < len(text):
            self._rest.append(text[len(kept) :])

    def rest(self) -> str:
        """What was offered beyond the cap."""
        return _encodable("\n".join(self._rest))

    def show(self, data: str, kind: str) -> None:
        self.images += 1
        source = {"type": "base64", "media_type": kind, "data": data}
        self._blocks.append({"type": "image", "source": source})

    def say(self, words: str) -> None:
        if len(self._blocks) < BLOCKS_LIMIT:
            self._end(self.hide(words))
        else:
            self.unsaid += 1

    def _end(self, words: str) -> None:
        self._blocks.append({"type": "text", "text": _encodable(words)})

    def blocks(self) -> list[dict[str, Any]]:
        if self._more:
            self._end("\n".join(self._more))
        if self.unsaid:
            self._end(f"[{self.unsaid} more parts that cannot be shown here]")
        if self.offered > self.written:
            self._end(f"[cut: the first {self.written} of {self.offered} characters are shown]")
        if not self._blocks:
            self._end("(the tool answered with nothing)")
        return self._blocks


def _encodable(text: str) -> str:
    # A lone half of a surrogate pair would fail only when the request to the model is written.
    return text.encode("utf-8", "replace").decode("utf-8")


def _read_text(sheet: _ContentReader, block: Any) -> None:
    sheet.write(block.text)


def _read_image(sheet: _ContentReader, block: Any) -> None:
    _show_image(sheet, block.data, block.mime_type)


def _read_audio(sheet: _ContentReader, block: Any) -> None:
    sheet.say(f"[a sound of type {block.mime_type[:80]}, which cannot be heard here]")


def _read_link(sheet: _ContentReader, block: Any) -> None:
    parts = [f"[resource] {block.title or block.name}: {block.uri}"]
    if block.description:
        parts.append(block.description)
    sheet.write("\n".join(parts))


def _read_resource(sheet: _ContentReader, block: Any) -> None:
    resource = block.resource
    if (text := getattr(resource, "text", None)) is not None:
        sheet.write(f"[resource {resource.uri}]\n{text}")
    elif (resource.mime_type or "").startswith("image/"):
        _show_image(sheet, resource.blob, resource.mime_type)
    else:
        kind = (resource.mime_type or "unknown")[:80]
        sheet.write(f"[resource {resource.uri} of type {kind}, which is not text]")


_READERS: Mapping[str, Any] = {
    "text": _read_text,
    "image": _read_image,
    "audio": _read_audio,
    "resource_link": _read_link,
    "resource": _read_resource,
}


def _show_image(sheet: _ContentReader, data: str, said: str) -> None:
    if sheet.images >= IMAGES_LIMIT:
        sheet.say(f"[an image left out: no more than {IMAGES_LIMIT} are shown]")
    elif len(data) > IMAGE_BASE64_LIMIT:
        sheet.say(f"[an image of {len(data)} characters left out: it is too large]")
    elif (kind := _image_kind(data)) is None:
        sheet.say(f"[an image of type {said[:80]}, which cannot be shown here]")
    else:
        sheet.show(data, kind)


def _image_kind(data: str) -> str | None:
    """The type that an image's own first bytes show; the server's word for it may be wrong."""
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for mark, kind in _SIGNATURES.items() if raw.startswith(mark)), None)
