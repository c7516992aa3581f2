"""Skills of an agent in a running host: offered, judged, called, and asked for."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bot.skills.spec import CAUTION
from registry.authorization import WriterPermissions
from registry.errors import DocumentErrors
from registry.sources.json_yaml import load_document, read_document
from registry.validation import RawDocument, build
from simulators.messages.turns import Call, turn
from tests.host.stage import ROOT, Stage, command, health, until

SCHEMA = {"type": "object", "properties": {"status": {"type": "string"}}}
SECRET = "hub-secret-0123456789"


class Hub:
    """A service that answers with what it was asked, and keeps who called."""

    def __init__(self) -> None:
        self.url = ""
        self.base = ""
        self.calls: list[tuple[str, Any]] = []
        self.paths: list[str] = []
        self.hold = asyncio.Event()
        self.both = asyncio.Barrier(2)

    async def meet(self, _request: web.Request) -> web.Response:
        await asyncio.wait_for(self.both.wait(), 20)
        return web.json_response("met")

    async def fail(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/fails/")
        self.paths.append(path)
        if path == "slow":
            await self.hold.wait()
        if path == "inside":
            raise web.HTTPTemporaryRedirect(self.url)
        if path == "metadata":
            raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")
        return web.Response(status=int(path) if path.isdigit() else 200)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        shown = request.headers.get("X-Key", request.headers.get("Authorization", ""))
        self.calls.append((shown, body))
        return web.json_response({"found": body["input"]})


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    made, app = Hub(), web.Application()
    app.router.add_post("/deals", made.answer)
    app.router.add_post("/meet", made.meet)
    app.router.add_route("*", "/fails/{how}", made.fail)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    made.url = f"{made.base}/deals"
    yield made
    made.hold.set()
    await runner.cleanup()


def deals(url: str, **more: Any) -> dict[str, Any]:
    auth = {"type": "bearer", "tokenEnv": "HUB_TOKEN"}
    skill = {"name": "query_deals", "description": "Query deals.", "inputSchema": SCHEMA}
    return skill | {"webhookUrl": url, "webhookAuth": auth} | more


def desk_server(log: str) -> dict[str, Any]:
    desk = ROOT / "tests/mcp/servers/desk.py"
    return {"command": sys.executable, "args": [str(desk)], "env": {"DESK_LOG": log}}


def shown(stage: Stage) -> list[dict[str, Any]]:
    """The skills as the model saw them in its first request."""
    tools = stage.requests()[0].get("tools", [])
    return [tool for tool in tools if tool["name"].startswith("skill__")]


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
    (tool,) = shown(stage)
    assert (tool["name"], tool["description"]) == ("skill__query_deals", "Query deals.")
    assert set(tool) - {"cache_control"} == {"name", "description", "input_schema"}
    assert SECRET not in json.dumps(stage.requests())
    assert hub.url not in json.dumps(stage.requests())
    result = stage.requests()[1]["messages"][-1]["content"][0]
    assert result["content"] == '{"found": {"status": "open"}}'


async def test_calls_of_one_step_run_side_by_side(stage: Stage, hub: Hub) -> None:
    skills = [deals(f"{hub.base}/meet", name=name, webhookAuth=None) for name in ("one", "two")]
    bot, ann = stage.bot("Sales", skills=skills), stage.person("Ann")
    stage.script.on(turn(Call("skill__one", {}), Call("skill__two", {})), "Both.")
    async with stage.host():
        assert await stage.ask(ann, stage.world.private(ann, bot), bot, "meet!") == "Both."
    results = stage.requests()[1]["messages"][-1]["content"]
    assert [result["content"] for result in results] == ['"met"', '"met"']


async def test_a_tool_call_may_take_as_long_as_the_host_says_unless_its_server_does(
    stage: Stage, hub: Hub
) -> None:
    desk, slow = desk_server(os.devnull), {"text": "x"}
    stage.agents["mcpServers"] |= {"desk": desk, "patient": desk | {"timeoutSeconds": 2}}
    skill = deals(f"{hub.base}/fails/slow", webhookAuth=None)
    patterns = ["mcp:desk:*", "mcp:patient:*"]
    names = ["desk", "patient"]
    bot = stage.bot("Sales", mcpServers=names, skills=[skill], whitelistPatterns=patterns)
    ann = stage.person("Ann")
    stage.script.on(turn(CALL, Call("desk__slow", slow)), turn(Call("patient__slow", slow)), "ok")
    async with stage.host(LIMITS__TOOLSECONDS="0.5") as host:
        await until(lambda: [one.state for one in host.pool.servers] == ["up"])
        began = time.monotonic()
        assert await stage.ask(ann, stage.world.private(ann, bot), bot, "go") == "ok"
        assert 2.5 <= time.monotonic() - began < 25
    requests = stage.requests()
    skills_and_desk = [one["content"] for one in requests[1]["messages"][-1]["content"]]
    assert "timed out" in skills_and_desk[0]
    assert "no answer in time" in skills_and_desk[1]
    assert "no answer in time" in requests[2]["messages"][-1]["content"][0]["content"]


async def test_a_skill_with_the_name_of_a_servers_tool_is_refused_where_it_is_written(
    stage: Stage, hub: Hub
) -> None:
    """And named where it cannot be refused; the name of a tool that is disabled is free."""
    look = deals(hub.url, name="Look", webhookAuth=None)
    off = {"disabledTools": ["mcp:desk:look"]}
    servers = {"desk": desk_server(os.devnull)}
    stage.agents["mcpServers"] |= servers
    clerk = stage.bot("Clerk", mcpServers=["desk"], skills=[look])
    neat = stage.bot("Neat", mcpServers=["desk"], skills=[look], toolPolicy=off)
    boss = stage.person("Boss")
    stage.environ["ADMINS"] = str(boss.id)
    stage.script.on(turn(Call("skill__Look", {"status": "open"})), "Done.", system="You are Neat.")
    poet: dict[str, Any] = {"id": "poet", "name": "Poet", "mcpServers": ["desk"]}
    poet["skills"] = [look | {"webhookUrl": "https://hub.example.org/"}]
    async with stage.host() as host:
        await until(lambda: [one.state for one in host.pool.servers] == ["up"])
        room, office = stage.world.private(boss, neat), stage.world.private(boss, clerk)
        assert await stage.ask(boss, room, neat, "look!") == "Done."
        refused = await stage.ask(boss, office, clerk, f"/addagent {json.dumps(poet)}")
        shown = await stage.ask(boss, office, clerk, "/agent clerk")
        added = await stage.ask(
            boss, office, clerk, f"/addagent {json.dumps(poet | {'toolPolicy': off})}"
        )
        changed = await stage.ask(boss, office, clerk, f"/addagent replace {json.dumps(poet)}")
        helped = await stage.ask(boss, office, clerk, "/help")
        await stage.ask(boss, room, neat, "/default poet")  # the clerk is made anew
        _, report = await health(host.url)
        kept = host.catalog.get_agent("poet")
    assert kept is not None
    assert kept.tool_policy is not None
    assert [body["input"] for _, body in hub.calls] == [{"status": "open"}]
    for said in (refused, changed):
        assert "Nothing was changed." in said
        assert "skill 'Look' of agent 'poet' has the name of mcp:desk:look" in said
    assert "Created agent Poet" in added
    clash = "skill 'Look' of agent 'clerk' has the name of mcp:desk:look"
    assert clash in shown
    assert "skill:Look" not in shown.replace("skills: Look", "")
    assert len(re.findall(r"\blook\b", helped.split("\n/")[0])) == 1
    assert [clash in one for one in report["problems"] if "Look" in one] == [True]


async def test_a_skill_that_requires_approval_asks_each_time(stage: Stage, hub: Hub) -> None:
    skill = deals(hub.url, requiresApproval=True)
    bot, ann = stage.bot("Sales", skills=[skill]), stage.person("Ann")
    stage.environ["HUB_TOKEN"] = SECRET
    stage.script.on(turn(CALL), "ok")
    async with stage.host():
        room = stage.world.private(ann, bot)
        stage.world.say(ann, room, "deals?")
        question = await stage.answer(room, bot)
        assert question.text.startswith("May I do this?")
        assert "query_deals\nstatus: open" in question.text
        keyboard = question.body["reply_markup"]["inline_keyboard"]
        assert [button["text"] for button in keyboard[0]] == ["Once", "Deny"]
        assert hub.calls == []
        stage.world.press_button(ann, room, question.id, "Once")
        await stage.world.until(lambda: "ok" in stage.texts(room, bot.id))
    assert len(hub.calls) == 1


async def test_a_skill_that_is_disabled_or_without_its_secret_is_not_offered(
    stage: Stage, hub: Hub
) -> None:
    off = deals(hub.url, name="off", enabled=False)
    bot, ann = stage.bot("Sales", skills=[off, deals(hub.url)]), stage.person("Ann")
    stage.script.on("nothing here")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "deals?")
    assert shown(stage) == []


async def test_a_time_out_a_401_a_500_and_a_redirect_inside_are_results_and_no_address_is_told(
    stage: Stage, hub: Hub
) -> None:
    ways = ["slow", "401", "500", "inside", "metadata"]
    skills = [
        deals(f"{hub.base}/fails/{way}", name=f"way_{way}", timeoutSeconds=0.5) for way in ways
    ]
    bot, ann = stage.bot("Sales", skills=skills), stage.person("Ann")
    stage.environ["HUB_TOKEN"] = SECRET
    stage.script.on(turn(*(Call(f"skill__way_{way}", {}) for way in ways)), "None of it worked.")
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, bot), bot, "deals?")
    assert said == "None of it worked."
    blocks = stage.requests()[1]["messages"][-1]["content"]
    assert [json.loads(block["content"]) for block in blocks] == [
        {"error": "Request timed out", "retry": True, "suggestion": CAUTION},
        {"error": "HTTP error: 401", "action_required": "refresh_token"},
        {"error": "HTTP error: 500", "retry": True},
        {"error": "HTTP error: 307"},
        {"error": "HTTP error: 302"},
    ]
    assert all(block["is_error"] for block in blocks)
    assert sorted(hub.paths) == sorted(ways)  # each once: nothing is repeated by itself
    assert hub.calls == []  # nothing came where the redirect led
    assert hub.base not in json.dumps(stage.requests())


async def test_an_api_key_goes_into_its_header_and_a_bad_one_leaves_its_skill_out(
    stage: Stage, hub: Hub
) -> None:
    api = {"type": "api_key", "header": "X-Key", "keyEnv": "ODD_TOKEN"}
    odd = deals(hub.url, name="odd", webhookAuth=api)
    right = deals(hub.url, webhookAuth=api | {"keyEnv": "HUB_TOKEN"})
    bot, ann = stage.bot("Sales", skills=[odd, right]), stage.person("Ann")
    stage.environ |= {"ODD_TOKEN": "a\r\nX-Admin: yes", "HUB_TOKEN": SECRET}
    stage.script.on(turn(CALL), "ok")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "deals?")
    assert [tool["name"] for tool in shown(stage)] == ["skill__query_deals"]
    assert [called for called, _ in hub.calls] == [SECRET]


async def _command(stage: Stage, *words: str) -> tuple[int, str]:
    """`switchboard skill test …`: its exit status, and all that it says."""
    return await command(stage.folder, stage.variables(), "skill", "test", *words)


async def test_a_skill_is_tried_from_the_command_line(stage: Stage, hub: Hub) -> None:
    stage.bot("Sales", skills=[deals(hub.url)])
    stage.environ["HUB_TOKEN"] = SECRET
    won, wrong = '{"status": "won"}', '{"status": 3}'
    found = await asyncio.gather(
        _command(stage, "sales", "query_deals", won),
        _command(stage, "sales", "query_deals", won, "--send"),
        _command(stage, "sales", "query_deals", wrong),
        _command(stage, "sales", "nothing"),
    )
    assert [status for status, _ in found] == [0, 0, 1, 1]
    shown, sent, refused, unknown = [said for _, said in found]
    assert "Authorization: ***" in shown
    assert SECRET not in shown + sent
    assert 'ok: {"found": {"status": "won"}}' in sent
    assert len(hub.calls) == 1
    assert 'the input does not fit inputSchema: 3 is not of type "string"' in refused
    assert "has no skill 'nothing' that can be called; it has: query_deals" in unknown


def _agent(skill: dict[str, Any]) -> str:
    agent = {"id": "a", "name": "A", "mcpServerEndpoints": [], "skills": [skill]}
    return json.dumps({"agents": [agent]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a b"}, "is not a valid skill name"),
        ({"inputSchema": {"type": "string"}}, "must describe an object"),
        ({"inputSchema": {"type": "object", "required": 3}}, "is not a JSON Schema"),
        ({"inputSchema": {"type": "object", "properties": {"api_key": {}}}}, "for a credential"),
        ({"inputSchema": None}, "needs 'inputSchema'"),
        ({"description": None}, "needs 'description'"),
        ({"webhookUrl": "ftp://x/y"}, "not an http or https address"),
        ({"webhookUrl": "https://me:pw@x/y"}, "holds a secret or a reference"),
        ({"webhookAuth": {"type": "bearer"}}, "takes only 'tokenEnv'"),
        ({"webhookAuth": {"type": "api_key", "keyEnv": "K"}}, "takes 'header' and 'keyEnv'"),
        ({"executionType": "script"}, "must be 'webhook' or 'internal'"),
        ({"inputSchema": {"type": "object", "$ref": "http://127.0.0.1/x"}}, "another document"),
        ({"inputSchema": {"type": "object", "$ref": "#/nowhere"}}, "points to nothing"),
        ({"webhookAuth": {"type": "api_key", "header": "Host", "keyEnv": "K"}}, "may not be Host"),
        ({"webhookAuth": {"type": "api_key", "header": "X" * 65, "keyEnv": "K"}}, "is too long"),
        ({"executionType": "internal"}, "needs 'internalHandler'"),
        ({"executionType": "internal", "internalHandler": "x"}, "takes no 'webhookUrl'"),
        ({"webhookUrl": None}, "needs 'webhookUrl'"),
        ({"timeoutSeconds": 31}, "must be at most 30"),
        ({"cache": {"ttlSeconds": 0}}, "must be more than 0"),
    ],
)
def test_a_mistake_in_a_skill_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentErrors) as raised:
        load_document(_agent(deals("https://example.org/x") | change))
    assert words in str(raised.value.problems[0].message)


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"webhokUrl": "x"}, "did you mean 'webhookUrl'?"),
        ({"cache": {"ttlSecond": 5}}, "did you mean 'ttlSeconds'?"),
        ({"cache": {"lifetime": 5}}, "known: ttlSeconds, scope"),
        ({"webhookAuth": {"type": "bearer", "token": "X"}}, "did you mean 'tokenEnv'?"),
    ],
)
def test_an_unknown_field_of_a_skill_is_told_with_the_nearest_that_there_is(
    change: dict[str, Any], cure: str
) -> None:
    with pytest.raises(DocumentErrors) as raised:
        load_document(_agent(deals("https://example.org/x") | change))
    assert any(cure in problem.cure for problem in raised.value.problems)


def _refused(text: str) -> str:
    with pytest.raises(DocumentErrors) as raised:
        build(read_document(text, "chat"), WriterPermissions(operator=False))
    return " ".join(problem.message for problem in raised.value.problems)


def test_an_agent_from_a_chat_may_not_use_any_internal_skill_nor_keep_results() -> None:
    inner = {"name": "x", "executionType": "internal", "internalHandler": "wages"}
    text = _agent(inner)
    assert "the internal skill 'wages' may not be used" in _refused(text)
    build(
        read_document(text, "chat"),
        WriterPermissions(operator=False, handlers=frozenset({"wages"})),
    )
    kept = deals("https://example.org/") | {"webhookAuth": None, "cache": {"ttlSeconds": 5}}
    assert "only the operator may cache results" in _refused(_agent(kept))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254/latest", "leads to an internal host"),
        ("http://2130706433/", "leads to an internal host"),
        ("https://example.org/", "variable HUB_TOKEN may not be used"),
    ],
)
def test_a_skill_from_a_chat_may_not_lead_inside_nor_name_any_secret(url: str, words: str) -> None:
    draft: RawDocument = read_document(_agent(deals(url)), "chat")
    with pytest.raises(DocumentErrors) as raised:
        build(draft, WriterPermissions(operator=False))
    assert any(words in problem.message for problem in raised.value.problems)
