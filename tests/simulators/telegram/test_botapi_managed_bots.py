"""Managed bots: a button asks for one, an update tells of it, and its manager has its token."""

from __future__ import annotations

from typing import Any

import pytest
from aiogram import types

from simulators.telegram.world import WorldError
from tests.simulators.telegram.conftest import TOKEN, Api

ASK = {"request_id": 1, "suggested_name": "Poet", "suggested_username": "the_poet_bot"}


def keyboard(**wanted: Any) -> dict[str, Any]:
    return {"keyboard": [[{"text": "Create", "request_managed_bot": {**ASK, **wanted}}]]}


async def offered(api: Api, **wanted: Any) -> None:
    api.world.bot(TOKEN, "First", "first_bot", manages=True)
    await api.call("sendMessage", chat_id=api.ann.id, text="x", reply_markup=keyboard(**wanted))


async def test_a_person_creates_a_bot_whose_manager_gets_its_token_and_no_other(api: Api) -> None:
    assert not (await api.call("getMe"))["can_manage_bots"]
    await offered(api)
    assert (await api.call("getMe"))["can_manage_bots"]
    made = api.world.create_bot(api.ann, api.chat, "Create")
    assert (made.name, made.username) == ("Poet", "the_poet_bot")
    told, said = [types.Update.model_validate(one) for one in await api.updates()]
    assert told.managed_bot is not None
    assert (told.managed_bot.user.id, told.managed_bot.bot_user.id) == (api.ann.id, made.id)
    assert said.message is not None
    assert said.message.managed_bot_created is not None
    token = await api.call("getManagedBotToken", user_id=made.id)
    assert (await api.call("getMe", token=token))["username"] == "the_poet_bot"
    fresh = await api.call("replaceManagedBotToken", user_id=made.id)
    assert fresh != token
    assert await api.refused("getMe", token=token) == "Unauthorized"
    other = api.world.bot("7002:secret-of-another", "Second")
    for id, words in ((made.id, "BOT_ACCESS_FORBIDDEN"), (99, "user not found"), (0, "user_id")):
        assert words in await api.refused("getManagedBotToken", token=other.token, user_id=id)


async def test_the_button_is_refused_where_the_service_would_not_show_it(api: Api) -> None:
    refused = await api.refused(
        "sendMessage", chat_id=api.ann.id, text="x", reply_markup=keyboard()
    )
    assert refused == "Bad Request: BUTTON_TYPE_INVALID"
    await offered(api)
    group = api.world.group("Team", [api.ann, api.bot])
    for chat, wanted in ((group.id, {}), (api.ann.id, {"request_id": 2**31})):
        markup = keyboard(**wanted)
        assert await api.refused("sendMessage", chat_id=chat, text="x", reply_markup=markup)
    with pytest.raises(WorldError, match="no button"):
        api.world.create_bot(api.ann, api.chat, "Else")
    with pytest.raises(WorldError, match="ends in bot"):
        api.world.create_bot(api.ann, api.chat, "Create", username="poet")
    api.world.create_bot(api.ann, api.chat, "Create", name="Poet")
    with pytest.raises(WorldError, match="occupied"):
        api.world.create_bot(api.ann, api.chat, "Create")


async def test_a_bot_sets_what_people_see_of_it(api: Api) -> None:
    for method, field in (
        ("Name", "name"),
        ("Description", "description"),
        ("ShortDescription", "short_description"),
    ):
        assert await api.call(f"setMy{method}", **{field: "Something new"})
        assert await api.call(f"getMy{method}") == {field: "Something new"}
        assert "too long" in await api.refused(f"setMy{method}", **{field: "x" * 513})
    assert (await api.call("getMe"))["first_name"] == "Something new"
    assert "non-empty" in await api.refused("setMyName", name=" ")
    photo = {"type": "static", "photo": "attach://file"}
    assert "new file" in await api.refused("setMyProfilePhoto", photo=photo)
    assert "type" in await api.refused("setMyProfilePhoto", photo={"type": "moving"})
