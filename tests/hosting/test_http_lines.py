"""Conversations over HTTP as lines: accepted, answered into event streams, given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio

from bot.app import App
from bot.http.accounts.conversations import Asker, Conversations, SentMessage, TurnEvent
from simulators.messages.turns import Cut, Text, Turn
from tests.host.stage import Stage, staged, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN = Asker("api:default:ann", "Ann", "key:k1:ann", "default", "k1")


class Talk:
    """One host for all tests here."""

    def __init__(self, stage: Stage, host: App) -> None:
        self.stage, self.host = stage, host
        self.conversations: Conversations = host.conversations

    async def send(self, text: str, **more: object) -> SentMessage:
        return await self.conversations.send(ANN, "echo", text, **more)  # type: ignore[arg-type]

    async def events(self, sent: SentMessage, after: str = "0-0") -> list[TurnEvent]:
        async with aclosing(self.conversations.follow(sent, after)) as following:
            return [event async for event in following if event.kind != "heartbeat"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    folder: Path = tmp_path_factory.mktemp("http_lines")
    async with staged(folder) as stage:
        stage.bot("Echo")
        keys = {"API_KEYS__0__KEY": "a" * 40}
        async with stage.host(**keys) as host:
            await host.api.app()  # type: ignore[union-attr]
            yield Talk(stage, host)


def joined(events: list[TurnEvent]) -> str:
    return "".join(event.data for event in events if event.kind == "message")


async def test_an_answer_comes_in_pieces_and_then_the_line_is_given_back(talk: Talk) -> None:
    text = " ".join(f"word{number}" for number in range(60))
    talk.stage.script.on(Turn((Text(text),), pace=200.0))
    sent = await talk.send("hello")
    events = await talk.events(sent)
    assert joined(events) == text
    assert [event.kind for event in events][-1] == "done"
    assert len(events) > 5
    await until(lambda: talk.host.http_lines.served == 0)
    assert await talk.events(sent, events[-1].id.partition("-")[2]) == []


async def test_a_repeat_of_a_message_is_the_same_turn(talk: Talk) -> None:
    talk.stage.script.on(Turn((Text("Once."),)))
    one = await talk.send("again", idempotency="k", session="repeat")
    two = await talk.send("again", idempotency="k", session="repeat")
    assert (one.turn, two.repeated) == (two.turn, True)
    assert joined(await talk.events(two)) == "Once."
    assert (await talk.conversations.answer(two)).text == "Once."


ANSWER = " ".join(f"word{number}" for number in range(40))


async def test_a_stream_that_breaks_before_its_first_piece_is_asked_for_once_more(
    talk: Talk,
) -> None:
    had = len(talk.stage.requests())
    talk.stage.script.on(Turn((Text(ANSWER),), fault=Cut(events=1)), Turn((Text(ANSWER),)))
    events = await talk.events(await talk.send("break early"))
    assert (joined(events), events[-1].kind) == (ANSWER, "done")
    assert len(talk.stage.requests()) == had + 2


async def test_a_stream_that_breaks_later_is_an_error_and_its_text_stays_marked(
    talk: Talk,
) -> None:
    talk.stage.script.on(Turn((Text(ANSWER),), pace=60.0, fault=Cut(events=9)))
    sent = await talk.send("break late", session="late")
    seen = await talk.events(sent)
    assert seen[-1].kind == "error"
    shown = joined(seen)
    assert ANSWER.startswith(shown)
    said = await talk.conversations.history(ANN, "echo", "late", 10)
    assert said is not None
    assert [one.role for one in said] == ["human", "assistant"]
    assert said[0].content == "break late"
    assert said[1].content == shown
    assert said[1].metadata is not None and said[1].metadata["chunks_received"] > 0
