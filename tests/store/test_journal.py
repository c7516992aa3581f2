"""The journal on a real server: each step once, whatever answers get lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.errors import CrashSuspect, PoisonMessage
from bot.hosting.leases import HostIdentity, Leases
from bot.messages import Attribution, Fence, OutgoingPart, TurnRef
from bot.ops.tasks import SystemClock
from bot.store import journal, keys
from bot.store.client import StoreClient
from bot.store.inbox import Update, UpdateInbox
from bot.store.journal import MAX_ATTEMPTS, SUSPECT_AFTER, Journal, Opened, Record
from bot.store.outbox import Outbox
from tests.store.engines import Engine
from tests.store.forgetful import Forgetful

LINE = "bot:1"
ECHO = Attribution("default", "echo", "7")


class JournalLine:
    """One line with one accepted message, and its journal."""

    def __init__(self, client: StoreClient, fence: Fence, entry: str) -> None:
        self.client = client
        self.fence = fence
        self.ref = TurnRef(entry, "5", "echo")
        self.journal = Journal(client)
        self.inbox = UpdateInbox(client)
        self.outbox = Outbox(client)

    async def begin(self, ref: TurnRef | None = None, **how: Any) -> Opened:
        message = Record("person", {"turn": (ref or self.ref).entry})
        ref = ref or self.ref
        return await self.journal.begin(
            self.fence, ref, "hash", message, {}, attribution=ECHO, **how
        )

    def part(self, text: str) -> OutgoingPart:
        return OutgoingPart(5, "message", {"text": text}, self.ref)

    async def kinds(self) -> list[str]:
        found = await self.client.command("XRANGE", keys.transcript(LINE, "5", "echo"), "-", "+")
        return [fields[b"k"].decode() for _, fields in found]


async def journal_line(client: StoreClient) -> JournalLine:
    fence = await Leases(client, HostIdentity.new("a", ""), SystemClock()).acquire(
        LINE, lambda: None
    )
    assert fence is not None
    (entry,) = (await UpdateInbox(client).accept(LINE, [Update(1, b"{}")])).entries
    return JournalLine(client, fence, entry.id)


async def test_a_begin_whose_answer_was_lost_is_a_first_begin(engine: Engine) -> None:
    client = Forgetful(engine)
    d = await journal_line(client)
    client.lost = 2
    opened = await d.begin()
    assert not opened.resumed
    assert opened.turn.attempts == 1
    assert await d.kinds() == ["person"]
    assert (await d.begin()).resumed
    await client.close()


async def test_results_of_tools_that_end_together_are_all_recorded(client: StoreClient) -> None:
    d = await journal_line(client)
    turn = (await d.begin()).turn
    results = [Record("result", {"n": n}) for n in range(20)]
    await asyncio.gather(*(d.journal.append(d.fence, turn, [one]) for one in results))
    assert await d.kinds() == ["person"] + ["result"] * 20
    assert turn.writes == 20


async def test_a_record_whose_answer_was_lost_is_there_once(engine: Engine) -> None:
    client = Forgetful(engine)
    d = await journal_line(client)
    turn = (await d.begin()).turn
    client.lost = 1
    await d.journal.append(d.fence, turn, [Record("model", {})])
    assert await d.kinds() == ["person", "model"]
    await client.close()


async def test_a_finish_whose_answer_was_lost_posts_its_parts_once(engine: Engine) -> None:
    client = Forgetful(engine)
    d = await journal_line(client)
    turn = (await d.begin()).turn
    client.lost = 1
    _, posted = await d.journal.finish(d.fence, turn, [Record("end", {})], [d.part("hi")])
    assert posted == []
    assert len(await d.outbox.unsent(LINE)) == 1
    assert await d.kinds() == ["person", "end"]
    await client.close()


async def test_a_finish_that_was_sent_while_its_answer_was_lost_is_done(engine: Engine) -> None:
    client = Forgetful(engine)
    d = await journal_line(client)
    turn = (await d.begin()).turn

    async def somebody_sends_it() -> None:
        client.lost = 0
        (part,) = await d.outbox.unsent(LINE)
        await d.outbox.receipt(d.fence, part)
        client.lost = 0

    client.lost, client.between = 1, somebody_sends_it
    _, posted = await d.journal.finish(d.fence, turn, [Record("end", {})], [d.part("hi")])
    assert posted == []
    assert await d.inbox.pending(LINE) == []
    await client.close()


async def test_a_turn_that_is_over_is_not_begun_again(client: StoreClient) -> None:
    d = await journal_line(client)
    turn = (await d.begin()).turn
    _, (part,) = await d.journal.finish(d.fence, turn, [Record("end", {})], [d.part("hi")])
    await d.outbox.receipt(d.fence, part)
    again = await d.begin()
    assert again.turn.state == "sending"
    assert await d.kinds() == ["person", "end"]
    assert await client.command("EXISTS", keys.open_turn(LINE, "5")) == 0


async def test_a_finish_without_parts_closes_its_turn(client: StoreClient) -> None:
    d = await journal_line(client)
    turn = (await d.begin()).turn
    await d.journal.finish(d.fence, turn, [Record("end", {})], [])
    assert await d.inbox.pending(LINE) == []
    (entry,) = (await d.inbox.accept(LINE, [Update(2, b"{}")])).entries
    assert not (await d.begin(TurnRef(entry.id, "5", "echo"))).resumed


async def test_two_turns_of_one_conversation_are_never_open_at_once(client: StoreClient) -> None:
    d = await journal_line(client)
    await d.begin()
    (entry,) = (await d.inbox.accept(LINE, [Update(2, b"{}")])).entries
    second = await d.begin(TurnRef(entry.id, "5", "echo"))
    assert second.blocked
    assert second.turn.ref == d.ref
    assert await d.kinds() == ["person"]


async def test_a_turn_that_comes_to_nothing_in_life_after_life_is_poison(
    client: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", 0.0)
    d = await journal_line(client)
    for _ in range(SUSPECT_AFTER):
        await d.begin()
    for _ in range(MAX_ATTEMPTS - SUSPECT_AFTER):
        with pytest.raises(CrashSuspect):
            await d.begin()
        await d.begin(isolated=True)
    with pytest.raises(PoisonMessage):
        await d.begin(isolated=True)


@pytest.mark.parametrize(
    ("apart", "neighbours", "over", "hits"),
    [
        (0.0, [], False, 2),
        (0.0, ["first", "second"], False, 0),
        (0.0, ["first"], False, 1),  # another turn ran at the end of its first attempt
        (0.0, ["first", "second"], True, 2),  # another ran beside it, but not at the end
        (60.0, [], False, 1),
    ],
)
async def test_only_ends_that_a_turn_met_alone_and_not_within_seconds_speak_against_it(
    client: StoreClient,
    monkeypatch: pytest.MonkeyPatch,
    apart: float,
    neighbours: list[str],
    over: bool,
    hits: int,
) -> None:
    monkeypatch.setattr(journal, "ENDS_APART_SECONDS", apart)
    d = await journal_line(client)
    (other,) = (await d.inbox.accept(LINE, [Update(2, b"{}")])).entries
    for number, life in enumerate(("first", "second")):
        await d.begin(life=life)
        if life in neighbours:
            another = await d.begin(TurnRef(other.id, "6", "echo"), life=life)
            if over:
                await d.journal.finish(d.fence, another.turn, [], [])
                (other,) = (await d.inbox.accept(LINE, [Update(3 + number, b"{}")])).entries
    third = await d.begin(life="third")
    assert (third.turn.attempts, third.turn.hits) == (3, hits)
    await d.journal.append(d.fence, third.turn, [Record("model", {})])
    assert (await d.begin(life="fourth")).turn.hits == 1


async def test_a_life_that_records_something_is_no_failed_try(client: StoreClient) -> None:
    d = await journal_line(client)
    for number in range(MAX_ATTEMPTS * 3):
        turn = (await d.begin()).turn
        assert turn.attempts <= 2, number
        await d.journal.append(d.fence, turn, [Record("model", {})])


async def test_the_keys_of_a_finished_turn_return_to_idle_size(client: StoreClient) -> None:
    d = await journal_line(client)
    for number in range(50):
        (entry,) = (await d.inbox.accept(LINE, [Update(number + 10, b"{}")])).entries
        d.ref = TurnRef(entry.id, "5", "echo")
        if number == 0:
            await d.inbox.settle(d.fence, [(await d.inbox.pending(LINE))[0].id])
        turn = (await d.begin()).turn
        _, parts = await d.journal.finish(
            d.fence, turn, [Record("end", {})], [d.part("a"), d.part("b")]
        )
        for part in parts:
            await d.outbox.receipt(d.fence, part)
    lengths = [await client.command("XLEN", key(LINE)) for key in (keys.inbox, keys.outbox)]
    assert lengths == [0, 0]
    assert await client.command("EXISTS", keys.open_turn(LINE, "5")) == 0
