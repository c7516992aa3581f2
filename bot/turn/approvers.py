"""Who may answer a question, and whose message ends the wait for an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.access import HOST_ADMINS, Access
from bot.events import Person
from bot.tools.approvals import Sheet, named, stands
from bot.turn.plan import Plan
from bot.turn.suspension import Place

Names = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Approvers:
    """Judges who may approve: by id, as who asked, as an admin of the chat or of the host."""

    access: Access

    def of(self, plan: Plan, bot: int) -> Names:
        """Who may approve what this agent wants to do at a bot."""
        return self.access.approvers(plan.approvers, bot)

    def standing(
        self, found: Mapping[str, Mapping[str, Any]], plan: Plan, bot: int, person: int
    ) -> list[str]:
        """Which of the things allowed for good hold today, for a turn of this person."""
        approvers = self.of(plan, bot)
        return [
            name
            for name, grant in found.items()
            if stands(grant, approvers, person) and self._may_still(grant, bot)
        ]

    def _may_still(self, grant: Mapping[str, Any], bot: int) -> bool:
        """Whether whoever allowed it is still an admin, if they did so as one, and not blocked."""
        by = int(grant.get("by", 0))
        if self.access.is_admin(by):
            return True
        return grant.get("as") != HOST_ADMINS and not self.access.is_blocked("person", by, bot)

    async def may_answer(self, place: Place, sheet: Sheet, person: Person) -> bool:
        """Whether somebody may decide a sheet."""
        if named(sheet, person.id):
            return True
        if HOST_ADMINS in sheet.approvers and self.access.is_admin(person.id):
            return True
        if "admins" not in sheet.approvers:
            return False
        return await place.channel.administers(sheet.address, person.id)

    async def need_not_wait(self, place: Place, sheet: Sheet, person: Person) -> bool:
        """Whether a message of this person means that the turn need not wait any more."""
        if sheet.address.private or person.id == sheet.asker.id:
            return True
        if await self.may_answer(place, sheet, person):
            return True
        return await self._is_abandoned(place, sheet)

    async def _is_abandoned(self, place: Place, sheet: Sheet) -> bool:
        """Whether everybody who may answer has left the chat."""
        if "admins" in sheet.approvers:
            return False
        people = {one for one in sheet.approvers if isinstance(one, int)}
        people |= {sheet.asker.id} if "asker" in sheet.approvers else set()
        people |= self.access.admins if HOST_ADMINS in sheet.approvers else set()
        for one in people:
            if not await place.channel.has_left(sheet.address, one):
                return False
        return True
