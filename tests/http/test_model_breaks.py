"""The model breaks off while it answers over HTTP: asked once more, or never, and said so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from simulators.messages.stream import pieces
from simulators.messages.turns import Cut, Drop, EndEarly, ErrorEvent, Fault, Text, Turn
from tests.host.stage import staged
from tests.http.accounts import Talk, events_in, said, talking
from tests.http.api import OPERATOR_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORDS = " ".join(f"word{number}" for number in range(40))
FRAME = 3
"""Events before the first piece: message_start, content_block_start, ping."""
BEFORE: dict[str, Fault] = {
    "no answer": Drop(),
    "no byte": Cut(bytes=0),
    "half of the first event": Cut(bytes=40),
    "overloaded": ErrorEvent(events=FRAME),
}
"""Faults before an answer has begun, or by a busy server: each face asks as often as ever."""
EARLY: dict[str, Fault] = {
    "lost before the first piece": Cut(events=FRAME),
    "closed before the first piece": EndEarly(events=FRAME),
}
LATE: dict[str, Fault] = {
    "lost": Cut(events=FRAME + 7),
    "closed": EndEarly(events=FRAME + 7),
    "overloaded later": ErrorEvent(events=FRAME + 7),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    async with staged(tmp_path_factory.mktemp("breaks")) as stage, talking(stage) as talk:
        yield talk


class Streamed:
    """What a client was given where the attempts had these faults, and the model was asked."""

    def __init__(self, talk: Talk, name: str, *faults: Fault | None) -> None:
        self.talk = talk
        self.name = name.replace(" ", "-")
        told = [Turn((Text(WORDS),), fault=fault, pace=100.0) for fault in faults]
        talk.stage.script.on(*told, user=f"{self.name}!")

    async def read(self) -> Streamed:
        path = f"{self.talk.path()}/stream?message={self.name}!&session_id={self.name}"
        events = events_in((await self.talk.client.get(path, OPERATOR_KEY)).body.decode())
        self.text, self.kinds = said(events), [one.kind for one in events if one.kind != "message"]
        self.last = orjson.loads(events[-1].data or "null")
        return self

    @property
    def asked(self) -> int:
        bodies = self.talk.stage.requests()
        return sum(f"{self.name}!" in str(body["messages"][-1]) for body in bodies)

    async def history(self) -> list[dict[str, Any]]:
        path = f"{self.talk.path()}/history?session_id={self.name}"
        answer = await self.talk.client.get(path, OPERATOR_KEY)
        found: list[dict[str, Any]] = answer.json["messages"]
        return found


async def streamed(talk: Talk, *wanted: tuple[str, tuple[Fault | None, ...]]) -> list[Streamed]:
    """Clients side by side, each with a session of its own."""
    clients = [Streamed(talk, name, *faults) for name, faults in wanted]
    return await asyncio.gather(*(client.read() for client in clients))


async def test_a_model_that_breaks_before_its_first_piece_is_silently_asked_once_more(
    talk: Talk,
) -> None:
    faults = {**BEFORE, **EARLY}
    for one in await streamed(talk, *((name, (fault, None)) for name, fault in faults.items())):
        assert (one.kinds, one.text, one.asked) == (["done"], WORDS, 2), one.name


async def test_a_model_that_breaks_twice_before_its_first_piece_is_given_up(talk: Talk) -> None:
    twice = ((f"twice {name}", (fault, fault, None)) for name, fault in EARLY.items())
    for one in await streamed(talk, *twice):
        assert (one.kinds, one.text, one.asked) == (["error"], "", 2), one.name
        assert (bool(one.last["message"]), one.last["partial"]) == (True, False)
        _, said = await one.history()
        assert (said["content"], said["metadata"]["chunks_received"]) == ("", 0)
        assert said["metadata"]["error"] == one.last["message"]


async def test_a_model_that_breaks_after_its_first_piece_is_not_asked_again(talk: Talk) -> None:
    for one in await streamed(talk, *((name, (fault, None)) for name, fault in LATE.items())):
        assert (one.kinds, one.asked) == (["error"], 1), one.name
        assert one.text == "".join(pieces(WORDS)[:7])
        assert (bool(one.last["message"]), one.last["partial"]) == (True, True)
        _, partial = await one.history()
        assert partial["content"] == one.text
        assert partial["metadata"] == {
            "partial": True,
            "error": one.last["message"],
            "completion_status": "partial",
            "chunks_received": 7,
        }


async def test_a_chat_is_told_what_a_model_said_before_it_broke_twice(talk: Talk) -> None:
    broken = Turn((Text(WORDS),), fault=LATE["lost"])
    talk.stage.script.on(broken, broken, user="in a chat")
    status, refused = await talk.chat("in a chat", OPERATOR_KEY, session_id="in-a-chat")
    assert (status, refused["metadata"]["chunks_received"]) == (502, 7)
    assert refused["response"] == "".join(pieces(WORDS)[:7])
