"""Lines that are no bots of Telegram: what owns them, and what answers there, knows no wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from simulators.http_server import serving
from simulators.messages.routes import app
from simulators.messages.script import Scripted
from simulators.messages.sim import MessagesSim
from simulators.messages.turns import Text, Turn
from simulators.testing.valkey import Valkey
from tests.hosting.memory_host import KEY

ROOT = Path(__file__).parents[2]
WIRELESS = (
    "bot.hosting.fleet",
    "bot.hosting.line",
    "bot.conversations.router",
    "bot.commands.table",
    "bot.turn.runner",
    "bot.approvals.service",
    "bot.usage.reservation",
    "bot.tools.toolset",
)
"""Modules that load all that answers a message, whatever wire it came over."""
HOST = """
import sys
sys.modules["bot.telegram"] = None  # any import of it fails
from tests.hosting.memory_host import main
main(*sys.argv[1:])
"""
AGENTS = {
    "agents": [
        {
            "id": "echo",
            "name": "Echo",
            "mcpServerEndpoints": [],
            "mcpServers": [],
            "customInstructions": "You are Echo.",
        }
    ],
    "bindings": [{"agentId": "echo", "type": "TelegramBot", "bindingKey": KEY}],
    "mcpServers": {},
}


class Host:
    """A process that serves the line: what is written to it, and all that it has told so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    def write(self, number: int, text: str) -> None:
        """An update of one person comes in."""
        assert self.process.stdin is not None
        self.process.stdin.write(orjson.dumps({"id": number, "chat": 5, "text": text}) + b"\n")

    async def tells(self, kind: str, seconds: float = 30) -> Any:
        """The next thing of a kind that the host tells."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            while raw := await self.process.stdout.readline():
                self.told.append(orjson.loads(raw))
                if kind in self.told[-1]:
                    return self.told[-1][kind]
        raise AssertionError(f"the host ended and never told {kind!r}, only {self.told}")

    async def end(self) -> None:
        """Let it finish, and check that it did; it tells what it had loaded."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.tells("loaded")
        assert await asyncio.wait_for(self.process.wait(), 10) == 0

    @property
    def sent(self) -> list[str]:
        """The texts that it has sent to people."""
        return [one["sent"] for one in self.told if "sent" in one]


@contextlib.asynccontextmanager
async def hosted(folder: Path, store: str, messages: str, name: str) -> AsyncIterator[Host]:
    """A host in a process of its own, which is gone at the end."""
    agents = folder / "agents.json"
    agents.write_text(json.dumps(AGENTS))
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOST, store, messages, agents, name),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        yield Host(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_conversation_on_another_wire_survives_a_kill_with_no_code_of_telegram_loaded(
    tmp_path: Path, valkey: Valkey
) -> None:
    sim, script = MessagesSim(), Scripted()
    sim.script = script
    script.on(
        Turn((Text("half of an answer"),), gate="held"), "the whole answer", "and the next one"
    )
    async with serving(app(sim)) as messages:
        async with hosted(tmp_path, valkey.url, messages, "first") as first:
            assert await first.tells("serving") == "memory:1"
            first.write(1, "tell me")
            assert await first.tells("accepted") == 1
            await sim.gates.reached("held", 20)
            first.process.kill()
            await first.process.wait()
        async with hosted(tmp_path, valkey.url, messages, "second") as second:
            assert await second.tells("sent") == "the whole answer"
            second.write(2, "and then?")
            assert await second.tells("sent") == "and the next one"
            await second.end()
        sim.close()
    assert first.sent == []
    assert second.sent == ["the whole answer", "and the next one"]
    assert "bot.telegram" not in second.told[-1]["loaded"]
    last = sim.records.all()[-1].body["messages"]
    said = ["".join(b["text"] for b in m["content"] if b["type"] == "text") for m in last]
    for number, text in enumerate(("tell me", "the whole answer", "and then?")):
        assert text in said[number]


@pytest.mark.parametrize("blocked", ["bot.telegram", "aiohttp"])
def test_whatever_answers_a_message_loads_without_a_wire(blocked: str) -> None:
    code = f"import sys; sys.modules[{blocked!r}] = None; import {', '.join(WIRELESS)}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-400:]
