"""An MCP server over stdio with one oddity, written by hand: `odd.py <manner>`."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

MANNER = sys.argv[1] if len(sys.argv) > 1 else ""
WORDS = {"type": "string", "description": "What to look for."}
SEARCH = {
    "type": "object",
    "properties": {
        "$top": {"type": "integer", "description": "How many."},
        "ids[]": {"type": "array", "items": {"type": "string"}},
        "a b": WORDS,
        "top": {"type": "boolean"},
        "q" * 80: {"type": "null"},
    },
    "required": ["$top", "a b"],
    "dependentRequired": {"$top": ["ids[]"]},
}
FINE = {"name": "fine", "inputSchema": {"type": "object"}}
TOOLS: dict[str, list[Any]] = {
    "renamed": [{"name": "search", "description": "Search.", "inputSchema": SEARCH}],
    "left": [
        FINE,
        {"name": "hid\u200bden", "inputSchema": {"type": "object"}},
        {"name": "wrong", "inputSchema": {"type": "object", "properties": [1]}},
        {"name": "huge", "inputSchema": {"type": "object", "title": "x" * 70_000}},
        {"name": "odd", "inputSchema": {"type": "object", "properties": {"a\nb": {"type": 7}}}},
        {
            "name": "refers",
            "inputSchema": {
                "type": "object",
                "properties": {"$a": {"type": "integer"}, "b": {"$ref": "#/properties/$a"}},
            },
        },
        {"name": "away", "inputSchema": {"$ref": "https://a.example/schema.json"}},
        {
            "name": "asks",
            "inputSchema": {
                "type": "object",
                "properties": {"platform": WORDS, "api_key": WORDS},
                "required": ["platform", "api_key"],
            },
        },
        "a text",
        FINE,
    ],
    "parted": [
        {
            "name": "referring",
            "inputSchema": {"$ref": "#/$defs/Search", "$defs": {"Search": SEARCH}},
        },
        {
            "name": "either",
            "inputSchema": {
                "oneOf": [
                    {"properties": {"kind": {"const": "a"}, "$top": {"type": "integer"}}},
                    {"$ref": "#/$defs/B"},
                ],
                "$defs": {
                    "B": {"allOf": [{"properties": {"kind": {"const": "b"}, "ids[]": {}}}]},
                },
            },
        },
    ],
}
ANSWERS: dict[str, bytes] = {
    "foreign": b'{"jsonrpc": "2.0", "id": 99999, "result": {"content": []}}',
    "nobody": b'{"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "Cannot read it"}}',
    "nameless": b'{"jsonrpc": "2.0", "result": {"content": []}}',
    "spread_torn": b'{\n  "jsonrpc": "2.0",\n  "result": {\n    "content": [\n',
    "torn": b'{"jsonrpc": "2.0", "result": {"content": [}',
}
"""What answers a call, whatever its id is."""
PARTS = [{"type": "json", "json": {"a": 1}}, {"type": "text", "text": "beside"}]


def say(id: Any, **body: Any) -> None:
    indent = 2 if MANNER == "spread" else None
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": id, **body}, indent=indent) + "\n")
    sys.stdout.flush()


def die() -> None:
    sys.stderr.write("starting\n\x1b[31mTraceback (most recent call last):\n")
    sys.stderr.write(f"ModuleNotFoundError: no module 'acme' for {os.environ.get('KEY', '')}\n")
    sys.stderr.flush()
    sys.exit(3)


def listed(id: Any) -> None:
    if MANNER == "none":
        refuse(id)
    elif MANNER == "long":
        long = [FINE | {"name": f"t{n}", "description": "x" * 40_000} for n in range(230)]
        say(id, result={"tools": long})
    else:
        say(id, result={"tools": TOOLS.get(MANNER, [FINE])})


def called(id: Any, arguments: Any) -> None:
    if MANNER in ANSWERS:
        sys.stdout.buffer.write(ANSWERS[MANNER] + b"\n")
        sys.stdout.buffer.flush()
    elif MANNER == "parts":
        say(id, result={"content": PARTS, "structuredContent": [1]})
    else:
        text = f"called with {json.dumps(arguments, sort_keys=True)}"
        say(id, result={"content": [{"type": "text", "text": text}]})


def refuse(id: Any) -> None:
    say(id, error={"code": -32601, "message": "Method not found"})


def main() -> None:
    if MANNER == "dead":
        die()
    if MANNER == "chatty":
        sys.stdout.write('{ starting\n{\n  "level": "info"\n}\n{ ready\n')
    for line in sys.stdin:
        request = json.loads(line)
        id = request.get("id")
        match request.get("method") if id is not None else None:
            case None:
                continue
            case "initialize" if MANNER == "dies_greeted":
                die()
            case "initialize":
                can: dict[str, Any] = {} if MANNER in {"undeclared", "none"} else {"tools": {}}
                info = {"name": "odd", "version": "0"}
                hello = {"protocolVersion": "2025-06-18", "capabilities": can, "serverInfo": info}
                say(id, result=hello)
            case "tools/list":
                listed(id)
            case "tools/call":
                called(id, request["params"]["arguments"])
            case _:
                refuse(id)


if __name__ == "__main__":
    main()
