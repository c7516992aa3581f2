"""An MCP server for the proof: each run of a tool leaves a line in a file.

`counter.py <file> [manner]`; it answers calls side by side.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

FILE = Path(sys.argv[1])
MANNER = sys.argv[2] if len(sys.argv) > 2 else ""
TOOLS = ("count", "look", "die", "hang", "huge", "nonsense", "garbage")
INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "counter", "version": "0"},
}
WRITING = threading.Lock()


def say(message: dict[str, Any]) -> None:
    with WRITING:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def tools() -> list[dict[str, Any]]:
    names = list(TOOLS)
    if MANNER == "many":
        names += [f"t{n}" for n in range(10_000)]
    if MANNER == "twins":
        names += ["count", "count"]
    return [{"name": name, "inputSchema": {"type": "object"}} for name in names]


def run(tool: str, word: str, seconds: float) -> Any:
    with FILE.open("a", encoding="utf-8") as file:
        file.write(f"{tool} {word}\n")
    if tool == "die":
        os._exit(3)
    if tool == "hang":
        time.sleep(3600)
    if tool == "garbage":
        with WRITING:
            sys.stdout.write("{this is no JSON\n")
            sys.stdout.flush()
    if tool == "nonsense":
        return {"content": "no list"}
    time.sleep(seconds)
    text = "x" * 50_000_000 if tool == "huge" else word
    return {"content": [{"type": "text", "text": text}]}


def call(number: Any, params: dict[str, Any]) -> None:
    given = params.get("arguments", {})
    result = run(params["name"], str(given.get("word")), float(given.get("seconds", 0)))
    say({"jsonrpc": "2.0", "id": number, "result": result})


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        number, method = request.get("id"), request.get("method")
        if method == "tools/call":
            work = (number, request["params"])
            threading.Thread(target=call, args=work, daemon=True).start()
        elif method in ("initialize", "tools/list"):
            result = INFO if method == "initialize" else {"tools": tools()}
            say({"jsonrpc": "2.0", "id": number, "result": result})
        elif number is not None:
            error = {"code": -32601, "message": "Method not found"}
            say({"jsonrpc": "2.0", "id": number, "error": error})


if __name__ == "__main__":
    main()
