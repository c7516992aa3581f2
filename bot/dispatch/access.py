"""Who may talk, and who administers: by numeric id alone."""

from __future__ import annotations

from bot.events import ANONYMOUS_ADMIN, Person


class Access:
    """With no access list everybody may talk; only the listed admins administer."""

    def __init__(self, admins: frozenset[int]) -> None:
        self._admins = admins - {ANONYMOUS_ADMIN}

    def is_admin(self, person: Person) -> bool:
        """Names and usernames never count: anybody can choose them."""
        return person.id in self._admins

    def role(self, person: Person) -> str:
        """The role by which a tool's condition knows the person: admin or everyone."""
        return "admin" if self.is_admin(person) else "everyone"
