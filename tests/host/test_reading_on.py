"""Results that are too long to be read at once: cut, kept, and read on by the agent."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from mcp.server.mcpserver import MCPServer

from bot.mcp.result import REMAINDER_LIMIT
from simulators.http_server import serving
from simulators.messages.turns import Call, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot
from tests.host.stage import Stage

SHOWN = 1000
TEXT = "".join(f"<{number:05}>" for number in range(360))  # 2,520 characters


class Library:
    """An MCP server with one long text; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.url = ""
        self.text = TEXT


@pytest.fixture
async def library() -> AsyncIterator[Library]:
    made, server = Library(), MCPServer("library", log_level="ERROR")

    @server.tool(structured_output=False)
    async def book() -> str:
        """The whole book."""
        made.asked += 1
        return made.text

    @server.tool(structured_output=False)
    async def index() -> str:
        """What there is."""
        return "one book"

    async with serving(server.streamable_http_app()) as url:
        made.url = f"{url}/mcp"
        yield made


def reader(stage: Stage, library: Library, name: str = "Reader", **agent: Any) -> Bot:
    stage.environ["LIMITS__RESULTCHARACTERS"] = str(SHOWN)
    servers = {"library": {"url": library.url}}
    return stage.bot(name, mcpServers=servers, whitelistPatterns=["mcp:library:*"], **agent)


def results(stage: Stage, request: int = -1) -> list[str]:
    """The texts of the results that the model read last."""
    found = []
    for block in stage.requests()[request]["messages"][-1]["content"]:
        if block["type"] == "tool_result":
            content = block["content"]
            texts = [content] if isinstance(content, str) else [one["text"] for one in content]
            found.append("\n".join(texts))
    return found


def handle(stage: Stage) -> str:
    """The newest handle that the model has read anywhere."""
    found = re.findall(r'\\"handle\\": \\"([0-9a-f]{10})', json.dumps(stage.requests()[-1]))
    return str(found[-1])


def more(
    stage: Stage, offset: int | None = None, of: str | None = None
) -> Callable[[ModelRequest], Turn]:
    """The model reads on."""

    def answer(_asked: ModelRequest) -> Turn:
        where = {} if offset is None else {"offset": offset}
        return turn(Call("read_more", {"handle": of or handle(stage), **where}))

    return answer


BOOK = Call("library__book")


async def test_an_agent_reads_a_long_result_to_its_end_and_the_tool_runs_once(
    stage: Stage, library: Library
) -> None:
    bot, ann = reader(stage, library), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(turn(BOOK), more(stage), more(stage, SHOWN), "All read.")
    async with stage.host():
        assert await stage.ask(ann, room, bot, "read the book") == "All read."
    (cut,), (second,), (third,) = (results(stage, n) for n in (1, 2, 3))
    assert f"[cut: the first {SHOWN} of {len(TEXT)} characters are shown]" in cut
    assert second.endswith("of the 1520 that were cut off; read on at offset 1000]")
    assert third.endswith("of the 1520 that were cut off; this is the end]")
    assert cut[:SHOWN] + second[:1000] + third[:520] == TEXT
    assert library.asked == 1
    tools = [request["tools"] for request in stage.requests()]
    assert [tool["name"] for tool in tools[0]] == ["library__book", "library__index", "read_more"]
    assert tools[1] == tools[2] == tools[3] == tools[0]


async def test_reading_on_counts_as_a_tool_call(stage: Stage, library: Library) -> None:
    bot, ann = reader(stage, library), stage.person("Ann")
    stage.environ["LIMITS__TOOLCALLS"] = "2"
    stage.script.on(turn(BOOK), more(stage), "That much.")
    async with stage.host():
        room = stage.world.private(ann, bot)
        assert "That much." in await stage.ask(ann, room, bot, "read the book")
    asked = [request.get("tool_choice", {}).get("type") for request in stage.requests()]
    assert asked[1:] == [asked[0], "none"]


async def test_a_killed_host_lets_the_agent_read_on_where_it_was(
    stage: Stage, library: Library
) -> None:
    bot, ann = reader(stage, library), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(turn(BOOK), Turn(gate="killed"), user="read the book")
    first = await stage.process()
    stage.world.say(ann, room, "read the book")
    await stage.world.until(lambda: len(stage.requests()) == 2, 30)
    await first.kill()
    stage.script.rules.clear()
    stage.script.on(more(stage), more(stage, SHOWN), "All read.")
    second = await stage.process()
    try:
        assert (await stage.answer(room, bot, 1, 30)).text == "All read."
    finally:
        await second.end()
    assert (library.asked, results(stage)[0][:520]) == (1, TEXT[-520:])


async def test_what_was_cut_is_read_in_its_own_chat_and_nowhere_else(
    stage: Stage, library: Library
) -> None:
    bot, ann, bob = reader(stage, library), stage.person("Ann"), stage.person("Bob")
    here, there = stage.world.private(ann, bot), stage.world.private(bob, bot)
    stage.script.on(turn(BOOK), "Begun.")
    async with stage.host():
        await stage.ask(ann, here, bot, "read the book")
        known = handle(stage)
        stage.script.on(more(stage, of=known), "Later as well.")
        assert await stage.ask(ann, here, bot, "go on") == "Later as well."
        assert results(stage)[0].startswith(TEXT[SHOWN : SHOWN + 100])
        for wrong in (known, "0123456789", "order", "../../x"):
            stage.script.on(more(stage, of=wrong), "Nothing.")
            await stage.ask(bob, there, bot, "and here?")
            assert "nothing left to read under this handle" in results(stage)[0]
            assert "<00" not in results(stage)[0]
        stage.script.on(more(stage, 99_999), "Beyond.")
        await stage.ask(ann, here, bot, "beyond")
        beyond = "There is nothing at this offset: 1520 characters were cut off."
        assert json.loads(results(stage)[0]) == {"error": beyond}
        stage.script.on(more(stage, -1), "Before.")
        await stage.ask(ann, here, bot, "before")
        assert "an offset of 0 or more" in results(stage)[0]


