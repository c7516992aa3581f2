"""The command line in this process: its words, what it prints on which stream, its exit code."""

from __future__ import annotations

import asyncio
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)


class Console:
    """Runs commands in a folder, over the store that the environment names."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    async def __call__(self, *words: str) -> Ran:
        """Run a command, whatever becomes of it; it has an event loop of its own."""
        self._capsys.readouterr()
        try:
            code = await asyncio.to_thread(main, words)
        except SystemExit as end:
            code = int(end.code or 0)
        printed = self._capsys.readouterr()
        return Ran(code, printed.out, printed.err)

    async def done(self, *words: str) -> Ran:
        """Run a command that must succeed."""
        ran = await self(*words)
        assert ran.code == 0, ran.err
        return ran

    async def refused(self, *words: str, code: int = 1) -> str:
        """Run a command that must fail without a word on stdout; what it says on stderr."""
        ran = await self(*words)
        assert (ran.code, ran.out) == (code, "")
        assert ran.err.splitlines()[-1].startswith("switchboard: ")
        return ran.err

    def read(self, name: str) -> str:
        """The text of a file."""
        return (self.folder / name).read_text("utf-8")

    def write(self, name: str, value: Any) -> str:
        """Write a file of JSON; its path."""
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), "utf-8")
        return str(path)

    def mode(self, name: str) -> int:
        """Who may do what with a file."""
        return stat.S_IMODE((self.folder / name).stat().st_mode)
