from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.simulators.telegram.conftest import Api

LINK = {"type": "text_link", "offset": 0, "length": 4, "url": "https://a.example/x"}
OFF = {"is_disabled": True}


def fetched(api: Api) -> list[str]:
    return [record.url for record in api.world.fetches]


@pytest.mark.parametrize(
    ("text", "more", "url"),
    [
        ("see https://b.example/y?z=1, please", {}, "https://b.example/y?z=1"),
        ("see b.example.com/y", {}, "http://b.example.com/y"),
        ("see example.com", {}, "http://example.com/"),
        ("here and https://b.example", {"entities": [LINK]}, "https://a.example/x"),
        ("[x](https://c.example)", {"parse_mode": "MarkdownV2"}, "https://c.example/"),
        (
            "see https://b.example/",
            {"link_preview_options": {"show_above_text": True}},
            "https://b.example/",
        ),
        ("none", {"link_preview_options": {"url": "https://d.example/"}}, "https://d.example/"),
    ],
)
async def test_the_first_link_of_a_message_is_fetched_or_the_one_that_is_named(
    api: Api, text: str, more: dict[str, Any], url: str
) -> None:
    message = await api.call("sendMessage", chat_id=api.ann.id, text=text, **more)
    (record,) = api.world.fetches
    assert record.url == url
    assert (record.bot, record.room, record.message) == (
        api.bot.id,
        api.chat.key,
        message["message_id"],
    )
    assert message.get("link_preview_options", {}) == more.get("link_preview_options", {})
    async with api.http.get(f"{api.url}/control/previews?bot={api.bot.id}") as response:
        assert await response.json() == [record.show()]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("see https://b.example/y", {"link_preview_options": OFF}),
        ("see https://b.example/y", {"link_preview_options": OFF | {"url": "https://d.example/"}}),
        ("see https://b.example/y", {"disable_web_page_preview": True}),
        ("`https://b.example/y`", {"parse_mode": "MarkdownV2"}),
        ("to ann@b.example or @ann, tg://user?id=1", {}),
        ("no link", {}),
    ],
)
async def test_nothing_is_fetched_where_it_is_disabled_or_no_link_is_there(
    api: Api, text: str, more: dict[str, Any]
) -> None:
    await api.call("sendMessage", chat_id=api.ann.id, text=text, **more)
    await api.call("sendMessageDraft", chat_id=api.ann.id, draft_id=1, text="https://b.example")
    assert fetched(api) == []


async def test_an_edit_that_says_nothing_of_previews_has_the_link_fetched_after_all(
    api: Api,
) -> None:
    sent = await api.call("sendMessage", chat_id=api.ann.id, text="a.com", link_preview_options=OFF)
    assert sent["link_preview_options"] == OFF
    place = {"chat_id": api.ann.id, "message_id": sent["message_id"]}
    edited = await api.call("editMessageText", **place, text="b.com", link_preview_options=OFF)
    assert edited["link_preview_options"] == OFF
    assert fetched(api) == []
    assert "link_preview_options" not in await api.call("editMessageText", **place, text="c.com")
    assert fetched(api) == ["http://c.com/"]


@pytest.mark.parametrize("options", ["{", [1], {"is_disabled": "yes"}, {"url": 1}])
async def test_options_that_are_none_are_refused(api: Api, options: Any) -> None:
    words = await api.refused(
        "sendMessage", chat_id=api.ann.id, text="a.com", link_preview_options=options
    )
    assert words.startswith("Bad Request: can't parse")
    assert fetched(api) == []
