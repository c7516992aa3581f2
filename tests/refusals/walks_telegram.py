"""Telegram says one thing forever: each row of the table ends, and others are served meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.app import App
from bot.cli.dead_letters import dead_letters
from bot.telegram import sender
from simulators.messages.turns import turn
from simulators.telegram.faults import Fault
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage, settings_of, staged, until
from tests.refusals.table import ends

FOR_EVER = 10**6
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Scene:
    """Ann's chat, which meets the refusal, and Ben's beside it."""

    stage: Stage
    host: App
    bot: Bot
    ann: Person
    room: Room
    other: tuple[Person, Room]

    def says(self, words: str, status: int = 400, method: str = "send*", **more: Any) -> None:
        """Telegram says this from now on, to every call of a method for Ann's chat."""
        fault = Fault("answer", method, chat=self.room.id, status=status, description=words)
        fault.times = FOR_EVER
        for name, value in more.items():
            setattr(fault, name, value)
        self.stage.world.faults.add(fault)

    def ask(self, text: str = "hi") -> None:
        """Ann writes."""
        mention = "" if self.room.private else f"@{self.bot.username} "
        self.stage.world.say(self.ann, self.room, mention + text)

    async def others_are_served(self) -> None:
        """Ben gets his answer."""
        assert await self.stage.ask(*self.other, self.bot, "hello", SECONDS) == "hello"

    def tries(self, words: str = "", method: str = "sendMessage") -> int:
        """How often Telegram was asked to show a text in Ann's chat."""
        calls = self.stage.world.calls.of(method=method)
        there = [call.params for call in calls if call.params.get("chat_id") == self.room.id]
        return sum(words in params.get("text", "") for params in there)

    async def answered(self, words: str) -> None:
        """Ann has read this."""

        def is_there() -> bool:
            return any(words in text for text in self.stage.texts(self.room, self.bot.id))

        await self.stage.world.until(is_there, SECONDS)

    async def counted(self, counter: str, count: int = 1) -> None:
        """The host has counted something so often."""
        await until(lambda: self.host.counters[counter] >= count, SECONDS)

    async def letters(self) -> list[str]:
        """What is kept."""
        settings = settings_of(self.stage.variables())
        found = await dead_letters(settings, "list", None, [], every=False)
        return [] if found == ["no dead letters"] else found


