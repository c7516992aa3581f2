"""Inbox, outbox and dead letters on a real server, with answers that get lost."""

from __future__ import annotations

import orjson

from bot.hosting.fleet import Notifications
from bot.hosting.leases import HostIdentity, Leases
from bot.messages import Fence, OutgoingPart, TurnRef
from bot.ops.tasks import SystemClock
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.inbox import DeadLetters, Update, UpdateInbox
from bot.store.outbox import Outbox
from tests.store.engines import Engine
from tests.store.forgetful import Forgetful

LINE = "bot:1"


async def owned(client: StoreClient) -> Fence:
    fence = await Leases(client, HostIdentity.new("a", ""), SystemClock()).acquire(
        LINE, lambda: None
    )
    assert fence is not None
    return fence


def update(number: int, name: str = "") -> Update:
    return Update(number, b'{"update_id":%d}' % number, name)


def said(text: str) -> OutgoingPart:
    return OutgoingPart(5, "message", {"text": text})


async def test_lower_update_ids_after_a_quiet_week_are_accepted(client: StoreClient) -> None:
    inbox = UpdateInbox(client)
    for numbers in ((900, 901), (12, 13), (13, 901)):
        await inbox.accept(LINE, [update(number) for number in numbers])
    found = await inbox.pending(LINE)
    assert [entry.update for entry in found] == [900, 901, 12, 13]


async def test_a_press_under_two_update_ids_is_accepted_once(client: StoreClient) -> None:
    inbox = UpdateInbox(client)
    await inbox.accept(LINE, [update(1, "press:77")])
    assert (await inbox.accept(LINE, [update(2, "press:77")])).entries == []


async def test_what_is_accepted_names_the_entry_before_it(client: StoreClient) -> None:
    inbox = UpdateInbox(client)
    first = await inbox.accept(LINE, [update(1)])
    second = await inbox.accept(LINE, [update(2), update(3)])
    assert first.before == "0-0"
    assert second.before == first.entries[-1].id
    again = await inbox.accept(LINE, [update(3)])
    assert again.before == second.entries[-1].id


async def test_a_notice_whose_answer_was_lost_is_posted_once_and_known(engine: Engine) -> None:
    client = Forgetful(engine)
    outbox = Outbox(client)
    client.lost = 1
    posted = await outbox.post(LINE, "key", [said("one"), said("two")])
    unsent = await outbox.unsent(LINE)
    assert [part.id for part in posted] == [part.id for part in unsent]
    assert len(unsent) == 2
    await client.close()


async def test_what_others_append_stirs_the_line_and_what_its_owner_accepts_does_not(
    client: StoreClient,
) -> None:
    fence, inbox, notifications = (
        await owned(client),
        UpdateInbox(client),
        Notifications(client, SystemClock()),
    )
    assert await notifications.changed_lines() == set()
    await inbox.accept(LINE, [update(1)], fence)
    assert await notifications.changed_lines() == set()
    await inbox.accept(LINE, [update(2)])
    assert await notifications.changed_lines() == {LINE}
    assert await notifications.changed_lines() == set()
    await Outbox(client).post("bot:2", "k", [said("hi")])
    assert await notifications.changed_lines() == {"bot:2"}
    await inbox.accept(LINE, [update(2)])
    assert await notifications.changed_lines() == set()


async def test_a_former_owner_who_stores_what_it_had_fetched_stirs_the_line(
    client: StoreClient,
) -> None:
    former, inbox = await owned(client), UpdateInbox(client)
    await client.command("DEL", keys.lease(LINE))
    await owned(client)
    notifications = Notifications(client, SystemClock())
    await notifications.changed_lines()
    await inbox.accept(LINE, [update(1)], former)
    assert await notifications.changed_lines() == {LINE}


