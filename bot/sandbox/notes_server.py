"""An MCP server for notes: `python -m bot.sandbox.notes_server [folder]`.

It lists, reads, writes, searches and deletes text files in one folder (`DATA_DIR/notes` by
default) and touches nothing outside of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

SUFFIXES = (".md", ".txt", ".json", ".csv")
LARGEST = 1_000_000
MOST_FILES = 2_000
MOST_HITS = 50

_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
NotePath = Annotated[str, Field(description="A file in the folder of notes, such as trips/rome.md")]


class Notes:
    """The text files below one folder; sizes are in bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def listed(self) -> str:
        """One line for each note: path and size."""
        lines = [f"{name} ({path.stat().st_size} bytes)" for name, path in self._all()]
        return "\n".join(lines) or "There are no notes yet."

    def read(self, path: str) -> str:
        """A note's text; ToolError where there is none, or it is too large."""
        file = self._place(path)
        if not file.is_file():
            raise ToolError(f"there is no note {path!r}; list_files names all of them")
        if file.stat().st_size > LARGEST:
            raise ToolError(f"{path!r} is over {LARGEST} bytes: too large for a note")
        return file.read_text(encoding="utf-8", errors="replace")

    def write(self, path: str, content: str) -> str:
        """Make or replace a note, whole or not at all."""
        data = content.encode()
        if len(data) > LARGEST:
            raise ToolError(f"a note holds at most {LARGEST} bytes")
        file = self._place(path)
        new = not file.exists()
        if new and sum(1 for _ in self._all()) >= MOST_FILES:
            raise ToolError(f"there are {MOST_FILES} notes already; replace one of them")
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.new")
        draft.write_bytes(data)
        draft.replace(file)
        return f"{'Made' if new else 'Replaced'} {path} ({len(data)} bytes)."

    def delete(self, path: str) -> str:
        """Remove a note for good; ToolError where there is none."""
        file = self._place(path)
        if not file.is_file():
            raise ToolError(f"there is no note {path!r}; list_files names all of them")
        file.unlink()
        return f"Deleted {path}."

    def search(self, query: str) -> str:
        """Lines that contain the query in any case, each with path and line number."""
        wanted = query.strip().casefold()
        if not wanted:
            raise ToolError("give a word to search for")
        hits = list(self._hits(wanted))
        more = "\n… and more" if len(hits) > MOST_HITS else ""
        return "\n".join(hits[:MOST_HITS]) + more or f"No note contains {query!r}."

    def _hits(self, wanted: str) -> Iterator[str]:
        found = 0
        for name, path in self._all():
            if path.stat().st_size > LARGEST:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if wanted in line.casefold():
                    yield f"{name}:{number}: {line.strip()[:200]}"
                    found += 1
                    if found > MOST_HITS:
                        return

    def _all(self) -> Iterator[tuple[str, Path]]:
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder)
            hidden = any(part.startswith(".") for part in name.parts)
            inside = path.resolve().is_relative_to(self._folder)
            if path.suffix in SUFFIXES and path.is_file() and inside and not hidden:
                yield name.as_posix(), path

    def _place(self, path: str) -> Path:
        """The file of a path; ToolError where it leads out of the folder or is no note."""
        if "\0" in path or not path.strip():
            raise ToolError("give the path of a note, such as shopping.md")
        file = (self._folder / path).resolve()
        if not file.is_relative_to(self._folder) or file == self._folder:
            raise ToolError(f"{path!r} lies outside of the folder of notes")
        parts = file.relative_to(self._folder).parts
        if file.suffix not in SUFFIXES or any(part.startswith(".") for part in parts):
            raise ToolError(f"a note's name ends in {', '.join(SUFFIXES)} and has no leading dot")
        return file


def server_of(notes: Notes) -> MCPServer:
    """The server with its five tools."""
    server = MCPServer("notes", log_level="ERROR")

    @server.tool(annotations=_READS, structured_output=False)
    def list_files() -> str:
        """List all notes with their sizes."""
        return notes.listed()

    @server.tool(annotations=_READS, structured_output=False)
    def read_file(path: NotePath) -> str:
        """Read one note."""
        return notes.read(path)

    @server.tool(annotations=_WRITES, structured_output=False)
    def write_file(path: NotePath, content: str) -> str:
        """Write a note; one of the same path is replaced."""
        return notes.write(path, content)

    @server.tool(annotations=_WRITES, structured_output=False)
    def delete_file(path: NotePath) -> str:
        """Delete one note; it can't be brought back."""
        return notes.delete(path)

    @server.tool(annotations=_READS, structured_output=False)
    def search_files(query: str) -> str:
        """Find the lines of all notes that contain some words."""
        return notes.search(query)

    return server


def main() -> None:
    """Serve the folder of the first argument over standard input and output."""
    default = Path(os.environ.get("DATA_DIR") or "data") / "notes"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    server_of(Notes(folder)).run("stdio")


if __name__ == "__main__":
    main()
