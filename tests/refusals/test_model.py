"""What a model API refuses, and what other servers of it write: what a turn makes of that.

One host serves them all; each test has a chat of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot.app import App
from bot.turn.results import BROKEN
from simulators.messages.turns import Call, HttpError, Raw, Text, Think, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot
from simulators.testing.stage import Chat
from tests.host.stage import Stage, staged
from tests.refusals.gallery import PICTURES
from tests.refusals.talking import (
    BEGIN,
    QUICK,
    STOP,
    Talk,
    called,
    ended,
    guide,
    holds,
    placed,
    says,
    servers_up,
    sse,
    talk,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

PING = Call("gallery__ping")
NEW = "/new"
SMALL = {"model": "claude-haiku-4-5", "maxTokens": 30_000}


class House:
    """Bots with the gallery's tools: one of today, one with a small window, one with a budget."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.guide = guide(stage, "Guide")
        self.small = guide(stage, "Small", llmOverrides=SMALL)
        models = {"model": "claude-sonnet-4-5", "fallbackModel": "claude-haiku-4-5"}
        budget = models | {"reasoningEffort": "low", "maxTokens": 8000}
        self.budget = guide(stage, "Budget", llmOverrides=budget)
        self._count = 0
        self.host: App

    def talk(self, bot: Bot | None = None) -> Talk:
        """A new person's chat."""
        self._count += 1
        return talk(self.stage, bot or self.guide, f"Person{self._count}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with staged(tmp_path_factory.mktemp("refusals")) as stage:
        house = House(stage)
        async with stage.host(**QUICK, LIMITS__TOKENSPERREQUEST="30000") as house.host:
            await servers_up(house.host)
            yield house


# --- what the door keeps out of the record ---


@pytest.mark.parametrize("name", [name for name in PICTURES if not name.startswith("fine")])
async def test_a_picture_that_no_api_takes_becomes_a_word(house: House, name: str) -> None:
    person = house.talk()
    person.answers(turn(Call("gallery__picture", {"kind": name})), "I see", "and on")
    assert await person.costs("look") == ("I see", 2)
    assert await person.costs("and now?") == ("and on", 1)
    assert '"image"' not in person.newest
    assert "which cannot be shown" in person.newest or "pixels" in person.newest


@pytest.mark.parametrize("name", [name for name in PICTURES if name.startswith("fine")])
async def test_a_picture_that_is_one_is_shown(house: House, name: str) -> None:
    person = house.talk()
    person.answers(turn(Call("gallery__picture", {"kind": name})), "I see")
    assert await person.costs("look") == ("I see", 2)
    assert f'"media_type": "image/{name.split()[1]}"' in person.newest


@pytest.mark.parametrize("name", ["functions.bash:0", "", "x" * 300, "outil à part", "a\nb"])
async def test_a_tool_that_the_model_made_up_is_recorded_under_a_legal_name(
    house: House, name: str
) -> None:
    person = house.talk()
    person.answers(turn(Call(name)), "There is none", "and on")
    assert await person.costs("use it") == ("There is none", 2)
    assert await person.costs("and now?") == ("and on", 1)
    assert "Unknown tool: " in person.newest


# --- what is recorded, and refused all the same ---

REFUSALS = {
    "a place": "{place}.text: Input should be something else",
    "a place and a picture": "{place}.image.source.base64.data: Image does not match the type",
    "a place in other words": "invalid request: {place} has an unsupported value",
    "no place": "Something in this request cannot be processed",
    "another status": "Unprocessable",
}


@pytest.mark.parametrize("manner", REFUSALS)
async def test_one_thing_that_the_api_refuses_costs_one_request_and_not_the_conversation(
    house: House, manner: str
) -> None:
    person, words = house.talk(), REFUSALS[manner]
    person.answers("first", "noted", "third", "fourth")
    assert await person.ask("one") == "first"
    assert await person.ask("with poison") == "noted"
    status = 422 if manner == "another status" else 400
    make = placed(words, "poison") if "{place}" in words else says(status, words)
    person.refuses(make, holds("poison"))
    said, requests = await person.costs("three")
    assert said.startswith("third")
    assert NEW not in said
    assert requests == 2
    assert await person.costs("four") == ("fourth", 1)
    assert "one" in person.newest
    assert "set aside" in person.newest


async def test_one_thing_of_long_ago_that_nobody_names_costs_the_history_before_this_turn(
    house: House,
) -> None:
    person = house.talk()
    person.answers("first", "noted", "third", "fourth", "fifth")
    for text in ("one", "with poison", "three"):
        await person.ask(text)
    person.refuses(says(400, "Something cannot be processed"), holds("poison"))
    said, requests = await person.costs("four")
    assert said.startswith("fourth")
    assert "left out from now on" in said
    assert requests == 3
    assert await person.costs("five") == ("fifth", 1)
    assert "four" in person.newest


async def test_a_result_that_nobody_names_costs_the_result_and_not_the_history(
    house: House,
) -> None:
    person = house.talk()
    poison = turn(Call("gallery__long", {"sign": "poison", "times": 2}))
    person.refuses(says(400, "Something cannot be processed"), holds("poisonpoison"))
    person.answers("first", turn(PING), poison, "third", "fourth")
    assert await person.ask("one") == "first"
    said = await person.costs("two")
    assert said == ("third", 4), person.newest
    assert "pong" in person.newest
    assert await person.costs("three") == ("fourth", 1)
    assert "one" in person.newest


async def test_a_refusal_that_blames_another_server_is_no_fault_of_the_history(
    house: House,
) -> None:
    person = house.talk()
    person.answers("first", turn(fault=HttpError(400, "Provider returned error")), "second")
    assert await person.ask("one") == "first"
    assert await person.costs("two") == ("second", 2)
    assert "one" in person.newest


async def test_pictures_become_a_word_before_anything_else_is_left_out(house: House) -> None:
    person = house.talk()
    person.refuses(says(400, "Could not process image"), holds('"image"'))
    picture = turn(Call("gallery__picture", {"kind": "fine png"}))
    person.answers("first", picture, "I see nothing", "and on")
    assert await person.ask("one") == "first"
    assert await person.costs("look") == ("I see nothing", 3)
    assert await person.costs("and now?") == ("and on", 1)
    assert "one" in person.newest
    assert "picture was left out" in person.newest


async def test_a_picture_that_came_after_one_that_was_refused_is_shown(house: House) -> None:
    person = house.talk()
    person.refuses(says(400, "Could not process image"), holds('"image/gif"'))
    person.answers(
        turn(Call("gallery__picture", {"kind": "fine gif"})),
        turn(Call("gallery__picture", {"kind": "fine png"})),
        "I see one",
    )
    assert await person.costs("look at both") == ("I see one", 4)
    assert person.newest.count('"image/png"') == 1


TOO_LONG = {
    "the API's": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "with the answer": (
        400,
        "input length and `max_tokens` exceed context limit: 190000 + 30000 > 200000",
    ),
    "the size": (413, "Request exceeds the maximum size"),
    "a proxy's": (413, "<html>413 Request Entity Too Large</html>"),
    "a gate's": (403, "Request body too large"),
    "a gateway's": (403, "The request body exceeds the maximum size of 1 MB"),
    "vLLM's": (
        400,
        "This model's maximum context length is 8192 tokens. Please reduce the length of the input",
    ),
    "Bedrock's": (400, "Input is too long for requested model."),
    "llama.cpp's": (400, "the request exceeds the available context size, try increasing it"),
}


@pytest.mark.parametrize("manner", TOO_LONG)
async def test_a_conversation_that_is_too_long_loses_its_oldest_turns(
    house: House, manner: str
) -> None:
    person = house.talk()
    person.answers(*(f"answer {number}" for number in range(9)))
    for number in range(4):
        await person.ask(f"question {number}")
    person.refuses(says(*TOO_LONG[manner]), lambda request: len(request.messages) > 7)
    said, requests = await person.costs("question 4")
    assert said.startswith("answer 4")
    assert requests == 2
    assert "question 0" not in person.newest
    assert "question 3" in person.newest
    assert await person.costs("question 5") == ("answer 5", 1)


@pytest.mark.parametrize(
    ("status", "words", "own"),
    [
        (400, "Something in this request cannot be processed", "refused"),
        (400, "{place}: text content blocks must be nicer", "refused"),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "too long"),
        (413, "Request exceeds the maximum size", "too long"),
        (403, "Request body too large", "too long"),
    ],
)
async def test_a_message_that_is_refused_by_itself_ends_with_a_way_out_and_is_set_aside(
    house: House, status: int, words: str, own: str
) -> None:
    person = house.talk()
    person.answers("first", "third")
    assert await person.ask("one") == "first"
    make = placed(words, "cursed") if "{place}" in words else says(status, words)
    person.refuses(make, holds("cursed"))
    said, requests = await person.costs("a cursed message")
    assert NEW in said
    assert own in said
    assert requests <= 3
    assert house.host.report()["model"]["state"] == "ok"
    assert await person.costs("three") == ("third", 1)
    assert "one" in person.newest
    assert "cursed" not in person.newest


