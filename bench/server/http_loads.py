"""The loads over HTTP: messages to an instance of a host, and readers of its event streams."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import orjson

from bench.server.messages import Messages

STAMP = re.compile(rb"@(\d+\.\d+);")
_NAME = re.compile(rb"id: ([0-9a-f]{24})-0-0\n\n")


class Client(asyncio.Protocol):
    """One connection to the host: a request at a time, its answer whole or as it comes."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[bytes] | None = None
        self._body: list[bytes] = []
        self.is_lost = False

    async def ask(self, request: bytes) -> bytes:
        """The body of the answer, once it is whole."""
        self._answer = asyncio.get_running_loop().create_future()
        self._body = []
        self.transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._parser = httptools.HttpResponseParser(self)
        if self._answer is not None and not self._answer.done():
            body = b"".join(self._body)
            if status == 200:
                self._answer.set_result(body)
            else:
                self._answer.set_exception(RuntimeError(f"answered {status}: {body[:300]!r}"))


class Reader(Client):
    """Reads a stream: notes when pieces come, by the time that each carries.

    `turn` is known once the stream has begun.
    """

    def __init__(self, delays: list[tuple[float, float]], number: int = 0) -> None:
        super().__init__()
        self.number = number
        self._unread = b""
        self._delays = delays
        self.turn = ""
        self.pieces = 0
        self.is_done = False
        self.begun = asyncio.Event()

    def on_body(self, body: bytes) -> None:
        now = time.perf_counter()
        *blocks, self._unread = (self._unread + body).split(b"\n\n")
        for block in blocks:
            if not self.turn and (found := _NAME.match(block + b"\n\n")):
                self.turn = found[1].decode()
                self.begun.set()
            self.is_done = self.is_done or b"event: done" in block
            for stamp in STAMP.findall(block):
                self.pieces += 1
                self._delays.append((now, now - float(stamp)))

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self.begun.set()

    def on_message_complete(self) -> None:
        self.is_lost = not self.is_done
        self.transport.close()


class HttpLoads:
    """Talks with one instance of one host, whose model is `messages`."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        self._turns: list[tuple[int, str]] = []
        self._readers: list[Reader] = []
        self._delays: list[tuple[float, float]] = []
        self._clients: list[Client] = []

    async def http_host(self, words: dict[str, Any]) -> dict[str, Any]:
        """Which host is asked (`url`), with which `key`, and which `path` its instance has."""
        parts = urlsplit(words["url"])
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._path = words["path"]
        self._head = f"Host: {parts.netloc}\r\nAuthorization: Bearer {words['key']}\r\n"
        for client in [*self._clients, *self._readers]:
            client.close()
        self._turns, self._readers, self._clients = [], [], []
        return {}

    async def http_chats(self, words: dict[str, Any]) -> dict[str, Any]:
        """`count` messages, each in a session of its own from `first` on, `together` at once."""
        first, count = int(words["first"]), int(words["count"])
        session = words.get("session", "bench-")
        waiting = iter(range(first, first + count))
        self._clients = [client for client in self._clients if not client.is_lost]
        while len(self._clients) < int(words["together"]):
            self._clients.append(await self._connected(Client()))

        async def talk(client: Client) -> None:
            for number in waiting:
                await client.ask(self._message("chat", number, session))

        began = time.perf_counter()
        await asyncio.gather(*map(talk, self._clients))
        return {"seconds": time.perf_counter() - began}

    async def http_begin(self, words: dict[str, Any]) -> dict[str, Any]:
        """`count` turns whose model writes a stamped piece every `pace` seconds; nobody reads."""
        self._messages.pace, self._messages.stamps = float(words["pace"]), True
        numbers = iter(range(int(words["first"]), int(words["first"]) + int(words["count"])))

        async def begin() -> None:
            for number in numbers:
                reader = await self._connected(Reader([]))
                reader.transport.write(self._message("stream", number))
                await asyncio.wait_for(reader.begun.wait(), 60)
                self._turns.append((number, reader.turn))
                reader.close()

        await asyncio.gather(*(begin() for _ in range(20)))
        return {"begun": sum(bool(turn) for _, turn in self._turns)}

    async def http_read(self, _: dict[str, Any]) -> dict[str, Any]:
        """A reader for each turn that was begun, once each of them reads."""
        turns = iter(self._turns)

        async def read() -> None:
            for number, turn in turns:
                reader = await self._connected(Reader(self._delays, number))
                self._readers.append(reader)
                head = f"GET {self._path}/stream HTTP/1.1\r\n{self._head}"
                reader.transport.write(f"{head}Last-Event-ID: {turn}-0-0\r\n\r\n".encode())
                await asyncio.wait_for(reader.begun.wait(), 60)

        await asyncio.gather(*(read() for _ in range(20)))
        return {"reading": sum(not reader.is_lost for reader in self._readers)}

    async def http_delays(self, words: dict[str, Any]) -> dict[str, Any]:
        """From the model's writing to the reader, s, of what is written in the next `seconds`."""
        began = time.perf_counter()
        self._delays.clear()
        await asyncio.sleep(float(words["seconds"]))
        delays = [late for now, late in self._delays if now - late >= began]
        lost = sum(reader.is_lost for reader in self._readers)
        return {"delays": delays, "lost": lost, "open": self._messages.open}

    async def http_ended(self, words: dict[str, Any]) -> dict[str, Any]:
        """End all answers: how many readers had every piece, and the end."""
        self._messages.stamps, until = False, time.perf_counter() + float(words["seconds"])
        while time.perf_counter() < until and not all(one.is_done for one in self._readers):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        written = self._messages.written
        self._messages.pace = 0.0
        whole = sum(one.is_done and one.pieces == written[one.number] for one in self._readers)
        return {"whole": whole, "pieces": written.total()}

    async def _connected(self, client: Any) -> Any:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(lambda: client, self._host, self._port))[1]

    def _message(self, route: str, number: int, session: str = "bench-") -> bytes:
        text = f"chat:{number}: When does the library open today?"
        body = orjson.dumps({"message": text, "session_id": f"{session}{number}"})
        head = f"POST {self._path}/{route} HTTP/1.1\r\n{self._head}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body
