"""The notes server: what it keeps, and what it refuses to touch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver.exceptions import ToolError

from bot.sandbox.notes_server import LARGEST, Notes

NO_NOTES = [
    *("../secret.md", "/etc/passwd.md", "a/../../secret.md", "..", ".", "", " ", "x\0.md"),
    *(".hidden.md", ".git/config.md", "script.py", "no-suffix", "link.md", "linked/secret.md"),
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    folder = tmp_path / "notes"
    folder.mkdir()
    (tmp_path / "secret.md").write_text("not a note")
    return Notes(folder)


def test_what_was_written_is_listed_read_and_found(notes: Notes) -> None:
    assert notes.listed() == "There are no notes yet."
    assert notes.write("shopping.md", "Oranges\nbread") == "Made shopping.md (13 bytes)."
    assert notes.write("trips/rome.txt", "see the Pantheon") == "Made trips/rome.txt (16 bytes)."
    assert notes.listed() == "shopping.md (13 bytes)\ntrips/rome.txt (16 bytes)"
    assert notes.read("trips/rome.txt") == "see the Pantheon"
    assert notes.search("ORANGES") == "shopping.md:1: Oranges"
    assert notes.search("apples") == "No note contains 'apples'."
    assert notes.write("shopping.md", "").startswith("Replaced")


@pytest.mark.parametrize("path", NO_NOTES)
def test_a_path_that_is_no_note_is_refused(notes: Notes, tmp_path: Path, path: str) -> None:
    (tmp_path / "notes" / "link.md").symlink_to(tmp_path / "secret.md")
    (tmp_path / "notes" / "linked").symlink_to(tmp_path)
    with pytest.raises(ToolError):
        notes.read(path)
    with pytest.raises(ToolError):
        notes.write(path, "planted")
    with pytest.raises(ToolError):
        notes.delete(path)
    assert (tmp_path / "secret.md").read_text() == "not a note"
    assert notes.listed() == "There are no notes yet."
    assert notes.search("a note") == "No note contains 'a note'."


def test_a_deleted_note_is_gone_and_the_others_stay(notes: Notes) -> None:
    notes.write("a.md", "a")
    notes.write("b.md", "b")
    assert notes.delete("a.md") == "Deleted a.md."
    assert notes.listed() == "b.md (1 bytes)"
    with pytest.raises(ToolError, match="no note"):
        notes.delete("a.md")


def test_too_large_a_note_is_refused_and_the_old_one_stays(notes: Notes) -> None:
    notes.write("a.md", "short")
    with pytest.raises(ToolError, match="at most"):
        notes.write("a.md", "x" * (LARGEST + 1))
    assert notes.read("a.md") == "short"


async def test_it_speaks_mcp_as_a_process(tmp_path: Path) -> None:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "bot.sandbox.notes_server", str(tmp_path / "notes")],
        env={"PYTHONPATH": str(ROOT)},
    )
    async with Client(parameters) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {
            "list_files",
            "read_file",
            "write_file",
            "search_files",
            "delete_file",
        }
        await client.call_tool("write_file", {"path": "a.md", "content": "hi"})
        refused = await client.call_tool("read_file", {"path": "../a.md"})
    assert (tmp_path / "notes" / "a.md").read_text() == "hi"
    assert refused.is_error
