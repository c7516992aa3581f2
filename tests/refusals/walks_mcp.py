"""MCP servers that refuse, each forever: how each row of the table ends."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.app import App
from bot.mcp.server import FAILURES
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import PATIENCE
from tests.host.tool_caller import ToolCaller
from tests.mcp.servers.saying import REFUSED, Saying, saying
from tests.mcp.servers.starting import HERE
from tests.refusals.table import ends

AT_ONCE = 20.0
"""Seconds for a call that may take 60, on a machine that others use."""


class RefusalScene(ToolCaller):
    """A bot with the servers that refuse, and one without any, in whose chat all is well."""

    def __init__(self, stage: Stage, servers: dict[str, Any], server: Saying) -> None:
        super().__init__(stage, servers)
        self.server = server
        self.echo = stage.bot("Echo")
        self.ann = stage.person("Ann")
        stage.script.on("here", system="You are Echo", again=True)
        self.host: App

    async def serve_another_chat(self) -> None:
        """Another chat is served."""
        room = self.stage.world.private(self.ann, self.echo)
        assert await self.stage.ask(self.ann, room, self.echo, "hi", PATIENCE) == "here"

    def server_of(self, name: str) -> dict[str, Any]:
        """What health shows of a server."""
        servers: list[dict[str, Any]] = self.host.report()["servers"]
        return next(one for one in servers if one["names"] == [name])


@asynccontextmanager
async def refusing(
    folder: Path, *stdio: str, http: tuple[str, ...] = ()
) -> AsyncIterator[RefusalScene]:
    async with saying() as server, staged(folder) as stage:
        servers: dict[str, Any] = {
            name: {
                "command": sys.executable,
                "args": ["-I", "-S", str(HERE / "odd.py"), name],
            }
            for name in stdio
        }
        servers |= {name: {"url": f"{server.url}/{name}/mcp"} for name in http}
        scene = RefusalScene(stage, servers, server)
        async with stage.host(LIMITS__REQUESTSPERMINUTE="1000") as scene.host:
            pool = scene.host.pool
            await until(
                lambda: (
                    len(pool.servers) == len(servers)
                    and all(one.settled.is_set() for one in pool.servers)
                ),
                PATIENCE,
            )
            yield scene


@ends("C1")
async def a_session_that_is_always_forgotten(folder: Path) -> None:
    async with refusing(folder, http=("sdk", "text", "unready")) as scene:
        for manner in ("sdk", "text", "unready"):
            scene.server.forgets.add(manner)
            scene.server.forget(manner)
            before = scene.server.asked[manner, "initialize"]
            for count in range(1, FAILURES + 1):
                said = await scene.called(f"{manner}__work")
                assert "did not run" in said, said
                assert scene.server.asked[manner, "tools/call"] <= 2 * count
            await scene.serve_another_chat()
            asked = scene.server.asked[manner, "tools/call"]
            assert "failed too often" in await scene.called(f"{manner}__work")
            assert scene.server.asked[manner, "tools/call"] == asked
            assert scene.server.asked[manner, "initialize"] - before <= 2 * FAILURES + 2
            assert scene.server.ran[manner, "work"] == 0


@ends("C8")
async def a_session_that_is_never_known(folder: Path) -> None:
    cures = {"fine": "one process of it", "unready": "see its own log", "sdk": "one process of it"}
    async with refusing(folder, http=tuple(cures)) as scene:
        for manner, cure in cures.items():
            scene.server.ignores.add(manner)
            scene.server.forget(manner)
            before = scene.server.asked[manner, "initialize"]
            for _ in range(FAILURES + 1):
                said = await scene.called(f"{manner}__work")
                assert "did not run" in said, said
            found = scene.server_of(manner)
            assert found["state"] == "down"
            assert cure in found["why"], found["why"]
            assert scene.server.asked[manner, "initialize"] - before <= FAILURES + 2
            assert scene.server.asked[manner, "tools/call"] == 1
        await scene.serve_another_chat()


@ends("C9")
async def a_web_page_in_place_of_an_answer(folder: Path) -> None:
    async with refusing(folder, http=("paging", "leaving")) as scene:
        for count in range(1, FAILURES + 1):
            said = await scene.called("paging__page")
            assert "Outcome unknown" in said
            assert "may have run: a web page" in said
            assert scene.server.asked["paging", "tools/call"] == count
        assert "failed too often" in await scene.called("paging__page")
        assert scene.server.asked["paging", "tools/call"] == FAILURES
        assert scene.server_of("paging")["state"] == "up"  # its list is there

        assert "ran 1" in await scene.called("leaving__work")
        scene.server.gone.add("leaving")
        assert "may have run: a web page" in await scene.called("leaving__work")
        await until(lambda: scene.server_of("leaving")["state"] == "down", AT_ONCE)
        assert "did not run" in await scene.called("leaving__work")
        why = scene.server_of("leaving")["why"]
        assert "a web page (text/html) answers at the URL on 127.0.0.1:" in why
        assert "fix its URL" in why
        assert scene.server.asked["leaving", "tools/call"] == 2
        scene.server.gone.clear()
        await until(lambda: scene.server_of("leaving")["state"] == "up", PATIENCE)
        assert "ran 2" in await scene.called("leaving__work")
        await scene.serve_another_chat()


@ends("C2")
async def every_request_is_refused(folder: Path) -> None:
    async with refusing(folder, http=(*REFUSED, "zipped")) as scene:
        for name in (*REFUSED, "zipped"):
            found = scene.server_of(name)
            assert found["state"] == "down"
            assert ": " in found["why"]  # what it is, and what cures it
        began = time.monotonic()
        assert "Unknown tool: " in await scene.called("locked__work")
        assert time.monotonic() - began < PATIENCE
        await scene.serve_another_chat()
        asked = sum(scene.server.asked.values())
        seconds = time.monotonic() - began
        assert asked < (len(REFUSED) + 1) * 4 * (6 + seconds)  # ever more seldom


@ends("C3")
async def a_process_that_ends(folder: Path) -> None:
    async with refusing(folder, "dead", "dies_greeted") as scene:
        for name in ("dead", "dies_greeted"):
            found = scene.server_of(name)
            assert found["state"] == "down"
            assert "code 3; its last words: " in found["why"]
        assert "Unknown tool: " in await scene.called("dead__fine")
        await scene.serve_another_chat()


@ends("C4")
async def a_result_that_breaks_rules(folder: Path) -> None:
    async with refusing(folder, "parts") as scene:
        for _ in range(FAILURES + 1):
            said = await scene.called("parts__fine")
            assert "beside" in said
            assert "part of type json" in said
        await scene.serve_another_chat()
        assert scene.host.pool.servers[0].connects == 1


@ends("C5")
async def an_answer_that_names_another_call(folder: Path) -> None:
    async with refusing(folder, "foreign", "torn") as scene:
        for name in ("foreign", "torn"):
            began = time.monotonic()
            said = await scene.called(f"{name}__fine")
            assert "Outcome unknown" in said
            assert time.monotonic() - began < AT_ONCE
        await scene.serve_another_chat()


@ends("C6")
async def a_list_that_cannot_be_offered(folder: Path) -> None:
    async with refusing(folder, "left", "long", http=("well",)) as scene:
        assert scene.server_of("left")["state"] == "up"
        assert any("'wrong'" in note for note in scene.server_of("left")["notes"])
        assert "called with" in await scene.called("left__fine")
        assert "8 MB" in scene.server_of("long")["why"]
        scene.server.grown.add("well")
        assert "Wrong word" in await scene.called("well__picky")  # it is asked for its list again
        await until(lambda: "notes" in scene.server_of("well"))
        (note,) = scene.server_of("well")["notes"]
        assert "the last good list stays in use: its list of tools of more than 8 MB" in note
        assert "ran 1" in await scene.called("well__work")
        await scene.serve_another_chat()


@ends("C7")
async def every_call_fails(folder: Path) -> None:
    async with refusing(folder, http=("failing",)) as scene:
        for count in range(1, FAILURES + 1):
            assert "Outcome unknown" in await scene.called("failing__fails")
            assert scene.server.asked["failing", "tools/call"] == count
        assert "failed too often" in await scene.called("failing__fails")
        assert scene.server.asked["failing", "tools/call"] == FAILURES
        await scene.serve_another_chat()
