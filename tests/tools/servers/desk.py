"""An MCP server for tests of approval: each run of a tool leaves a line in `DESK_LOG`.

The description of `write` is `DESK_WORDS`, so that a test can change what the tool is; the server
starts only once the file `DESK_HOLD` is gone.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("desk", log_level="ERROR")
LOG = Path(os.environ["DESK_LOG"])


def _note(word: str) -> None:
    with LOG.open("a") as log:
        log.write(word + "\n")


async def write(text: str) -> str:
    _note(f"write {text}")
    return f"written: {text}"


server.add_tool(
    write, description=os.environ.get("DESK_WORDS", "Write it down."), structured_output=False
)


@server.tool(structured_output=False)
async def slow(text: str) -> str:
    """Write it down, then take very long."""
    _note(f"slow {text}")
    await asyncio.sleep(600)
    return text


@server.tool(structured_output=False)
async def delete_note(name: str) -> str:
    """Throw a note away."""
    _note(f"delete {name}")
    return f"deleted: {name}"


@server.tool(structured_output=False)
async def look() -> str:
    """See what is there."""
    _note("look")
    return "a desk"


if __name__ == "__main__":
    while Path(os.environ.get("DESK_HOLD", os.devnull)).is_file():
        time.sleep(0.02)
    server.run("stdio")
