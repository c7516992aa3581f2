"""Conversations over HTTP as lines: accepted, answered into event streams, given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from bot.app import App
from bot.hosting.http_lines import HttpLines
from bot.http.accounts.conversations import (
    Asker,
    Conversations,
    NotAllowed,
    SentMessage,
    TurnEvent,
)
from bot.messages import Fence
from simulators.messages.turns import Cut, Text, Turn
from tests.host.stage import Stage, staged, until
from tests.host.tool_agent import ToolAgent, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN = Asker("api:default:ann", "Ann", "key:k1:ann", "default", "k1")
BEN = Asker("api:default:ben", "Ben", "key:k2:ben", "default", "k2")
CAT = Asker("api:default:k1", "k1", "key:k1:ann", "default", "k1", is_named=False)
BOSS = Asker("api:default:boss", "Boss", "key:k3:boss", "default", "k3", may_decide=True)


class Talk:
    """One host for all tests here."""

    def __init__(self, stage: Stage, host: App, agent: ToolAgent) -> None:
        self.stage, self.host, self.agent = stage, host, agent
        self.conversations: Conversations = host.conversations

    async def send(self, text: str, agent: str = "echo", **more: object) -> SentMessage:
        return await self.conversations.send(ANN, agent, text, **more)  # type: ignore[arg-type]

    async def events(self, sent: SentMessage, after: str = "0-0") -> list[TurnEvent]:
        async with aclosing(self.conversations.follow(sent, after)) as following:
            return [event async for event in following if event.kind != "heartbeat"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    folder: Path = tmp_path_factory.mktemp("http_lines")
    async with staged(folder) as stage:
        stage.bot("Echo")
        agent = ToolAgent(stage)
        keys = {"API_KEYS__0__KEY": "a" * 40}
        async with stage.host(**keys) as host:
            await host.api.app()  # type: ignore[union-attr]
            yield Talk(stage, host, agent)


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
    assert said[1].metadata is not None
    assert said[1].metadata["chunks_received"] > 0


async def test_a_question_is_asked_in_the_stream_and_its_answer_goes_on_there(talk: Talk) -> None:
    talk.stage.script.on(write("hello"), "It is written.", user="write it")
    sent = await talk.send("write it", talk.agent.bot.name.lower(), session="asks")
    seen: list[TurnEvent] = []
    async with aclosing(talk.conversations.follow(sent)) as following:
        async for event in following:
            seen.append(event)
            if event.kind == "approval":
                question = orjson.loads(event.data)
                assert question["calls"][0]["status"] == "pending"
                answer = await talk.conversations.answer(sent)
                assert answer.approval == question
                await until(lambda: talk.host.http_lines.served == 0)
                with pytest.raises(NotAllowed):
                    await talk.conversations.decide(CAT, question["id"], "approve", "")
                assert await talk.conversations.decide(BEN, question["id"], "approve", "") is None
                done = await talk.conversations.decide(BOSS, question["id"], "approve", "")
                assert done is not None
                assert done["status"] == "approved"
    assert joined(seen) == "I will write it.\n\nIt is written."
    assert seen[-1].kind == "done"
    assert talk.agent.done == ["write hello"]
    assert (await talk.conversations.answer(sent)).text == joined(seen)
    said = await talk.conversations.history(ANN, talk.agent.bot.name.lower(), "asks", 10)
    assert said is not None
    assert said[-1].content == joined(seen)


async def test_a_denial_brings_its_reason_and_goes_on_at_once(talk: Talk) -> None:
    talk.stage.script.on(write("no"), "Then not.", user="write no")
    sent = await talk.send("write no", talk.agent.bot.name.lower(), session="denies")
    answer = await talk.conversations.answer(sent)
    assert answer.approval is not None
    (listed,) = await talk.conversations.approvals(BOSS)
    done = await talk.conversations.decide(BOSS, listed["id"], "deny", "too early")
    assert done is not None
    assert (done["status"], done["reason"]) == ("denied", "too early")
    assert (await talk.conversations.answer(sent)).text.endswith("Then not.")
    assert "too early" in str(talk.stage.requests()[-1])


async def test_a_stop_ends_the_turn_that_it_names(talk: Talk) -> None:
    talk.stage.script.on(Turn((Text(ANSWER),), pace=30.0))
    first = await talk.send("long", session="stops")
    second = await talk.send("not begun", session="stops")
    assert await talk.conversations.stop(ANN, second)
    async with aclosing(talk.conversations.follow(first)) as following:
        async for event in following:
            if event.kind == "message":
                break
    assert await talk.conversations.stop(ANN, first)
    seen = await talk.events(first)
    assert seen[-1].kind == "done"
    assert ANSWER.startswith(joined(seen))
    assert [one.kind for one in await talk.events(second)] == ["done"]


async def test_a_message_while_a_question_waits_ends_that_turn(talk: Talk) -> None:
    talk.stage.script.on(write("late"), user="write late")
    talk.stage.script.on("Never mind.", user="forget it")
    name = talk.agent.bot.name.lower()
    first = await talk.send("write late", name, session="goes-on")
    assert (await talk.conversations.answer(first)).approval is not None
    second = await talk.send("forget it", name, session="goes-on")
    assert (await talk.conversations.answer(second)).text == "Never mind."
    assert (await talk.events(first))[-1].kind == "done"


async def test_what_comes_while_a_conversation_is_given_back_is_answered_without_a_sweep(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases, sent = talk.host.http_lines.services.leases, list[SentMessage]()
    release = leases.release_idle

    async def released(fence: Fence) -> bool:
        done = await release(fence)
        if done and not sent:
            sent.append(await talk.send("two", session="late-one"))
        return done

    async def no_sweep(_: HttpLines) -> None:
        return

    monkeypatch.setattr(leases, "release_idle", released)
    monkeypatch.setattr(HttpLines, "_sweep", no_sweep)
    talk.stage.script.on("Uno.", user="one")
    talk.stage.script.on("Due.", user="two")
    first = await talk.send("one", session="late-one")
    assert joined(await talk.events(first)) == "Uno."
    await until(lambda: bool(sent))
    async with asyncio.timeout(20):
        assert joined(await talk.events(sent[0])) == "Due."
