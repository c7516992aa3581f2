"""MCP over a child process: its standard input and output carry messages, its errors our log.

The child leads its own session, dies with us, gets no environment of ours but a few harmless
names, and nothing it writes can grow our memory or stop our loop.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from bot.ops.hardening import given_umask
from bot.tools.mcp import leash
from bot.tools.mcp.fate import Ears
from bot.tools.mcp.lines import LineSplitter, TooLong, request_of
from bot.tools.mcp.messages import error, parsed, too_long
from bot.tools.mcp.servers import ServerSpec
from bot.tools.mcp.slim import BROKEN, Crowded, slimmed

_CHUNK = 64 * 1024
_GRACE_SECONDS = 1.0
_REAP_SECONDS = 2.0
_GARBAGE_BYTES = 1024 * 1024
_GARBAGE_LINES = 10_000
_GARBAGE_SHOWN = 3
_GARBAGE_LINE = 200
_STDERR_LINE = 1_000
_STDERR_LINES = 200
_STDERR_WINDOW = 60.0

Item = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Item], MemoryObjectSendStream[SessionMessage]]


@asynccontextmanager
async def stdio_streams(spec: ServerSpec, ears: Ears) -> AsyncIterator[Streams]:
    """Start the server's process and speak with it; the process group is gone on leaving.

    Raises FileNotFoundError where there is no such program, OSError where it cannot be started.
    """
    log = structlog.get_logger(f"mcp.{spec.name}")
    process, transport = await _spawn(spec)
    inbox, inbound = anyio.create_memory_object_stream[Item](0)
    outbound, outbox = anyio.create_memory_object_stream[SessionMessage](0)
    pumps = [
        asyncio.create_task(_Reader(spec, log, inbox).pump(process, ears)),
        asyncio.create_task(_write(process, outbox, inbox)),
        asyncio.create_task(_Stderr(spec, log).pump(_pipe(process.stderr))),
    ]
    try:
        yield inbound, outbound
    finally:
        for stream in (inbound, outbound):
            stream.close()
        try:
            await _stop(process)
        finally:
            await _end(pumps)
            transport.close()  # else a stray grandchild that holds the pipes would cost us ours
            for half in (inbox, outbox):
                half.close()


def _pipe(pipe: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if pipe is None:
        raise RuntimeError("the process was started without a pipe")
    return pipe


async def _spawn(spec: ServerSpec) -> tuple[Process, asyncio.SubprocessTransport]:
    env = {**get_default_environment(), **spec.env}
    command = _program(spec, env)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=_CHUNK, loop=loop),
        *(sys.executable, "-I", "-S", leash.__file__, f"{os.getpid()}{_umask()}"),
        *(command, *spec.args),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=spec.cwd,
        start_new_session=True,
    )
    return Process(transport, protocol, loop), transport


def _umask() -> str:
    """The operator's, not ours: what a server makes may be meant for others."""
    given = given_umask()
    return "" if given is None else f",{given:o}"


def _program(spec: ServerSpec, env: dict[str, str]) -> str:
    command = spec.command or ""
    if spec.cwd is not None and not Path(spec.cwd).is_dir():
        raise FileNotFoundError(f"its working directory {spec.cwd!r} does not exist")
    if "/" in command:
        found = command if Path(spec.cwd or ".", command).exists() else None
    else:
        found = shutil.which(command, path=env.get("PATH"))
    if found is None:
        raise FileNotFoundError(f"there is no program {command!r}: install it, or give its path")
    return found


