"""MCP over a child process: its standard input and output carry messages, its errors our log.

The child has its own session, dies with us, gets only a few harmless variables of our environment,
and nothing it writes can fill our memory or stop our loop.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.shared.message import SessionMessage

from bot.mcp.refusals import BREAKS_PROTOCOL, TOO_MANY_PARTS
from bot.mcp.result import ConnectionState
from bot.mcp.server_spec import ServerSpec, program_of
from bot.mcp.transports import parent_death
from bot.mcp.transports.messages import (
    TooManyParts,
    error_message,
    parse_message,
    shortened,
    too_long_message,
)
from bot.ops.line_reader import LineSplitter, LineTooLong, ObjectJoiner
from bot.ops.process import original_umask
from bot.ops.tasks import wait_first

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
_LAST_LINES = 3
_LAST_LINE = 200
_LAST_WORDS_SECONDS = 0.5
_UNFINISHED_SECONDS = 3.0
"""How long a server may pause within a message that it writes over several lines."""
_STYLES = re.compile(r"\x1b\[[0-9;]*m")

Item = SessionMessage | Exception
Streams = tuple[MemoryObjectReceiveStream[Item], MemoryObjectSendStream[SessionMessage]]


@asynccontextmanager
async def stdio_streams(spec: ServerSpec, state: ConnectionState) -> AsyncIterator[Streams]:
    """Start the server's process and its streams of messages; on leaving its process group ends.

    Raises FileNotFoundError where there is no such program, OSError where it cannot be started.
    """
    log = structlog.get_logger(f"mcp.{spec.name}")
    process, transport = await _spawn(spec)
    received, incoming = anyio.create_memory_object_stream[Item](0)
    outgoing, to_send = anyio.create_memory_object_stream[SessionMessage](0)
    last_words = _LastWords(deque(maxlen=_LAST_LINES))
    last_words.complete = asyncio.create_task(_log_stderr(spec, log, process, last_words.lines))
    reader = _MessageReader(spec, log, received)
    pumps = [
        last_words.complete,
        asyncio.create_task(reader.pump(process, state, last_words)),
        asyncio.create_task(_write(process, to_send, received, state)),
    ]
    try:
        yield incoming, outgoing
    finally:
        for stream in (incoming, outgoing):
            stream.close()
        try:
            await _stop(process)
        finally:
            _, pending = await asyncio.wait(pumps, timeout=0.5)
            for pump in pending:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            transport.close()  # else a stray grandchild that holds the pipes would cost us ours
            for half in (received, to_send):
                half.close()


async def _spawn(spec: ServerSpec) -> tuple[Process, asyncio.SubprocessTransport]:
    env = {**get_default_environment(), **spec.definition.env}
    umask = original_umask()  # the operator's: what a server makes may be meant for others
    parent = f"{os.getpid()}" if umask is None else f"{os.getpid()},{umask:o}"
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(limit=_CHUNK, loop=loop),
        *(sys.executable, "-I", "-S", parent_death.__file__, parent),
        *(program_of(spec.definition, env.get("PATH")), *spec.definition.args),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=spec.definition.cwd,
        start_new_session=True,
    )
    return Process(transport, protocol, loop), transport


class _MessageReader:
    """Reads messages from a server's standard output."""

    def __init__(self, spec: ServerSpec, log: Any, received: MemoryObjectSendStream[Item]) -> None:
        self._spec = spec
        self._log = log
        self._received = received
        self._lines = LineSplitter()
        self._objects = ObjectJoiner()
        self._garbage_bytes = 0
        self._garbage_lines = 0
        self._garbage_shown = 0

    async def pump(self, process: Process, state: ConnectionState, last_words: _LastWords) -> None:
        """Read until the end, or until too much garbage came; the rest is discarded."""
        stdout = process.stdout
        assert stdout is not None
        try:
            async with self._received:
                while (lines := await self._read(stdout)) is not None:
                    for line in lines:
                        if (message := await self._message(line)) is not None:
                            await self._received.send(message)
                    if self._is_garbage():
                        state.lose("the server writes no messages to its standard output")
                        break
                else:
                    if await _exited(process, 0.2):
                        ended = f"the server's process ended with code {process.returncode}"
                        state.lose(ended + await last_words.text())
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            pass
        # A server that blocks on a full pipe could not read the end of its input and leave.
        with suppress(OSError):
            while await stdout.read(_CHUNK):  # noqa: ASYNC110 - no faster than this
                await asyncio.sleep(0.01)

    async def _read(self, stdout: asyncio.StreamReader) -> list[bytes | LineTooLong] | None:
        """The lines that come next; None at the end."""
        try:
            async with asyncio.timeout(_UNFINISHED_SECONDS if self._objects.is_waiting else None):
                chunk = await stdout.read(_CHUNK)
        except TimeoutError:
            return self._objects.rest()
        found = [one for line in self._lines.feed(chunk) for one in self._objects.feed(line)]
        return found if chunk else None

    async def _message(self, line: bytes | LineTooLong) -> SessionMessage | None:
        if isinstance(line, LineTooLong):
            self._log.warning("a message is too large", bytes=line.size, request=line.request)
            return too_long_message(line.request, line.size)
        try:
            message = parse_message(await shortened(line))
        except TooManyParts:
            return error_message(line, TOO_MANY_PARTS)
        except ValueError:
            self._garbage_bytes += len(line)
            self._garbage_lines += 1
            if line.strip() and self._garbage_shown < _GARBAGE_SHOWN:
                self._garbage_shown += 1
                text = self._spec.redact(line[:_STDERR_LINE].decode(errors="replace"))
                self._log.warning("not a message on standard output", line=text[:_GARBAGE_LINE])
            return error_message(line, BREAKS_PROTOCOL)
        self._garbage_bytes = self._garbage_lines = 0
        return SessionMessage(message)

    def _is_garbage(self) -> bool:
        too_much = self._garbage_bytes > _GARBAGE_BYTES or self._garbage_lines > _GARBAGE_LINES
        if too_much or self._lines.is_endless:
            self._log.error("standard output carries no messages: the connection is closed")
            return True
        return False


