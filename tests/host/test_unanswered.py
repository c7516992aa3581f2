"""Calls that never come back: what was sent is not sent again and again."""

from __future__ import annotations

import pytest

from bot.store.journal import Journal
from bot.telegram import sender
from bot.telegram.markdown.renderer import MARK
from simulators.messages.turns import Text, Turn
from simulators.telegram.faults import Fault
from tests.host.chat import HostChat
from tests.host.stage import Stage


async def test_while_nothing_comes_back_from_telegram_an_answer_is_not_repeated(
    chat: HostChat,
) -> None:
    chat.script.on("once")
    chat.world.faults.add(Fault("lose", "sendMessage"))
    chat.world.faults.add(Fault("lose", "getMe", times=2))
    chat.says("hi")
    await chat.answer(2)
    assert chat.texts == ["once", f"{MARK}once"]
    methods = [call.method for call in chat.world.calls.of(bot=chat.bot.id)]
    sent = methods.index("sendMessage")
    said = [one for one in methods[sent:] if one in ("sendMessage", "getMe")]
    assert said == ["sendMessage", "getMe", "getMe", "getMe", "sendMessage"]


async def test_a_message_to_which_no_answer_ever_comes_does_not_hold_its_chat_up_for_ever(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "backoff", lambda _failures, _first, _longest: 0.01)
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("unheard", "next")
    stage.world.faults.add(Fault("lose", "sendMessage", times=sender.MOST_COPIES))
    async with stage.host() as host:
        stage.world.say(ann, room, "hi")
        stage.world.say(ann, room, "and?")
        await stage.answer(room, echo, sender.MOST_COPIES + 1)
        await host.fleet.lines[0].idle()
        assert host.counters["send:unanswered"] == 1
    copies = [f"{MARK}unheard"] * (sender.MOST_COPIES - 1)
    assert stage.texts(room, echo.id) == ["unheard", *copies, "next"]


async def test_a_reply_that_was_recorded_by_a_try_that_failed_is_sent_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = Journal.finish
    failed: list[object] = []

    async def finish(self: Journal, *given: object) -> object:
        posted = await works(self, *given)  # type: ignore[arg-type]
        if not failed:
            failed.append(posted)
            raise OSError
        return posted

    monkeypatch.setattr(Journal, "finish", finish)
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(Turn((Text("recorded"),)))
    async with stage.host(SWEEP_SECONDS="60"):
        assert await stage.ask(ann, room, echo, "hi") == "recorded"
    assert len(stage.requests()) == 1
