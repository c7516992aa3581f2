from __future__ import annotations

from typing import Any

import pytest

from simulators.telegram.rooms import Room
from simulators.telegram.world import WorldError
from tests.simulators.telegram.conftest import Api, Refused


def group_of(api: Api, **how: Any) -> Room:
    return api.world.group("Team", [api.ann, api.bot], **how)


async def texts(api: Api, token: str | None = None) -> list[str]:
    found = await api.call("getUpdates", token=token or api.token)
    return [u["message"]["text"] for u in found if "text" in u.get("message", {})]


async def test_privacy_lets_only_what_speaks_to_the_bot_through(api: Api) -> None:
    group = group_of(api)
    answer = await api.call("sendMessage", chat_id=group.id, text="here I am")
    other = api.world.bot("7002:secret-of-another", "Second", "second_bot")
    api.world.join(group, other)
    for text in (
        "chatter",
        "/help",
        "/help@first_bot",
        "/help@second_bot",
        "hey @first_bot",
        "a/b",
    ):
        api.world.say(api.ann, group, text)
    api.world.say(api.ann, group, "a reply", reply_to=answer["message_id"])
    assert await texts(api) == ["/help", "/help@first_bot", "hey @first_bot", "a reply"]
    assert await texts(api, other.token) == ["/help@second_bot"]


async def test_without_privacy_or_as_an_administrator_a_bot_reads_all(api: Api) -> None:
    group = group_of(api)
    nosy = api.world.bot("7003:secret-of-nosy", "Nosy", "nosy_bot", privacy=False)
    api.world.join(group, nosy)
    api.world.join(group, api.bot, status="administrator")
    api.world.say(api.ann, group, "chatter")
    assert await texts(api) == ["chatter"]
    assert await texts(api, nosy.token) == ["chatter"]


async def test_bots_do_not_hear_bots(api: Api) -> None:
    group = group_of(api)
    nosy = api.world.bot("7003:secret-of-nosy", "Nosy", "nosy_bot", privacy=False)
    api.world.join(group, nosy)
    await api.updates()
    await api.call("sendMessage", chat_id=group.id, text="@nosy_bot hi")
    assert await texts(api, nosy.token) == []
    assert await texts(api) == []


async def test_a_private_chat_is_known_only_to_its_bot(api: Api) -> None:
    other = api.world.bot("7002:secret-of-another", "Second")
    with pytest.raises(Refused, match="Bad Request: chat not found"):
        await api.call("sendMessage", token=other.token, chat_id=api.ann.id, text="hi")
    api.world.say(api.ann, api.chat, "for the first")
    assert await texts(api, other.token) == []


async def test_a_bot_cannot_write_first(api: Api) -> None:
    bob = api.world.person("Bob")
    room = api.world.private(bob, api.bot, started=False)
    assert await api.refused("sendMessage", chat_id=bob.id, text="hi") == (
        "Forbidden: bot can't initiate conversation with a user"
    )
    api.world.say(bob, room, "/start")
    assert await api.call("sendMessage", chat_id=bob.id, text="hi")


async def test_a_bot_cannot_write_to_a_bot(api: Api) -> None:
    other = api.world.bot("7002:secret-of-another", "Second")
    assert await api.refused("sendMessage", chat_id=other.id, text="hi") == (
        "Forbidden: bots can't send messages to bots"
    )


async def test_a_block_and_its_end_are_told(api: Api) -> None:
    api.world.block(api.ann, api.bot)
    refused = await api.refused("sendChatAction", chat_id=api.ann.id, action="typing")
    assert refused == "Forbidden: bot was blocked by the user"
    api.world.say(api.ann, api.chat, "back again")
    assert await api.call("sendMessage", chat_id=api.ann.id, text="welcome")
    updates = await api.updates()
    statuses = [u["my_chat_member"]["new_chat_member"]["status"] for u in updates[:2]]
    assert statuses == ["kicked", "member"]


async def test_a_kicked_bot_and_one_that_left_are_refused_in_their_own_words(api: Api) -> None:
    group = group_of(api)
    api.world.leave(group, api.bot, status="kicked")
    refused = await api.refused("sendMessage", chat_id=group.id, text="hi")
    assert refused == "Forbidden: bot was kicked from the group chat"
    other = group_of(api, supergroup=True)
    api.world.leave(other, api.bot)
    refused = await api.refused("sendMessage", chat_id=other.id, text="hi")
    assert refused == "Forbidden: bot is not a member of the supergroup chat"


