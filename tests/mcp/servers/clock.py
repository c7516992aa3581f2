"""The tools of mcp-server-time over stdio, written by hand: nothing is loaded for them."""

from __future__ import annotations

import json
import sys
from typing import Any

TEXT = {"type": "string"}
PARAMETERS = {
    "get_current_time": ("timezone",),
    "convert_time": ("source_timezone", "time", "target_timezone"),
}
TOOLS = [
    {
        "name": name,
        "description": name.replace("_", " ").capitalize(),
        "inputSchema": {
            "type": "object",
            "properties": dict.fromkeys(parameters, TEXT),
            "required": [*parameters],
        },
        "annotations": {"readOnlyHint": True, "idempotentHint": True, "destructiveHint": False},
    }
    for name, parameters in PARAMETERS.items()
]


def answer(request: dict[str, Any]) -> dict[str, Any]:
    match request["method"]:
        case "initialize":
            hello = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
            return {"result": {**hello, "serverInfo": {"name": "clock", "version": "0"}}}
        case "tools/list":
            return {"result": {"tools": TOOLS}}
        case "tools/call":
            given = request["params"]["arguments"]
            wrong = {*given} != {*PARAMETERS[request["params"]["name"]]}
            said = "a parameter is missing" if wrong else f"noon in {', '.join(given.values())}"
            return {"result": {"content": [{"type": "text", "text": said}], "isError": wrong}}
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
