"""Readers of event streams: what was written before they came, and what comes then."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from bot.errors import StoreError
from bot.http.accounts.reader import EventReader
from bot.store.client import StoreClient
from bot.store.events import AnswerStream, EventLog, StoredEvent, UnknownEvents
from tests.hosting.test_leases import leases
from tests.store.engines import Engine
from tests.store.forgetful import Forgetful

LINE, TURN = "api:acme:s", "a" * 24


async def opened(client: StoreClient) -> tuple[EventReader, AnswerStream]:
    """A reader on the host that owns the line, and the stream of a turn that has just begun."""
    fence = await leases(client, "one").acquire(LINE, lambda: None)
    assert fence is not None
    log = EventLog(client)
    stream = log.stream(fence, TURN)
    stream.begin()
    return EventReader(log, lambda _: True), stream


async def told(stream: AnswerStream) -> None:
    await stream.load()
    await stream.extend("Hello")
    await stream.extend("Hello you")
    await stream.end("Hello you!", "done", "", "{}")


async def read(reader: EventReader) -> list[tuple[str, str]]:
    async with asyncio.timeout(10), aclosing(reader.follow(LINE, TURN, is_new=True)) as events:
        return [(event.kind, event.data) async for event in events if event is not None]


WHOLE = [("message", "Hello"), ("message", " you"), ("message", "!"), ("done", "")]


async def test_who_follows_a_new_turn_is_told_all_without_a_look_into_the_store(
    client: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, stream = await opened(client)
    monkeypatch.setattr(reader.events, "read", None)  # a look would fail
    reading = asyncio.create_task(read(reader))
    await asyncio.sleep(0)
    assert reader.readers == 1
    await told(stream)
    assert await reading == WHOLE


async def test_what_was_written_before_the_reader_of_a_new_turn_came_is_read_from_the_store(
    client: StoreClient,
) -> None:
    reader, stream = await opened(client)
    await told(stream)
    assert await read(reader) == WHOLE


async def test_where_two_ask_at_once_what_was_shown_the_rest_of_the_answer_is_kept(
    client: StoreClient,
) -> None:
    fence = await leases(client, "one").acquire(LINE, lambda: None)
    assert fence is not None
    first = EventLog(client).stream(fence, TURN)
    first.begin()
    await first.extend("Hello")
    stream = EventLog(client).stream(fence, TURN)

    async def rest() -> None:
        await stream.load()
        assert stream.text == "Hello"
        await stream.end("Hello you!", "done", "", "{}")

    async with asyncio.timeout(10):
        await asyncio.gather(stream.load(), rest())
    kept = await stream.log.read(LINE, TURN)
    assert [(one.kind, one.data) for one in kept] == [
        ("message", "Hello"),
        ("message", " you!"),
        ("done", ""),
    ]


async def test_a_writer_that_does_not_know_what_is_there_is_told_and_its_next_try_loses_nothing(
    client: StoreClient,
) -> None:
    _, stream = await opened(client)
    unaware = AnswerStream(stream.log, stream.fence, TURN)
    unaware.begin()
    await stream.extend("Hello")
    with pytest.raises(UnknownEvents):
        await unaware.end("Hello you!", "done", "", "{}")
    assert not unaware.is_over
    await unaware.end("Hello you!", "done", "", "{}")
    kept = await stream.log.read(LINE, TURN)
    assert [(one.kind, one.data) for one in kept] == [
        ("message", "Hello"),
        ("message", " you!"),
        ("done", ""),
    ]


async def test_an_end_whose_answer_is_lost_is_in_the_store_once_with_the_ids_of_its_events(
    engine: Engine,
) -> None:
    client = Forgetful(engine)
    _, stream = await opened(client)
    await stream.extend("Hello")
    told: list[StoredEvent] = []
    stream.log.followers[LINE, TURN] = [lambda _before, event: told.append(event)]
    client.lost = 1
    await stream.end("Hello you!", "done", "", "{}")
    kept = await stream.log.read(LINE, TURN)
    assert [(one.kind, one.data) for one in kept[1:]] == [("message", " you!"), ("done", "")]
    assert told == kept[1:]
    await client.close()


async def test_the_rest_of_an_answer_is_written_although_the_first_try_fails(
    client: StoreClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, stream = await opened(client)
    await stream.extend("Hello")

    async def failing(*_: object) -> list[str]:
        raise StoreError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(stream.log, "append", failing)
        with pytest.raises(StoreError):
            await stream.end("Hello you!", "done", "", "{}")
    await stream.end("Hello you!", "done", "", "{}")
    kept = await stream.log.read(LINE, TURN)
    assert [(one.kind, one.data) for one in kept[1:]] == [("message", " you!"), ("done", "")]
