"""Servers that hang, spew and offer nonsense: agents beside them do not notice."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import HostProcess, Stage, until
from tests.mcp.servers.starting import HERE, runs
from tests.mcp.test_http import free_port, serving

PATIENCE = 45.0
MEGABYTE = 1024 * 1024
CALLS = {
    "Hung": "hung__hold",
    "Huge": "huge__fine",
    "Vast": "vast__huge",
    "Many": "many__t7",
    "Odd": "odd__no_schema",
}
FATES = {
    "Huge": "answer of 500000",
    "Vast": "answer of more than 8 MB is too large",
    "Many": "called t7",
    "Odd": "called no schema",
}


def answer(asked: ModelRequest) -> Turn:
    """Each agent calls its own tool and says what came of it; Echo has none."""
    name = asked.system_text.partition("You are ")[2].partition(".")[0]
    if name == "Echo":
        return turn("here")
    if asked.results:
        return turn(f"it said: {str(asked.results[0]['content'])[:200]}")
    return turn(Call(CALLS[name], {"word": "x"} if name == "Hung" else {}))


def script(name: str, *args: str, **env: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-I", "-S", str(HERE / name), *args], "env": env}


class Street:
    """Echo, and its neighbours with their servers; each has a room with Ann."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self.asked = 0
        self.log = stage.folder / "words"
        self.log.touch()
        self.log.with_suffix(".hold").touch()
        stage.agents["mcpServers"] = {
            "hung": script("plain.py", LOG=str(self.log)),
            "huge": script("rude.py", "huge"),
            "vast": {"url": f"http://127.0.0.1:{port}/mcp"},
            "many": script("rude.py", "many"),
            "odd": script("rude.py", "odd"),
        }
        self.echo = stage.bot("Echo")
        self.bad = [
            stage.bot(name, mcpServers=[name.lower()], whitelistPatterns=[f"mcp:{name.lower()}:*"])
            for name in CALLS
        ]
        self.ann = stage.person("Ann")
        stage.script.on(answer, again=True)

    def room(self, bot: Bot, person: Person | None = None) -> Room:
        return self.stage.world.private(person or self.ann, bot)

    def disturb(self) -> None:
        """All neighbours are asked for something."""
        for bot in self.bad:
            self.stage.world.say(self.ann, self.room(bot), "do it")

    async def latencies(self, count: int) -> list[float]:
        """How long Echo takes, one message after the other, in seconds."""
        found = []
        for _ in range(count):
            began = time.monotonic()
            self.asked += 1
            self.stage.world.say(self.ann, self.room(self.echo), "hi")
            room = self.room(self.echo)
            assert (await self.stage.answer(room, self.echo, self.asked, PATIENCE)).text == "here"
            found.append(time.monotonic() - began)
        return found


@asynccontextmanager
async def street(stage: Stage) -> AsyncIterator[tuple[Street, HostProcess]]:
    port = free_port()
    async with serving("sessions.py", port, "status"):
        one = Street(stage, port)
        host = await stage.process()
        try:
            yield one, host
        finally:
            await host.kill()  # one is in a call that does not end


def connections(host: HostProcess) -> int:
    """Servers that were connected so far."""
    return host.log.read_bytes().count(b"connects=1")


def memory(pid: int, line: str) -> int:
    """VmRSS or VmHWM of a process, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


def memory_from_now(pid: int) -> int:
    """VmRSS, and the kernel's mark of the highest begins anew."""
    with contextlib.suppress(PermissionError):  # to most users a host does not open its memory
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="utf-8")
    return memory(pid, "VmRSS")


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            is_ours = b"rude.py" in (line := (entry / "cmdline").read_bytes()) or b"plain" in line
        except OSError:
            continue
        if entry.name.isdigit() and int(stat[1]) == pid and is_ours:
            found.append(int(entry.name))
    return found


async def test_agents_beside_bad_servers_do_not_notice_and_memory_stays_bounded(
    stage: Stage,
) -> None:
    async with street(stage) as (one, host):
        await until(lambda: connections(host) == len(CALLS), PATIENCE)
        await one.latencies(3)
        usual = await one.latencies(10)
        before = memory_from_now(host.pid)
        one.disturb()
        beside = await one.latencies(20)
        await until(lambda: one.log.read_text().split() == ["x"], PATIENCE)
        for bot in one.bad[1:]:
            said = (await stage.answer(one.room(bot), bot, seconds=PATIENCE)).text
            assert FATES[bot.name] in said, said
        grown = memory(host.pid, "VmHWM") - before
        assert statistics.median(beside) < 5 * statistics.median(usual) + 0.2
        assert max(beside) < 10 * max(usual) + 2
        assert grown < 60 * MEGABYTE


async def test_a_host_that_is_killed_takes_its_servers_with_it_also_one_in_a_call(
    stage: Stage,
) -> None:
    log = stage.folder / "words"
    log.touch()
    log.with_suffix(".hold").touch()
    stage.agents["mcpServers"] = {
        "idle": script("plain.py"),
        "hung": script("plain.py", LOG=str(log)),
    }
    bot = stage.bot("Hung", mcpServers=["idle", "hung"], whitelistPatterns=["mcp:hung:*"])
    ann = stage.person("Ann")
    stage.script.on(answer, again=True)
    host = await stage.process()
    try:
        await until(lambda: connections(host) == 2, PATIENCE)
        stage.world.say(ann, stage.world.private(ann, bot), "do it")
        await until(lambda: log.read_text().split() == ["x"], PATIENCE)
        servers = children(host.pid)
        assert len(servers) == 2
    finally:
        await host.kill()
    await until(lambda: not any(runs(pid) for pid in servers))
