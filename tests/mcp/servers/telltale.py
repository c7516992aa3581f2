"""An MCP server that tells whatever it was given, in every way a server can; by hand, as desk.py.

What it is sent it writes into `TELL_LOG`. `TELL_KEY` and `TELL_DSN` are what it should keep.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

KEY, DSN = os.environ["TELL_KEY"], os.environ["TELL_DSN"]
PASSWORD = DSN.partition("@")[0].rpartition(":")[2]
LOG = Path(os.environ["TELL_LOG"])
LONG = 100_000 - len(KEY) // 2
FORMS = {
    "plainly": KEY,
    "in a header": f"Authorization: Bearer {KEY}",
    "in base64": base64.b64encode(KEY.encode()).decode(),
    "in an address": f"https://x.example/?d={quote(KEY, safe='')}&e=%{ord(KEY[0]):x}{KEY[1:]}",
    "in JSON": json.dumps({KEY: [f"\u00e9 {KEY}"], "dsn": DSN}),
    "the password of its database": f"cannot log in with {PASSWORD}",
    "at the cut": "x" * LONG + KEY,
    "among hidden characters": "\u200b".join(KEY),
}
NUMBER = {"type": "object", "properties": {}}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS: list[dict[str, Any]] = [
    {"name": "tell", "description": f"Tells {KEY} to everybody.", "inputSchema": TEXT},
    {"name": "send", "description": "Sends a text away.", "inputSchema": TEXT},
    {"name": f"by-{KEY}", "description": "Has it in its name.", "inputSchema": NUMBER},
    {
        "name": "choose",
        "description": "Has it among its choices.",
        "inputSchema": {"type": "object", "properties": {"text": {"enum": [KEY]}}},
    },
]


def answer(number: Any, method: str, params: dict[str, Any]) -> None:
    arguments = params.get("arguments") or {}
    if method == "initialize":
        can = {"tools": {"listChanged": False}, "prompts": {"listChanged": False}}
        info = {"name": "telltale", "version": "1"}
        version = "2025-06-18"
        say(number, result={"protocolVersion": version, "capabilities": can, "serverInfo": info})
    elif method == "tools/list":
        say(number, result={"tools": TOOLS})
    elif method == "prompts/list":
        say(number, result={"prompts": [{"name": "manners"}]})
    elif method == "prompts/get":
        said = {"type": "text", "text": f"Greet everybody with {KEY}."}
        say(number, result={"messages": [{"role": "user", "content": said}]})
    elif method != "tools/call":
        say(number, error={"code": -32601, "message": "Method not found"})
    elif params.get("name") == "send":
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{arguments['text']}\n")
        told(number, f"sent with {KEY}")
    elif arguments.get("text") == "as an error":
        say(number, error={"code": -32000, "message": f"{'x' * 990} {KEY}"})
    else:
        told(number, FORMS[arguments["text"]])


def told(number: Any, text: str) -> None:
    say(number, result={"content": [{"type": "text", "text": text}], "isError": False})


def say(number: Any, **content: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": number, **content}) + "\n")
    sys.stdout.flush()


def main() -> None:
    sys.stderr.write(f"starting with {KEY} and {PASSWORD}\n")
    sys.stderr.flush()
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            answer(request["id"], request["method"], request.get("params") or {})


if __name__ == "__main__":
    main()
