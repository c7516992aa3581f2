"""Tools of MCP servers: what the model is told of their input, and what becomes of wrong input.

One host, and one server that runs whatever it is asked for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from simulators.telegram.people import Bot
from tests.host.stage import Stage, staged

pytestmark = pytest.mark.asyncio(loop_scope="module")

LISTING = Path(__file__).parents[1] / "mcp" / "servers" / "listing.py"
TEXT = {"type": "string"}


def one_of(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": [*words]}


SAMPLE = {
    "type": "object",
    "properties": {
        "instance_id": {"type": "string", "description": "Instance ID to populate"},
        "company_profile": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "Fictional company name"},
                "type": one_of("agency", "studio", "in_house", "freelancer"),
                "industry_focus": {"type": "array", "items": TEXT, "description": "Industries"},
                "size": one_of("solo", "small", "medium", "large", "enterprise"),
            },
            "description": "Profile of the fictional company",
        },
        "data_to_generate": {
            "type": "array",
            "items": one_of("clients", "projects", "briefs", "team", "content"),
        },
        "data_volume": one_of("minimal", "moderate", "comprehensive") | {"default": "moderate"},
        "copies": {"type": "integer", "default": 1},
    },
    "required": ["instance_id", "company_profile"],
}
"""The nested schema of spec 5, 7.5, with an integer."""
TOOLS: list[dict[str, Any]] = [{"name": "sample", "inputSchema": SAMPLE}]


class Scene:
    """A host with one agent that may use all tools of a shop unasked."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.log = stage.folder / "shop.log"
        self.log.touch()
        tools = stage.folder / "tools.json"
        tools.write_text(json.dumps(TOOLS), encoding="utf-8")
        server = {"command": sys.executable, "args": [str(LISTING), str(tools), str(self.log)]}
        stage.agents["mcpServers"]["shop"] = server
        self.bot: Bot = stage.bot("Clerk", mcpServers=["shop"], whitelistPatterns=["mcp:shop:*"])

    async def asked(self, text: str) -> str:
        """The answer to a text, of somebody new."""
        ann = self.stage.person("Ann")
        return await self.stage.ask(ann, self.stage.world.private(ann, self.bot), self.bot, text)

    def requests(self, text: str) -> list[dict[str, Any]]:
        """Model requests of the chats in which something was said."""
        return [r for r in self.stage.requests() if text in str(r["messages"])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with staged(tmp_path_factory.mktemp("inputs")) as stage:
        scene = Scene(stage)
        async with stage.host():
            yield scene


async def test_the_documents_nested_schema_reaches_the_model_unchanged(scene: Scene) -> None:
    scene.stage.script.on("hello", user="what can you do?")
    await scene.asked("what can you do?")
    (request,) = scene.requests("what can you do?")
    shown = {tool["name"]: tool["input_schema"] for tool in request["tools"]}
    assert shown["shop__sample"] == SAMPLE