async def test_a_tool_that_is_disabled_is_not_read_on(stage: Stage, library: Library) -> None:
    bot, ann = reader(stage, library), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(turn(BOOK), "Begun.")
    async with stage.host() as host:
        await stage.ask(ann, room, bot, "read the book")
        known, before = handle(stage), host.catalog.snapshot().number
        stage.agents["agents"][0]["toolPolicy"] = {"disabledTools": ["book"]}
        stage.write_agents()
        await host.catalog.until(lambda snapshot: snapshot.number > before)
        stage.script.on(more(stage, of=known), "Refused.")
        await stage.ask(ann, room, bot, "go on")
        assert json.loads(results(stage)[0])["error"] == "Access denied"
        assert library.asked == 1


async def test_where_not_even_the_rest_could_be_kept_whole_the_agent_is_told(
    stage: Stage, library: Library
) -> None:
    library.text = "x" * (SHOWN + REMAINDER_LIMIT + 1)
    bot, ann = reader(stage, library), stage.person("Ann")
    stage.script.on(turn(BOOK), more(stage, REMAINDER_LIMIT - 10), "The end, nearly.")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "read the book")
    assert results(stage)[0].startswith("x" * 10 + "\n[characters 499990 to 500000 of the 500000")
    assert results(stage)[0].endswith("too long to be kept; ask the tool for less]")


@pytest.mark.parametrize("listed", ["read_more", "host:read_more", "READ_*"])
async def test_an_agent_that_may_not_read_on_is_neither_offered_nor_told_of_it(
    stage: Stage, library: Library, listed: str
) -> None:
    bot = reader(stage, library, toolPolicy={"disabledTools": [listed]})
    ann = stage.person("Ann")
    stage.script.on(turn(BOOK), turn(Call("read_more", {"handle": "0123456789"})), "Only this.")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "read the book")
    assert "read_more" not in json.dumps(stage.requests()[1])
    assert json.loads(results(stage)[0]) == {"error": "Unknown tool: read_more"}


async def test_allowed_tools_need_not_name_it_and_a_confirmation_is_obeyed(
    stage: Stage, library: Library
) -> None:
    policy = {"allowedIndividualTools": ["book"], "requireConfirmation": ["read_more"]}
    bot, ann = reader(stage, library, toolPolicy=policy), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(turn(BOOK), more(stage), "Read.")
    async with stage.host():
        question = await stage.ask(ann, room, bot, "read the book")
        assert "read_more" in question
        message = await stage.answer(room, bot)
        stage.world.press_button(ann, room, message.id, "Once")
        await stage.world.until(lambda: "Read." in stage.texts(room, bot.id))
    assert results(stage)[0].startswith(TEXT[SHOWN : SHOWN + 100])


async def test_reading_on_that_is_denied_before_it_was_approved_gets_the_answer_of_all_tools(
    stage: Stage, library: Library
) -> None:
    policy = {"requireConfirmation": ["read_more"]}
    bot, ann = reader(stage, library, toolPolicy=policy), stage.person("Ann")
    room = stage.world.private(ann, bot)
    stage.script.on(turn(BOOK), more(stage), "Not read.")
    async with stage.host() as host:
        assert "read_more" in await stage.ask(ann, room, bot, "read the book")
        question = await stage.answer(room, bot)
        before = host.catalog.snapshot().agents["reader"].value.tool_policy
        stage.agents["agents"][0]["toolPolicy"]["disabledTools"] = ["read_more"]
        stage.write_agents()
        await host.catalog.until(lambda found: found.agents["reader"].value.tool_policy != before)
        stage.world.press_button(ann, room, question.id, "Once")
        await stage.world.until(lambda: "Not read." in stage.texts(room, bot.id))
    assert json.loads(results(stage)[0])["error"] == "Access denied"


async def test_a_skills_long_answer_is_cut_and_read_on_as_well(
    stage: Stage, library: Library
) -> None:
    async def deals(_request: web.Request) -> web.Response:
        return web.json_response(TEXT)

    app = web.Application()
    app.router.add_post("/", deals)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    skill = {"name": "deals", "description": "Deals.", "inputSchema": {"type": "object"}}
    skill |= {"webhookUrl": f"http://127.0.0.1:{runner.addresses[0][1]}/"}
    stage.environ["LIMITS__RESULTCHARACTERS"] = str(SHOWN)
    bot, ann = stage.bot("Sales", skills=[skill]), stage.person("Ann")
    stage.script.on(turn(Call("skill__deals")), more(stage), "Read.")
    async with stage.host():
        await stage.ask(ann, stage.world.private(ann, bot), bot, "deals?")
    await runner.cleanup()
    assert results(stage, 1)[0].startswith(f'"{TEXT}'[:SHOWN])
    assert results(stage, 2)[0].startswith(TEXT[SHOWN - 1 : SHOWN + 100])
