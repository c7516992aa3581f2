"""Answers that nobody can read, or read only in part: MCP over stdio, and over HTTP in two ways.

Run as `unread.py` it is the server over stdio. Each run of a tool leaves a line in the file that
LOG names: the way in, and the manner of the answer, which is the tool's name.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "half \ud83d end"
INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "unread", "version": "0"},
}


def _result(id: Any, result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()


def _text(id: Any, text: str) -> bytes:
    return _result(id, {"content": [{"type": "text", "text": text}]})


def _structure(id: Any, number: bytes) -> bytes:
    return _result(id, {"content": [], "structuredContent": {"n": 1}}).replace(
        b": 1}", b": " + number + b"}"
    )


def _deep(id: Any) -> bytes:
    nested = "[" * 3_000 + "]" * 3_000
    return _result(id, {"content": [], "structuredContent": {"a": "?"}}).replace(
        b'"?"', nested.encode()
    )


BODIES: dict[str, Callable[[Any], bytes]] = {
    "html": lambda _: b"<html><body>Gateway says hello</body></html>",
    "deep": _deep,
    "shape": lambda id: json.dumps({"jsonrpc": "2.0", "id": id, "outcome": "fine"}).encode(),
    "list": lambda _: b"[1, 2]",
    "empty": lambda _: b"",
    "bytes": lambda id: _text(id, "?").replace(b"?", b"\xff\xfe"),
    "cut": lambda id: _text(id, "x" * 200)[:150],
    "torn": lambda id: _text(id, "x" * 200),
    "huge": lambda id: _text(id, "x" * 9_000_000),
    "zipped": lambda id: gzip.compress(_text(id, "x" * 200))[:-9],
    "kind": lambda id: _text(id, "x"),
    "nan": lambda id: _structure(id, b"NaN"),
    "endless": lambda id: _structure(id, b"1e999"),
    "negative": lambda id: _structure(id, b"-Infinity"),
    "control": lambda id: _text(id, "?").replace(b"?", b"be\x01side"),
    "marked": lambda id: b"\xef\xbb\xbf" + _text(id, "beside"),
    "unversioned": lambda id: _text(id, "beside").replace(b'"jsonrpc": "2.0", ', b""),
    "version_one": lambda id: _text(id, "beside").replace(b'"2.0"', b"2.0"),
    "both": lambda id: _text(id, "x")[:-1] + b', "error": {"code": 1, "message": "m"}}',
    "foreign": lambda _: _text(99_999, "x"),
    "accepted": lambda _: b"",
    "nothing": lambda _: b"",
    "elsewhere": lambda _: b"",
    "broken": lambda _: b"<html>500</html>",
    "half": lambda id: _text(id, TEXT),
    "fine": lambda id: _text(id, "fine"),
}
"""What is sent, by manner; `id` is the request's."""
BESIDE: dict[str, Any] = {"type": "text", "text": "beside"}
ODD: dict[str, tuple[Any, list[str]]] = {
    "json_part": (
        {"content": [{"type": "json", "json": {"a": 1}}, BESIDE]},
        ["part of type json", '{"a":1}', "beside"],
    ),
    "structure_list": (
        {"content": [BESIDE], "structuredContent": [1, 2]},
        ["beside"],
    ),
    "list_alone": ({"content": [], "structuredContent": [1, 2]}, ["[1,2]"]),
    "no_content": ({"structuredContent": {"rows": 7}}, ['{"rows":7}']),
    "nothing_known": ({"output": "it went well"}, ["it went well"]),
    "empty_object": ({}, ["the tool returned nothing"]),
    "words": ({"content": "a text where a list belongs"}, ["a text where a list belongs"]),
    "one_part": ({"content": BESIDE}, ["beside"]),
    "bare_list": ([BESIDE], ["beside"]),
    "bare_text": ("just a text", ["just a text"]),
    "number": ({"content": [{"type": "text", "text": 42}, BESIDE]}, ["42", "beside"]),
    "odd_parts": (
        {"content": [None, "loose", 7, {"text": "no type"}, BESIDE]},
        ["loose", "beside"],
    ),
    "faceless": (
        {"content": [{"type": "image", "data": 5}, {"type": "resource"}, BESIDE]},
        ["part of type image", "part of type resource", "beside"],
    ),
    "half_key": ({"structuredContent": {"k\ud83d": "v\udc00"}}, ["k\ufffd", "v\ufffd"]),
    "half_long": ({"content": "x" * 70_000 + "\ud83d end"}, ["\ufffd end"]),
    "graded": (
        {"content": [BESIDE | {"annotations": {"priority": 7}, "_meta": "m"}], "_meta": 3},
        ["beside"],
    ),
}
"""Results that break a rule, by manner, and what can be read of them."""


def _always(result: Any) -> Callable[[Any], bytes]:
    return lambda id: _result(id, result)


