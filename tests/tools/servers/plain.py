"""A small old-protocol MCP server that does one thing at a time and starts at once.

Each run of `count` and `crash_once` leaves a line in the file that LOG names.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

LOG = Path(os.environ.get("LOG", os.devnull))
HINTS: dict[str, dict[str, bool]] = {"crash_once": {"idempotentHint": True}}
INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "plain", "version": "0"},
}


def note(word: str) -> None:
    with LOG.open("a") as log:
        log.write(word + "\n")


def echo(text: str) -> str:
    return text


def pid() -> str:
    return str(os.getpid())


def environment() -> str:
    return json.dumps(dict(os.environ))


def count(word: str, seconds: float = 0.0) -> str:
    note(word)
    time.sleep(seconds)
    return word


def crash_once(word: str) -> str:
    is_first = word not in LOG.read_text().split()
    note(word)
    if is_first:
        os._exit(3)
    return "survived"


TOOLS = {tool.__name__: tool for tool in (echo, pid, environment, count, crash_once)}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {"result": INFO}
    if method == "tools/list":
        return {"result": {"tools": [listed(name) for name in TOOLS]}}
    if method == "tools/call":
        text = TOOLS[params["name"]](**params.get("arguments", {}))
        return {"result": {"content": [{"type": "text", "text": text}]}}
    return {"error": {"code": -32601, "message": "Method not found"}}


def listed(name: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, "annotations": HINTS.get(name, {})}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            reply = answer(request["method"], request.get("params", {}))
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
