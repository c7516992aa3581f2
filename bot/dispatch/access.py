"""Who may talk, and who administers: by numeric id alone."""

from __future__ import annotations

from bot.events import Person


class Access:
    """With no access list everybody may talk; only the listed admins administer."""

    def __init__(self, admins: frozenset[int]) -> None:
        self._admins = admins

    def is_admin(self, person: Person) -> bool:
        """Names and usernames never count: anybody can choose them."""
        return person.id in self._admins
