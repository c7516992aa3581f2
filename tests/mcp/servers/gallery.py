"""An MCP server for tests whose tools give files: pictures, resources, links.

`GALLERY_TOKEN` is a secret of the operator that `notes` gives away.
"""

from __future__ import annotations

import base64
import os

from mcp.server.mcpserver import MCPServer
from mcp.types import (
    AudioContent,
    BlobResourceContents,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

server = MCPServer("gallery", log_level="ERROR")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
Content = list[TextContent | ImageContent | AudioContent | EmbeddedResource | ResourceLink]


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def blob(uri: str, raw: bytes, kind: str | None = None) -> EmbeddedResource:
    found = BlobResourceContents(uri=uri, blob=encoded(raw), mime_type=kind)
    return EmbeddedResource(type="resource", resource=found)


@server.tool(structured_output=False)
async def picture() -> Content:
    """A picture beside text."""
    text = TextContent(type="text", text="Here it is.")
    return [text, ImageContent(type="image", data=PIXEL, mime_type="image/png")]


@server.tool(structured_output=False)
async def report() -> Content:
    """Resources of every kind."""
    chart = blob("file:///charts/chart%20one.png", base64.b64decode(PIXEL), "image/png")
    sound = AudioContent(type="audio", data=encoded(b"ID3!"), mime_type="audio/mpeg")
    near = ResourceLink(type="resource_link", name="Minutes", uri="https://example.com/minutes.pdf")
    inside = ResourceLink(type="resource_link", name="passwd", uri="file:///etc/passwd")
    return [
        blob("report://q3/Übersicht.pdf", b"%PDF-1.7", "application/pdf"),
        chart,
        sound,
        near,
        inside,
    ]


@server.tool(structured_output=False)
async def notes() -> Content:
    """Text resources that hold a secret."""
    told = f"The token is {os.environ['GALLERY_TOKEN']}."
    plain = TextResourceContents(uri="note://one/notes.md", text=told, mime_type="text/markdown")
    as_blob = blob("note://two/notes.json", told.encode(), "application/json")
    return [EmbeddedResource(type="resource", resource=plain), as_blob]


@server.tool(structured_output=False)
async def odd() -> Content:
    """Files whose names and types are traps."""
    page = b"<script>alert(1)</script>"
    return [
        blob('x://y/../../a"b\r\nSet-Cookie: x.html', page, "text/html; charset=utf-8"),
        blob("x://y/%2e%2e%2f%2e%2e", page, "text/html\r\nX-Evil: 1"),
        blob("http://[/page", page),
        blob("x://" + "y" * 100_000, page, "text/plain"),
        ResourceLink(type="resource_link", name="bad", uri="https://[", size=10**30),
        ResourceLink(type="resource_link", name="run", uri="javascript:alert(1)"),
    ]


@server.tool(structured_output=False)
async def heavy(megabytes: float, count: int) -> Content:
    """So many files of one size."""
    raw = b"x" * int(megabytes * 1024 * 1024)
    return [blob(f"heavy://{number}/{number}.bin", raw) for number in range(count)]


if __name__ == "__main__":
    server.run("stdio")
