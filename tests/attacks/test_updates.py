"""Updates that Telegram never sends, and pushes that are not Telegram's.

One host that has its updates pushed, and one that polls. Whatever comes is answered with a status,
or left alone and counted; nothing fails, nothing is set aside, and the next message is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from bot.app import App
from bot.store import keys
from simulators.telegram.people import Bot, Person
from simulators.telegram.updates import Update
from tests.attacks.raw import status_of
from tests.attacks.talk import asked
from tests.host.stage import Stage, staged, until
from tests.host.test_webhooks import pushed_to
from tests.host.tool_agent import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


class IntakeHost:
    """A host with one bot that answers, however its updates come."""

    def __init__(self, stage: Stage, host: App) -> None:
        self.stage, self.host = stage, host
        self.bot: Bot = stage.bots[0]
        self.ann: Person = stage.person("Ann")
        self.room = stage.world.private(self.ann, self.bot)
        stage.script.on("still here", again=True)

    async def is_well(self) -> None:
        """The next message is answered, and nothing was set aside or left undone."""
        assert await asked(self.stage, self.ann, self.room, self.bot, "there?") == "still here"
        await self.host.fleet.lines[0].idle()
        line = f"bot:{self.bot.id}"
        for key in (keys.dead_letters(line), keys.inbox(line)):
            assert await self.host.store.command("XLEN", key) == 0
        assert self.host.report()["status"] == "healthy"

    async def pushed(self, body: bytes, secret: str | None = None, **headers: str) -> int:
        """The status of one push; the right secret unless another is given."""
        hook = self.bot.webhook
        said = {SECRET_HEADER: hook.secret if secret is None else secret}
        lines = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in (said | headers).items())
        path = "/" + hook.url.split("/", 3)[3]
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        return await status_of(self.host.url, head.encode("latin-1") + body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pushed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[IntakeHost]:
    async with staged(tmp_path_factory.mktemp("pushed")) as stage:
        stage.bot("Echo")
        stage.bot("Other")
        async with pushed_to(stage) as host:
            yield IntakeHost(stage, host)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def polled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[IntakeHost]:
    async with staged(tmp_path_factory.mktemp("polled")) as stage:
        stage.bot("Echo")
        async with stage.host() as host:
            yield IntakeHost(stage, host)


# --- pushes that are not Telegram's ---------------------------------------------------------------


async def test_without_the_very_secret_no_body_is_waited_for_by_any_path_or_method(
    pushed: IntakeHost,
) -> None:
    path, other = ("/" + bot.webhook.url.split("/", 3)[3] for bot in pushed.stage.bots)
    right, others = (bot.webhook.secret for bot in pushed.stage.bots)
    secrets = ["", " ", "x", right[:-1], right + "x", right.upper(), others, "\xe9" * 48, "*"]
    cases = [("POST", path, secret, 401) for secret in secrets] + [
        ("POST", other, right, 401),
        ("POST", path[:-1] + "x", right, 404),
        ("POST", path.upper(), right, 404),
        ("POST", "/telegram/../health", right, 404),
        ("POST", "/telegram/%2e%2e/health", right, 404),
        ("POST", "/telegram/", right, 404),
        ("GET", path, right, 405),
        ("PUT", path, right, 405),
        ("TRACE", path, right, 405),
    ]
    for method, where, secret, wanted in cases:
        head = f"{method} {where} HTTP/1.1\r\nHost: x\r\n{SECRET_HEADER}: {secret}\r\n"
        request = f"{head}Content-Length: 900000\r\n\r\n".encode("latin-1")
        found = await asyncio.wait_for(status_of(pushed.host.url, request), PATIENCE)
        assert (method, where, found) == (method, where, wanted)
    twice = f"{SECRET_HEADER}: x\r\n{SECRET_HEADER}: {right}\r\n"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{twice}Content-Length: 900000\r\n\r\n"
    assert await asyncio.wait_for(status_of(pushed.host.url, head.encode()), PATIENCE) == 401
    await pushed.is_well()


async def test_a_body_that_is_too_long_packed_or_of_another_type_is_no_update(
    pushed: IntakeHost,
) -> None:
    update = json.dumps({"update_id": 1, "poll": {}}).encode()
    long = b"x" * 2_000_000
    assert await pushed.pushed(long, secret="wrong") in (0, 401)
    assert await pushed.pushed(long) in (0, 413)
    assert await pushed.pushed(gzip.compress(update), Content_Encoding="gzip") == 400
    assert await pushed.pushed(update, Content_Type="text/plain") == 200
    path, secret = pushed.bot.webhook.url.split("/", 3)[3], pushed.bot.webhook.secret
    chunks = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = f"POST /{path} HTTP/1.1\r\nHost: x\r\n{SECRET_HEADER}: {secret}\r\n"
    chunked = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks * 30 + b"0\r\n\r\n"
    assert await status_of(pushed.host.url, chunked) in (0, 413)
    await pushed.is_well()


@pytest.mark.attack
async def test_a_body_that_comes_slowly_or_never_is_cut_off(pushed: IntakeHost) -> None:
    path, secret = pushed.bot.webhook.url.split("/", 3)[3], pushed.bot.webhook.secret
    head = f"POST /{path} HTTP/1.1\r\nHost: x\r\n{SECRET_HEADER}: {secret}\r\n"
    began = time.monotonic()
    ends = await asyncio.gather(*(dripped(pushed.host.url, head, pause) for pause in (60, 0.2)))
    assert set(ends) <= {0, 408}
    assert 5 < time.monotonic() - began < 20
    await pushed.is_well()


async def dripped(url: str, head: str, pause: float) -> int:
    """The status of a push whose body comes byte by byte; 0 where the host hangs up."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"{head}Content-Length: 900000\r\n\r\n".encode())
    answer = asyncio.create_task(reader.readline())
    while not (await asyncio.wait({answer}, timeout=pause))[0]:
        writer.write(b" ")
    writer.close()
    with contextlib.suppress(ConnectionError):
        return int((await answer).split(b" ")[1])
    return 0


