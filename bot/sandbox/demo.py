"""Who is in the sandbox: people, bots with tokens that are useless elsewhere, and their chats."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from simulators.telegram.people import Bot, Person
from simulators.telegram.world import World

ANN = 5_000_001
_FOR_EVER = 1e6


@dataclass(frozen=True, slots=True)
class Role:
    """A demo bot: its token is readable, and good only here."""

    token: str
    name: str
    username: str


BOTS = (
    Role("7000001:sandbox-token-of-meridian", "Meridian", "meridian_demo_bot"),
    Role("7000002:sandbox-token-of-quill", "Quill", "quill_demo_bot"),
    Role("7000003:sandbox-token-of-operator", "Operator", "operator_demo_bot"),
    Role("7000004:sandbox-token-of-concierge", "Concierge", "concierge_demo_bot"),
    Role("7000005:sandbox-token-of-almanac", "Almanac", "almanac_demo_bot"),
)
_PERSONS = ((ANN, "Ann", "ann"), (ANN + 1, "Ben", "ben"), (ANN + 2, "Chloé", "chloe"))


def settle(world: World) -> None:
    """Makes sure that people, bots and chats exist; existing ones stay."""
    persons = [
        world.members.persons.get(id) or world.person(name, id=id, username=username)
        for id, name, username in _PERSONS
    ]
    bots = [world.bot(role.token, role.name, role.username) for role in BOTS]
    for person in persons:
        for bot in bots:
            world.private(person, bot)
    titles = {room.title for room in world.rooms.by_key.values() if not room.private}
    everyone: list[Person | Bot] = [*persons, *bots]
    if "Team" not in titles:
        world.group("Team", everyone)
    if "Workshop" not in titles:
        room = world.group("Workshop", everyone, forum=True)
        for topic in ("Travel plans", "Reading list"):
            world.topic(room, topic, persons[0])


async def polling(world: World, since: float) -> None:
    """Returns when every demo bot has come after a moment (seconds since 1970), and polls."""
    for role in BOTS:
        bot = world.members.tokens.get(role.token)
        if bot is not None:  # else its token was revoked: it will not come
            await world.until(partial(_came, world, bot.id, since), _FOR_EVER)
            await bot.updates.wait_until_polled(_FOR_EVER)


def _came(world: World, bot: int, since: float) -> bool:
    return any(call.at >= since for call in world.calls.of(bot=bot, method="getMe"))
