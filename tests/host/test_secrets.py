"""A canary run (trust.md, A8): no byte of a secret in logs, store, health, prompts or messages."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from simulators.messages.turns import Call, HttpError, turn
from simulators.telegram.faults import Fault
from tests.host.stage import Stage, health, until

KEY = "sk-ant-canary-0123456789abcdef0123456789"
SHELF_KEY = "canary-of-the-shelf-0123456789"
NOISY = """
import os, sys, runpy
print("starting with", os.environ["SHELF_KEY"], file=sys.stderr, flush=True)
sys.argv = ["mcp-server-time", "--local-timezone", "UTC"]
from mcp_server_time import main
main()
"""


def written(folder: Path) -> list[Path]:
    """What the host wrote: its log, and the store's files."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "agents.json"]


async def test_no_secret_is_found_anywhere_after_a_run_full_of_faults(
    stage: Stage, tmp_path: Path
) -> None:
    shelf = {"command": sys.executable, "args": ["-c", NOISY], "env": {"SHELF_KEY": "${SHELF_KEY}"}}
    stage.agents["mcpServers"] = {"shelf": shelf}
    echo = stage.bot("Echo", mcpServers=["shelf"], whitelistPatterns=["mcp:shelf:*"])
    revoked = stage.bot("Revoked")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    call = Call("shelf__get_current_time", {"timezone": "Nowhere/Land"})
    stage.script.on(turn(fault=HttpError(401)), turn(call), "done", again=True)
    tokens = [echo.token, revoked.token]
    stage.world.faults.add(Fault("drop", "sendMessage"))
    stage.world.faults.add(Fault("html", "getUpdates", skip=1))
    stage.world.faults.add(Fault("answer", "getMe", status=500))
    variables = stage.variables(
        ANTHROPIC_API_KEY=KEY, SHELF_KEY=SHELF_KEY, LOG_LEVEL="DEBUG", HTTP_PORT="18765"
    )
    stage.world.revoke(revoked)
    host = await stage.process(**variables)
    try:
        await stage.ask(ann, room, echo, "one")
        await stage.ask(ann, room, echo, "two")
        _, report = await health("http://127.0.0.1:18765")
        await until(lambda: b"line.quarantined" in host.log.read_bytes())
    finally:
        await host.end()
    assert b"starting with" in host.log.read_bytes()  # the noisy server was heard at all
    said = json.dumps([stage.texts(room, echo.id), report, stage.requests()])
    files = written(tmp_path)
    assert any(path.suffix == ".aof" for path in files)
    for secret in [KEY, SHELF_KEY, *(token.partition(":")[2] for token in tokens)]:
        assert secret not in said
        found = [path for path in files if secret.encode() in path.read_bytes()]
        assert found == [], (secret[:12], found)
