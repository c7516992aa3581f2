"""Talking with a bot on a machine that others use as well."""

from __future__ import annotations

from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from tests.host.stage import Stage
from tests.host.tool_agent import PATIENCE


async def asked(stage: Stage, person: Person, room: Room, bot: Bot, text: str) -> str:
    """Say something, and wait for the next message of the bot, however slow the machine is."""
    had = len(stage.texts(room, bot.id))
    stage.world.say(person, room, text)
    return (await stage.answer(room, bot, had + 1, PATIENCE)).text
