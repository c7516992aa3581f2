"""Stores as people rent them: servers whose user may not do everything, and commands on them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from simulators.testing.valkey import Valkey
from tests.host.stage import ROOT, Stage, command

REDIS = shutil.which("redis-server")
"""A real Redis, where it is installed; elsewhere these tests run on the bundled Valkey."""
ALL = ("~*", "&*", "+@all")
PASSWORD = "a-long-password-of-the-test"


def user(*rules: str) -> tuple[str, ...]:
    """Options of a server whose one user has these rules."""
    return ("--user", "default", "on", f">{PASSWORD}", *rules)


def acl_of_the_docs() -> list[str]:
    """The rules of the ACL line that docs/operations.md gives, after its name and password."""
    line = re.search(r"^ACL SETUSER \S+ on \S+ (.*)$", _operations(), re.MULTILINE)
    assert line, "docs/operations.md gives no ACL line"
    return line[1].split()


def _operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text("utf-8")


@contextlib.asynccontextmanager
async def rented(folder: Path, options: Sequence[str]) -> AsyncIterator[str]:
    """A server with these options: its URL, with the password."""
    server = Valkey(folder / "rented", options, program=REDIS)
    await server.start(ready=False)
    try:
        yield f"unix://:{PASSWORD}@{server.socket}" if "--user" in options else server.url
    finally:
        await server.stop()


async def ended(stage: Stage, url: str, *words: str) -> tuple[int, str]:
    """How a command of ours ends on this store, and all that it printed."""
    return await command(stage.folder, stage.variables(REDIS_URL=url), *words, seconds=40)
