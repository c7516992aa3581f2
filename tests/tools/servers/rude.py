"""An old-protocol MCP server without manners, written by hand: `rude.py <manner>`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

MANNER = sys.argv[1] if len(sys.argv) > 1 else ""
TOOLS: list[Any] = [
    {"name": "fine", "inputSchema": {"type": "object"}},
    {"name": "fine", "inputSchema": {"type": "object"}, "description": "a twin"},
    {"name": "no schema"},
    {"name": "any", "inputSchema": {"anyOf": [{"type": "object"}], "properties": {"a": {}}}},
    {"name": "bad property", "inputSchema": {"type": "object", "properties": {"a b": {}}}},
    {"name": "bad schema", "inputSchema": {"type": "object", "properties": {"a": {"type": 7}}}},
    {"name": "bad names", "inputSchema": {"type": "object", "required": ["a", 1]}},
    {"name": "bad list", "inputSchema": {"type": "object", "properties": [1]}},
    {"name": "new\nline", "inputSchema": {"type": "object"}},
    {"name": "zero\u200bwidth", "inputSchema": {"type": "object"}},
    {"name": "n" * 300, "inputSchema": {"type": "object"}},
    {"name": "liar", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": "yes"}},
    {"name": 5},
    "a string",
]


PARTS = {"parts": 20_000, "crowd": 250_000}
NEWS = {"method": "notifications/message", "params": {"level": "info", "data": "news"}}
SPEWN = {
    "flood": "garbage without an end\n",
    "endless": "garbage without a line ",
    "news": json.dumps({"jsonrpc": "2.0", **NEWS}) + "\n",
}


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(request: dict[str, Any]) -> dict[str, Any]:
    method = request["method"]
    if method == "initialize":
        return {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}, "prompts": {}},
            "serverInfo": {"name": "rude", "version": "0"},
        }
    if method == "tools/list":
        many = [{"name": f"t{n}", "inputSchema": {"type": "object"}} for n in range(10_000)]
        return {"tools": many if MANNER == "many" else TOOLS}
    if method == "prompts/list":
        slow = [{"name": "one"}, {"name": "two"}]
        return {"prompts": slow if MANNER == "slow prompts" else [{"name": 7}]}
    if method == "prompts/get":
        return prompted(request["params"]["name"])
    return called(request["params"]["name"])


def prompted(name: str) -> dict[str, Any]:
    if name == "two":
        time.sleep(1)
    return {"messages": [{"role": "user", "content": {"type": "text", "text": f"prompt {name}"}}]}


def called(name: str) -> dict[str, Any]:
    if MANNER in SPEWN:
        while True:
            sys.stdout.write(SPEWN[MANNER] * 1_000)
    if MANNER == "nonsense":
        return {"content": "no list"}
    if MANNER == "deep":
        return {"content": [], "structuredContent": deep(400)}
    if MANNER in PARTS:
        return {"content": [{"type": "text", "text": "a"}] * PARTS[MANNER]}
    text = "x" * 50_000_000 if MANNER == "huge" else f"called {name}"
    return {"content": [{"type": "text", "text": text}]}


def deep(levels: int) -> dict[str, Any]:
    nest: dict[str, Any] = {}
    for _ in range(levels):
        nest = {"a": nest}
    return nest


def main() -> None:
    if MANNER == "silent":
        time.sleep(3_600)
    if MANNER == "early":
        sys.exit(4)
    if MANNER in {"family", "stray"}:
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(3600)"],
            start_new_session=MANNER == "stray",
        )
        sys.stderr.write(f"child {child.pid} secret {os.environ.get('SECRET', '')}\n")
        sys.stderr.flush()
    if MANNER == "chatty":
        sys.stdout.write("starting up...\n\n{not json}\n")
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        if request["method"] == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            say({"jsonrpc": "2.0", "id": request["id"], "error": error})
        elif MANNER == "torn" and request["method"] == "tools/call":
            sys.stdout.write(f'{{"jsonrpc": "2.0", "id": {request["id"]}, "result": {{"cont\n')
            sys.stdout.flush()
        else:
            say({"jsonrpc": "2.0", "id": request["id"], "result": answer(request)})
        if MANNER == "restless" and request["method"] == "tools/list":
            sys.stderr.write("listed\n")
            sys.stderr.flush()
            say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})


if __name__ == "__main__":
    main()
