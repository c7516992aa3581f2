"""An apology has a button that asks for the answer once more: one press, one turn."""

from __future__ import annotations

from typing import Any

from bot.conversations.router import STALE_PRESS
from bot.turn.results import PARTIAL
from simulators.messages.turns import Cut, HttpError, Text, Turn, turn
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Message, Room
from tests.host.chat import HostChat
from tests.host.stage import Stage

TOO_LONG = 3600
"""Seconds: a model that asks for more patience than a turn has is not asked again."""


def keyboard(message: Message) -> list[dict[str, str]]:
    rows = message.body.get("reply_markup", {}).get("inline_keyboard", [])
    return [button for row in rows for button in row]


async def apology(stage: Stage, person: Person, room: Room, bot: Bot, text: str) -> Message:
    """The message with the button, after a model that stayed away."""
    stage.world.say(person, room, text)

    def found() -> list[Message]:
        return [m for m in room.messages.values() if m.author == bot.id and keyboard(m)]

    await stage.world.until(lambda: bool(found()), 30)
    (message,) = found()
    assert "does not answer right now" in message.text
    assert [button["text"] for button in keyboard(message)] == ["Try again"]
    return message


async def word(stage: Stage, pressed: Any) -> str:
    await stage.world.until(lambda: pressed.answer is not None)
    return str(pressed.answer.get("text", ""))


def away() -> list[Turn]:
    return [turn(fault=HttpError(529, retry_after=TOO_LONG))]


async def test_an_answer_that_breaks_off_for_good_stays_and_is_marked(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    words = " ".join(f"word{number}" for number in range(40))
    stage.script.on(Turn((Text(words),), fault=Cut(events=9)), again=True)
    async with stage.host():
        said = (await apology(stage, ann, room, echo, "tell me")).text
    shown, mark, why = said.split("\n\n")
    assert shown.startswith("word0 word1")
    assert words.startswith(shown)
    assert mark == PARTIAL
    assert why.startswith("The model behind me")


async def test_the_button_under_an_apology_brings_the_answer_and_goes_away(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(*away(), "here it is")
    async with stage.host():
        message = await apology(stage, ann, room, echo, "what is it?")
        pressed = stage.world.press_button(ann, room, message.id, "Try again")
        assert await word(stage, pressed) == "Trying again."
        assert (await stage.answer(room, echo, 2)).text == "here it is"
        await stage.world.until(lambda: not keyboard(room.messages[message.id]))
    (asked,) = stage.requests()[-1]["messages"]
    texts = [block["text"] for block in asked["content"]]
    assert texts[1] == "[Ann asks for this again: the answer did not come.]"
    assert [text.splitlines()[-1] for text in (texts[0], texts[2])] == ["what is it?"] * 2


async def test_however_often_it_is_pressed_the_message_gets_one_turn(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(*away(), "once", "and not twice")
    async with stage.host():
        message = await apology(stage, ann, room, echo, "go")
        data = keyboard(message)[0]["callback_data"]
        presses = [stage.world.press(echo, ann, room, message, data) for _ in range(4)]
        words = sorted([await word(stage, one) for one in presses])
        assert words == ["This was already tried again."] * 3 + ["Trying again."]
    assert stage.texts(room, echo.id)[1:] == ["once"]
    assert len(stage.requests()) == 2


async def test_a_retry_that_fails_too_offers_the_next_one(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(*away(), *away(), "at last")
    async with stage.host():
        first = await apology(stage, ann, room, echo, "go")
        stage.world.press_button(ann, room, first.id, "Try again")
        second = await stage.answer(room, echo, 2)
        await stage.world.until(lambda: bool(keyboard(room.messages[second.id])))
        stage.world.press_button(ann, room, second.id, "Try again")
        assert (await stage.answer(room, echo, 3)).text == "at last"
    content = stage.requests()[-1]["messages"][-1]["content"]
    assert sum("asks for this again" in block["text"] for block in content) == 2
    assert sum("go" in block["text"].splitlines() for block in content) == 3


async def test_in_a_group_only_the_person_who_asked_may_press(chat: HostChat) -> None:
    ben = chat.stage.person("Ben")
    room = chat.world.group("Team", [chat.person, ben, chat.bot])
    chat.script.on(*away(), "for Ann")
    message = await apology(chat.stage, chat.person, room, chat.bot, f"@{chat.bot.username} go")
    pressed = chat.world.press_button(ben, room, message.id, "Try again")
    assert await word(chat.stage, pressed) == "Only the person who asked can do this."
    chat.world.press_button(chat.person, room, message.id, "Try again")
    answer = await chat.stage.answer(room, chat.bot, 2)
    assert answer.text == "for Ann"


async def test_a_button_from_before_the_conversation_began_anew_gets_a_word(stage: Stage) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(*away(), "never said")
    async with stage.host():
        message = await apology(stage, ann, room, echo, "go")
        await stage.ask(ann, room, echo, "/new")
        for data in (keyboard(message)[0]["callback_data"], "again:0-1", "again:"):
            pressed = stage.world.press(echo, ann, room, message, data)
            assert await word(stage, pressed) in (
                "I no longer have that message. Please write it again.",
                STALE_PRESS,
            )
    assert len(stage.requests()) == 1


async def test_a_retry_that_a_kill_9_cuts_off_is_answered_once_after_the_restart(
    stage: Stage,
) -> None:
    echo, ann = stage.bot("Echo"), stage.person("Ann")
    room = stage.world.private(ann, echo)
    held = Turn((Text("half"),), gate="held")
    stage.script.on(*away(), held, "the whole")
    host = await stage.process()
    message = await apology(stage, ann, room, echo, "go")
    data = keyboard(message)[0]["callback_data"]
    stage.world.press(echo, ann, room, message, data)
    await stage.sim.gates.reached("held")
    stage.world.press(echo, ann, room, message, data)
    await host.kill()
    again = await stage.process()
    try:
        assert (await stage.answer(room, echo, 2, seconds=30)).text == "the whole"
        stage.script.on("next")
        assert await stage.ask(ann, room, echo, "and?") == "next"
    finally:
        await again.end()
    assert stage.texts(room, echo.id)[1:] == ["the whole", "next"]
