"""How turns end: every stop reason, every limit, every way a stream can end wrongly."""

from __future__ import annotations

import pytest

from simulators.messages.turns import (
    Call,
    Cut,
    EndEarly,
    ErrorEvent,
    Fault,
    HttpError,
    Text,
    Think,
    Turn,
    refuse,
    turn,
)
from tests.host.chat import CLOCK, HostChat
from tests.host.stage import CLOCK_SERVER, Stage, until

TOKYO = Call("time__get_current_time", {"timezone": "Asia/Tokyo"})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (turn("whole"), "whole"),
        (turn("up to here", stop="stop_sequence", stop_sequence="X"), "up to here"),
        (turn("a long st", stop="max_tokens"), "a long st\n\n(The answer was cut here"),
        (refuse(), "I can't help with that."),
        (turn("so far", stop="model_context_window_exceeded"), "so far\n\nThis conversation has"),
        (turn(), "I have nothing to add."),
    ],
)
async def test_every_stop_reason_ends_in_a_sentence(
    chat: HostChat, answer: Turn, said: str
) -> None:
    chat.script.on(answer, "still here")
    assert (await chat.ask("go")).startswith(said)
    assert await chat.ask("and now?") == "still here"


async def test_a_paused_turn_is_sent_back_unchanged_and_goes_on(chat: HostChat) -> None:
    chat.script.on(turn("part one", stop="pause_turn"), "part two")
    said = await chat.ask("go")
    assert said == "part one\n\npart two"
    assert chat.requests[1]["messages"][-1]["role"] == "assistant"


@CLOCK
async def test_a_call_that_was_cut_is_never_run_and_ends_honestly_the_second_time(
    chat: HostChat,
) -> None:
    cut = Call("time__get_current_time", {"timezone": "Asia/Tokyo"}, cut=True)
    chat.script.on(turn("once", cut), turn("twice", cut))
    said = await chat.ask("go")
    assert said.startswith("once\n\ntwice\n\n(The answer was cut here")
    result = chat.requests[1]["messages"][-1]["content"][0]
    assert "cut off" in result["content"]
    assert len(chat.requests) == 2