class _Reader:
    """Takes messages from a server's standard output and hands them on."""

    def __init__(self, spec: ServerSpec, log: Any, inbox: MemoryObjectSendStream[Item]) -> None:
        self._spec = spec
        self._log = log
        self._inbox = inbox
        self._lines = LineSplitter()
        self._garbage_bytes = 0
        self._garbage_lines = 0
        self._shown = 0

    async def pump(self, process: Process, ears: Ears) -> None:
        """Read until the end, or until the server spews; what comes after that is discarded."""
        stdout = _pipe(process.stdout)
        try:
            async with self._inbox:
                while chunk := await stdout.read(_CHUNK):
                    await self._take(chunk)
                    if self._spews():
                        ears.lose("the server writes no messages to its standard output")
                        break
                else:
                    await _tell_exit(process, ears)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass
        await _discard(stdout)

    async def _take(self, chunk: bytes) -> None:
        for line in self._lines.feed(chunk):
            if (message := await self._message(line)) is not None:
                await self._inbox.send(message)

    async def _message(self, line: bytes | TooLong) -> SessionMessage | None:
        if isinstance(line, TooLong):
            return self._too_long(line)
        try:
            message = parsed(await slimmed(line))
        except Crowded as crowded:
            request = request_of(line)
            return None if request is None else error(request, str(crowded))
        except ValueError:
            self._garbage(line)
            request = request_of(line)
            return None if request is None else error(request, BROKEN)
        self._garbage_bytes = self._garbage_lines = 0
        return SessionMessage(message)

    def _too_long(self, line: TooLong) -> SessionMessage | None:
        self._log.warning("a message is too large", bytes=line.size, request=line.request)
        if line.request is None:
            return None
        return too_long(line.request, line.size)

    def _garbage(self, line: bytes) -> None:
        self._garbage_bytes += len(line)
        self._garbage_lines += 1
        if line.strip() and self._shown < _GARBAGE_SHOWN:
            self._shown += 1
            text = self._spec.redact(line[:_STDERR_LINE].decode(errors="replace"))
            self._log.warning("no message on standard output", line=text[:_GARBAGE_LINE])

    def _spews(self) -> bool:
        spews = self._garbage_bytes > _GARBAGE_BYTES or self._garbage_lines > _GARBAGE_LINES
        if spews or self._lines.is_endless:
            self._log.error("standard output carries no messages: the connection is closed")
            return True
        return False


class _Stderr:
    """Takes a server's standard error to our log, so many lines a minute."""

    def __init__(self, spec: ServerSpec, log: Any) -> None:
        self._spec = spec
        self._log = log
        self._lines = LineSplitter(_CHUNK)
        self._window = 0.0
        self._written = 0

    async def pump(self, stderr: asyncio.StreamReader) -> None:
        """Read until the end, no faster than a few megabytes a second."""
        while chunk := await stderr.read(_CHUNK):
            for line in self._lines.feed(chunk):
                self._write(line)
            if len(chunk) == _CHUNK:
                await asyncio.sleep(0.01)

    def _write(self, line: bytes | TooLong) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._window > _STDERR_WINDOW:
            self._window, self._written = now, 0
        self._written += 1
        if self._written <= _STDERR_LINES and isinstance(line, bytes):
            text = line.decode(errors="replace").rstrip()
            self._log.info("stderr", line=self._spec.redact(text)[:_STDERR_LINE])
        elif self._written == _STDERR_LINES + 1:
            self._log.warning("stderr says too much: the rest of this minute is dropped")


async def _tell_exit(process: Process, ears: Ears) -> None:
    if await _exited(process, 0.2):
        ears.lose(f"the server's process ended with code {process.returncode}")


async def _discard(stdout: asyncio.StreamReader) -> None:
    # A server that blocks on a full pipe could not read the end of its input and leave.
    with suppress(OSError):
        while await stdout.read(_CHUNK):  # noqa: ASYNC110 - no faster than this
            await asyncio.sleep(0.01)


async def _write(
    process: Process,
    outbox: MemoryObjectReceiveStream[SessionMessage],
    inbox: MemoryObjectSendStream[Item],
) -> None:
    stdin = process.stdin
    try:
        async for message in outbox:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            if stdin is not None:
                stdin.write(line.encode() + b"\n")
                await stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        # The end of what we can say is the end of the connection.
        inbox.close()


async def _stop(process: Process) -> None:
    try:
        if process.stdin is not None:
            process.stdin.close()
        if not await _exited(process, _GRACE_SECONDS):
            _signal_group(process, signal.SIGTERM)
            await _exited(process, _GRACE_SECONDS)
    finally:
        _signal_group(process, signal.SIGKILL)
    await _exited(process, _REAP_SECONDS)


def _signal_group(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


async def _exited(process: Process, seconds: float) -> bool:
    # Not `wait()`: that also waits for pipes, which a stray grandchild may hold open.
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while process.returncode is None and loop.time() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return process.returncode is not None


async def _end(pumps: list[asyncio.Task[None]]) -> None:
    _, pending = await asyncio.wait(pumps, timeout=0.5)
    for pump in pending:
        pump.cancel()
    await asyncio.gather(*pumps, return_exceptions=True)
