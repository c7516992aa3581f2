"""The lines of the documentation of the HTTP API run as they stand, and its verb needs no host."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from bench.host import ROOT
from bot.http.api.app import make_app
from registry.sealing import new_key
from tests.host.stage import Stage
from tests.http.api import OPERATOR_KEY, api_host, routes_of

PAGE = ROOT / "docs/http-api.md"


async def test_every_curl_line_of_the_page_works(stage: Stage, tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert sum(block.count("curl ") for block in blocks) >= 8
    (tmp_path / ".curlrc").write_text("fail-with-body\nnoproxy = *\n")
    stage.script.on("Hello from the model!", again=True)
    token = f"123456789:AA{'x' * 33}"
    stage.world.bot(token, "Desk")
    async with api_host(stage, SECRETS_KEY=new_key()) as client:
        lines = "\n".join(blocks).replace("http://127.0.0.1:8080", client.host.url)
        run = await asyncio.create_subprocess_exec(
            *("bash", "-euxo", "pipefail", "-c", lines),
            cwd=tmp_path,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(tmp_path),
                "KEY": OPERATOR_KEY,
                "TOKEN": token,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = (await run.communicate())[0].decode()
        assert run.returncode == 0, said
        jack = client.host.catalog.get_agent("jack")
        assert jack is not None
        assert jack.custom_instructions == "You are Jack."  # restored
    assert "sbk_" in said
    assert said.count("Hello from the model!") >= 4  # the answer, the stream, and both in history
    assert "event: done" in said
    assert json.loads((tmp_path / "openapi.json").read_bytes())["openapi"].startswith("3.")


def test_the_verb_openapi_prints_the_document_without_a_host(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bot", "openapi"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    paths = set(json.loads(ran.stdout)["paths"])
    assert paths == {path for _, path, _ in routes_of(make_app())} - {"/openapi.json"}
    assert ran.stderr == ""