OURS = {
    "no key": (401, "invalid x-api-key"),
    "no right": (403, "Your API key does not have permission to use the specified resource."),
    "no such model": (404, "model: claude-nine"),
    "no such model, a 400": (400, "The provided model identifier is invalid."),
    "another's model": (400, "The model `x` does not exist or you do not have access to it"),
    "no credit": (400, "Your credit balance is too low to access the Anthropic API. Please go to"),
    "no credit, a 402": (402, "billing"),
    "used up": (400, "You have reached your specified API usage limits. You will regain access"),
    "switched off": (400, "This organization has been disabled."),
    "a tool": (400, "tools.0.custom.input_schema: JSON schema is invalid"),
    "tokens": (400, "max_tokens: 30000 > 8192, which is the maximum allowed number of output"),
    "thinking": (400, "thinking.budget_tokens: Input should be greater than or equal to 1024"),
    "temperature": (400, "temperature: Extra inputs are not permitted"),
    "the system prompt": (400, "system.1: text content blocks must be non-empty"),
}


@pytest.mark.parametrize("manner", OURS)
async def test_what_is_no_fault_of_the_history_is_asked_once_and_costs_no_history(
    house: House, manner: str
) -> None:
    person = house.talk()
    person.answers("first")
    assert await person.ask("one") == "first"
    (rule,) = [one for one in house.stage.script.rules if one.user == person.mark]
    rule.turns.append(turn(fault=HttpError(*OURS[manner])))
    rule.turns.append("back")
    said, requests = await person.costs("two")
    assert said == BROKEN
    assert requests == 1
    assert await person.costs("three") == ("back", 1)
    assert "one" in person.newest