@contextlib.asynccontextmanager
async def scene(
    folder: Path, *, group: bool = False, topics: bool = False, bots: int = 1
) -> AsyncIterator[Scene]:
    """A host that does not pause between two tries; Ann is asked nothing yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender, "backoff", lambda _failures, _first, _longest: 0.01)
        async with staged(folder) as stage:
            bot, *_ = (stage.bot(f"Echo{n}") for n in range(bots))
            ann, ben = stage.person("Ann"), stage.person("Ben")
            bot.topics = topics and not group
            room = stage.world.private(ann, bot)
            if group:
                room = stage.world.group("Team", [ann, bot], forum=topics)
            stage.script.on("hello", again=True, user="hello")
            stage.script.on("**the** answer", again=True, user="hi")
            beside = (ben, stage.world.private(ben, bot))
            async with stage.host() as host:
                yield Scene(stage, host, bot, ann, room, beside)


@ends("T1")
async def topic_gone(folder: Path) -> None:
    async with scene(folder, topics=True) as s:
        topic = s.stage.world.topic(s.room, "Trip", s.ann)
        s.says("Bad Request: message thread not found", has="message_thread_id")
        s.stage.world.say(s.ann, s.room, "hi", topic=topic)
        await s.answered("the answer")
        assert s.tries("the answer") == 2
        await s.others_are_served()
        assert await s.letters() == []


@ends("T2")
async def topic_gone_in_a_forum(folder: Path) -> None:
    async with scene(folder, group=True, topics=True) as s:
        topic = s.stage.world.topic(s.room, "Trip", s.ann)
        s.says("Bad Request: message thread not found", has="message_thread_id")
        s.says("Bad Request: message to be replied not found", has="reply_parameters")
        s.stage.world.say(s.ann, s.room, f"@{s.bot.username} hi", topic=topic)
        await s.counted("dead_letters")
        await s.others_are_served()
        assert s.tries("the answer") <= 3
        assert len(await s.letters()) == 1


@ends("T3")
async def entities_refused(folder: Path) -> None:
    async with scene(folder) as s:
        s.says("Bad Request: can't parse entities: byte offset 5", has="entities")
        s.ask()
        await s.answered("the answer")
        assert s.tries("the answer") == 2
        await s.others_are_served()


@ends("T4")
async def refused_for_good(folder: Path) -> None:
    async with scene(folder) as s:
        s.says("Bad Request: new unknown reason", says="answer")
        s.ask()
        await s.counted("dead_letters")
        await s.others_are_served()
        assert s.tries("the answer") <= 3
        (letter,) = await s.letters()
        assert "new unknown reason" in letter
        await s.answered("could not be delivered")


@ends("T5")
async def closed_to_us(folder: Path) -> None:
    async with scene(folder) as s:
        s.says("Forbidden: bot was blocked by the user", 403)
        s.ask()
        await s.counted("send:unreachable")
        await s.others_are_served()
        assert s.tries() == 1
        assert await s.letters() == []


@ends("T14")
async def closed_group(folder: Path) -> None:
    async with scene(folder, group=True) as s:
        s.says("Forbidden: CHAT_WRITE_FORBIDDEN", 403)
        s.ask()
        await s.counted("dead_letters")
        await s.others_are_served()
        assert s.tries() == 1
        (letter,) = await s.letters()
        assert "CHAT_WRITE_FORBIDDEN" in letter


@ends("T6")
async def one_message_meets_5xx(folder: Path) -> None:
    async with scene(folder) as s:
        s.says("Internal Server Error", 500, says="answer")
        s.ask()
        while s.host.counters["dead_letters"] == 0:
            await s.others_are_served()
            assert s.tries("the answer") <= sender.MOST_FAULTS_UNPROVEN
        await s.answered("could not be delivered")
        assert len(await s.letters()) == 1


@ends("T7")
async def all_meets_5xx(folder: Path) -> None:
    async with scene(folder) as s:
        for method in ("sendMessage", "getMe"):
            fault = Fault("answer", method, status=502, times=FOR_EVER)
            s.stage.world.faults.add(fault)
        s.ask()
        calls = s.stage.world.calls
        await until(lambda: len(calls.of(method="getMe")) > sender.MOST_FAULTS_UNPROVEN, SECONDS)
        assert s.host.counters["dead_letters"] == 0
        s.stage.world.faults.clear()
        await s.answered("the answer")
        await s.others_are_served()


@ends("T8")
async def flood(folder: Path) -> None:
    async with scene(folder) as s:
        s.says("Too Many Requests: retry after 2", 429, parameters={"retry_after": 2}, times=2)
        s.ask()
        await s.counted("send:429")
        await s.others_are_served()
        assert s.tries() == 1
        await s.answered("the answer")
        assert s.tries() <= 3
        assert s.stage.texts(s.room, s.bot.id) == ["the answer"]


@ends("T9")
async def no_answer_to_one_message(folder: Path) -> None:
    async with scene(folder) as s:
        s.stage.world.faults.add(Fault("lose", "sendMessage", chat=s.room.id, times=FOR_EVER))
        s.ask()
        await s.others_are_served()
        await s.counted("send:unanswered")
        assert s.tries() == sender.MOST_COPIES
        assert await s.letters() == []


@ends("T10")
async def revoked(folder: Path) -> None:
    async with scene(folder, bots=2) as s:
        s.stage.world.revoke(s.bot)
        await until(lambda: s.host.fleet.lines[0].state == "quarantined", SECONDS)
        other, ben = s.stage.bots[1], s.other[0]
        room = s.stage.world.private(ben, other)
        assert await s.stage.ask(ben, room, other, "hello", SECONDS) == "hello"


@ends("T11")
async def migrated_again_and_again(folder: Path) -> None:
    async with scene(folder, group=True) as s:
        words = "Bad Request: group chat was upgraded to a supergroup chat"
        s.says(words, parameters={"migrate_to_chat_id": s.room.id})
        s.ask()
        await s.counted("dead_letters")
        assert s.tries("the answer") <= sender.MOST_FORMS
        await s.others_are_served()


@ends("T12")
async def growing_answer_gone(folder: Path) -> None:
    async with scene(folder, group=True) as s:
        words = " ".join(f"word{n}" for n in range(60))
        s.stage.script.on(turn(words, pace=60.0), user="slowly")
        s.says("Bad Request: message to edit not found", method="editMessageText")
        s.ask("slowly")
        await s.answered(words)
        await s.others_are_served()
        assert await s.letters() == []


@ends("T13")
async def query_too_old(folder: Path) -> None:
    async with scene(folder) as s:
        await s.stage.ask(s.ann, s.room, s.bot, "hello", SECONDS)
        message = await s.stage.answer(s.room, s.bot)
        old = "Bad Request: query is too old and response timeout expired or query ID is invalid"
        fault = Fault("answer", "answerCallbackQuery", status=400, description=old, times=FOR_EVER)
        s.stage.world.faults.add(fault)
        s.stage.world.press(s.bot, s.ann, s.room, message, "made up")
        await s.counted("send:refused")
        await s.others_are_served()
        assert len(s.stage.world.calls.of(method="answerCallbackQuery")) == 1
        assert await s.letters() == []
