"""Opening the sandbox: a free port, and a folder that nobody else uses."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from starlette.types import ASGIApp

from bot.errors import ConfigError
from bot.ops.process import data_dir_errors, open_private, private_folder
from simulators.http_server import serving

_PORTS_TRIED = 20


def say(*lines: str) -> None:
    """Lines for the person at the terminal, at once."""
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


@asynccontextmanager
async def listening(app: ASGIApp, port: int) -> AsyncIterator[str]:
    """The application on this port, or on the next free one, which is printed."""
    last = min(port + _PORTS_TRIED, 65_535) if port else 0
    for number in range(port, last + 1):
        context = serving(app, port=number)
        try:
            url = await context.__aenter__()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"port {number} cannot be used: {error.strerror}") from None
            continue
        if number != port:
            say(f"Port {port} is taken by another program; port {number} is used instead.")
        try:
            yield url
        finally:
            await context.__aexit__(None, None, None)
        return
    raise ConfigError(f"ports {port} to {last} are all taken; choose another with --port")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The folder is ours; ConfigError while another sandbox uses it."""
    data_dir = folder.parent
    private_folder(data_dir, data_dir)
    private_folder(folder, data_dir)
    with data_dir_errors(data_dir):
        descriptor = open_private(folder / "sandbox.lock", os.O_WRONLY | os.O_CREAT)
    with os.fdopen(descriptor, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"a sandbox is running in {folder} already; stop that one, or set DATA_DIR"
            ) from None
        yield
