from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.simulators.telegram.conftest import Refused

if TYPE_CHECKING:
    from tests.simulators.telegram.conftest import Api

BOUND = 5.0


async def waiting_poll(api: Api, **params: Any) -> asyncio.Task[Any]:
    """A long poll that the server is holding."""
    poll = asyncio.create_task(api.call("getUpdates", timeout=30, **params))
    await api.bot.updates.wait_until_polled()
    return poll


async def test_updates_come_in_order_with_rising_ids(api: Api) -> None:
    for word in ("one", "two", "three"):
        api.world.say(api.ann, api.chat, word)
    found = await api.call("getUpdates")
    assert [u["message"]["text"] for u in found] == ["one", "two", "three"]
    first = found[0]["update_id"]
    assert [u["update_id"] for u in found] == [first, first + 1, first + 2]


async def test_an_update_comes_again_until_its_offset_confirms_it(api: Api) -> None:
    api.world.say(api.ann, api.chat, "one")
    api.world.say(api.ann, api.chat, "two")
    first = (await api.call("getUpdates"))[0]["update_id"]
    assert len(await api.call("getUpdates")) == 2
    after = await api.call("getUpdates", offset=first + 1)
    assert [u["message"]["text"] for u in after] == ["two"]
    assert await api.call("getUpdates", offset=first + 2) == []


async def test_a_poll_with_an_old_offset_returns_what_is_left(api: Api) -> None:
    api.world.say(api.ann, api.chat, "one")
    api.world.say(api.ann, api.chat, "two")
    first = (await api.call("getUpdates"))[0]["update_id"]
    await api.call("getUpdates", offset=first + 1)
    assert len(await api.call("getUpdates", offset=first)) == 1


async def test_a_negative_offset_keeps_only_the_last_ones(api: Api) -> None:
    for number in range(5):
        api.world.say(api.ann, api.chat, str(number))
    assert [u["message"]["text"] for u in await api.call("getUpdates", offset=-2)] == ["3", "4"]
    assert len(await api.call("getUpdates")) == 2


async def test_a_limit_cuts_the_batch_and_is_moved_into_its_range(api: Api) -> None:
    for number in range(120):
        api.world.say(api.ann, api.chat, str(number))
    assert len(await api.call("getUpdates", limit=3)) == 3
    assert len(await api.call("getUpdates", limit=0)) == 1
    assert len(await api.call("getUpdates", limit=1000)) == 100


async def test_a_long_poll_wakes_at_once(api: Api) -> None:
    poll = await waiting_poll(api)
    api.world.say(api.ann, api.chat, "wake up")
    found = await asyncio.wait_for(poll, BOUND)
    assert found[0]["message"]["text"] == "wake up"


async def test_a_poll_without_timeout_returns_at_once(api: Api) -> None:
    assert await asyncio.wait_for(api.call("getUpdates"), BOUND) == []


async def test_a_second_poll_ends_the_older_one(api: Api) -> None:
    older = await waiting_poll(api)
    newer = asyncio.create_task(api.call("getUpdates", timeout=30))
    with pytest.raises(Refused) as refusal:
        await asyncio.wait_for(older, BOUND)
    assert refusal.value.status == 409
    assert refusal.value.words == (
        "Conflict: terminated by other getUpdates request; "
        "make sure that only one bot instance is running"
    )
    api.world.say(api.ann, api.chat, "for the newer")
    assert len(await asyncio.wait_for(newer, BOUND)) == 1


async def test_polling_while_a_webhook_is_set_is_a_conflict(api: Api) -> None:
    poll = await waiting_poll(api)
    await api.call("setWebhook", url="http://127.0.0.1:9/hook")
    with pytest.raises(Refused, match="terminated by setWebhook request"):
        await asyncio.wait_for(poll, BOUND)
    assert await api.refused("getUpdates") == (
        "Conflict: can't use getUpdates method while webhook is active; "
        "use deleteWebhook to delete the webhook first"
    )
    await api.call("deleteWebhook")
    assert await api.call("getUpdates") == []


async def test_allowed_updates_stick_and_filter_when_the_update_is_made(api: Api) -> None:
    await api.call("getUpdates", allowed_updates=["callback_query"])
    api.world.say(api.ann, api.chat, "unseen")
    assert await api.call("getUpdates") == []
    await api.call("getUpdates", allowed_updates=["message"])
    assert await api.call("getUpdates") == []
    api.world.say(api.ann, api.chat, "seen")
    assert len(await api.call("getUpdates")) == 1


