"""Cuts a stream of bytes from anyone into lines of a bounded size.

Objects of JSON that are written over several lines are joined again.
"""

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


class ObjectJoiner:
    """Lines in, lines out; those of one JSON object that takes several become one line."""

    def __init__(self) -> None:
        self._joined = bytearray()
        self._depth = 0

    @property
    def is_waiting(self) -> bool:
        """Whether an object has begun that is not at its end."""
        return bool(self._joined)

    def feed(self, line: bytes | LineTooLong) -> list[bytes | LineTooLong]:
        """The lines that are known to be whole with this one."""
        if isinstance(line, LineTooLong):
            return [*self.rest(), line]
        begins = line.lstrip().startswith(b"{")
        if self._joined and not (begins and b'"jsonrpc"' in line):
            self._joined += b"\n" + line
            self._depth += _depth(line)
            is_whole = self._depth <= 0 or len(self._joined) > LINE_LIMIT
            return self.rest() if is_whole else []
        before = self.rest()
        if not begins or line.rstrip().endswith(b"}") or (depth := _depth(line)) <= 0:
            return [*before, line]
        self._joined += line
        self._depth = depth
        return before

    def rest(self) -> list[bytes | LineTooLong]:
        """The part of an unfinished object that has arrived, if any."""
        joined, self._joined = bytes(self._joined), bytearray()
        if len(joined) > LINE_LIMIT:
            return [LineTooLong(len(joined), answered_request(joined))]
        return [joined] if joined else []


_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?')


def _depth(line: bytes) -> int:
    bare = _TEXTS.sub(b"", line)  # no text of JSON goes over the end of a line
    return bare.count(b"{") - bare.count(b"}")


def answered_request(line: bytes) -> int | None:
    """The id of the JSON-RPC request that a line seems to answer, however broken it is."""
    return _request_id(line[:_EDGE], line[-_EDGE:]) if b'"jsonrpc"' in line else None


def _request_id(head: bytes, tail: bytes) -> int | None:
    found = _ID_IN_FRONT.match(head) or _ID_AT_END.search(tail)
    return int(found.group(1)) if found else None
