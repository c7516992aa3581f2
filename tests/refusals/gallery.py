"""An MCP server over stdio with pictures, some of which are none, and texts of any length."""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "gallery", "version": "0"},
}
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(width: int, height: int) -> bytes:
    """A black picture, whole and correct."""
    rows = zlib.compress(bytes((width // 8 + 2) * height))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def gif(width: int, height: int) -> bytes:
    """A picture of one colour."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00;"


def jpeg(width: int, height: int) -> bytes:
    """The frame of a picture: its segments are whole, what it shows does not matter."""
    frame = struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0) + b"\x2a"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + scan + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    """The head of a picture without losses, of this size."""
    bits = (width - 1) | (height - 1) << 14
    body = b"WEBPVP8L" + struct.pack("<IBI", 6, 0x2F, bits) + b"\x00"
    return b"RIFF" + struct.pack("<I", len(body)) + body


PICTURES: dict[str, bytes] = {
    "fine png": png(8, 8),
    "fine gif": gif(1, 1),
    "fine jpeg": jpeg(16, 16),
    "fine webp": webp(16, 16),
    "zeros png": SIGNATURE + bytes(300),
    "cut png": png(640, 640)[:-20],
    "spoilt png": png(8, 8).replace(b"IDAT", b"IDAX"),
    "zeros jpeg": b"\xff\xd8\xff" + bytes(300),
    "cut jpeg": jpeg(16, 16)[:-6],
    "empty gif": gif(0, 0),
    "cut gif": gif(1, 1)[:-4],
    "cut webp": webp(16, 16)[:-3],
    "long png": png(8001, 2),
    "long gif": gif(3, 9000),
    "long jpeg": jpeg(9000, 3),
    "long webp": webp(8001, 3),
}
KINDS = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}


def picture(kind: str) -> dict[str, Any]:
    data = base64.b64encode(PICTURES[kind]).decode()
    return {"type": "image", "data": data, "mimeType": KINDS[kind.split()[1]]}


def long(sign: str, times: int) -> dict[str, Any]:
    return {"type": "text", "text": sign * times}


def ping(**_: Any) -> dict[str, Any]:
    return {"type": "text", "text": "pong"}


TOOLS: dict[str, Callable[..., dict[str, Any]]] = {"picture": picture, "long": long, "ping": ping}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {"result": INFO}
    if method == "tools/list":
        listed = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
        return {"result": {"tools": listed}}
    if method == "tools/call":
        return {"result": {"content": [TOOLS[params["name"]](**params["arguments"])]}}
    return {"error": {"code": -32601, "message": "Method not found"}}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            reply = answer(request["method"], request.get("params", {}))
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