def update(number: int, who: int = 50, **fields: Any) -> str:
    """A message in a private chat, with odd fields, as JSON."""
    user = {"id": who, "is_bot": False, "first_name": "Eve"}
    chat = {"id": who, "type": "private", "first_name": "Eve"}
    message = {"message_id": 1, "date": int(time.time()), "from": user, "chat": chat}
    return json.dumps({"update_id": number, "message": message | fields})


def unreadable() -> list[bytes]:
    """Bodies that are no update at all."""
    return [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"update"',
        b"{}",
        b'{"update_id":1',
        b'{"update_id":"1","message":{}}',
        b'{"update_id":1.5}',
        b'{"update_id":NaN}',
        b'{"update_id":1}{"update_id":2}',
        b"\x00",
        b"POST / HTTP/1.1\r\n\r\n",
    ]


def readable_in_part() -> list[bytes]:
    """Bodies that can be read as far as their number, or are nested too deep to be read at all."""
    return [
        b'{"update_id":1,"x":1e400}',
        b'{"update_id":' + b"9" * 400 + b"}",
        b'{"update_id":1,"x":"\xff\xfe"}',
        b'{"update_id":1,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"update_id":1,"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
    ]


def odd(first: int) -> list[str]:
    """Updates with fields that Telegram never sends, with ids from `first` on."""
    entity = {"type": "mention", "offset": 0, "length": 3}
    user = {"is_bot": False, "first_name": "Eve"}
    fields: list[dict[str, Any]] = [
        {"text": None},
        {"text": 7},
        {"text": ["x"]},
        {"text": "x", "chat": {"id": 10**30, "type": "private"}},
        {"text": "x", "chat": {"id": 1.5, "type": "private"}},
        {"text": "x", "chat": {"id": "50:alpha", "type": "private"}},
        {"text": "x", "chat": {"id": True, "type": "private"}},
        {"text": "x", "chat": {"id": 50}},
        {"text": "x", "chat": []},
        {"text": "x", "from": user | {"id": True}},
        {"text": "x", "from": user | {"id": "50"}},
        {"text": "x", "from": None},
        {"text": "x", "message_id": "1"},
        {"text": "x", "message_id": 1.0},
        {"text": "x", "date": "now"},
        {"text": "x", "date": True},
        {"text": "x", "entities": {}, "from": 7},
        {"caption": 5, "photo": 7},
        {"new_chat_members": "all"},
    ]
    bodies = [update(first + n, **one) for n, one in enumerate(fields)]
    number = first + len(fields)
    bodies += [
        json.dumps({"update_id": number, "callback_query": {"id": 1, "data": ["x"]}}),
        json.dumps({"update_id": number + 1, "callback_query": None}),
        json.dumps({"update_id": number + 2, "message": None}),
        json.dumps({"update_id": number + 3, "message": [], "callback_query": []}),
        json.dumps({"update_id": number + 4, "edited_message": {"entities": [entity] * 20_000}}),
        json.dumps({"update_id": number + 5, "a_kind_of_next_year": {}}),
        json.dumps({"update_id": number + 6}),
    ]
    return bodies