async def test_a_migrated_group_names_its_new_id_and_tells_both_rooms(api: Api) -> None:
    group = group_of(api)
    kept = api.world.migrate(group)
    with pytest.raises(Refused) as refusal:
        await api.call("sendMessage", chat_id=group.id, text="hi")
    assert refusal.value.words == "Bad Request: group chat was upgraded to a supergroup chat"
    assert refusal.value.parameters == {"migrate_to_chat_id": kept.id}
    told = [u["message"] for u in await api.updates()]
    assert told[0]["migrate_to_chat_id"] == kept.id
    assert told[1]["migrate_from_chat_id"] == group.id
    with pytest.raises(WorldError):
        api.world.say(api.ann, group, "too late")


async def test_a_reply_in_a_supergroup_carries_a_thread_id(api: Api) -> None:
    group = group_of(api, supergroup=True)
    said = api.world.say(api.ann, group, "@first_bot question")
    await api.call(
        "sendMessage", chat_id=group.id, text="answer", reply_parameters={"message_id": said.id}
    )
    reply = api.world.say(api.ann, group, "thanks", reply_to=said.id + 1)
    assert reply.body["message_thread_id"] == said.id
    assert "is_topic_message" not in reply.body


async def test_topics_separate_a_forum(api: Api) -> None:
    forum = group_of(api, forum=True)
    plans = api.world.topic(forum, "Plans", api.ann)
    said = api.world.say(api.ann, forum, "/go@first_bot", topic=plans)
    assert (said.body["message_thread_id"], said.body["is_topic_message"]) == (plans, True)
    sent = await api.call("sendMessage", chat_id=forum.id, text="x", message_thread_id=plans)
    assert sent["message_thread_id"] == plans
    general = await api.call("sendMessage", chat_id=forum.id, text="x")
    assert "message_thread_id" not in general
    refused = await api.refused("sendMessage", chat_id=forum.id, text="x", message_thread_id=1)
    assert refused == "Bad Request: message thread not found"


async def test_a_bot_with_topics_has_them_in_private(api: Api) -> None:
    bot = api.world.bot("7004:secret-of-topics", "Topics", topics=True)
    room = api.world.private(api.ann, bot)
    topic = api.world.topic(room, "Trip", api.ann)
    api.world.say(api.ann, room, "hi", topic=topic)
    found = await api.call("getUpdates", token=bot.token)
    assert found[1]["message"]["message_thread_id"] == topic


async def test_a_public_room_is_known_by_its_name(api: Api) -> None:
    group = group_of(api, supergroup=True, username="team_room")
    assert (await api.call("sendMessage", chat_id="@team_room", text="hi"))["chat"][
        "id"
    ] == group.id
    assert await api.refused("getChat", chat_id="@nowhere") == "Bad Request: chat not found"
    assert await api.refused("getChat") == "Bad Request: chat_id is empty"


async def test_a_channel_takes_posts_from_administrators_only(api: Api) -> None:
    channel = api.world.channel("News", api.ann, [api.bot])
    post = await api.call("sendMessage", chat_id=channel.id, text="news")
    assert post["sender_chat"]["id"] == channel.id
    assert "from" not in post
    api.world.join(channel, api.bot, status="member")
    assert await api.refused("sendMessage", chat_id=channel.id, text="x") == (
        "Bad Request: need administrator rights in the channel chat"
    )


async def test_persons_cannot_do_what_telegram_would_not_let_them(api: Api) -> None:
    group = group_of(api)
    bob = api.world.person("Bob")
    with pytest.raises(WorldError):
        api.world.say(bob, group, "not a member")
    sent = await api.call("sendMessage", chat_id=api.ann.id, text="mine")
    with pytest.raises(WorldError):
        api.world.edit(api.ann, api.chat, sent["message_id"], "not yours")
    with pytest.raises(WorldError):
        api.world.press_button(api.ann, api.chat, sent["message_id"], "no such button")
    with pytest.raises(WorldError):
        api.world.bot("no-token")
