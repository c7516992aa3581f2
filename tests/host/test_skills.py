"""Skills of an agent in a running host: offered, judged, called, and asked for."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bot.sandbox.messages.turns import Call, turn
from registry.building import build, load_document
from registry.draft import Draft
from registry.errors import DocumentErrors
from registry.reading import read_file_text
from registry.screening import Authority
from tests.host.stage import ROOT, Stage

SCHEMA = {"type": "object", "properties": {"status": {"type": "string"}}}
SECRET = "hub-secret-0123456789"


class Hub:
    """A service that answers with what it was asked, and keeps who called."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.calls.append((request.headers.get("Authorization", ""), body))
        return web.json_response({"found": body["input"]})


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made, app = Hub(), web.Application()
    app.router.add_post("/deals", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/deals"
    yield made
    await runner.cleanup()


def deals(url: str, **more: Any) -> dict[str, Any]:
    auth = {"type": "bearer", "tokenEnv": "HUB_TOKEN"}
    skill = {"name": "query_deals", "description": "Query deals.", "inputSchema": SCHEMA}
    return skill | {"webhookUrl": url, "webhookAuth": auth} | more


CALL = Call("skill__query_deals", {"status": "open"})


async def test_a_skill_is_a_tool_that_runs_with_its_secret_unseen_by_the_model(
    stage: Stage, hub: Hub
) -> None:
    bot, ann = stage.bot("Sales", skills=[deals(hub.url)]), stage.person("Ann")
    stage.environ["HUB_TOKEN"] = SECRET
    stage.script.on(turn(CALL), "One open.")
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "deals?")
    assert said == "One open."
    context = {"instance_id": "default", "user_id": str(ann.id)}
    assert hub.calls == [(f"Bearer {SECRET}", {"input": {"status": "open"}, "context": context})]
    (tool,) = stage.requests()[0]["tools"]
    assert (tool["name"], tool["description"]) == ("skill__query_deals", "Query deals.")
    assert SECRET not in json.dumps(stage.requests())
    assert hub.url not in json.dumps(stage.requests())
    result = stage.requests()[1]["messages"][-1]["content"][0]
    assert result["content"] == '{"found": {"status": "open"}}'


async def test_a_skill_that_requires_approval_asks_each_time(stage: Stage, hub: Hub) -> None:
    skill = deals(hub.url, requiresApproval=True)
    bot, ann = stage.bot("Sales", skills=[skill]), stage.person("Ann")
    stage.environ["HUB_TOKEN"] = SECRET
    stage.script.on(turn(CALL), "ok")
    async with stage.host():
        room = stage.world.private(ann, bot)
        stage.world.say(ann, room, "deals?")
        question = await stage.answer(room, bot)
        assert question.text.startswith("May I do this?\n\nquery_deals\nstatus: open")
        keyboard = question.body["reply_markup"]["inline_keyboard"]
        assert [button["text"] for button in keyboard[0]] == ["Once", "Deny"]
        assert hub.calls == []
        stage.world.press_button(ann, room, question.id, "Once")
        await stage.world.until(lambda: "ok" in stage.texts(room, bot.id), 10)
    assert len(hub.calls) == 1


async def test_a_skill_that_is_disabled_or_without_its_secret_is_not_offered(
    stage: Stage, hub: Hub
) -> None:
    off = deals(hub.url, name="off", enabled=False)
    bot, ann = stage.bot("Sales", skills=[off, deals(hub.url)]), stage.person("Ann")
    stage.script.on("nothing here")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "deals?")
    assert stage.requests()[0].get("tools", []) == []


async def _command(stage: Stage, *words: str) -> tuple[int | None, str]:
    """`switchboard skill test …` as a process: its exit status, and all that it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "skill", "test", *words),
        cwd=stage.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **stage.variables()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 45)
    return process.returncode, said.decode()


async def test_a_skill_is_tried_from_the_command_line(stage: Stage, hub: Hub) -> None:
    stage.bot("Sales", skills=[deals(hub.url)])
    stage.environ["HUB_TOKEN"] = SECRET
    status, said = await _command(stage, "sales", "query_deals", '{"status": "won"}')
    assert (status, hub.calls) == (0, [])
    assert "Authorization: ***" in said
    assert SECRET not in said
    status, said = await _command(stage, "sales", "query_deals", '{"status": "won"}', "--send")
    assert status == 0
    assert 'ok: {"found": {"status": "won"}}' in said
    assert len(hub.calls) == 1
    status, said = await _command(stage, "sales", "query_deals", '{"status": 3}')
    assert status == 1
    assert "the input does not fit inputSchema: 3 is not of type 'string'" in said
    status, said = await _command(stage, "sales", "nothing")
    assert "has no skill 'nothing' that can be called; it has: query_deals" in said


def _agent(skill: dict[str, Any]) -> str:
    agent = {"id": "a", "name": "A", "mcpServerEndpoints": [], "skills": [skill]}
    return json.dumps({"agents": [agent]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "no name of a skill"),
        ({"inputSchema": {"type": "string"}}, "must describe an object"),
        ({"inputSchema": {"type": "object", "required": 3}}, "is no JSON Schema"),
        ({"webhookUrl": "ftp://x/y"}, "no http or https address"),
        ({"webhookUrl": "https://me:pw@x/y"}, "holds a secret or a reference"),
        ({"webhookAuth": {"type": "bearer"}}, "takes 'tokenEnv' alone"),
        ({"webhookAuth": {"type": "api_key", "keyEnv": "K"}}, "takes 'header' and 'keyEnv'"),
        ({"executionType": "script"}, "must be 'webhook'"),
    ],
)
def test_a_mistake_in_a_skill_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentErrors) as raised:
        load_document(_agent(deals("https://example.org/x") | change))
    assert words in str(raised.value.problems[0].message)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest", "leads to an internal host"),
        ("http://2130706433/", "leads to an internal host"),
        ("https://example.org/", "variable HUB_TOKEN may not be used"),
    ],
)
def test_a_skill_from_a_chat_may_not_lead_inside_nor_name_any_secret(url: str, words: str) -> None:
    draft: Draft = read_file_text(_agent(deals(url)), "chat")
    with pytest.raises(DocumentErrors) as raised:
        build(draft, Authority(operator=False))
    assert any(words in problem.message for problem in raised.value.problems)