@dataclass
class _LastWords:
    """The last lines that a process wrote to its standard error, once it is `complete`."""

    lines: deque[str]
    complete: asyncio.Task[None] | None = None

    async def text(self) -> str:
        """What to add to the message that it ended."""
        if self.complete is not None:
            await asyncio.wait({self.complete}, timeout=_LAST_WORDS_SECONDS)
        return f"; its last words: {' / '.join(self.lines)}" if self.lines else ""


async def _log_stderr(spec: ServerSpec, log: Any, process: Process, last: deque[str]) -> None:
    """Copy standard error to our log, so many lines a minute, a few megabytes a second."""
    assert process.stderr is not None
    lines, loop = LineSplitter(_CHUNK), asyncio.get_running_loop()
    window_began, written = 0.0, 0
    while True:
        chunk = await process.stderr.read(_CHUNK)
        if loop.time() - window_began > _STDERR_WINDOW:
            window_began, written = loop.time(), 0
        for line in lines.feed(chunk or b"\n"):  # the last line may have no end
            written += 1
            text = line.decode(errors="replace").rstrip() if isinstance(line, bytes) else ""
            if text:
                last.append(spec.redact(_STYLES.sub("", text[:_STDERR_LINE]))[:_LAST_LINE])
            if written <= _STDERR_LINES and text:
                log.info("stderr", line=spec.redact(text)[:_STDERR_LINE])
            elif written == _STDERR_LINES + 1:
                log.warning("too much on stderr: the rest of this minute is dropped")
        if not chunk:
            return
        if len(chunk) == _CHUNK:
            await asyncio.sleep(0.01)


async def _write(
    process: Process,
    to_send: MemoryObjectReceiveStream[SessionMessage],
    received: MemoryObjectSendStream[Item],
    state: ConnectionState,
) -> None:
    assert process.stdin is not None
    try:
        async for message in to_send:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            process.stdin.write(line.encode() + b"\n")
            await process.stdin.drain()
    except (OSError, anyio.ClosedResourceError):
        # If we can no longer write, the connection is over; its reader may know why.
        await wait_first(state.lost, timeout=_LAST_WORDS_SECONDS + _REAP_SECONDS)
        received.close()


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
