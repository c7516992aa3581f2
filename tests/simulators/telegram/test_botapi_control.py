from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.sandbox.elsewhere import ELSEWHERE

if TYPE_CHECKING:
    from tests.simulators.telegram.conftest import Api

BOUND = 5.0


async def test_another_process_can_build_a_world_and_talk_in_it(api: Api) -> None:
    bot = await api.control("bot", token="7100:made-by-control", name="Made", username="made_bot")
    person = await api.control("person", name="Eve")
    room = await api.control("private", person=person["id"], bot=bot["id"])
    place = {"person": person["id"], "room": room["key"]}
    said = await api.control("say", **place, text="/start")
    assert said["message"]["entities"][0]["type"] == "bot_command"
    keyboard = {"inline_keyboard": [[{"text": "Go", "callback_data": "go"}]]}
    sent = await api.call(
        "sendMessage", token="7100:made-by-control", chat_id=person["id"], text="ready?",
        reply_markup=keyboard,
    )  # fmt: skip
    found = await api.control("wait", room=room["key"], text="ready", timeout=1)
    assert found["message"]["message_id"] == sent["message_id"]
    pressed = await api.control("press", **place, message=sent["message_id"], button="Go")
    await api.call(
        "answerCallbackQuery", token="7100:made-by-control", callback_query_id=pressed["query"],
        text="going",
    )  # fmt: skip
    answer = await api.control("pressed", query=pressed["query"])
    assert answer["answer"] == {"text": "going", "show_alert": False}


async def test_a_document_comes_in_base64(api: Api) -> None:
    data = base64.b64encode(b"\x00\x01 bytes").decode()
    await api.control(
        "attach", person=api.ann.id, room=api.chat.key, data=data, name="b.bin", caption="look"
    )
    message = (await api.updates())[0]["message"]
    stored = await api.call("getFile", file_id=message["document"]["file_id"])
    url = f"{api.url}/file/bot{api.token}/{stored['file_path']}"
    async with api.http.get(url) as response:
        assert await response.read() == b"\x00\x01 bytes"
    async with api.http.get(f"{url}x") as response:
        assert response.status == 404


async def test_the_state_shows_rooms_and_hides_tokens(api: Api) -> None:
    await api.call("sendMessageDraft", chat_id=api.ann.id, draft_id=3, text="…")
    await api.call("sendChatAction", chat_id=api.ann.id, action="typing")
    async with api.http.get(f"{api.url}/control/state") as response:
        text = await response.text()
    assert "secret-of-the-first" not in text
    room = orjson.loads(text)["rooms"][0]
    assert room["key"] == api.chat.key
    assert room["drafts"][0]["draft_id"] == 3
    assert room["typing"] == [{"bot": api.bot.id, "action": "typing"}]


async def test_calls_updates_and_messages_can_be_listed(api: Api) -> None:
    api.world.say(api.ann, api.chat, "hello")
    await api.call("getUpdates")

    async def listed(path: str) -> Any:
        async with api.http.get(f"{api.url}/control/{path}") as response:
            return await response.json()

    calls = await listed(f"calls?bot={api.bot.id}&method=getUpdates")
    assert calls[0]["answer"]["result"][0]["message"]["text"] == "hello"
    updates = await listed(f"updates?bot={api.bot.id}")
    assert updates[0]["message"]["text"] == "hello"
    messages = await listed(f"messages?room={api.chat.key}")
    assert messages[0]["message"]["text"] == "hello"


@pytest.mark.parametrize(
    ("act", "order", "words"),
    [
        ("say", {"room": "x", "person": 1}, "field 'person': no such person"),
        ("say", {"person": "x"}, "field 'person' must be of type int"),
        ("bot", {}, "field 'token' of type str is missing"),
        ("bot", {"token": "short"}, "a bot's token looks like"),
        ("fault", {"kind": "gremlin"}, "field 'kind' must be one of"),
        ("fault", {"kind": "drop", "seconds": "x"}, "field 'seconds' must be a number"),
        ("flood", {"private": [1]}, "field 'private' is [calls, seconds"),
    ],
)
async def test_a_wrong_order_is_told_what_is_wrong(
    api: Api, act: str, order: dict[str, Any], words: str
) -> None:
    async with api.http.post(f"{api.url}/control/{act}", json=order) as response:
        assert response.status == 400
        assert words in (await response.json())["error"]


