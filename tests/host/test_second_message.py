"""What comes while an answer is being written: a sign that it was seen, and /new."""

from __future__ import annotations

from simulators.messages.turns import Text, Turn
from simulators.telegram.faults import Fault
from simulators.telegram.rooms import Message
from tests.host.chat import HostChat

HELD = Turn((Text("first "), Text("answer")), gate="held")


def reactions(chat: HostChat, *messages: Message) -> list[str]:
    """The reactions of the bot to some messages; '' for none."""
    found = [message.reactions.get(chat.bot.id, []) for message in messages]
    return ["".join(one["emoji"] for one in shown) for shown in found]


async def test_a_message_that_waits_is_shown_as_seen_once_behind_each_answer(
    chat: HostChat,
) -> None:
    chat.script.on(HELD, "second answer", "third answer")
    first = chat.says("one")
    await chat.gates.reached("held")
    second = chat.says("two")
    third = chat.says("three")
    await chat.until(lambda: reactions(chat, second) == ["👀"])
    chat.gates.open("held")
    await chat.answer(3)
    assert chat.texts == ["first answer", "second answer", "third answer"]
    assert reactions(chat, first, third) == ["", ""]
    assert len(chat.world.calls.of(method="setMessageReaction")) == 1


async def test_a_reaction_that_is_refused_changes_nothing(chat: HostChat) -> None:
    why = "Bad Request: REACTION_INVALID"
    chat.world.faults.add(Fault("answer", "setMessageReaction", status=400, description=why))
    chat.script.on(HELD, "second answer")
    chat.says("one")
    await chat.gates.reached("held")
    second = chat.says("two")
    await chat.until(lambda: not chat.world.faults.open)
    chat.gates.open("held")
    await chat.answer(2)
    assert chat.texts == ["first answer", "second answer"]
    assert reactions(chat, second) == [""]


async def test_new_ends_what_runs_and_what_waits_before_it(chat: HostChat) -> None:
    chat.script.on(HELD, "fresh", "fresher")
    chat.says("one")
    await chat.gates.reached("held")
    chat.says("two")
    chat.says("and more")
    chat.says("/new")
    await chat.expects("A new conversation begins here")
    chat.says("three")
    assert await chat.expects("fresh") == "fresh"
    assert "stopped" in chat.texts[0].lower()
    assert chat.texts[1].startswith("A new conversation")
    last = chat.requests[-1]["messages"]
    assert [message["role"] for message in last] == ["user"]
    assert await chat.ask("four") == "fresher"
