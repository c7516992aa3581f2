"""Pictures from tools, checked before a model gets them: the API would refuse a broken one.

Only the structure of a file is read, nothing is decoded: its parts must be whole, and its sides are
measured.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

MOST_PIXELS = 8000
"""What the model's API takes for a side."""
MOST_CHUNKS, MOST_PARTS = 4_000, 20_000
"""Parts of a PNG, or another file, that are looked at; real ones have fewer."""

Sides = tuple[int, int]
_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _ALONE = 0xDA, b"\xff\xd9", frozenset({0x01, *range(0xD0, 0xD8)})


def sides(raw: bytes) -> tuple[str, Sides] | None:
    """A picture's type and its sides in pixels; None if these bytes are not a whole picture.

    The type is what its first bytes show: a server's own claim may be wrong.
    """
    kind = next((kind for mark, kind in _KINDS.items() if raw.startswith(mark)), None)
    if kind is None:
        return None
    try:
        found = _READERS[kind](raw)
    except (IndexError, ValueError, struct.error):
        return None
    return (kind, found) if all(found) else None


def _png(raw: bytes) -> Sides:
    at, kinds, found = len(_PNG), set[bytes](), (0, 0)
    for _ in range(MOST_CHUNKS):
        size, kind = struct.unpack_from(">I4s", raw, at)
        body = raw[at + 8 : at + 8 + size]
        if struct.unpack_from(">I", raw, at + 8 + size)[0] != zlib.crc32(kind + body):
            raise ValueError("a chunk is spoilt")
        if kind == b"IHDR":
            found = struct.unpack_from(">II", body)
        elif kind == b"IEND":
            return found if b"IDAT" in kinds else (0, 0)
        kinds.add(kind)
        at += 12 + size
    raise ValueError("no end")


def _jpeg(raw: bytes) -> Sides:
    at, found = 2, (0, 0)
    for _ in range(MOST_PARTS):
        kind = raw[at + 1]
        if raw[at] != 0xFF:
            break
        if kind == _SCAN:
            return found if _END in raw[at:] else (0, 0)
        if kind == 0xFF:  # before a mark there may be any number of these
            at += 1
            continue
        if kind in _FRAMES:
            height, width = struct.unpack_from(">HH", raw, at + 5)
            found = width, height
        at += 2 + (0 if kind in _ALONE else struct.unpack_from(">H", raw, at + 2)[0])
    raise ValueError("no segment")


def _gif(raw: bytes) -> Sides:
    width, height, flags = struct.unpack_from("<HHB", raw, 6)
    at, is_shown, is_data = 13 + _colours(flags), False, False
    for _ in range(MOST_PARTS):
        part = raw[at] if at < len(raw) or is_data else 0x3B  # its last byte is often forgotten
        if is_data:
            at, is_data = at + 1 + part, part > 0
        elif part == 0x3B:
            return (width, height) if is_shown else (0, 0)
        elif part == 0x2C:
            at, is_shown, is_data = at + 11 + _colours(raw[at + 9]), True, True
        elif part == 0x21:
            at, is_data = at + 2, True
        else:
            break
    raise ValueError("no block")


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp(raw: bytes) -> Sides:
    size, form, kind = struct.unpack_from("<I4s4s", raw, 4)
    if form != b"WEBP" or len(raw) < size + 8:
        raise ValueError("cut off")
    if kind == b"VP8X":
        width, height = (int.from_bytes(raw[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", raw, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", raw, 26))
    return width, height


_KINDS: Mapping[bytes, str] = {
    _PNG: "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"RIFF": "image/webp",
}
_READERS: Mapping[str, Callable[[bytes], Sides]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
}
