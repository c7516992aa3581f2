"""An old-protocol MCP server over HTTP that forgets its sessions: `sessions.py <port> <how>`.

`how` is the way in which it refuses a session that it does not know: `status` or `message`. With
`stream` it also opens a stream to who asks, and with `mute` it never answers a notification. Some
of its tools answer with what no client should take: `huge`, `half` an answer, one `zipped`.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
import uuid
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOW = sys.argv[2]
INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "sessions", "version": "0"},
}
NAMES = ("forget", "runs", "slow", "huge", "half", "zipped")
HUGE = 50_000_000
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]
sessions: set[str] = set()
runs: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = message.get("method")
        if method == "initialize":
            sessions.add(session := uuid.uuid4().hex)
            self.reply(message, {"result": INFO}, session=session)
        elif method == "server/discover":
            self.reply(message, {"error": {"code": -32601, "message": "Method not found"}})
        elif self.headers.get("Mcp-Session-Id") not in sessions:
            self.reply_unknown(message)
        elif "id" not in message:
            if HOW == "mute":
                time.sleep(3600)
            self.reply(None, {}, status=202)
        elif method == "tools/list":
            self.reply(message, {"result": {"tools": TOOLS}})
        else:
            self.reply(message, {"result": called(message["params"]["name"])})

    def do_GET(self) -> None:
        if HOW != "stream":
            self.reply(None, {}, status=405)
            return
        if self.headers.get("Mcp-Session-Id") not in sessions:
            self.reply(None, {}, status=404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": hello\n\n")
        time.sleep(3600)

    def do_DELETE(self) -> None:
        self.reply(None, {}, status=405)

    def reply_unknown(self, message: dict[str, Any]) -> None:
        error = {"error": {"code": -32600, "message": "Session not found"}}
        if HOW == "message":
            self.reply(message, error)
        else:
            self.reply(None, {}, status=404)

    def reply(
        self, to: dict[str, Any] | None, body: dict[str, Any], status: int = 200, session: str = ""
    ) -> None:
        data = json.dumps({"jsonrpc": "2.0", "id": to["id"], **body}).encode() if to else b""
        told = to["params"]["name"] if to and to["method"] == "tools/call" else ""
        if told == "zipped":
            data = gzip.compress(data)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if told == "zipped":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        if told == "half":
            self.close_connection = True
            data = data[: len(data) // 2]
        with suppress(OSError):
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def called(name: str) -> dict[str, Any]:
    runs.append(name)
    if name == "forget":
        sessions.clear()
    if name == "slow":
        time.sleep(0.7)
    if name in {"huge", "zipped"}:
        return {"content": [{"type": "text", "text": "x" * HUGE}]}
    return {"content": [{"type": "text", "text": " ".join(runs)}]}


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
