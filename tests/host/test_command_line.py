"""The command line beside a running host, and where none runs, as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.cli import registry
from bot.cli.main import parser_of
from tests.host.stage import ROOT, Stage, processes_in, settings_of

POET = {"id": "poet", "name": "Poet", "customInstructions": "You are the poet of the house."}


async def run(environ: Mapping[str, str], *words: str, given: str = "") -> tuple[int, str]:
    """Run a command as a process; its exit code, and what it printed on stdout."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *words),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        cwd=Path(environ["DATA_DIR"]).parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(given.encode()), 100)
    return process.returncode or 0, out.decode()


async def here(environ: Mapping[str, str], *words: str) -> Any:
    """Run a command in this process; what it says as data."""
    given = parser_of(words[0]).parse_args(words)
    return (await registry.run(settings_of(environ), given)).data


async def test_a_change_of_the_command_line_is_felt_in_a_chat_at_once(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("well", again=True)
    async with stage.host() as host:
        environ = stage.variables()
        assert await stage.ask(ann, room, echo, "before") == "well"
        assert "You are Echo." in str(stage.requests()[-1]["system"])
        code, said = await run(environ, "agents", "put", "-", given=json.dumps(POET))
        assert (code, said) == (0, "created agent poet, revision 1\n")
        words = ("bindings", "set", "poet", "--chat", str(room.id), "--on-bot", str(echo.id))
        await here(environ, *words)
        ended = time.monotonic()
        async with asyncio.timeout(1):
            await host.catalog.until(lambda snapshot: len(snapshot.bindings) == 2)
        assert await stage.ask(ann, room, echo, "after") == "well"
        assert time.monotonic() - ended < 5  # the answer as well, on any machine
        assert "the poet of the house" in str(stage.requests()[-1]["system"])
        other = stage.folder / "other.json"
        other.write_text('{"agents": []}', "utf-8")
        elsewhere = {**environ, "AGENTS_FILE": str(other)}
        history = await here(elsewhere, "agents", "history", "echo")
        assert [(one["by"], one["deleted"]) for one in history] == [("file", False)]
        records = await here(environ, "audit", "list")
        assert {one["via"] for one in records if one["entity_id"] == "poet"} == {"cli"}
        assert {one["via"] for one in records if one["entity_id"] == "echo"} == {"file"}


async def test_commands_at_once_without_a_host_share_the_bundled_store_and_leave_none(
    stage: Stage,
) -> None:
    stage.bot("Echo")
    async with stage.host():
        pass
    environ = stage.variables()
    ran = await asyncio.gather(
        *(run(environ, "access", "let-in", str(number)) for number in (1, 2))
    )
    assert [code for code, _ in ran] == [0, 0]
    listed = await here(environ, "access", "list")
    assert [one["id"] for one in listed] == [f"person:{n}@*" for n in (1, 2)]
    assert [*processes_in(Path(environ["DATA_DIR"]))] == []
