"""HTTP byte by byte: what no client library would send."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

PIECE = 65_536


async def exchanged(url: str, sent: bytes, *, whole: bool = False) -> bytes:
    """What a server answers to these bytes: its head and what came with it, or all to the end.

    Empty where it hangs up.
    """
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    answer = b""
    writer.write(sent)
    try:
        while whole or b"\r\n\r\n" not in answer:
            piece = await reader.read(PIECE)
            if not piece:
                break
            answer += piece
    except ConnectionError:
        pass  # it hung up while we were still sending
    finally:
        writer.close()
    return answer


async def status_of(url: str, sent: bytes) -> int:
    """The status with which a server answers these bytes; 0 where it hangs up."""
    answer = await exchanged(url, sent)
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0
