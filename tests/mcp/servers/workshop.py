"""An MCP server for tests, with tools that behave and tools that do not.

`workshop.py [stdio|http|sse] [port]`; with `WORKSHOP_LOG` each run of `count` leaves a line there,
and a file `.gone` beside it names a tool that is not there any more.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("workshop", log_level="ERROR")
LOG = Path(os.environ.get("WORKSHOP_LOG", os.devnull))
READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def _note(word: str) -> None:
    with LOG.open("a", encoding="utf-8") as log:
        log.write(word + "\n")


@server.tool(annotations=READ_ONLY, structured_output=False)
async def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool(structured_output=False)
async def count(word: str = "count", seconds: float = 0.0) -> str:
    """Leave a line, then wait."""
    _note(word)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _note("cancelled")
        raise
    return word


@server.tool(structured_output=False)
async def hold(word: str) -> str:
    """Leave a line, then wait while the file `.hold` is beside the log."""
    _note(word)
    while LOG.with_suffix(".hold").exists():  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.02)
    return word


@server.tool(structured_output=False)
async def big(characters: int) -> str:
    """A long answer."""
    return "x" * characters


@server.tool(structured_output=False)
async def fail() -> str:
    """Raise."""
    raise ValueError("out of nails")


@server.tool(structured_output=False)
async def picture() -> Image:
    """An image."""
    return Image(data=PIXEL, format="png")


@server.tool()
async def measure() -> dict[str, int]:
    """A structured answer."""
    return {"width": 3}


@server.tool(name="odd.näme with spaces", structured_output=False)
async def odd() -> str:
    """A name that no model takes."""
    return "odd"


@server.tool(structured_output=False)
async def grow(name: str, ctx: Context) -> str:
    """Add a tool, and tell of it."""

    async def grown() -> str:
        return f"I am {name}"

    server.add_tool(grown, name=name, description="new\u200b\u202e here", structured_output=False)
    await ctx.notify_tools_changed()
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.prompt()
def manners() -> str:
    """How to behave."""
    return "Wipe your feet."


@server.prompt()
def greeting(name: str) -> str:
    """Needs an argument."""
    return f"Welcome, {name}."


def main() -> None:
    if (gone := LOG.with_suffix(".gone")).is_file():
        server.remove_tool(gone.read_text())
    how = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    if how == "http":
        server.run("streamable-http", host="127.0.0.1", port=port)
    elif how == "sse":
        server.run("sse", host="127.0.0.1", port=port)
    else:
        server.run("stdio")


if __name__ == "__main__":
    main()