async def test_reactions_come_only_to_those_who_ask(api: Api) -> None:
    said = await api.call("sendMessage", chat_id=api.ann.id, text="hi")
    api.world.react(api.ann, api.chat, said["message_id"], "👍")
    assert await api.call("getUpdates") == []
    await api.call("getUpdates", allowed_updates=["message_reaction"])
    api.world.react(api.ann, api.chat, said["message_id"], None)
    update = (await api.call("getUpdates"))[0]["message_reaction"]
    assert update["old_reaction"] == [{"type": "emoji", "emoji": "👍"}]
    assert update["new_reaction"] == []


async def test_an_empty_list_of_allowed_updates_means_the_default(api: Api) -> None:
    await api.call("getUpdates", allowed_updates=["callback_query"])
    await api.call("getUpdates", allowed_updates=[])
    api.world.say(api.ann, api.chat, "seen")
    assert len(await api.call("getUpdates")) == 1


async def test_updates_of_yesterday_are_gone(api: Api) -> None:
    api.world.say(api.ann, api.chat, "old")
    api.clock.now += 24 * 3600 + 1
    api.world.say(api.ann, api.chat, "new")
    assert [u["message"]["text"] for u in await api.call("getUpdates")] == ["new"]


async def test_a_hasty_poll_at_the_same_offset_gets_one_update(api: Api) -> None:
    api.world.slows_hasty_polls = True
    api.world.say(api.ann, api.chat, "one")
    api.world.say(api.ann, api.chat, "two")
    assert len(await api.call("getUpdates")) == 2
    assert len(await api.call("getUpdates")) == 1
    api.clock.now += 1
    assert len(await api.call("getUpdates")) == 2


async def test_a_revoked_token_ends_its_poll_and_every_call(api: Api) -> None:
    poll = await waiting_poll(api)
    fresh = api.world.revoke(api.bot)
    with pytest.raises(Refused) as refusal:
        await asyncio.wait_for(poll, BOUND)
    assert (refusal.value.status, refusal.value.words) == (401, "Unauthorized")
    assert await api.refused("getMe") == "Unauthorized"
    assert (await api.call("getMe", token=fresh))["id"] == api.bot.id


async def test_an_unknown_token_is_unauthorized_and_a_malformed_one_not_found(api: Api) -> None:
    with pytest.raises(Refused) as refusal:
        await api.call("getMe", token="7002:nobody-has-this")
    assert (refusal.value.status, refusal.value.words) == (401, "Unauthorized")
    with pytest.raises(Refused) as refusal:
        await api.call("getMe", token="nonsense")
    assert (refusal.value.status, refusal.value.words) == (404, "Not Found")


async def test_an_unknown_method_is_not_found(api: Api) -> None:
    with pytest.raises(Refused) as refusal:
        await api.call("sendTelepathy")
    assert (refusal.value.status, refusal.value.words) == (404, "Not Found")


async def test_method_names_ignore_case(api: Api) -> None:
    assert (await api.call("GETME"))["username"] == "first_bot"


@pytest.mark.parametrize("way", ["query", "form", "multipart", "json"])
async def test_parameters_come_by_query_form_multipart_and_json(api: Api, way: str) -> None:
    url = f"{api.url}/bot{api.token}/sendMessage"
    params = {"chat_id": str(api.ann.id), "text": f"by {way} & more"}
    how: dict[str, Any] = {"query": {"params": params}, "json": {"json": params}}.get(way, {})
    if way == "form":
        how = {"data": params}
    if way == "multipart":
        with aiohttp.MultipartWriter("form-data") as parts:
            for name, value in params.items():
                parts.append(value).set_content_disposition("form-data", name=name)
        how = {"data": parts}
    async with api.http.request("GET" if way == "query" else "POST", url, **how) as response:
        assert (await response.json())["result"]["text"] == f"by {way} & more"


async def test_a_hundred_bots_poll_side_by_side(api: Api) -> None:
    bots = [api.world.bot(f"{8000 + n}:secret", f"Bot {n}") for n in range(100)]
    polls = [asyncio.create_task(api.call("getUpdates", token=b.token, timeout=30)) for b in bots]
    for bot in bots:
        await bot.updates.wait_until_polled()
    for bot in bots:
        api.world.say(api.ann, api.world.private(api.ann, bot), f"for {bot.id}")
    found = await asyncio.wait_for(asyncio.gather(*polls), BOUND)
    assert [f[0]["message"]["text"] for f in found] == [f"for {b.id}" for b in bots]