async def test_faults_and_budgets_can_be_ordered(api: Api) -> None:
    await api.control("fault", kind="answer", method="getMe", status=500, times=1)
    assert await api.refused("getMe") == "Internal Server Error"
    await api.control("flood", private=[1, 60, 4])
    await api.call("sendMessage", chat_id=api.ann.id, text="x")
    assert "retry after 4" in await api.refused("sendMessage", chat_id=api.ann.id, text="x")
    await api.control("flood")
    await api.call("sendMessage", chat_id=api.ann.id, text="x")


async def test_all_other_acts_work(api: Api) -> None:
    ann, bot = api.ann.id, api.bot.id
    group = await api.control("group", title="Team", members=[ann, bot], forum=True)
    topic = await api.control("topic", room=group["key"], name="Plans", person=ann)
    said = await api.control("say", person=ann, room=group["key"], text="hi", topic=topic["topic"])
    number = said["message"]["message_id"]
    await api.control("edit", person=ann, room=group["key"], message=number, text="ho")
    await api.control("react", person=ann, room=group["key"], message=number, emoji="👍")
    await api.control("send", person=ann, room=group["key"], content={"dice": {"emoji": "🎲"}})
    await api.control("leave", room=group["key"], party=bot)
    await api.control("join", room=group["key"], party=bot, status="administrator")
    await api.control("channel", title="News", owner=ann, bots=[bot])
    small = await api.control("group", title="Small", members=[ann, bot])
    moved = await api.control("migrate", room=small["key"])
    assert moved["chat"]["type"] == "supergroup"
    await api.control("block", person=ann, bot=bot)
    await api.control("unblock", person=ann, bot=bot)
    await api.call("sendMessageDraft", chat_id=ann, draft_id=1, text="…", can_stop=True)
    await api.control("stop", person=ann, room=api.chat.key)
    await api.control("freeze", bot=bot, chat=ann, seconds=3)
    await api.control("faults-clear")
    await api.control("pace", on=False)
    fresh = await api.control("revoke", bot=bot)
    assert (await api.call("getMe", token=fresh["token"]))["id"] == bot


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_requests_from_elsewhere_are_refused(api: Api, headers: dict[str, str]) -> None:
    async with api.http.get(f"{api.url}/control/state", headers=headers) as response:
        assert response.status == 403
    order = {"name": "Eve"}
    async with api.http.post(f"{api.url}/control/person", json=order, headers=headers) as response:
        assert response.status == 403


async def test_the_page_itself_may_ask_and_a_body_must_be_json(api: Api) -> None:
    async with api.http.get(f"{api.url}/control/state", headers={"Origin": api.url}) as response:
        assert response.status == 200
    async with api.http.post(
        f"{api.url}/control/person", data=b'{"name":"Eve"}', headers={"Content-Type": "text/plain"}
    ) as response:
        assert response.status == 400
    assert [p.name for p in api.world.members.persons.values()] == ["Ann"]


async def test_events_are_streamed_as_they_happen(api: Api) -> None:
    async with api.http.get(f"{api.url}/control/events") as response:
        assert response.content_type == "text/event-stream"
        assert (await response.content.readuntil(b"\n\n")).startswith(b":")
        api.world.say(api.ann, api.chat, "hello")
        await api.call("sendChatAction", chat_id=api.ann.id, action="typing")
        kinds: list[str] = []
        async with asyncio.timeout(BOUND):
            while len(kinds) < 4:
                event, data, _ = (await response.content.readuntil(b"\n\n")).split(b"\n", 2)
                kinds.append(event.removeprefix(b"event: ").decode())
                assert orjson.loads(data.removeprefix(b"data: "))["data"]
    assert kinds == ["message", "update", "typing", "call"]


async def test_a_listener_hears_what_happens_after_it_was_opened(api: Api) -> None:
    api.world.say(api.ann, api.chat, "before")
    with api.world.events.listen() as listener:
        api.world.say(api.ann, api.chat, "after")
        heard = await asyncio.wait_for(anext(listener), BOUND)
    assert (heard.kind, heard.chat) == ("message", api.chat.key)
    assert heard.data["message"]["text"] == "after"
    assert not api.world.events.has_listeners


async def test_a_condition_is_looked_at_after_each_happening(api: Api) -> None:
    waiting = asyncio.create_task(api.world.until(lambda: len(api.chat.messages) == 2))
    await asyncio.sleep(0)
    api.world.say(api.ann, api.chat, "one")
    api.world.say(api.ann, api.chat, "two")
    await asyncio.wait_for(waiting, BOUND)
    with pytest.raises(TimeoutError):
        await api.world.until(lambda: False, 0.01)
