"""A small old-protocol MCP server that does one thing at a time and starts at once.

Each run of `count`, `hold`, `stir` and `crash_once` leaves a line in the file that LOG names. Files
beside it steer the server: while `.late` is there it does not start, `.tools` names what it lists.
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
    with LOG.open("a", encoding="utf-8") as log:
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


def hold(word: str) -> str:
    note(word)
    while LOG.with_suffix(".hold").exists():
        time.sleep(0.01)
    return word


def stir(word: str, seconds: float = 0.0) -> str:
    say({"method": "notifications/tools/list_changed"})
    return count(word, seconds)


def crash_once(word: str) -> str:
    is_first = word not in LOG.read_text(encoding="utf-8").split()
    note(word)
    if is_first:
        os._exit(3)
    return "survived"


TOOLS = {tool.__name__: tool for tool in (echo, pid, environment, count, hold, stir, crash_once)}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {"result": INFO}
    if method == "tools/list":
        return {"result": {"tools": [listed(name) for name in offered()]}}
    if method == "tools/call" and params["name"] in offered():
        text = TOOLS[params["name"]](**params.get("arguments", {}))
        return {"result": {"content": [{"type": "text", "text": text}]}}
    return {"error": {"code": -32601, "message": "Method not found"}}


def offered() -> list[str]:
    chosen = LOG.with_suffix(".tools")
    return chosen.read_text().split() if chosen.is_file() else list(TOOLS)


def listed(name: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, "annotations": HINTS.get(name, {})}


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def main() -> None:
    while LOG.with_suffix(".late").is_file():
        time.sleep(0.01)
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            say({"id": request["id"], **answer(request["method"], request.get("params", {}))})


if __name__ == "__main__":
    main()
