"""The pool against servers made with the SDK, over stdio; they are started once for all tests."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from bot.errors import ToolFateUnknown
from tests.mcp.servers.starting import NamedPool, pool_of, server, spec_of, until, words

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("workshop") / "log"
    path.touch()
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool(log: Path) -> AsyncIterator[NamedPool]:
    workshop = server("workshop", "workshop.py", env={"WORKSHOP_LOG": str(log)})
    small = replace(workshop, name="small", result_cap=1_000)
    time = spec_of("time", command=sys.executable, args=["-m", "mcp_server_time"])
    async with pool_of(workshop, small, time) as pool:
        yield pool


async def test_the_public_time_server_tells_the_time(pool: NamedPool) -> None:
    tools = [tool.key for tool in pool.tools(pool.named("time"))]
    assert tools == ["mcp:time:convert_time", "mcp:time:get_current_time"]
    result = await pool.ask("time", "get_current_time", {"timezone": "Asia/Tokyo"})
    assert not result.is_error
    assert "+09:00" in result.text


async def test_a_refusal_of_a_tool_is_an_error_for_the_model(pool: NamedPool) -> None:
    wrong = await pool.ask("time", "get_current_time", {"timezone": "Mars/Olympus"})
    assert wrong.is_error
    assert (await pool.ask("workshop", "fail", {})).is_error
    assert (await pool.ask("workshop", "echo", {"no": "text"})).is_error


async def test_arguments_that_no_wire_takes_never_leave(pool: NamedPool) -> None:
    result = await pool.ask("workshop", "echo", {"text": "\ud800"})
    assert result.is_error
    assert "was not called" in result.text
    assert (await pool.ask("workshop", "echo", {"text": "x"})).text == "x"


async def test_hints_come_as_booleans(pool: NamedPool) -> None:
    tools = {tool.name: tool for tool in pool.tools(pool.named("workshop"))}
    echo, count = tools["echo"], tools["count"]
    assert (echo.read_only, echo.idempotent) == (True, False)
    assert (count.read_only, count.idempotent) == (False, False)
    assert count.input_schema["properties"]["seconds"]["type"] == "number"


async def test_only_prompts_without_arguments_are_read(pool: NamedPool) -> None:
    assert pool.prompts(pool.named("workshop")) == ["Wipe your feet."]
    assert pool.prompts(pool.named("time")) == []


async def test_a_big_result_is_cut_with_a_note(pool: NamedPool) -> None:
    result = await pool.ask("workshop", "big", {"characters": 5_000_000})
    cap = spec_of("any", command="any").result_cap
    assert len(result.text) < cap + 100
    assert result.text.endswith(f"[cut: the first {cap} of 5000000 characters are shown]")
    small = await pool.ask("small", "big", {"characters": 5_000})
    assert len(small.text) < 1_100


async def test_images_and_structures_arrive(pool: NamedPool) -> None:
    picture = await pool.ask("workshop", "picture", {})
    assert picture.content[0]["source"]["media_type"] == "image/png"
    assert '"width": 3' in (await pool.ask("workshop", "measure", {})).text


async def test_a_tool_with_an_odd_name_can_be_called(pool: NamedPool) -> None:
    assert (await pool.ask("workshop", "odd.näme with spaces", {})).text == "odd"


async def test_slow_calls_run_side_by_side(pool: NamedPool) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    slow = [pool.ask("workshop", "count", {"seconds": 0.5}) for _ in range(8)]
    quick = asyncio.create_task(pool.ask("time", "get_current_time", {"timezone": "UTC"}))
    await asyncio.gather(*slow)
    assert quick.done()
    assert loop.time() - began < 3


async def test_a_cancelled_caller_cancels_its_own_call_and_no_other(
    pool: NamedPool, log: Path
) -> None:
    ours = asyncio.create_task(pool.ask("workshop", "count", {"word": "ours", "seconds": 60}))
    other = asyncio.create_task(pool.ask("workshop", "count", {"word": "other", "seconds": 1}))
    await until(lambda: {"ours", "other"} <= set(words(log)))
    ours.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ours
    await until(lambda: "cancelled" in words(log))
    assert (await other).text == "other"


async def test_a_deadline_cancels_the_call_at_the_server(pool: NamedPool, log: Path) -> None:
    before = words(log).count("cancelled")
    with pytest.raises(ToolFateUnknown, match="no answer in time"):
        await pool.ask("workshop", "count", {"word": "late", "seconds": 60}, deadline=0.2)
    await until(lambda: words(log).count("cancelled") > before)


async def test_a_changed_list_is_read_again(pool: NamedPool) -> None:
    await pool.ask("workshop", "grow", {"name": "annex"})
    await until(lambda: "annex" in {tool.name for tool in pool.tools(pool.named("workshop"))})
    annex = next(tool for tool in pool.tools(pool.named("workshop")) if tool.name == "annex")
    assert annex.description == "new here"
    assert (await pool.ask("workshop", "annex", {})).text == "I am annex"