async def test_what_was_left_out_stays_so_while_people_are_asked_and_after_a_restart(
    tmp_path: Path,
) -> None:
    async with staged(tmp_path) as stage:
        guide(stage, "Guide")
        ann = talk(stage, stage.bot("Asker", mcpServers=["gallery"]), "Ann")
        ann.answers("first", "noted", turn(PING), "third", "fourth")
        async with stage.host(**QUICK) as host:
            await servers_up(host)
            assert await ann.ask("one") == "first"
            assert await ann.ask("with poison") == "noted"
            ann.refuses(says(400, "Something cannot be processed"), holds("poison"))
            _, requests = await ann.costs("three")
            assert requests == 2
            chat = Chat(stage, ann.bot, ann.person, ann.room)
            question = await chat.question()
        async with stage.host(**QUICK) as host:
            await servers_up(host)
            chat.press(question, "Once")
            await chat.expects("third")
            assert len(ann.bodies) == 5
            assert await ann.costs("four") == ("fourth", 1)
        assert "pong" in ann.newest
        assert "one" in ann.newest


async def test_what_was_left_out_stays_so_after_a_restart(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        bot = guide(stage, "Guide")
        spoilt, long, seen = (talk(stage, bot, name) for name in ("Ann", "Ben", "Cid"))
        for person in (spoilt, long, seen):
            person.answers("first")
        seen.stage.script.rules[-1].turns.append(
            turn(Call("gallery__picture", {"kind": "fine png"}))
        )
        for person in (spoilt, long, seen):
            person.answers("second", "third", "fourth")
        async with stage.host(**QUICK):
            for person in (spoilt, long, seen):
                assert await person.ask("one") == "first"
                assert await person.ask("two with poison") == "second"
            spoilt.refuses(placed("{place}.text: odd", "poison"), holds("poison"))
            long.refuses(says(*TOO_LONG["the API's"]), holds("one"))
            seen.refuses(says(400, "Could not process image"), holds('"image"'))
            for person in (spoilt, long, seen):
                said, requests = await person.costs("three")
                assert (said.startswith("third"), requests) == (True, 2)
        async with stage.host(**QUICK):
            for person in (spoilt, long, seen):
                assert await person.costs("four") == ("fourth", 1)
        assert "one" in spoilt.newest
        assert "one" not in long.newest
        assert "one" in seen.newest


# --- malformed input of a call ---

MALFORMED = {
    "cut": called('{"a": "b'),
    "a list": called("[1]"),
    "a text": called('"a"'),
    "two": called("{} {}"),
    "words": called("I would call it with a=1"),
    "whole, a list": called(input=[1]),
    "whole, words": called(input="with a=1"),
}


@pytest.mark.parametrize("reason", ["tool_use", "end_turn"])
@pytest.mark.parametrize("manner", MALFORMED)
async def test_malformed_input_of_a_call_is_told_to_the_model_once(
    house: House, manner: str, reason: str
) -> None:
    person = house.talk()
    person.answers(sse([BEGIN, *MALFORMED[manner], ended(reason), STOP]), turn(PING), "mended")
    assert await person.costs("go") == ("mended", 3)
    assert "not plain JSON" in person.newest or "not a JSON object" in person.newest


async def test_a_model_that_only_writes_malformed_input_ends_after_three_requests(
    house: House,
) -> None:
    person = house.talk()
    spoilt = sse([BEGIN, *MALFORMED["cut"], ended("tool_use"), STOP])

    def answer(request: ModelRequest) -> Turn:
        return turn("in words") if "tool_choice" in request.body else spoilt

    person.answers(answer, again=True)
    assert await person.costs("go") == ("in words", 3)


@pytest.mark.parametrize("manner", ["delta", "start", "input"])
async def test_half_a_surrogate_pair_costs_no_request(house: House, manner: str) -> None:
    person = house.talk()
    text = {"type": "content_block_start", "index": 0}
    half, other = (
        {"type": "text_delta", "text": "a\ud83d"},
        {"type": "text_delta", "text": "\ude00b"},
    )
    opened = text | {"content_block": {"type": "text", "text": ""}}
    events: list[Any] = [BEGIN, opened]
    events += [{"type": "content_block_delta", "index": 0, "delta": one} for one in (half, other)]
    if manner == "start":
        events = [BEGIN, text | {"content_block": {"type": "text", "text": "half \ud83d."}}]
    if manner == "input":
        events = [BEGIN, *called('{"q": "cut \\ud83d"}')]
    written = [json.dumps(one) for one in [*events, ended("end_turn"), STOP]]
    body = "".join(f"data: {one}\n\n" for one in written).encode()
    person.answers(turn(fault=Raw(body)), "told")
    said, requests = await person.costs("go")
    assert (said, requests) == {
        "delta": ("a😀b", 1),
        "start": ("half \ufffd.", 1),
        "input": ("told", 2),
    }[manner]


# --- limits in tokens ---


@pytest.mark.parametrize("sign", ["漢", "한"])
async def test_a_conversation_in_any_script_stays_within_the_window(
    house: House, sign: str
) -> None:
    person = house.talk(house.small)
    person.answers(*[Text(sign * 28_000)] * 9)
    for number in range(9):
        person.stage.world.say(person.person, person.room, f"{number} {sign * 4_000}")

    def all_are_there() -> bool:
        return sum(text.count(sign) for text in texts()) >= 9 * 28_000 or any(
            NEW in text or text == BROKEN for text in texts()
        )

    def texts() -> list[str]:
        return house.stage.texts(person.room, person.bot.id)

    await house.stage.world.until(all_are_there, 60)
    assert len(person.bodies) == 9
    assert all(sign in text for text in texts())
    assert len(person.bodies[-1]["messages"]) >= 5


async def test_results_that_are_too_long_for_one_turn_are_left_out(house: House) -> None:
    person = house.talk(house.small)
    calls = [Call("gallery__long", {"sign": sign, "times": 90_000}) for sign in "漢字文"]
    person.answers(*map(turn, calls), "read it all", "and on")
    said, requests = await person.costs("read on and on")
    assert said == "read it all"
    assert requests == 5
    assert "left out" in person.newest
    assert await person.costs("and now?") == ("and on", 1)


# --- thinking in a loop of calls ---


async def test_the_fallback_goes_on_with_a_loop_whose_thinking_is_gone(house: House) -> None:
    person = house.talk(house.budget)
    person.stage.script.on(
        turn(Think("hm"), PING),
        turn(fault=HttpError(429, retry_after=7200)),
        user=person.mark,
        model="claude-sonnet-4-5",
    )
    person.stage.script.on("from the other", user=person.mark, model="claude-haiku-4-5")
    assert await person.costs("go") == ("from the other", 3)
    kinds = [body.get("thinking", {}).get("type") for body in person.bodies]
    assert kinds == ["enabled"] * 2 + [None]


STALE = {
    "expected": "{place}.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`. "
    "When `thinking` is enabled, a final `assistant` message must start with a thinking block",
    "LiteLLM's": "litellm.BadRequestError: AnthropicException - messages.1.content.0.type: "
    "Expected `thinking` or `redacted_thinking`, but found `text`.",
    "signature": "messages.1.content.0: Invalid `signature` in `thinking` block",
    "modified": "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest "
    "assistant message cannot be modified.",
    "DeepSeek's": "The `content[].thinking` in the thinking mode must be passed back to the API.",
    "bound": "messages.1.content.0: The `thinking` block is bound to a different conversation.",
}


@pytest.mark.parametrize("manner", STALE)
async def test_thinking_that_the_api_does_not_take_back_is_dropped_and_not_asked_for(
    house: House, manner: str
) -> None:
    person = house.talk()
    fault = HttpError(400, STALE[manner].format(place="messages.1.content.0"))
    person.answers(turn(Think("hm"), PING), turn(fault=fault), "done", "and on")
    assert await person.costs("go") == ("done", 3)
    assert '"thinking"' not in person.newest
    assert person.bodies[-1]["thinking"] == {"type": "disabled"}
    assert await person.costs("and now?") == ("and on", 1)
    assert '"thinking"' not in person.newest


# --- streams of gateways ---


def _at(index: Any, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same events at another index, or at none."""
    moved = [event | {"index": index} for event in events]
    return [{k: v for k, v in event.items() if v is not ...} for event in moved]


WORDS = [
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "Let me see."},
    },
    {"type": "content_block_stop", "index": 0},
]
STREAMS: dict[str, Turn] = {
    "end_turn": sse([BEGIN, *called("{}"), ended("end_turn"), STOP]),
    "tool_calls": sse([BEGIN, *called("{}"), ended("tool_calls"), STOP]),
    "function_call": sse([BEGIN, *called("{}"), ended("function_call"), STOP]),
    "stop": sse([BEGIN, *called("{}"), ended("stop"), STOP]),
    "no input": sse([BEGIN, *called(input=...), ended("tool_use"), STOP]),
    "null input": sse([BEGIN, *called(input=None), ended("tool_use"), STOP]),
    "input as a text": sse([BEGIN, *called(input='{"a": 1}'), ended("tool_use"), STOP]),
    "input as an empty text": sse([BEGIN, *called(input=""), ended("tool_use"), STOP]),
    "no id": sse([BEGIN, *called("{}", id=...), ended("tool_use"), STOP]),
    "no index": sse([BEGIN, *_at(..., WORDS), *_at(..., called("{}")), ended("tool_use"), STOP]),
    "one index": sse([BEGIN, *WORDS, *called("{}"), ended("tool_use"), STOP]),
    "done": sse([BEGIN, *called("{}"), ended("tool_use"), STOP], done=True),
    "done instead": sse([BEGIN, *called("{}"), ended("tool_use")], done=True),
    "no end": sse([BEGIN, *called("{}"), ended("tool_use")]),
}


@pytest.mark.parametrize("manner", STREAMS)
async def test_a_call_in_the_stream_of_another_server_is_run(house: House, manner: str) -> None:
    person = house.talk()
    person.answers(STREAMS[manner], "ran", "and on")
    said, requests = await person.costs("go")
    assert (said.endswith("ran"), requests) == (True, 2)
    assert '"pong"' in person.newest
    assert await person.costs("and now?") == ("and on", 1)


async def test_an_address_of_one_s_own_needs_no_key(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        bot = stage.bot("Echo")
        stage.sim.keys = {""}
        ann = talk(stage, bot, "Ann")
        ann.answers("no key needed")
        async with stage.host(ANTHROPIC_API_KEY=""):
            assert await ann.costs("hi") == ("no key needed", 1)
        assert "authorization" not in stage.sim.records.all()[0].headers
        assert "x-api-key" not in stage.sim.records.all()[0].headers
