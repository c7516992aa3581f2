"""Floods a port: `python flood.py PORT KIND CONNECTIONS SECONDS`; prints how each connection ended.

It is a process of its own, so that what it costs is not taken for what it does to the host.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
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
    "requests without an end": WHOLE,
    "requests sent ahead": WHOLE * 5000,
    "a broken protocol": b"\x16\x03\x01" + b"\xff" * 5000,
}


class Flood:
    """Connections to a port, each made anew whenever the host has ended it."""

    def __init__(self, port: int, payload: bytes, connections: int) -> None:
        self._port = port
        self._payload = payload
        self._missing = connections
        self._connections = connections
        self.all_sent = asyncio.Event()
        self.ends: Counter[str] = Counter()

    async def run(self, seconds: float) -> None:
        """Until each connection has sent everything once, and for some seconds more."""
        attacks = [asyncio.create_task(self._attack()) for _ in range(self._connections)]
        await asyncio.wait_for(self.all_sent.wait(), 30)
        await asyncio.sleep(seconds)
        for one in attacks:
            one.cancel()
        await asyncio.wait(attacks)

    async def _attack(self) -> None:
        await self._connect(first=True)
        while True:
            await self._connect(first=False)

    async def _connect(self, *, first: bool) -> None:
        try:
            here = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(SOURCE, 0))
        except OSError:
            self.ends["no connection"] += 1
            await asyncio.sleep(0.05)
            return
        finally:
            if first:
                self._missing -= 1
        reader, writer = here
        try:
            writer.write(self._payload)
            if first and not self._missing:
                self.all_sent.set()
            await writer.drain()
            while self._payload == WHOLE:  # and again on the same connection, as fast as it goes
                await reader.readuntil(b'"ok"}')
                writer.write(WHOLE)
            status = await reader.readline()
            while await reader.read(65_536):
                pass
            self.ends[status[9:12].decode(errors="replace") or "closed"] += 1
        except (OSError, asyncio.IncompleteReadError):
            self.ends["closed"] += 1
        except asyncio.CancelledError:
            self.ends["held"] += 1
            raise
        finally:
            writer.transport.abort()


async def main(port: int, kind: str, connections: int, seconds: float) -> None:
    flood = Flood(port, KINDS[kind], connections)
    await flood.run(seconds)
    sys.stdout.write(json.dumps(flood.ends))


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 20_000), most))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
