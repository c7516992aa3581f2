"""What people may change at this moment: in Telegram by their roles, over HTTP by their key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from bot.access.rules import Access
from bot.messages import PersonId
from registry.api_key import ApiKey
from registry.roles import Actor, Target, may_write
from registry.snapshot import Snapshot

IN_TELEGRAM = "tg:"


@dataclass(frozen=True, slots=True)
class CurrentRoles:
    """The roles of people now: those of Telegram by their id, those over HTTP by their key.

    `own_keys` are the API keys of the environment.
    """

    access: Access
    snapshot: Callable[[], Snapshot]
    own_keys: Iterable[ApiKey] = ()
    wall: Callable[[], float] = time.time

    def actor(self, person: PersonId, key: str | None = None) -> Actor:
        """A person as the registry's changes name them; without roles where nothing proves them.

        A key that was revoked, has expired, or reaches one agent or client alone gives none; a
        person whom a request alone names lends it none.
        """
        name = str(person)
        if isinstance(person, int) or name.isdecimal():
            return self.access.actor(int(person))
        if name.startswith(IN_TELEGRAM) and name[len(IN_TELEGRAM) :].isdecimal() and not key:
            return replace(self.access.actor(int(name[len(IN_TELEGRAM) :])), via="http")
        found = self._key(key) if key else None
        is_own = found is not None and found.person() == name and not found.is_narrow
        if found is None or not is_own or not found.is_live(self.wall()):
            return Actor(name, (), "http", key or "")
        return found.actor(None, self.snapshot().roles_held_by(name))

    def may_write(self, person: PersonId, key: str | None, tier: str) -> bool:
        """Whether a person may write a tier of the operator's own account; with any reason."""
        target = Target(tier)  # type: ignore[arg-type]
        return may_write(self.actor(person, key).grants, target)

    def _key(self, id: str) -> ApiKey | None:
        entry = self.snapshot().document.keys.get(id)
        own = next((one for one in self.own_keys if one.id == id), None)
        return entry.value if entry else own
