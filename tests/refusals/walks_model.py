"""The rows M: a model API that says one thing forever, and how a conversation ends there."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from bot.turn.results import PARTIAL
from simulators.messages.turns import Call, EndEarly, ErrorEvent, Fault, HttpError, Turn, turn
from simulators.messages.validate import ModelRequest
from simulators.telegram.people import Bot
from simulators.testing.stage import buttons
from tests.host.stage import Stage, staged
from tests.refusals.table import ends
from tests.refusals.talking import QUICK, Talk, always, called, gallery_house, says, stream_of, talk

APOLOGY = "I can't answer at the moment"
NOT_TAKEN = "the model refused something in it"
TOO_LONG = "too long for the model"
BUSY = "does not answer right now"
SHORT = {"LIMITS__TURNSECONDS": "3"}
"""So that the pauses between tries are few."""


@contextlib.asynccontextmanager
async def house(folder: Path, **environ: str) -> AsyncIterator[tuple[Stage, Bot]]:
    """A host whose bot has no tools."""
    async with staged(folder) as stage:
        bot = stage.bot("Echo")
        async with stage.host(**QUICK, **environ):
            yield stage, bot


async def ended(
    stage: Stage,
    bot: Bot,
    refusal: Callable[[ModelRequest], Turn],
    end: str,
    *,
    requests: int,
    first: Turn | None = None,
    name: str = "Ann",
) -> Talk:
    """One person meets a refusal forever, and reads `end` after at most so many requests.

    It begins with the second message, or with the result of a call where `first` is one. Another
    person is answered meanwhile; and so is the next message once it is over, at once and with the
    history from before.
    """
    ann, ben = talk(stage, bot, name), talk(stage, bot, f"Ben beside {name}")
    ann.answers("first", *([first] if first else []))
    assert await ann.ask("one") == "first"
    ann.refuses(refusal, (lambda request: bool(request.results)) if first else always)
    ben.answers("here")
    before = len(ann.bodies)
    stage.world.say(ann.person, ann.room, "two")
    assert await ben.costs("anybody?") == ("here", 1)
    said = (await stage.answer(ann.room, bot, 2)).text
    assert end in said
    assert len(ann.bodies) - before <= requests + (first is not None)
    del stage.script.rules[0]
    ann.answers("healed")
    assert await ann.costs("three") == ("healed", 1)
    assert "one" in ann.newest
    return ann


def offers_another_try(person: Talk) -> bool:
    return any("Try again" in buttons(message) for message in person.room.messages.values())


@ends("M1")
async def what_is_ours_to_mend_is_asked_once(folder: Path) -> None:
    async with house(folder) as (stage, bot):
        for number, (status, words) in enumerate(
            [
                (401, "invalid x-api-key"),
                (404, "model: claude-nine"),
                (400, "Your credit balance is too low to access the Anthropic API."),
                (400, "tools.0.custom.input_schema: JSON schema is invalid"),
            ]
        ):
            await ended(stage, bot, says(status, words), APOLOGY, requests=1, name=f"Ann{number}")


@ends("M2")
async def a_place_that_is_named_for_ever(folder: Path) -> None:
    async with house(folder) as (stage, bot):
        refusal = says(400, "messages.0.content.0: Input should be something else")
        ann = await ended(stage, bot, refusal, NOT_TAKEN, requests=3)
        assert "/new" in stage.texts(ann.room, bot.id)[1]
        assert "two" not in ann.newest


@ends("M3")
async def pictures_that_are_refused_for_ever(folder: Path) -> None:
    async with gallery_house(folder) as (stage, bot):
        picture = turn(Call("gallery__picture", {"kind": "fine png"}))
        refusal = says(400, "Could not process image")
        ann = await ended(stage, bot, refusal, NOT_TAKEN, requests=5, first=picture)
        assert "these tools were called for it: gallery__picture" in ann.newest


@ends("M4")
async def a_request_that_is_refused_for_no_known_reason(folder: Path) -> None:
    async with house(folder) as (stage, bot):
        ann = await ended(stage, bot, says(422, "Unprocessable"), NOT_TAKEN, requests=3)
        assert "/new" in stage.texts(ann.room, bot.id)[1]


@ends("M5")
async def a_conversation_that_is_always_too_long(folder: Path) -> None:
    async with gallery_house(folder) as (stage, bot):
        refusal = says(413, "Request exceeds the maximum size")
        await ended(stage, bot, refusal, TOO_LONG, requests=3, name="Ann")
        long = turn(Call("gallery__long", {"sign": "x", "times": 9}))
        refusal = says(400, "prompt is too long: 210000 tokens > 200000 maximum")
        ann = await ended(stage, bot, refusal, TOO_LONG, requests=5, first=long, name="Amy")
        assert "/new" in stage.texts(ann.room, bot.id)[1]


@ends("M6")
async def thinking_that_never_fits(folder: Path) -> None:
    async with house(folder) as (stage, bot):
        words = "messages.1.content.0: Invalid `signature` in `thinking` block"
        ann = await ended(stage, bot, says(400, words), BUSY, requests=4)
        assert offers_another_try(ann)


@ends("M7")
async def a_model_that_is_always_busy(folder: Path) -> None:
    async with house(folder, **SHORT) as (stage, bot):
        ann = await ended(stage, bot, says(529, "Overloaded"), BUSY, requests=4)
        assert offers_another_try(ann)


@ends("M8")
async def a_model_that_names_a_wait_of_hours(folder: Path) -> None:
    async with house(folder) as (stage, bot):
        fault = HttpError(429, "Too many requests", retry_after=7200)
        ann = talk(stage, bot, "Ann")
        ann.answers("first")
        assert await ann.ask("one") == "first"
        ann.refuses(lambda _: turn(fault=fault), always)
        said, requests = await ann.costs("two")
        assert (BUSY in said, requests) == (True, 1)
        assert offers_another_try(ann)


@ends("M9")
async def streams_that_always_break(folder: Path) -> None:
    faults: list[Fault] = [EndEarly(), ErrorEvent(events=3)]
    async with house(folder, **SHORT) as (stage, bot):
        refusal = iter(range(99))

        def broken(_: ModelRequest) -> Turn:
            return turn("half of it", fault=faults[next(refusal) % 2])

        ann = await ended(stage, bot, broken, BUSY, requests=4)
        assert any(PARTIAL in text for text in stage.texts(ann.room, bot.id))
        assert "half of it" in ann.newest  # as spec 3 keeps it: it was shown


@ends("M10")
async def calls_whose_input_is_never_json(folder: Path) -> None:
    async with gallery_house(folder) as (stage, bot):
        spoilt = stream_of(called('{"a": "b'), "tool_use")

        def answer(request: ModelRequest) -> Turn:
            return turn("in words") if "tool_choice" in request.body else spoilt

        await ended(stage, bot, answer, "in words", requests=3)


@ends("M11")
async def a_window_that_is_always_full(folder: Path) -> None:
    async with house(folder) as (stage, bot):
        full = turn("so far", stop="model_context_window_exceeded")
        ann = await ended(stage, bot, lambda _: full, "so far", requests=1)
        assert "/new" in stage.texts(ann.room, bot.id)[1]
