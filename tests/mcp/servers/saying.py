"""MCP servers over HTTP that refuse: each manner is a server, at a path of its own.

`forget` makes a server forget its sessions, as one that was started anew does.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from simulators.http_server import serving

JSON = "application/json"
INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "saying", "version": "0"},
}
NAMES = ("work", "slow", "picky", "moody", "wordy", "curt", "barred", "fails", "page")
TOOLS: list[Any] = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
LONG = [{"name": f"t{n}", "description": "x" * 40_000, "inputSchema": {}} for n in range(230)]


def error(id: Any, code: int, message: str) -> str:
    said = {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}
    return json.dumps(said)


def _json(code: int, message: str, *, echo: bool = False) -> Callable[[Any], tuple[str, str]]:
    return lambda id: (JSON, error(id if echo else None, code, message))


def _text(text: str, kind: str = "text/plain") -> Callable[[Any], tuple[str, str]]:
    return lambda _: (kind, text)


FORGOTTEN: dict[str, tuple[int, Callable[[Any], tuple[str, str]]]] = {
    "sdk": (400, _json(-32000, "Bad Request: No valid session ID provided")),
    "text": (400, _text("Bad Request: No valid session ID provided")),
    "gone": (410, _text("")),
    "conflict": (409, _text("unknown session")),
    "unprocessable": (422, _json(-32600, "Session required")),
    "echoed": (400, _json(-32603, "Ungültige Sitzung", echo=True)),
    "fine": (200, _json(-32000, "Bad Request: No valid session ID provided", echo=True)),
    "nameless": (200, _json(-32001, "Session not found")),
    "unready": (200, _json(-32603, "Server not initialized", echo=True)),
    "chinese": (200, _json(-32603, "会话不存在", echo=True)),
    "invalid": (200, _json(-32602, "Invalid request parameters", echo=True)),
    "naming": (200, lambda id: (JSON, error(id, -32000, f"Request {id} before initialization"))),
    "page": (404, _text("<html>not here</html>", "text/html")),
    "older": (400, _text("No transport found for sessionId")),
    "older_gone": (404, _json(-32001, "Session not found")),
    "older_unready": (200, _json(-32000, "Transport not found", echo=True)),
    "older_fine": (200, _json(-32001, "Session not found", echo=True)),
}
"""How a server refuses a session that it does not know; `older…` speaks the older transport."""
REFUSED: dict[str, tuple[int, dict[str, str]]] = {
    "locked": (401, {"WWW-Authenticate": 'Bearer resource_metadata="https://a.example/x"'}),
    "barred": (403, {}),
    "elsewhere": (404, {}),
    "unwilling": (400, {}),
    "broken": (500, {}),
}
"""How a server refuses every request."""
FOREIGN = {
    "website": ("text/html; charset=utf-8", "<html>Welcome</html>"),
    "api": (JSON, '{"error": "no such path"}'),
    "poem": ("text/plain", "Roses are red"),
}
"""What answers every request where no MCP server is, and not with a refusal."""


class Saying:
    """What was asked of each server, and what was run: by manner, and method or tool.

    Those in `forgets` forget each session once they have listed, those in `ignores` at once; those
    in `grown` list too much, those in `spoilt` refuse to list; of those in `gone` a web page is
    left.
    """

    def __init__(self) -> None:
        self.url = ""
        self.asked: Counter[tuple[str, str]] = Counter()
        self.ran: Counter[tuple[str, str]] = Counter()
        self.forgets: set[str] = set()
        self.ignores: set[str] = set()
        self.spoilt: set[str] = set()
        self.gone: set[str] = set()
        self.grown: set[str] = {"long"}
        self.go_on = asyncio.Event()
        """What a call of `slow` waits for."""
        self._known: dict[str, set[str]] = {}
        self._events: dict[str, asyncio.Queue[str]] = {}

    def forget(self, manner: str) -> None:
        """This server knows none of its sessions any more."""
        self._known[manner] = set()

    async def post(self, request: Request) -> Response:
        manner, message = request.path_params["manner"], await request.json()
        method, id = message.get("method", "answer"), message.get("id")
        self.asked[manner, method] += 1
        if manner in REFUSED:
            status, headers = REFUSED[manner]
            return Response("no", status, headers)
        if manner in FOREIGN or manner in self.gone:
            kind, text = FOREIGN.get(manner, FOREIGN["website"])
            return Response(text, media_type=kind)
        if method == "initialize":
            return self._opened(manner, id)
        session = request.headers.get("mcp-session-id") or request.query_params.get("session")
        if method == "server/discover":
            return self._answer(manner, error(id, -32601, "Method not found"))
        if session not in self._known.get(manner, ()):
            status, said = FORGOTTEN[manner]
            kind, text = said(id)
            return Response(text, status, media_type=kind or None)
        if id is None:
            return Response(status_code=202)
        if method == "tools/list":
            if manner in self.forgets:
                self.forget(manner)
            if manner in self.spoilt:
                return self._answer(manner, error(id, -32603, "No catalogue today"))
            listed: Any = LONG if manner in self.grown else TOOLS
            listed = {"work": "here"} if manner == "shapeless" else listed
            return self._answer(manner, _result(id, {"tools": listed}))
        return await self._call(manner, id, message["params"]["name"])

    async def _call(self, manner: str, id: Any, tool: str) -> Response:
        match tool:
            case "picky":
                return Response(error(id, -32000, "Wrong word"), 400, media_type=JSON)
            case "barred":
                return Response("Not yours", 403, media_type="text/plain")
            case "moody":
                self.ran[manner, tool] += 1
                own = error(id, -32000, "The session with the shop was not found")
                return Response(own, 200, media_type=JSON)
            case "wordy":
                self.ran[manner, tool] += 1
                return self._answer(manner, error(id, -32603, "No such customer"))
            case "page":
                return Response("<html>Log in</html>", media_type="text/html")
            case "curt":
                return Response("Wrong word", 400, media_type="text/plain")
            case "fails":
                self.ran[manner, tool] += 1
                return Response("<html>no</html>", 500, media_type="text/html")
            case "slow":
                self.ran[manner, tool] += 1
                await self.go_on.wait()
            case _:
                self.ran[manner, tool] += 1
        text = f"ran {self.ran[manner, tool]}"
        return self._answer(manner, _result(id, {"content": [{"type": "text", "text": text}]}))

    def _opened(self, manner: str, id: Any) -> Response:
        if manner.startswith("older"):
            return self._answer(manner, _result(id, INFO))
        session = uuid.uuid4().hex
        if manner not in self.ignores:
            self._known.setdefault(manner, set()).add(session)
        return self._answer(manner, _result(id, INFO), session)

    def _answer(self, manner: str, body: str, session: str = "") -> Response:
        if manner.startswith("older"):
            self._events[manner].put_nowait(f"event: message\ndata: {body}\n\n")
            return Response(status_code=202)
        headers = {"Mcp-Session-Id": session} if session else {}
        if manner == "zipped":
            headers["Content-Encoding"] = "gzip"
            return Response(gzip.compress(body.encode()), 200, headers, media_type=JSON)
        return Response(body, 200, headers, media_type=JSON)

    async def get(self, request: Request) -> Response:
        """The stream of the older transport; its session goes on when its posts are refused."""
        manner = request.path_params["manner"]
        if manner in FOREIGN:
            kind, text = FOREIGN[manner]
            return Response(text, media_type=kind)
        if not request.url.path.endswith("/sse"):
            return Response(status_code=405)
        session = uuid.uuid4().hex
        self._known.setdefault(manner, set()).add(session)
        events = self._events[manner] = asyncio.Queue()

        async def told() -> AsyncIterator[str]:
            yield f"event: endpoint\ndata: /{manner}/mcp?session={session}\n\n"
            while True:
                yield await events.get()

        return StreamingResponse(told(), media_type="text/event-stream")


def _result(id: Any, result: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result})


@asynccontextmanager
async def saying() -> AsyncIterator[Saying]:
    """All these servers on one port of loopback."""
    one = Saying()
    routes = [
        Route("/{manner}/mcp", one.post, methods=["POST"]),
        Route("/{manner}/mcp", one.get, methods=["GET", "DELETE"]),
        Route("/{manner}/sse", one.get, methods=["GET"]),
    ]
    async with serving(Starlette(routes=routes)) as one.url:
        yield one