def answered(first: int, who: int) -> list[str]:
    """Updates that are strange and yet messages of this person: they have an answer."""
    crowd = [{"type": "bold", "offset": 0, "length": 1}] * 20_000
    name = {"id": who, "is_bot": False, "first_name": "n" * 500_000}
    fields: list[dict[str, Any]] = [
        {"text": "x" * 300_000},
        {"text": "x", "entities": crowd},
        {"text": "a\x00b"},
        {"text": "half \ud800"},
        {"text": "x", "entities": "none"},
        {"text": "x", "from": name},
    ]
    bodies = [update(first + n, who, **one) for n, one in enumerate(fields)]
    twice = update(first + len(bodies), who, text="x")
    return [*bodies, twice.replace('{"message_id": 1,', '{"message_id":1,"message_id":2,')]


async def test_bodies_that_are_no_update_are_refused_and_hold_nobody_up(pushed: IntakeHost) -> None:
    requests, counted = len(pushed.stage.requests()), ignored(pushed.host)
    statuses = [await pushed.pushed(body) for body in unreadable()]
    assert set(statuses) == {400}
    read = readable_in_part()
    assert {await pushed.pushed(body) for body in read} == {200}
    await until(lambda: ignored(pushed.host) == counted + len(read), PATIENCE)
    assert len(pushed.stage.requests()) == requests
    await pushed.is_well()


async def test_odd_updates_that_are_pushed_are_left_alone_and_counted(pushed: IntakeHost) -> None:
    before = ignored(pushed.host)
    requests, bodies = len(pushed.stage.requests()), odd(10**9)
    assert {await pushed.pushed(body.encode()) for body in bodies} == {200}
    await until(lambda: ignored(pushed.host) == before + len(bodies), PATIENCE)
    assert len(pushed.stage.requests()) == requests
    await pushed.is_well()


async def test_odd_updates_that_are_polled_are_left_alone_and_counted(polled: IntakeHost) -> None:
    before, bot = ignored(polled.host), polled.bot
    requests, bodies = len(polled.stage.requests()), odd(bot.updates.next_id)
    for body in bodies:
        given(bot, body)
    await until(lambda: ignored(polled.host) == before + len(bodies), PATIENCE)
    assert len(polled.stage.requests()) == requests
    await polled.is_well()


@pytest.mark.parametrize("way", ["pushed", "polled"])
async def test_strange_messages_are_messages_and_answered(
    way: str, pushed: IntakeHost, polled: IntakeHost
) -> None:
    door = {"pushed": pushed, "polled": polled}[way]
    had = len(door.stage.texts(door.room, door.bot.id))
    first = 2 * 10**9 if way == "pushed" else door.bot.updates.next_id
    bodies = answered(first, door.ann.id)
    for body in bodies:
        if way == "pushed":
            assert await door.pushed(body.encode()) == 200
        else:
            given(door.bot, body)
    await door.stage.answer(door.room, door.bot, had + len(bodies), PATIENCE)
    await door.is_well()


def given(bot: Bot, body: str) -> None:
    """Let an update wait for the next poll, as it is."""
    number = bot.updates.next_id
    bot.updates.next_id += 1
    bot.updates.restore(Update(number, time.time(), "message", {}, body.encode()))


def ignored(host: App) -> int:
    """How many updates were left alone by a rule."""
    counts = host.counters.snapshot().items()
    return sum(count for name, count in counts if name.startswith("ignored:"))
