"""How tests start the servers of this folder, and a clock that does not wait."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.mcp.pool import Pool
from bot.mcp.result import ToolResult
from bot.mcp.server import ServerCall
from bot.mcp.server_spec import ServerSpec
from registry.definition import McpServer

HERE = Path(__file__).parent
BOUND = 30.0
_LIMITS = {"internal", "internal_auth", "proxied", "deadline", "max_calls", "result_cap", "secrets"}


class QuickClock:
    """A clock whose sleeps are short, and whose time a test may push forward."""

    def __init__(self) -> None:
        self.pushed = 0.0

    def wall(self) -> float:
        return time.time() + self.pushed

    def monotonic(self) -> float:
        return time.monotonic() + self.pushed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(max(0.0, seconds), 0.02))


def spec_of(name: str, **fields: Any) -> ServerSpec:
    """A server by the fields of its definition and of its spec together."""
    limits = {key: fields.pop(key) for key in _LIMITS & set(fields)}
    return ServerSpec(name, McpServer(**fields), **limits)


def server(name: str, script: str, *args: str, **fields: Any) -> ServerSpec:
    """A server of this folder over stdio."""
    # Isolated from site-packages, a hand-written server starts in a few milliseconds.
    flags = () if script == "workshop.py" else ("-I", "-S")
    given = (*flags, str(HERE / script), *args)
    return spec_of(name, command=sys.executable, args=given, **fields)


class NamedPool(Pool):
    """A pool whose servers tests call by name; one name means the spec that came last under it."""

    def __init__(self, clock: QuickClock | None = None) -> None:
        super().__init__(clock or QuickClock())
        self._named: dict[str, ServerSpec] = {}

    async def ensure(self, specs: Iterable[ServerSpec]) -> None:
        given = list(specs)
        self._named |= {spec.name: spec for spec in given}
        await super().ensure(given)

    def named(self, *names: str) -> list[ServerSpec]:
        """The specs of these names; for a name that nobody gave, one that no server has."""
        return [self._named.get(name) or spec_of(name, command=name or "x") for name in names]

    async def ask(
        self, name: str, tool: str, arguments: Any, deadline: float | None = None
    ) -> ToolResult:
        """Call a tool of the server of this name, within `deadline` seconds, or its own."""
        (spec,) = self.named(name)
        return await self.ask_of(spec, tool, arguments, deadline)

    async def ask_of(
        self, spec: ServerSpec, tool: str, arguments: Any, deadline: float | None = None
    ) -> ToolResult:
        """Call a tool of this server."""
        seconds = spec.deadline if deadline is None else deadline
        ends = asyncio.get_running_loop().time() + seconds
        return await self.call(ServerCall(spec, tool, arguments, ends))


@asynccontextmanager
async def pool_of(*specs: ServerSpec, clock: QuickClock | None = None) -> AsyncIterator[NamedPool]:
    """A pool with these servers, ready; closed at the end."""
    pool = NamedPool(clock)
    try:
        await pool.ensure(specs)
        await pool.ready(specs, BOUND)
        yield pool
    finally:
        await pool.close()


async def until(condition: Callable[[], Any], bound: float = BOUND) -> None:
    """Wait for what has no event of its own; fails after `bound` seconds."""
    async with asyncio.timeout(bound):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def words(log: Path) -> list[str]:
    """What the servers left in their log."""
    return log.read_text().split()


def runs(pid: int) -> bool:
    """Whether a process is alive (a zombie is not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def open_files() -> set[str]:
    """What the descriptors of this process point to."""
    links: set[str] = set()
    for entry in os.scandir("/proc/self/fd"):
        try:
            links.add(f"{entry.name} {Path(entry.path).readlink()}")
        except FileNotFoundError:
            continue
    return links
