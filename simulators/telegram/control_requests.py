"""One request to the control API, with errors that name the wrong field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.telegram.world import World, WorldError


class ControlRequest:
    """The fields of one control request, read with errors that name the wrong field."""

    def __init__(self, world: World, given: Mapping[str, Any]) -> None:
        self.world = world
        self._given = given

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """A field of a kind; WorldError when it is of another one."""
        value = self._given.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise WorldError(f"field {name!r} must be of type {kind.__name__}")
        return value

    def need(self, name: str, kind: type) -> Any:
        """A field that must be there."""
        value = self.get(name, kind)
        if value is None:
            raise WorldError(f"field {name!r} of type {kind.__name__} is missing")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A field with any number."""
        value = self.get(name, object, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WorldError(f"field {name!r} must be a number")
        return float(value)

    def person(self, name: str = "person") -> Person:
        """The person whose id is in a field."""
        person = self.world.members.persons.get(self.need(name, int))
        if person is None:
            raise WorldError(f"field {name!r}: no such person; make one with /control/person")
        return person

    def bot(self, name: str = "bot") -> Bot:
        """The bot whose id is in a field."""
        bot = self.world.members.bots.get(self.need(name, int))
        if bot is None:
            raise WorldError(f"field {name!r}: no such bot; make one with /control/bot")
        return bot

    def room(self, name: str = "room") -> Room:
        """The room whose key is in a field."""
        room = self.world.rooms.by_key.get(self.need(name, str))
        if room is None:
            raise WorldError(f"field {name!r}: no such room; /control/state lists them")
        return room

    def party(self, name: str = "party") -> Person | Bot:
        """The person or bot whose id is in a field."""
        return self._party(self.need(name, int), name)

    def parties(self, name: str = "members") -> list[Person | Bot]:
        """The persons and bots whose ids are in a field."""
        return [self._party(number, name) for number in self.need(name, list)]

    def _party(self, number: Any, name: str) -> Person | Bot:
        party = self.world.members.persons.get(number) or self.world.members.bots.get(number)
        if party is None:
            raise WorldError(f"field {name!r}: nobody has the id {number!r}")
        return party
