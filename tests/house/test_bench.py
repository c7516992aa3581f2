"""The benchmark's own parts: what it says is what was measured."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from bench.host import ROOT
from bench.picture import bars_picture
from bench.process import memory_of
from bench.proof.mutations import MUTATIONS
from bench.report import bars, text
from bench.results import Bar, Section, Table, quantile
from bench.server.http import Request, listening
from bench.server.loads import Loads
from bench.stage import token

BOT = 8_000_001


def test_a_promise_is_kept_on_its_own_side_of_the_limit() -> None:
    assert Bar("fast", 1.6, 1.5, "×", at_least=True).reached
    assert not Bar("fast", 1.4, 1.5, "×", at_least=True).reached
    assert Bar("small", 1.4, 1.5, "ms").reached
    assert not Bar("small", 1.6, 1.5, "ms").reached


def test_a_promise_that_is_not_kept_stands_out_in_the_table() -> None:
    section = Section("one", "how", bars=[Bar("small", 1.6, 1.5, "ms")])

    assert "| small | at most 1.5 ms | 1.60 ms | **no** |" in bars([section]).markdown()


def test_a_table_has_a_line_for_its_head_and_one_for_each_row() -> None:
    assert Table(["a", "b"], [["1", "2"]]).markdown() == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_the_p95_is_the_value_that_one_in_twenty_passes() -> None:
    assert quantile([float(n) for n in range(100)], 0.95) == 95.0
    assert quantile([7.0], 0.95) == 7.0


def test_the_picture_draws_each_contender_to_scale() -> None:
    picture = bars_picture({"msg/s": {"switchboard": 400.0, "a<b": 200.0}})

    bars_drawn = [one for one in ET.fromstring(picture) if one.tag.endswith("rect")]
    assert [one.get("class") for one in bars_drawn] == ["ours", "bar"]
    assert float(bars_drawn[0].get("width", 0)) == 2 * float(bars_drawn[1].get("width", 0))


def test_the_page_says_which_measure_of_memory_was_taken() -> None:
    assert memory_of(os.getpid()) > 10

    assert "Memory is the proportional share (Pss)." in text([], 0.0)


@pytest.fixture
async def loads() -> AsyncIterator[tuple[Loads, str]]:
    loads = Loads()

    def handle(request: Request) -> None:
        way = loads.telegram if request.path.startswith("/bot") else loads.messages
        way.handle(request)

    server, url = await listening(handle)
    yield loads, url
    server.close()


async def test_a_load_ends_when_every_message_has_its_answer(loads: tuple[Loads, str]) -> None:
    given, url = loads
    base = f"{url}/bot{token(BOT)}"
    async with aiohttp.ClientSession() as client:
        load = asyncio.create_task(given.burst({"bot": BOT, "chats": 3, "seconds": 5}))
        async with client.post(f"{base}/getUpdates", json={"timeout": 5}) as response:
            updates = (await response.json())["result"]
        for update in updates:
            assert not load.done()
            words = {"chat_id": update["message"]["chat"]["id"], "text": "hi"}
            async with client.post(f"{base}/sendMessage", json=words) as response:
                assert (await response.json())["ok"] is True
        found = await load

    assert len(updates) == len(found["latencies"]) == 3
    assert 0 < max(found["latencies"]) <= found["seconds"]


async def test_updates_come_again_until_an_offset_confirms_them(loads: tuple[Loads, str]) -> None:
    given, url = loads
    bot = given.telegram.bot(BOT)
    bot.push(1, "one")
    bot.push(1, "two")
    seen = []
    async with aiohttp.ClientSession() as client:
        for offset in (0, 0, 2, 3):
            words = {"offset": offset, "timeout": 0}
            async with client.post(f"{url}/bot{token(BOT)}/getUpdates", data=words) as response:
                seen.append([one["update_id"] for one in (await response.json())["result"]])

    assert seen == [[1, 2], [1, 2], [2], []]


async def test_an_answer_streams_21_events_at_once_or_at_the_given_pace(
    loads: tuple[Loads, str],
) -> None:
    given, url = loads
    answers = []
    async with aiohttp.ClientSession() as client:
        for pace in (0.0, 0.001):
            given.messages.pace = pace
            async with client.post(f"{url}/v1/messages", json={"messages": []}) as response:
                answers.append(await response.text())

    events = [json.loads(line[6:]) for line in answers[0].splitlines() if line[:6] == "data: "]
    assert len(events) == 21
    assert events[-1]["type"] == "message_stop"
    assert answers[0] == answers[1]


def test_each_mechanism_that_is_taken_out_is_in_its_file_once() -> None:
    found = {one.name: (ROOT / one.file).read_text().count(one.old) for one in MUTATIONS}
    assert {name: count for name, count in found.items() if count != 1} == {}
