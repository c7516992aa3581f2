"""What the two client libraries would not even send: wrong shapes, over bare HTTP."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulators.telegram import richblocks
from simulators.telegram.actions import ACTIONS
from simulators.telegram.methods.table import METHODS
from simulators.telegram.persistence import persist
from simulators.telegram.rooms import Room
from simulators.telegram.world import World
from tests.simulators.telegram.conftest import Api

BOUND = 5.0
PAGE = Path(__file__).parents[3] / "docs/simulators.md"

ALBUMS: dict[str, tuple[Any, str]] = {
    "none": (None, 'parameter "media" is required'),
    "no json": ("[", "can't parse media JSON object"),
    "no list": ({}, "expected an Array of InputMedia"),
    "nothing": ([], "there are no messages to send"),
    "no object": (["x"], "can't parse InputMedia: expected an Object"),
    "no type": ([{"media": "x"}], "can't parse InputMedia: Can't find field \"type\""),
    "no media": ([{"type": "photo"}], "can't parse InputMedia: media not found"),
    "an animation": (
        [{"type": "animation", "media": "x"}],
        "can't parse InputMedia: type \"animation\" can't be used in sendMediaGroup",
    ),
    "a wish": (
        [{"type": "wish", "media": "x"}],
        'can\'t parse InputMedia: type "wish" is unsupported',
    ),
}


@pytest.mark.parametrize("what", ALBUMS)
async def test_a_wrong_album_is_refused(api: Api, what: str) -> None:
    media, words = ALBUMS[what]
    said = await api.refused("sendMediaGroup", chat_id=api.ann.id, media=media)
    assert said == f"Bad Request: {words}"
    assert not api.chat.messages


RICH: dict[str, tuple[Any, str]] = {
    "none": (None, "rich message is empty"),
    "a text": ('"x"', "rich message must be an Object"),
    "no form": ({}, "message text is empty"),
    "no text": ({"html": 5}, 'can\'t parse InputRichMessage: Field "html" must be of type String'),
    "no blocks": (
        {"blocks": "x"},
        'can\'t parse InputRichMessage: Field "blocks" must be of type Array',
    ),
    "no block": ({"blocks": [1]}, "can't parse InputRichMessage: expected an Object"),
    "a wish": (
        {"blocks": [{"type": "wish"}]},
        'can\'t parse InputRichMessage: block type "wish" is unsupported',
    ),
    "half a block": (
        {"blocks": [{"type": "heading", "text": "x"}]},
        "can't parse InputRichMessage: Can't find field \"size\"",
    ),
    "an open tag": (
        {"html": "<p>x"},
        "can't parse entities: Can't find end tag corresponding to start tag \"p\"",
    ),
    "a stray tag": ({"html": "é</p>"}, "can't parse entities: Unexpected end tag at byte offset 2"),
    "a crossed tag on line two": (
        {"html": "<p>\né<b>x</p></b>"},
        'can\'t parse entities: Unmatched end tag at byte offset 10, expected "</b>", found "</p>"',
    ),
}


@pytest.mark.parametrize("what", RICH)
async def test_a_wrong_rich_message_is_refused(api: Api, what: str) -> None:
    given, words = RICH[what]
    said = await api.refused("sendRichMessage", chat_id=api.ann.id, rich_message=given)
    assert said == f"Bad Request: {words}"


def test_rich_html_has_every_block() -> None:
    blocks = richblocks.from_html(
        "loose <mark>words</mark><ul><li>a<ul><li>b</li></ul></li></ul>"
        "<ol start='4'><li><p>c</p></li></ol><blockquote expandable>long</blockquote>"
        "<blockquote><p>q</p></blockquote><details open><summary>S</summary>in</details>"
        "<aside>pull</aside><footer>end</footer><p>1<br>2 <tg-math>x^2</tg-math></p>"
        "<table><tr><th align='center'>h</th></tr></table>"
    )
    assert [b["type"] for b in blocks] == [
        "paragraph",
        "list",
        "list",
        "expandable_blockquote",
        "blockquote",
        "details",
        "pullquote",
        "footer",
        "paragraph",
        "table",
    ]
    assert blocks[0]["text"] == ["loose ", {"type": "marked", "text": "words"}]
    assert blocks[1]["items"][0]["blocks"][1]["items"][0]["label"] == "•"
    assert (blocks[2]["items"][0]["label"], blocks[2]["items"][0]["value"]) == ("4.", 4)
    assert blocks[5]["is_open"]
    assert richblocks.plain(blocks[5]) == "Sin\n"
    assert blocks[9]["cells"] == [
        [{"align": "center", "valign": "top", "text": "h", "is_header": True}]
    ]


def test_the_page_on_the_simulators_names_every_method_and_act() -> None:
    words = set(re.findall(r"`([A-Za-z-]+)`", PAGE.read_text()))
    assert {method.name for method in METHODS.values()} <= words
    assert set(ACTIONS) <= words


async def test_a_poll_whose_client_has_gone_ends(api: Api) -> None:
    async with aiohttp.ClientSession() as other:
        url = f"{api.url}/bot{api.token}/getUpdates"
        poll = asyncio.create_task(other.post(url, json={"timeout": 50}))
        await api.bot.updates.wait_until_polled()
        poll.cancel()
        await asyncio.gather(poll, return_exceptions=True)
        with api.world.events.listen() as listener:
            while api.bot.updates.polled:
                await asyncio.wait_for(anext(listener), BOUND)
    (record,) = api.world.calls.of(method="getUpdates")
    assert record.answer == {"ok": True, "result": []}
    api.world.say(api.ann, api.chat, "not lost")
    assert [u["message"]["text"] for u in await api.call("getUpdates")] == ["not lost"]


async def test_new_tokens_a_minute_are_counted_over_the_control_api(api: Api) -> None:
    await api.control("newcomers", most=2)
    for number in (1, 2, 3):
        api.world.bot(f"800{number}:secret", f"Bot {number}")
    for number in (1, 2, 1):
        await api.call("getMe", token=f"800{number}:secret")
    third = {"token": "8003:secret"}
    assert await api.refused("getMe", **third) == "Too Many Requests: retry after 61"
    api.clock.now += 60
    await api.call("getMe", **third)
    await api.control("newcomers")
    await api.call("getMe")


async def test_pins_and_closed_topics_are_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "world.jsonl"
    world = World()
    persist(world, path)
    ann = world.person("Ann")
    forum = world.group("Forum", [ann], forum=True)
    number = world.topic(forum, "Plans", ann)
    said = world.say(ann, forum, "keep this", topic=number)
    lost = world.say(ann, forum, "and not this", topic=number)
    for message in (said, lost):
        world.topics.pin(forum, message, ann)
    world.messages.remove(forum, lost)
    world.topics.set_closed(forum, number, ann, closed=True)
    world.close()
    again = World()
    persist(again, path)
    room: Room = again.rooms.by_key[forum.key]
    assert (room.pinned, room.closed) == ([said.id], {number})
    again.close()