@pytest.mark.parametrize(
    "fault",
    [
        HttpError(529),
        HttpError(500),
        HttpError(429, retry_after=0.1),
        Cut(events=4),
        EndEarly(),
        ErrorEvent(events=3),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_step_that_failed_is_made_again(chat: HostChat, fault: Fault) -> None:
    chat.script.on(turn("broken half", fault=fault), "whole")
    assert await chat.ask("go") == "whole"


async def test_a_model_that_stays_away_ends_in_an_apology_and_the_next_message_works(
    chat: HostChat,
) -> None:
    chat.script.on(*[turn(fault=HttpError(529))] * 4, "back again")
    assert "does not answer right now" in await chat.ask("one")
    assert await chat.ask("two") == "back again"
    assert len(chat.requests) == 5


async def test_a_fallback_model_answers_where_the_first_one_stays_busy(stage: Stage) -> None:
    models = {"model": "claude-sonnet-5-5", "fallbackModel": "claude-haiku-5-5"}
    echo = stage.bot("Echo", llmOverrides=models)
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(turn(Think("hm"), "first"), model="claude-sonnet-5-5")
    stage.script.on(*[turn(fault=HttpError(529))] * 4, "back", model="claude-sonnet-5-5")
    stage.script.on("from the other", model="claude-haiku-5-5")
    async with stage.host():
        assert await stage.ask(ann, room, echo, "one") == "first"
        assert await stage.ask(ann, room, echo, "two") == "from the other"
        assert await stage.ask(ann, room, echo, "three") == "back"
    asked = [body["model"] for body in stage.requests()]
    sonnet, haiku = models["model"], models["fallbackModel"]
    assert asked == [sonnet, *[sonnet] * 4, haiku, sonnet]


async def test_a_person_is_told_that_the_model_is_asked_again(chat: HostChat) -> None:
    chat.script.on(turn(fault=HttpError(529, retry_after=2)), "there now")
    chat.says("hi")
    await chat.until(lambda: bool(chat.drafts))
    assert "trying again" in str(chat.world.drafts(chat.room)[0].show())
    assert (await chat.answer()).text == "there now"


async def test_a_refused_key_is_told_to_the_person_without_the_key(chat: HostChat) -> None:
    chat.script.on(turn(fault=HttpError(401)))
    said = await chat.ask("one")
    assert "something in my setup has to be fixed" in said
    assert len(chat.requests) == 1


async def test_the_limit_of_tool_calls_ends_in_an_answer(stage: Stage) -> None:
    stage.agents["mcpServers"] = {"time": CLOCK_SERVER}
    clock = stage.bot("Clock", mcpServers=["time"], whitelistPatterns=["mcp:time:*"])
    ann = stage.person("Ann")
    zones = ("Tokyo", "Seoul", "Manila", "Dubai", "Kabul", "Tehran", "Dhaka", "Hong_Kong")
    calls = [TOKYO, Call("time__get_current_time", {"timezone": "UTC"})]
    calls += [Call("time__get_current_time", {"timezone": f"Asia/{zone}"}) for zone in zones]
    calls[2] = Call("time__get_current_time", {"timezone": "Europe/Rome"})
    stage.script.on(*[turn(call) for call in calls], "That is all I found.")
    async with stage.host():
        said = await stage.ask(ann, stage.world.private(ann, clock), clock, "go on forever")
    assert said == "That is all I found."
    last = stage.requests()[-1]
    assert last["tool_choice"] == {"type": "none"}
    assert last["tools"] == stage.requests()[0]["tools"]


async def test_slash_stop_ends_the_running_turn_and_keeps_what_was_said(chat: HostChat) -> None:
    words = " ".join(f"word{n}" for n in range(400))
    chat.script.on(Turn((Text(words),), pace=60.0), "next")
    chat.says("tell me much")
    await chat.until(lambda: bool(chat.drafts))
    chat.says("/stop")
    said = (await chat.answer()).text
    assert said.startswith("word0 word1")
    assert said.endswith("(stopped)")
    assert await chat.ask("and now") == "next"
    kept = chat.requests[-1]["messages"][1]["content"][0]["text"]
    assert kept.startswith("word0")
    assert "stopped" not in kept


async def test_the_stop_button_of_a_draft_ends_the_turn(chat: HostChat) -> None:
    chat.script.on(Turn((Text("on and on " * 300),), pace=60.0))
    chat.says("tell me much")
    await chat.until(lambda: bool(chat.drafts))
    chat.world.stop(chat.person, chat.room)
    assert (await chat.answer()).text.endswith("(stopped)")


async def test_slash_stop_where_nothing_runs_says_so(chat: HostChat) -> None:
    said = await chat.ask("/stop")
    assert said == "Nothing is running here."


async def test_messages_of_one_conversation_are_answered_strictly_in_order(chat: HostChat) -> None:
    for number in range(6):
        chat.script.on(f"answer {number}", user=f"question {number}")
    for number in range(6):
        chat.says(f"question {number}")
    await chat.answer(6)
    assert chat.texts == [f"answer {number}" for number in range(6)]


async def test_a_slow_conversation_does_not_hold_up_another(chat: HostChat) -> None:
    other = chat.with_person("Ben")
    chat.script.on(Turn((Text("slow"),), gate="held"), user="slow please")
    chat.script.on("quick", user="quick please")
    chat.says("slow please")
    await chat.gates.reached("held")
    assert await other.ask("quick please") == "quick"
    chat.gates.open("held")
    assert (await chat.answer()).text == "slow"


async def test_thinking_is_kept_under_its_prefix_and_stripped_under_another(stage: Stage) -> None:
    echo = stage.bot("Echo", llmOverrides={"model": "claude-sonnet-5-5"})
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on(turn(Think("hm"), "one"), turn(Think("hm hm"), "two"), "three")
    async with stage.host():
        await stage.ask(ann, room, echo, "first")
        await stage.ask(ann, room, echo, "second")
        kept = [b["type"] for b in stage.requests()[1]["messages"][1]["content"]]
        assert kept == ["thinking", "text"]
    stage.agents["agents"][0]["customInstructions"] = "You are changed."
    async with stage.host():
        assert await stage.ask(ann, room, echo, "third") == "three"
    roles = [[b["type"] for b in m["content"]] for m in stage.requests()[2]["messages"]]
    assert roles == [["text"]] * 5


async def test_a_bot_answers_only_so_many_conversations_side_by_side(stage: Stage) -> None:
    echo = stage.bot("Echo")
    people = [stage.person(name) for name in ("Ann", "Ben", "Cid")]
    rooms = [stage.world.private(person, echo) for person in people]
    stage.script.on(
        Turn((Text("one"),), gate="first"), Turn((Text("two"),), gate="second"), "three"
    )
    async with stage.host(TURNS_AT_ONCE="2"):
        for person, room in zip(people, rooms, strict=True):
            stage.world.say(person, room, "hi")
        await stage.sim.gates.reached("second")
        assert len(stage.requests()) == 2
        stage.sim.gates.open("first")
        assert (await stage.answer(rooms[2], echo)).text == "three"
        stage.sim.gates.open("second")
        await stage.answer(rooms[1], echo)


async def test_a_host_answers_only_so_many_turns_at_once_and_a_question_holds_up_nobody(
    stage: Stage,
) -> None:
    policy = {"requireConfirmation": ["get_current_time"]}
    one, two = stage.bot("One", mcpServers=["time"], toolPolicy=policy), stage.bot("Two")
    stage.agents["mcpServers"] = {"time": CLOCK_SERVER}
    ann, ben = stage.person("Ann"), stage.person("Ben")
    rooms = [(stage.world.private(ann, bot), bot) for bot in (one, two)]
    other = stage.world.private(ben, one)
    stage.script.on(TOKYO, user="the time")
    stage.script.on("never mind", user="the time")
    stage.script.on(Turn((Text("slow"),), gate="held"), user="slow")
    stage.script.on("quick", again=True, user="quick")
    async with stage.host(MAX_CONCURRENT_AGENTS="1"):
        asked = await stage.ask(ann, *rooms[0], "the time")
        assert "get_current_time" in asked
        assert await stage.ask(ann, *rooms[1], "quick") == "quick"
        stage.world.say(ann, rooms[1][0], "slow")
        await stage.sim.gates.reached("held")
        made = len(stage.requests())
        stage.world.say(ann, rooms[0][0], "quick, instead")
        assert str(ben.id) in await stage.ask(ben, other, one, "/id")  # Ann's was taken up before
        with pytest.raises(TimeoutError):
            await until(lambda: len(stage.requests()) > made, 1.0)
        stage.sim.gates.open("held")
        assert (await stage.answer(rooms[1][0], two, 2)).text == "slow"
        assert "quick" in (await stage.answer(rooms[0][0], one, 2)).text
