"""An MCP server over stdio whose tools a file lists: `listing.py <file of tools> <log>`.

Each call leaves a line of JSON in the log: the tool's name and its arguments.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

INFO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {"tools": {}},
    "serverInfo": {"name": "listing", "version": "0"},
}


def say(id: Any, **body: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": id, **body}) + "\n")
    sys.stdout.flush()


def main(tools: Path, log: Path) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        match request:
            case {"id": id, "method": "initialize"}:
                say(id, result=INFO)
            case {"id": id, "method": "tools/list"}:
                say(id, result={"tools": json.loads(tools.read_text(encoding="utf-8"))})
            case {"id": id, "method": "tools/call", "params": called}:
                with log.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps([called["name"], called.get("arguments")]) + "\n")
                say(id, result={"content": [{"type": "text", "text": f"did {called['name']}"}]})
            case {"id": id, "method": _}:
                say(id, error={"code": -32601, "message": "Method not found"})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
