"""What the model reads of a tool call that failed, in one form; and what is no failure."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from bot.http.accounts.conversations import Asker
from bot.tools.calls import OTHER_ACCOUNT
from simulators.http_server import serving
from simulators.messages.turns import Call, turn
from tests.host.stage import ROOT, Stage, until
from tests.http.accounts import write_instance

DESK = ROOT / "tests/mcp/servers/desk.py"
NOTHING = {
    "projects": [],
    "note": "No matching projects found",
    "suggestion": "Try broader search terms",
}


class Service:
    """An HTTP service whose answer the path names, and what it was asked."""

    def __init__(self) -> None:
        self.base = ""
        self.asked: list[Any] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        how = request.match_info["how"]
        return web.json_response(NOTHING, status=int(how) if how.isdigit() else 200)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made, app = Service(), web.Application()
    app.router.add_post("/{how}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def skill(service: Service, how: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    return {
        "name": f"way_{how}",
        "description": "Ask.",
        "inputSchema": schema,
        "webhookUrl": f"{service.base}/{how}",
    }


def desk(folder: Path) -> dict[str, Any]:
    env = {"DESK_LOG": str(folder / "desk.log")}
    return {"command": sys.executable, "args": [str(DESK)], "env": env}


async def test_every_failure_has_the_specs_words_and_an_empty_finding_is_none(
    stage: Stage, service: Service
) -> None:
    stage.agents["mcpServers"]["desk"] = desk(stage.folder)
    more = {"mcpServers": ["desk"], "whitelistPatterns": ["mcp:desk:*"]}
    skills = [skill(service, how) for how in ("404", "503", "nothing")]
    bot, ann = stage.bot("Clerk", skills=skills, **more), stage.person("Ann")
    made = [
        Call("no_such_tool", {}),
        Call("desk__slow", {"text": "x"}),
        Call("desk__write", {"words": "x"}),
        Call("skill__way_404", {"id": "deal-7"}),
        Call("skill__way_503", {}),
        Call("skill__way_nothing", {}),
    ]
    stage.script.on(turn(*made), "That is all.")
    async with stage.host(LIMITS__TOOLSECONDS="0.5"):
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "all of it")
    assert said == "That is all."
    blocks = stage.requests()[1]["messages"][-1]["content"]
    assert [json.loads(block["content"]) for block in blocks] == [
        {"error": "Unknown tool: no_such_tool"},
        {
            "error": "Request timed out",
            "retry": True,
            "note": "Outcome unknown: desk: 'slow' may have run: no answer in time",
        },
        {
            "error": 'Invalid input: "text" is a required property at $',
            "note": "It was not run. Correct the input and call again.",
        },
        {"error": "HTTP error: 404", "resource": "deal-7"},
        {"error": "HTTP error: 503", "retry": True},
        NOTHING,
    ]
    assert [block.get("is_error", False) for block in blocks] == [True] * 5 + [False]


async def test_what_a_servers_tool_raises_is_an_error_of_the_same_form(stage: Stage) -> None:
    server = MCPServer("crm", log_level="ERROR")

    @server.tool(structured_output=False)
    def query(industry: str) -> str:
        """Query projects."""
        if industry == "none":
            return json.dumps(NOTHING)
        raise ToolError(f"no industry {industry!r}")

    async with serving(server.streamable_http_app()) as url:
        more = {"mcpServers": {"crm": {"url": f"{url}/mcp"}}, "whitelistPatterns": ["mcp:crm:*"]}
        bot, ann = stage.bot("Clerk", **more), stage.person("Ann")
        made = (Call("crm__query", {"industry": name}) for name in ("x", "none"))
        stage.script.on(turn(*made), "One failed.")
        async with stage.host() as host:
            await until(lambda: [one.state for one in host.pool.servers] == ["up"])
            said = await stage.ask(ann, stage.world.private(ann, bot), bot, "try")
    assert said == "One failed."
    failed, nothing = stage.requests()[1]["messages"][-1]["content"]
    (text,) = failed["content"]
    assert json.loads(text["text"]) == {"error": "Error executing tool query: no industry 'x'"}
    assert failed["is_error"]
    assert json.loads(nothing["content"][0]["text"]) == NOTHING
    assert not nothing.get("is_error", False)


async def test_a_call_that_names_another_account_of_this_host_is_refused(
    stage: Stage, service: Service
) -> None:
    folder = stage.folder / "agent_configs"
    for account in ("acme", "rival"):
        text = f"agent_type: clerk\naccount: {account}\ninstance_name: desk\n"
        write_instance(folder, account, "desk", text)
    inputs: list[dict[str, Any]] = [
        {"instance_id": "rival", "to": 1},
        {"filter": {"all": [{"tenant_id": "rival"}]}},
        {"tenant_id": "acme"},
        {"instance_id": "i-0abc"},
    ]
    bot, ann = stage.bot("Clerk", skills=[skill(service, "200")]), stage.person("Ann")
    calls = turn(*(Call("skill__way_200", one) for one in inputs))
    environ = {"AGENT_CONFIGS_DIR": str(folder), "API_KEYS__0__KEY": "a" * 40}
    async with stage.host(**environ) as host:
        await host.api.app()  # type: ignore[union-attr]
        stage.script.on(calls, "Half of it.")
        asker = Asker("api:acme:ann", "Ann", "key:k1:ann", "acme", "k1")
        talk = host.conversations
        answer = await talk.answer(await talk.send(asker, "acme/desk", "all of it"))
        assert answer.text == "Half of it."
        blocks = stage.requests()[-1]["messages"][-1]["content"]
        assert [json.loads(block["content"]) for block in blocks] == [
            *[{"error": "Access denied", "note": OTHER_ACCOUNT}] * 2,
            *[NOTHING] * 2,
        ]
        assert [one["input"] for one in service.asked] == inputs[2:]
        assert {one["context"]["instance_id"] for one in service.asked} == {"acme"}
        stage.script.on(calls, "All of it.")  # the host's own account reaches every other
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "all of it")
        assert (said, len(service.asked)) == ("All of it.", 6)
