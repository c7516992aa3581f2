"""A limit that the model's provider sets for one key, met by many chats at once."""

from __future__ import annotations

import asyncio

from simulators.messages.turns import HttpError, turn
from tests.host.stage import Stage, until


async def test_a_limit_that_one_chat_meets_is_obeyed_by_all_and_everybody_is_answered(
    stage: Stage,
) -> None:
    bot = stage.bot("Echo")
    people = [stage.person(f"P{n}") for n in range(13)]
    rooms = [stage.world.private(person, bot) for person in people]
    stage.script.on(turn(fault=HttpError(429, retry_after=1)), "late", user="first")
    stage.script.on("there", user="second", again=True)
    async with stage.host():
        stage.world.say(people[0], rooms[0], "first")
        await until(lambda: len(stage.requests()) == 1)
        clock = asyncio.get_running_loop().time
        began = clock()
        others = zip(people[1:], rooms[1:], strict=True)
        said = await asyncio.gather(*(stage.ask(p, room, bot, "second") for p, room in others))
        assert said == ["there"] * 12
        assert clock() - began > 0.7
        assert (await stage.answer(rooms[0], bot)).text == "late"
    assert len(stage.requests()) == 14
