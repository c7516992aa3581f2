from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from simulators.telegram.faults import Fault
from simulators.telegram.flood import Budget
from tests.simulators.telegram.conftest import Api, Refused


async def send(api: Api, text: str = "x") -> None:
    await api.call("sendMessage", chat_id=api.ann.id, text=text)


async def test_a_dropped_call_is_not_done_and_a_lost_one_is(api: Api) -> None:
    api.world.faults.add(Fault("drop", "sendMessage"))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send(api, "dropped")
    assert not api.chat.messages
    api.world.faults.add(Fault("lose", "send*"))
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await send(api, "lost")
    assert [m.text for m in api.chat.messages.values()] == ["lost"]
    await send(api, "fine")


async def test_an_answer_fault_has_its_words_and_parameters(api: Api) -> None:
    fault = Fault("answer", status=429, description="Too Many Requests: retry after 3")
    fault.parameters = {"retry_after": 3}
    api.world.faults.add(fault)
    with pytest.raises(Refused) as refusal:
        await send(api)
    assert (refusal.value.status, refusal.value.parameters) == (429, {"retry_after": 3})
    assert refusal.value.headers["Retry-After"] == "3"


async def test_a_proxys_page_is_no_json(api: Api) -> None:
    api.world.faults.add(Fault("html", "getMe"))
    async with api.http.get(f"{api.url}/bot{api.token}/getMe") as response:
        assert response.status == 502
        assert response.content_type == "text/html"
        assert "502 Bad Gateway" in await response.text()


async def test_a_fault_may_be_for_calls_that_have_a_parameter_or_say_something(api: Api) -> None:
    api.world.faults.add(Fault("answer", "sendMessage", has="reply_markup"))
    api.world.faults.add(Fault("answer", "sendMessage", says="poison"))
    await send(api, "fine")
    with pytest.raises(Refused):
        await send(api, "a little poison")
    markup = {"inline_keyboard": [[{"text": "a", "callback_data": "b"}]]}
    with pytest.raises(Refused):
        await api.call("sendMessage", chat_id=api.ann.id, text="x", reply_markup=markup)
    assert not api.world.faults.open


async def test_a_fault_counts_skips_and_knows_its_bot(api: Api) -> None:
    other = api.world.bot("7002:secret-of-another", "Second")
    api.world.faults.add(Fault("answer", "getMe", bot=api.bot.id, times=2, skip=1))
    assert await api.call("getMe", token=other.token)
    assert await api.call("getMe")
    assert await api.refused("getMe") == "Internal Server Error"
    assert await api.refused("getMe") == "Internal Server Error"
    assert await api.call("getMe")
    assert not api.world.faults.open


async def test_a_delay_lets_the_call_through_later(api: Api) -> None:
    api.world.faults.add(Fault("delay", "getMe", seconds=0.05))
    began = time.monotonic()
    assert await api.call("getMe")
    assert time.monotonic() - began >= 0.05


async def test_every_kind_of_call_to_a_chat_spends_one_budget(api: Api) -> None:
    api.world.flood.private = Budget(2, 60, penalty=30)
    await send(api)
    await api.call("sendChatAction", chat_id=api.ann.id, action="typing")
    with pytest.raises(Refused) as refusal:
        await api.call("editMessageText", chat_id=api.ann.id, message_id=1, text="y")
    assert refusal.value.words == "Too Many Requests: retry after 30"
    assert refusal.value.parameters == {"retry_after": 30}
    assert refusal.value.headers["Retry-After"] == "30"
    assert await api.call("getMe")
    api.clock.now += 61
    await send(api)


async def test_a_call_inside_the_freeze_can_make_it_longer(api: Api) -> None:
    api.world.flood.private = Budget(1, 1, penalty=10, escalate=2)
    await send(api)
    assert "retry after 10" in await api.refused("sendMessage", chat_id=api.ann.id, text="x")
    assert "retry after 20" in await api.refused("sendMessage", chat_id=api.ann.id, text="x")


async def test_budgets_of_groups_and_bots_are_their_own(api: Api) -> None:
    group = api.world.group("Team", [api.ann, api.bot])
    api.world.flood.group = Budget(1, 60, penalty=5)
    api.world.flood.bot = Budget(3, 60, penalty=9)
    await api.call("sendMessage", chat_id=group.id, text="x")
    assert "retry after 5" in await api.refused("sendMessage", chat_id=group.id, text="x")
    await send(api)
    await send(api)
    assert "retry after 9" in await api.refused("sendMessage", chat_id=api.ann.id, text="x")


async def test_concurrent_calls_to_a_budget_let_exactly_so_many_through(api: Api) -> None:
    api.world.flood.private = Budget(5, 60, penalty=5)
    results = await asyncio.gather(*(send(api) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(r, Refused) for r in results) == 15
    assert len(api.chat.messages) == 5
