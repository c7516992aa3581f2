"""Arguments of a tool that no JSON object holds: a model that obeys streams them byte by byte."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.app import App
from simulators.http_server import serving
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE

pytestmark = [pytest.mark.attack, pytest.mark.asyncio(loop_scope="module")]

WICKED = Path(__file__).with_name("wicked.py")
USAGE = {"input_tokens": 3, "output_tokens": 1}
ARGUMENTS = {
    "not a number": '{"a": NaN}',
    "infinite": '{"a": -Infinity}',
    "too large a number": '{"a": 1e400}',
    "five thousand digits": '{"a": ' + "9" * 5_000 + "}",
    "an array": "[1]",
    "a text": '"a"',
    "nothing but null": "null",
    "nested three thousand deep": '{"a": ' + "[" * 3_000 + "]" * 3_000 + "}",
    "cut": '{"a": 1',
    "two objects": '{"a": 1}{"a": 2}',
    "words": "rm -rf /",
    "half a surrogate pair": '{"a": "\\ud800"}',
    "a bare control character": '{"a": "\x01"}',
}


class Puppet:
    """A Messages API that says these arguments when somebody names them, and `done` after that."""

    async def __call__(self, request: Request) -> Response:
        """One answer, as a stream."""
        last = (await request.json())["messages"][-1]["content"]
        if any(block["type"] == "tool_result" for block in last):
            return _stream(_text("done"), "end_turn")
        named = re.findall(r"«(.+)»", json.dumps(last, ensure_ascii=False))
        return _stream(_call(ARGUMENTS.get(named[-1], '{"a": "plain"}')), "tool_use")


def _stream(block: list[dict[str, Any]], stop: str) -> Response:
    head = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "m"}
    whole = [
        {"type": "message_start", "message": {**head, "usage": USAGE}},
        *block,
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": USAGE},
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in whole)
    return Response(body, media_type="text/event-stream")


def _text(words: str) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        _delta({"type": "text_delta", "text": words}),
    ]


def _call(arguments: str) -> list[dict[str, Any]]:
    use = {"type": "tool_use", "id": "toolu_1", "name": "wicked__take", "input": {}}
    pieces = [arguments[at : at + 999] for at in range(0, len(arguments), 999)]
    deltas = [_delta({"type": "input_json_delta", "partial_json": piece}) for piece in pieces]
    return [{"type": "content_block_start", "index": 0, "content_block": use}, *deltas]


def _delta(delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": delta}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Stage, App, Path]]:
    async with staged(tmp_path_factory.mktemp("raw")) as stage:
        folder = stage.folder
        (folder / "tools.json").write_text('[{"name": "take", "inputSchema": {"type": "object"}}]')
        (folder / "calls").touch()
        server = {"command": sys.executable, "args": [str(WICKED), str(folder)]}
        stage.agents["mcpServers"] = {"wicked": server}
        stage.bot("Puppet", mcpServers=["wicked"], whitelistPatterns=["mcp:wicked:take"])
        puppet = Puppet()
        app = Starlette(routes=[Route("/v1/messages", puppet.__call__, methods=["POST"])])
        async with serving(app) as url, stage.host(ANTHROPIC_BASE_URL=url) as host:
            await until(lambda: any(one.tools for one in host.pool.servers), PATIENCE)
            yield stage, host, folder / "calls"


async def said(stage: Stage, name: str) -> str:
    ann, bot = stage.person("Ann"), stage.bots[0]
    stage.world.say(ann, stage.world.private(ann, bot), f"«{name}»")
    return (await stage.answer(stage.world.private(ann, bot), bot, 1, PATIENCE)).text


async def test_plain_arguments_reach_the_tool_or_these_tests_show_nothing(
    scene: tuple[Stage, App, Path],
) -> None:
    stage, _, calls = scene
    assert await said(stage, "plain") == "done"
    assert json.loads(calls.read_text().splitlines()[-1])["arguments"] == {"a": "plain"}


async def test_arguments_that_are_no_plain_json_object_never_reach_a_tool(
    scene: tuple[Stage, App, Path],
) -> None:
    stage, host, calls = scene
    before = calls.read_text()
    answers = await asyncio.gather(*(said(stage, name) for name in ARGUMENTS))
    assert all(answers)
    assert calls.read_text() == before
    assert host.report()["status"] == "healthy"
