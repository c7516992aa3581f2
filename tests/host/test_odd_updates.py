"""Updates that no Telegram would send: each is answered or counted, and none comes forever."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import orjson
import pytest

from bot.app import App
from simulators.telegram.people import Bot, Person
from simulators.telegram.updates import Update
from tests.host.stage import Stage, until
from tests.host.test_webhooks import post, pushed_to

Send = Callable[[int, bytes], Awaitable[None]]
Intake = Callable[[Stage, Bot], AbstractAsyncContextManager[tuple[App, Send]]]


@asynccontextmanager
async def pushing(stage: Stage, bot: Bot) -> Any:
    """Updates come by webhook; each is acknowledged."""
    async with pushed_to(stage) as host:

        async def send(number: int, raw: bytes) -> None:
            assert await post(bot.webhook.url, bot.webhook.secret, raw) == 200, raw[:200]

        yield host, send


@asynccontextmanager
async def polling(stage: Stage, bot: Bot) -> Any:
    """Updates come by getUpdates; each is confirmed."""
    async with stage.host() as host:

        async def send(number: int, raw: bytes) -> None:
            bot.updates.restore(Update(number, time.time(), "message", {}, raw))
            await until(lambda: not bot.updates.waiting)

        yield host, send


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


ODD_BUT_SAID: dict[str, dict[str, bytes]] = {
    "a field nested a thousand deep": {"new": nested(1000)},
    "a date beyond all calendars": {"date": b"1000000000000000000"},
    "a date before all calendars": {"date": b"-1000000000000000000"},
    "a date that is no whole number": {"date": b"1e300"},
    "a number of five thousand digits": {"new": b"9" * 5000},
    "a number that is infinite": {"new": b"-1e999"},
    "a number that is none": {"new": b"NaN"},
    "bytes that are no text": {"new": b'"\xff\xfe"'},
    "half a surrogate pair": {"new": b'"\\ud83d"'},
    "a bare control character": {"new": b'"\x01"'},
}
LEFT_ALONE: dict[str, tuple[str, dict[str, bytes]]] = {
    "a message that is a thousand arrays": ("malformed", {"message": nested(1000)}),
    "a field nested too deep for any reader": ("nested", {"new": nested(5000)}),
    "a chat's id of 60 digits": ("malformed", {"chat": b'{"id":' + b"7" * 60 + b"}"}),
    "a chat's id of 64 bits": ("malformed", {"chat": b'{"id":-9223372036854775808}'}),
    "a person's id of 64 bits": ("malformed", {"from": b'{"id":9223372036854775807}'}),
    "a person's id with a fraction": ("malformed", {"from": b'{"id":7.5}'}),
    "a message's id of 64 bits": ("malformed", {"message_id": b"9223372036854775807"}),
    "a topic's id of 64 bits": (
        "malformed",
        {"is_topic_message": b"true", "message_thread_id": b"9223372036854775807"},
    ),
}


def raw_update(number: int, ann: Person, text: str, odd: dict[str, bytes]) -> bytes:
    """A message of Ann's with these fields as they are written; `message` stands for all of it."""
    message: dict[str, Any] = {
        "message_id": number,
        "date": 1_790_000_000,
        "chat": {"id": ann.id, "type": "private"},
        "from": {"id": ann.id, "first_name": "Ann", "is_bot": False},
        "text": text,
    }
    fields = {name: orjson.dumps(value) for name, value in message.items()} | odd
    whole = b",".join(b'"%s":%s' % (name.encode(), value) for name, value in fields.items())
    return b'{"update_id":%d,"message":%s}' % (number, odd.get("message") or b"{%s}" % whole)


@pytest.mark.parametrize("intake", [pushing, polling])
async def test_an_odd_update_is_answered_or_counted_and_holds_nothing_up(
    stage: Stage, intake: Intake
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("I see", again=True)
    first = echo.updates.next_id
    async with intake(stage, echo) as (host, send):
        for count, (what, fields) in enumerate(ODD_BUT_SAID.items(), 1):
            await send(first + count, raw_update(first + count, ann, what, fields))
            await stage.answer(room, echo, count)
            assert what in str(stage.requests()[-1]["messages"][-1])
        for count, (what, (rule, fields)) in enumerate(LEFT_ALONE.items(), 1000):
            before = host.counters[f"ignored:{rule}"]
            await send(first + count, raw_update(first + count, ann, what, fields))
            assert host.counters[f"ignored:{rule}"] == before + 1, what
        echo.updates.next_id = first + 2000
        assert await stage.ask(ann, room, echo, "and now?") == "I see"
        assert host.counters["dead_letters"] == 0
        assert host.counters["poll:conflict"] == 0
    assert len(stage.requests()) == len(ODD_BUT_SAID) + 1
