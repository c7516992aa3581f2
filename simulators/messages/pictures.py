"""Pictures: broken or too large ones are refused."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib

from simulators.messages.refusals import invalid

MOST_PIXELS = 8000


def check_picture(data: str, place: str) -> None:
    """Refuse a picture that cannot be read, or one of whose sides is too long."""
    try:
        sides = _sides(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError, IndexError, struct.error, zlib.error):
        sides = (0, 0)
    if not all(sides):
        raise invalid("Could not process image")
    if max(sides) > MOST_PIXELS:
        raise invalid(
            f"{place}: At least one of the image dimensions exceed max allowed size: "
            f"{MOST_PIXELS} pixels"
        )


def _sides(raw: bytes) -> tuple[int, int]:
    """Width and height in pixels; (0, 0), or an error, if these bytes are not a picture."""
    if raw.startswith(b"\x89PNG\r\n\x1a\n") and raw.endswith(b"IEND\xaeB`\x82"):
        start = raw.index(b"IDAT") + 4
        zlib.decompressobj().decompress(raw[start:], 64)
        return struct.unpack(">II", raw[16:24])
    if raw.startswith(b"\xff\xd8\xff") and raw.endswith(b"\xff\xd9"):
        return _jpeg(raw)
    if raw.startswith((b"GIF87a", b"GIF89a")) and raw.endswith(b";"):
        return struct.unpack("<HH", raw[6:10])
    if raw.startswith(b"RIFF") and len(raw) >= struct.unpack("<I", raw[4:8])[0] + 8:
        return _webp(raw)
    return 0, 0


def _webp(raw: bytes) -> tuple[int, int]:
    if raw[8:16] != b"WEBPVP8L":  # the size of the other kinds is not looked at
        return (1, 1) if raw[8:12] == b"WEBP" else (0, 0)
    (bits,) = struct.unpack("<I", raw[21:25])
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _jpeg(raw: bytes) -> tuple[int, int]:
    at = 2
    while raw[at] == 0xFF:
        if raw[at + 1] in range(0xC0, 0xC4):
            height, width = struct.unpack(">HH", raw[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", raw[at + 2 : at + 4])[0]
    return 0, 0
