"""An MCP server that says of itself what `MIND_WORDS` holds, and has one tool; written by hand."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

TOOL = {
    "name": "count",
    "description": "Count the boxes\nin the store.",
    "inputSchema": {"type": "object", "properties": {}},
    "annotations": {"readOnlyHint": True},
}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            hello = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            who = {"serverInfo": {"name": "minded", "version": "0"}}
            return {"result": {**hello, **who, "instructions": os.environ["MIND_WORDS"]}}
        case "tools/list":
            return {"result": {"tools": [TOOL]}}
        case "tools/call":
            return {"result": {"content": [{"type": "text", "text": "seven"}]}}
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            told = {"jsonrpc": "2.0", "id": request["id"], **answer(request)}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
