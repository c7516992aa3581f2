"""The fork server runs what it is told to, and no other module of the folder where it starts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from simulators.testing.processes import ForkServer

HOST = "def main(words):\n    print(*words, flush=True)\n    return 7\n"


async def test_a_fork_server_runs_no_simulators_of_the_folder_that_it_starts_in(
    tmp_path: Path,
) -> None:
    (tmp_path / "own_host.py").write_text(HOST, "utf-8")
    for name in ("simulators", "bot", "registry"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger ran')\n", "utf-8")
    log = tmp_path / "log"
    server = await asyncio.to_thread(ForkServer, "own_host:main", ["a", "host"], [], tmp_path)
    try:
        async with asyncio.timeout(60):
            forked = await server.fork(tmp_path, log, {"PATH": os.environ["PATH"]})
            assert await forked.wait() == 7
    finally:
        await asyncio.to_thread(server.stop)
    assert log.read_text("utf-8") == "a host\n"
