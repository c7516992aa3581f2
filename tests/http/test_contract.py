"""The API against its own OpenAPI document: another program makes up requests, and judges."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.host.stage import ROOT, Stage, staged
from tests.http.accounts import write_acme
from tests.http.api import OPERATOR_KEY, Client, api_host

FUZZER = ROOT / ".venv" / "fuzzer"
"""Where `make dev` puts it: it needs another jsonschema-rs than the host."""
RULES = """
[checks]
enabled = false
not_a_server_error.enabled = true
status_code_conformance.enabled = true
content_type_conformance.enabled = true
response_headers_conformance.enabled = true
response_schema_conformance.enabled = true
ignored_auth.enabled = true
use_after_free.enabled = true

# A key that was revoked can still be read, with its state: who could get in belongs to the audit.
# So can the revisions of a document that was deleted: one of them may be restored.
[[operations]]
include-path = [
  "/api/v1/keys/{key_id}",
  "/api/v1/registry/agents/{agent_id}/history",
  "/api/v1/registry/agents/{agent_id}/diff",
  "/api/v1/registry/bindings/{slot}/history",
  "/api/v1/registry/bindings/{slot}/diff",
  "/api/v1/roles/{person}/history",
  "/api/v1/roles/{person}/diff",
  "/accounts/{account}/agents/{instance}/revisions",
  "/accounts/{account}/agents/{instance}/diff",
]
checks.use_after_free.enabled = false
"""
"""What it checks: its `schemathesis.toml`. `--checks` would win over what is said of operations."""


@pytest.fixture(autouse=True)
def fuzzer() -> None:
    """Skip where it could not be installed."""
    if not (FUZZER / "lock").exists():
        pytest.skip("the fuzzer is not installed: make dev")


def instances(stage: Stage) -> dict[str, str]:
    """The instances that the examples of the document name, and a model that answers for them."""
    stage.script.on("Hello!", again=True)
    write_acme(stage.folder / "agent_configs")
    return {"AGENT_CONFIGS_DIR": str(stage.folder / "agent_configs"), "HTTP_FACES": "openai"}


async def furnished(api: Client) -> None:
    """What the examples of the document name is there, each with a history."""
    for text in ("You are Jack.", "You are Jack, a pirate."):
        sent = {"name": "Jack", "mcpServerEndpoints": [], "customInstructions": text}
        await api.ask("PUT", "/api/v1/registry/agents/jack", json=sent)
    slot = quote("chatid:-100123:bot:@demobot", safe="")
    puts: dict[str, Any] = {
        f"/api/v1/registry/bindings/{slot}": {"agentId": "jack"},
        "/api/v1/registry/default": {"agent_id": "jack"},
        "/api/v1/roles/api:acme:ann": {"grants": [{"role": "instance_manager", "account": "acme"}]},
        "/accounts/acme/agents/shop-desk": {"agent_type": "sales_agent"},
        "/api/v1/profiles/Waiter": {"type": "partner"},
        "/api/v1/llm-configs/quick": {"temperature": 0.2},
    }
    for path, sent in puts.items():
        made = await api.ask("PUT", path, json=sent, Change_Reason="furnishing")
        assert made.status == 201, made.body


async def judged(api: Client, folder: Path, *options: str) -> str:
    """What schemathesis says of a host; raises AssertionError where something is wrong."""
    command = [
        *(sys.executable, str(FUZZER / "bin" / "schemathesis"), "run"),
        *(f"{api.host.url}/openapi.json", "--header", f"Authorization: Bearer {OPERATOR_KEY}"),
        *("--header", "Change-Reason: a fuzzer"),
        *("--warnings", "off", "--no-color"),
        *("--suppress-health-check", "all", *options),
    ]
    (folder / "schemathesis.toml").write_text(RULES, "utf-8")
    ran = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(FUZZER)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await ran.communicate()
    text = said.decode()
    assert ran.returncode == 0, text
    return text


@pytest.mark.timeout(300)
async def test_a_fuzzer_finds_no_server_error_and_no_undocumented_answer(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, api_host(stage, **instances(stage)) as api:
        await furnished(api)
        await judged(api, tmp_path, "--phases", "fuzzing,stateful", "--max-examples", "1")


@pytest.mark.attack
@pytest.mark.timeout(1800)
async def test_a_fuzzer_that_has_time_finds_no_more(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage, api_host(stage, **instances(stage)) as api:
        await furnished(api)
        phases = "examples,coverage,fuzzing,stateful"
        await judged(api, tmp_path, "--phases", phases, "--max-examples", "25")
