"""An MCP server for tests of approval: each run of a tool leaves a line in `DESK_LOG`.

The description of `write` is `DESK_WORDS`, so that a test can change what the tool is; the server
starts only once the file `DESK_HOLD` is gone. It speaks an old protocol by hand, for it is started
in more than a hundred tests: the library would cost each of them a second.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOG = Path(os.environ["DESK_LOG"])
SLOW = 600.0
SLOW_NAME = os.environ.get("DESK_SLOW", "slow")
INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {"listChanged": False}},
    "serverInfo": {"name": "desk", "version": "1"},
}
TOOLS = {
    "write": (os.environ.get("DESK_WORDS", "Write it down."), ("text",)),
    SLOW_NAME: ("Write it down, then take very long.", ("text",)),
    "delete_note": ("Throw a note away.", ("name",)),
    "look": ("See what is there.", ()),
}


def note(word: str) -> None:
    with LOG.open("a", encoding="utf-8") as log:
        log.write(word + "\n")


def write(text: str) -> str:
    note(f"write {text}")
    return f"written: {text}"


def delete_note(name: str) -> str:
    note(f"delete {name}")
    return f"deleted: {name}"


def look() -> str:
    note("look")
    return "a desk"


DONE_AT_ONCE: dict[str, Callable[..., str]] = {
    "write": write,
    "delete_note": delete_note,
    "look": look,
}


def answer(number: Any, method: str, params: dict[str, Any]) -> None:
    if method == "initialize":
        say(number, result=INFO)
    elif method == "tools/list":
        say(number, result={"tools": [listed(name) for name in TOOLS]})
    elif method == "tools/call" and params.get("name") in TOOLS:
        call(number, params["name"], params.get("arguments") or {})
    else:
        say(number, error={"code": -32601, "message": "Method not found"})


def call(number: Any, name: str, arguments: dict[str, Any]) -> None:
    wanted = set(TOOLS[name][1])
    if wanted != set(arguments):
        told(number, f"{name} takes {sorted(wanted)}, not {sorted(arguments)}", is_error=True)
    elif name == SLOW_NAME:
        note(f"slow {arguments['text']}")
        later = threading.Timer(SLOW, told, (number, arguments["text"]))
        later.daemon = True
        later.start()
    else:
        told(number, DONE_AT_ONCE[name](**arguments))


def told(number: Any, text: str, *, is_error: bool = False) -> None:
    say(number, result={"content": [{"type": "text", "text": text}], "isError": is_error})


def listed(name: str) -> dict[str, Any]:
    description, wanted = TOOLS[name]
    schema = {
        "type": "object",
        "title": f"{name}Arguments",
        "properties": {one: {"title": one.title(), "type": "string"} for one in wanted},
    }
    if wanted:
        schema["required"] = [*wanted]
    return {"name": name, "description": description, "inputSchema": schema}


def say(number: Any, **content: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": number, **content}) + "\n")
    sys.stdout.flush()


def main() -> None:
    while Path(os.environ.get("DESK_HOLD", os.devnull)).is_file():
        time.sleep(0.02)
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request and "method" in request:
            answer(request["id"], request["method"], request.get("params") or {})


if __name__ == "__main__":
    main()
