"""Floods a port: `python flood.py PORT KIND CONNECTIONS SECONDS`; prints how each connection ended.

It is a process of its own, so that what it costs is not taken for what it does to the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import Counter

SOURCE = "127.0.0.2"  # not the address that it connects to: a stranger, as far as the host knows
HALF = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
WHOLE = HALF + b"\r\n"
BODY = b" /telegram/x HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"b" * 250_000


def fields(count: int, size: int) -> bytes:
    return b"".join(b"X-%d: %s\r\n" % (n, b"a" * size) for n in range(count))


KINDS = {
    "silence": b"",
    "half a request": HALF,
    "empty lines": b"\r\n" * 1000,
    "60 KB of headers": HALF + fields(60, 1000),
    "a header of 60 KB": HALF + b"X: " + b"a" * 60_000,
    "headers just below the cap": HALF + fields(95, 300),
    "a header just below the cap": HALF + b"X: " + b"a" * 31_000,
    "whole requests with heavy headers": HALF + fields(95, 300) + b"\r\n",
    "bodies without a secret": b"POST" + BODY,
    "bodies where none is wanted": b"GET" + BODY,
    "requests sent ahead": WHOLE * 5000,
    "a broken protocol": b"\x16\x03\x01" + b"\xff" * 5000,
}


async def attack(port: int, payload: bytes, until: float, ends: Counter[str]) -> None:
    """One connection after another, each held open for as long as the host lets it."""
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, local_addr=(SOURCE, 0)
            )
        except OSError:
            ends["no connection"] += 1
            await asyncio.sleep(0.05)
            continue
        try:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + until - time.monotonic()
            ):
                writer.write(payload)
                await writer.drain()
                first = await reader.readline()
                while await reader.read(65_536):
                    pass
            ends[first[9:12].decode(errors="replace") or "closed"] += 1
        except TimeoutError:
            ends["held"] += 1
        except OSError:
            ends["closed"] += 1
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def main(port: int, kind: str, connections: int, seconds: float) -> None:
    ends: Counter[str] = Counter()
    until = time.monotonic() + seconds
    attacks = (attack(port, KINDS[kind], until, ends) for _ in range(connections))
    await asyncio.gather(*attacks)
    sys.stdout.write(json.dumps(ends))


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
