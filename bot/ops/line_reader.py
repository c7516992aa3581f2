"""Cuts a stream of bytes into lines of a bounded size, whatever the other side sends."""

from __future__ import annotations

import re
from dataclasses import dataclass

LINE_LIMIT = 8 * 1024 * 1024
ENDLESS = 64 * 1024 * 1024

_EDGE = 256
_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID = rb'"id"\s*:\s*(\d{1,15})'
_ID_IN_FRONT = re.compile(rb"(?:data:)?\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*,")
_ID_AT_END = re.compile(_ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*$")


@dataclass(frozen=True, slots=True)
class LineTooLong:
    """A line over the limit: its size in bytes, and the JSON-RPC request it answers, if visible."""

    size: int
    request: int | None


class LineSplitter:
    """Bytes in, whole lines out; a line over `limit` bytes becomes a `LineTooLong`."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._begin()

    @property
    def is_endless(self) -> bool:
        """Whether the unfinished line is longer than anything we wait for."""
        return self._size > ENDLESS

    def feed(self, chunk: bytes) -> list[bytes | LineTooLong]:
        """The lines that this chunk completes."""
        *ends, rest = chunk.split(b"\n")
        lines: list[bytes | LineTooLong] = []
        for end in ends:
            self._add(end)
            lines.append(self._line())
            self._begin()
        self._add(rest)
        return lines

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._head = b""
        self._tail = b""

    def _add(self, part: bytes) -> None:
        self._size += len(part)
        self._head += part[: _EDGE - len(self._head)]
        self._tail = (self._tail + part[-_EDGE:])[-_EDGE:]
        if self._size <= self._limit:
            self._parts.append(part)
        else:
            self._parts.clear()

    def _line(self) -> bytes | LineTooLong:
        if self._size <= self._limit:
            return b"".join(self._parts)
        return LineTooLong(self._size, _request_id(self._head, self._tail))


def answered_request(line: bytes) -> int | None:
    """The id of the JSON-RPC request that a line seems to answer, however broken it is."""
    return _request_id(line[:_EDGE], line[-_EDGE:]) if b'"jsonrpc"' in line else None


def _request_id(head: bytes, tail: bytes) -> int | None:
    found = _ID_IN_FRONT.match(head) or _ID_AT_END.search(tail)
    return int(found.group(1)) if found else None