async def test_a_store_that_was_emptied_does_not_deafen_the_sweep(client: StoreClient) -> None:
    inbox, notifications = (
        UpdateInbox(client),
        Notifications(client, SystemClock()),
    )
    for number in range(5):
        await inbox.accept(LINE, [update(number)])
    await notifications.changed_lines()
    await client.command("FLUSHALL")
    await inbox.accept(LINE, [update(9)])
    assert await notifications.changed_lines() == {LINE}


async def test_settling_an_entry_closes_the_turn_that_is_open_for_it(client: StoreClient) -> None:
    fence, inbox = await owned(client), UpdateInbox(client)
    (entry,) = (await inbox.accept(LINE, [update(1)])).entries
    open_turn = keys.open_turn(LINE, "5")
    await client.command("HSET", open_turn, "entry", entry.id)
    await inbox.settle(fence, [entry.id], [said("no agent")], "5")
    assert await client.command("EXISTS", open_turn) == 0
    await client.command("HSET", open_turn, "entry", "of another")
    (other,) = (await inbox.accept(LINE, [update(2)])).entries
    await inbox.settle(fence, [other.id], [], "5")
    assert await client.command("EXISTS", open_turn) == 1


async def test_a_buried_entry_is_listed_with_why_and_can_be_replayed_or_dropped(
    client: StoreClient,
) -> None:
    fence, inbox, letters = await owned(client), UpdateInbox(client), DeadLetters(client)
    found = (await inbox.accept(LINE, [update(1), update(2)])).entries
    for entry in found:
        await inbox.dead_letter(fence, entry.id, "it broke", [said("sorry")], "5")
    one, two = await letters.of(await letters.lines())
    assert (one.entry, one.why, one.raw) == (found[0].id, "it broke", b'{"update_id":1}')
    assert one.at > 1_700_000_000
    notifications = Notifications(client, SystemClock())
    await notifications.changed_lines()
    assert await letters.replay(one)
    assert not await letters.replay(one)
    assert await notifications.changed_lines() == {LINE}
    assert [entry.update for entry in await inbox.pending(LINE)] == [1]
    assert await letters.drop(two)
    assert await letters.of([LINE]) == []


async def test_a_burial_whose_answer_was_lost_happens_once(engine: Engine) -> None:
    client = Forgetful(engine)
    fence, inbox = await owned(client), UpdateInbox(client)
    (entry,) = (await inbox.accept(LINE, [update(1)])).entries
    client.lost = 1
    await inbox.dead_letter(fence, entry.id, "why", [said("sorry")], "5")
    assert await DeadLetters(client).count(LINE) == 1
    assert len(await Outbox(client).unsent(LINE)) == 1
    await client.close()


async def test_the_seen_set_goes_with_time(client: StoreClient) -> None:
    await UpdateInbox(client).accept(LINE, [update(1)])
    assert 0 < await client.command("PTTL", keys.seen(LINE)) <= 48 * 3_600_000


async def test_parts_that_an_earlier_release_stored_are_read(client: StoreClient) -> None:
    stored = [
        {"c": 5, "m": "sendMessage", "p": {"text": "a"}, "t": ["1-0", "5", "poet"]},
        {"c": 5, "m": "editMessageText", "p": {"text": "b"}, "s": "nonce", "l": True},
        {"c": 5, "m": "editMessageReplyMarkup", "p": {"message_id": 7}},
        {"c": 5, "m": "answerCallbackQuery", "p": {"text": "c"}},
    ]
    for body in stored:
        await client.command("XADD", keys.outbox(LINE), "*", "p", orjson.dumps(body), "f", "1")
    found = await Outbox(client).unsent(LINE)
    assert [item.part for item in found] == [
        OutgoingPart(5, "message", {"text": "a"}, TurnRef("1-0", "5", "poet")),
        OutgoingPart(5, "edit", {"text": "b"}, tracks="nonce", best_effort=True),
        OutgoingPart(5, "clear_keyboard", {"message_id": 7}),
        OutgoingPart(5, "callback_answer", {"text": "c"}),
    ]
    assert all(item.maybe_sent for item in found)
