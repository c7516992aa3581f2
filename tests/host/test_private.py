"""What other programs of the same user see of a host: not its memory, secrets or files."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.host.stage import HostProcess, Stage, until
from tests.host.test_store_faults import _server

SPY = Path(__file__).parents[1] / "mcp" / "servers" / "spy.py"
PYTHON = Path("/usr/bin/python3")
NOBODY = 65_534
BY_REFERENCE = "by-reference-4f1d0b7c"
OF_A_SKILL = "of-a-skill-7bd0c1a9"
LISTED = "listed-93ae55d1"
OF_NOBODY = "of-nobody-20c6e8f4"
LOOKS = ("environ", "maps", "mem", "files", "peek")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def spied(stage: Stage, *words: str, umask: str = "022") -> HostProcess:
    """A host, as a command starts it, one of whose tool servers spies on it; not started yet."""
    where = (str(SPY), str(stage.folder / "seen.json"), str(stage.folder / "data"))
    stage.agents["mcpServers"]["spy"] = {
        "command": sys.executable,
        "args": where,
        "env": {"OF_THE_SERVER": "${HUB_KEY}"},
    }
    auth = {"type": "bearer", "tokenEnv": "SKILL_KEY"}
    address = {"webhookUrl": "http://127.0.0.1:9/", "webhookAuth": auth}
    skill = {"name": "look", "description": "Look.", "inputSchema": {"type": "object"}}
    stage.bot("Echo", mcpServers=["spy"], skills=[skill | address])
    more = {"HUB_KEY": BY_REFERENCE, "LISTED_KEY": LISTED, "OTHER_KEY": OF_NOBODY}
    more["SKILL_KEY"] = OF_A_SKILL
    variables = stage.variables(**more, AGENT_SECRETS="LISTED_KEY")
    host = HostProcess(stage, variables | {"REDIS_URL": "", "HOME": str(stage.folder)})
    powerless = [sys.executable, str(SPY), "--powerless", umask]
    host.command = [*powerless, *host.command, *words]
    return host


def shown_of(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


async def what_it_saw(
    stage: Stage, host: HostProcess, folder: Path | None = None
) -> dict[str, Any]:
    await host.spawn(by_command=True)
    await stage.polling(host.environ)
    file = (folder or stage.folder) / "seen.json"
    await until(file.exists, 30)
    found: dict[str, Any] = json.loads(file.read_text())
    return found


async def test_a_tool_server_of_the_same_user_reads_nothing_of_the_host_and_inherits_nothing(
    stage: Stage,
) -> None:
    host, shown = spied(stage, umask="000"), ""
    try:
        seen = await what_it_saw(stage, host)
        own = seen["own environ"]
        with contextlib.suppress(PermissionError):
            shown = shown_of(host.pid, "environ").decode()
        store = _server(stage.folder)
        its_environ, its_words = shown_of(store, "environ"), shown_of(store, "cmdline")
        made = {path: path.lstat().st_mode for path in (stage.folder / "data").rglob("*")}
    finally:
        await host.end()
    assert {look: seen[look] for look in LOOKS if "refused" not in str(seen[look])} == {}
    assert "host.lock" in seen["folder"]  # files of its user it can read: see docs/security.md
    assert own["OF_THE_SERVER"] == BY_REFERENCE
    assert set(own) <= {"HOME", "LANG", "LC_CTYPE", "LOGNAME", "PATH", "OF_THE_SERVER"}
    files = seen["own files"]
    talk = {files[one] for one in "012"}
    # Through the folder itself it looked at the others; the loop leaves its own pipes open twice.
    assert {file for file in files.values() if "refused" not in file} == talk
    assert seen["own umask"] == 0  # what it makes is for whoever the operator says
    assert [one.partition(b"=")[0] for one in its_environ.split(b"\0") if one] == [b"PATH"]
    assert its_words.count(b"\0") == 2
    if not shown:
        return
    # Who may look at everything, as root may, finds the names and not the values.
    (token,) = (bot.token for bot in stage.bots)
    for secret in (token, host.environ["ANTHROPIC_API_KEY"], BY_REFERENCE, LISTED, OF_A_SKILL):
        assert secret not in shown
    assert "HUB_KEY=\0" in shown
    assert OF_NOBODY in shown  # a skill of the operator's may want it
    assert len(made) > 5
    assert [path for path, mode in made.items() if stat.S_IMODE(mode) & 0o077] == []


@pytest.mark.attack
async def test_a_host_that_is_started_dumpable_can_be_read_as_any_program(stage: Stage) -> None:
    host = spied(stage, "--dumpable")
    try:
        seen = await what_it_saw(stage, host)
    finally:
        await host.end()
    assert [look for look in LOOKS if "refused" in str(seen[look])] == []
    assert "PATH=" in seen["environ"]
    assert stage.bots[0].token not in seen["environ"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may use, with the spy in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "spy.py").write_bytes(SPY.read_bytes())
        (folder / "spy.py").chmod(0o644)
        yield folder


@pytest.mark.attack
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs of other users")
@pytest.mark.skipif(not (PYTHON.exists() and which("setpriv")), reason="needs what others may run")
async def test_a_tool_server_of_another_user_reads_neither_the_host_nor_its_files(
    stage: Stage, shared: Path
) -> None:
    host = spied(stage)
    who = f"--reuid {NOBODY} --regid {NOBODY} --clear-groups --no-new-privs {PYTHON}"
    look = [str(shared / "spy.py"), str(shared / "seen.json"), str(stage.folder / "data")]
    server = {"command": "setpriv", "args": [*who.split(), *look]}
    stage.agents["mcpServers"]["spy"] = server
    stage.write_agents()
    host.command = [sys.executable, "-m", "bot", "run", "--dumpable"]
    try:
        seen = await what_it_saw(stage, host, shared)
    finally:
        await host.end()
    assert {look: seen[look] for look in LOOKS if "refused" not in str(seen[look])} == {}
    assert "refused" in seen["folder"]
    with pytest.raises(ProcessLookupError):  # it ended with its host all the same
        os.kill(seen["own pid"], 0)