BODIES |= {manner: _always(result) for manner, (result, _) in ODD.items()}
BODIES["null_error"] = lambda id: _text(id, "beside")[:-1] + b', "error": null}'
ODD["null_error"] = (None, ["beside"])
LOOSE = {
    "nan": '{"n":"NaN"}',
    "endless": '{"n":"1e999"}',
    "negative": '{"n":"-Infinity"}',
    "control": "side",
    "marked": "beside",
    "unversioned": "beside",
    "version_one": "beside",
}
"""Results in loose JSON, by manner, and what can be read of them."""
WRONG = {"true_word": "true", "true": True}
BODIES |= {manner: _always({"content": "no", "isError": said}) for manner, said in WRONG.items()}
"""What a server may say for an error of its tool."""
STATUS = {"accepted": 202, "nothing": 204, "elsewhere": 303, "broken": 500}
KINDS = {
    "html": "text/html",
    "broken": "text/html",
    "kind": "application/xml",
    "nothing": "",
    "elsewhere": "",
}
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in BODIES]


def plain(message: dict[str, Any]) -> bytes | None:
    """The answer to whatever is no call; None where there is none."""
    if "id" not in message:
        return None
    match message["method"]:
        case "initialize":
            return _result(message["id"], INFO)
        case "tools/list":
            return _result(message["id"], {"tools": TOOLS})
        case _:
            error = {"code": -32601, "message": "Method not found"}
            return json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()


class Unread:
    """An MCP server and a webhook on one port, by hand: a line of `runs` for each run.

    What it lists and answers may be changed at any time; `listed` counts how often it was asked.
    """

    def __init__(self) -> None:
        self.bodies = dict(BODIES)
        self.tools: list[Any] = TOOLS
        self.prompts: list[Any] = []
        self.prompt: Any = {"messages": []}
        self.listed = 0
        self.url = ""
        self.runs: list[str] = []
        self._server: asyncio.Server | None = None
        self._events: asyncio.StreamWriter | None = None
        self._over = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._over.set()
        self._server.close()
        if self._events is not None:
            self._events.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await _head(reader):
                method, path, length = head
                body = await reader.readexactly(length)
                if not await self._answered(method, path, body, writer):
                    return
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            if writer is not self._events:
                writer.close()

    async def _answered(
        self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection can take the next one."""
        if method != "POST":
            if path != "/sse":
                writer.write(_response(405, "", b""))
                return True
            self._events = writer
            writer.write(_response(200, "text/event-stream", b"", length=False))
            writer.write(b"event: endpoint\ndata: /messages\n\n")
            await writer.drain()
            await self._over.wait()
            return False
        message = json.loads(body)
        if path.startswith("/hook/"):
            return self._run("hook", path.removeprefix("/hook/"), 1, writer)
        if message.get("method") == "tools/call":
            return self._run(path.strip("/"), message["params"]["name"], message["id"], writer)
        told = self._listing(message) or plain(message)
        if path == "/messages":
            writer.write(_response(202, "", b""))
            self._event(told)
        elif told is None:
            writer.write(_response(202, "", b""))
        else:
            writer.write(_response(200, "application/json", told))
        return True

    def _run(self, door: str, manner: str, id: Any, writer: asyncio.StreamWriter) -> bool:
        self.runs.append(f"{door} {manner}")
        body = self.bodies[manner](id)
        if door == "messages":
            writer.write(_response(202, "", b""))
            self._event(body)
            return True
        if door == "stream":
            writer.write(_response(200, "text/event-stream", b"", length=False))
            writer.write(b"data: " + body + b"\n\n" if body else b": nothing\n\n")
            return False
        packed = manner == "zipped"
        kind = KINDS.get(manner, "application/json")
        size = len(body) + 50 * (manner == "torn")
        writer.write(_response(STATUS.get(manner, 200), kind, body, packed=packed, size=size))
        return manner != "torn"

    def notify(self) -> None:
        """Tell whoever listens over the older transport that all lists have changed."""
        for kind in ("tools", "prompts"):
            told = {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}
            self._event(json.dumps(told).encode())

    def _listing(self, message: dict[str, Any]) -> bytes | None:
        match message.get("method"):
            case "initialize":
                return _result(message["id"], INFO | {"capabilities": {"tools": {}, "prompts": {}}})
            case "tools/list":
                return _result(message["id"], {"tools": self.tools})
            case "prompts/list":
                self.listed += 1
                return _result(message["id"], {"prompts": self.prompts})
            case "prompts/get":
                return _result(message["id"], self.prompt)
            case _:
                return None

    def _event(self, data: bytes | None) -> None:
        if data is not None and self._events is not None:
            self._events.write(b"event: message\ndata: " + data + b"\n\n")


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, int] | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split()
    length = 0
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        length = int(value) if name.lower() == "content-length" else length
    return method, path, length


def _response(
    status: int,
    kind: str,
    body: bytes,
    *,
    packed: bool = False,
    length: bool = True,
    size: int | None = None,
) -> bytes:
    lines = [f"HTTP/1.1 {status} Fine"]
    if kind:
        lines.append(f"Content-Type: {kind}")
    if packed:
        lines.append("Content-Encoding: gzip")
    if status == 303:
        lines.append("Location: /elsewhere")
    if length:
        lines.append(f"Content-Length: {len(body) if size is None else size}")
    else:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def main() -> None:
    log = Path(os.environ["LOG"])
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") != "tools/call":
            told = plain(message)
        else:
            manner = message["params"]["name"]
            with log.open("a", encoding="utf-8") as file:
                file.write(f"stdio {manner}\n")
            told = BODIES[manner](message["id"])
        if told is not None:
            sys.stdout.buffer.write(told + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
