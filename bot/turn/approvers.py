"""Who may answer a question, and whose message ends the wait for an answer."""

from __future__ import annotations

from bot.events import Person
from bot.tools.approvals import Sheet, named
from bot.turn.suspension import Place


async def may_answer(place: Place, sheet: Sheet, person: Person) -> bool:
    """Whether somebody may decide a sheet: by id, or as an admin of its chat."""
    if named(sheet, person.id):
        return True
    if "admins" not in sheet.approvers:
        return False
    return await place.channel.administers(sheet.address, person.id)


async def need_not_wait(place: Place, sheet: Sheet, person: Person) -> bool:
    """Whether a message of this person means that the turn need not wait any more."""
    if sheet.address.private or person.id == sheet.asker.id:
        return True
    return await may_answer(place, sheet, person) or await _is_abandoned(place, sheet)


async def _is_abandoned(place: Place, sheet: Sheet) -> bool:
    """Whether everybody who may answer has left the chat."""
    if "admins" in sheet.approvers:
        return False
    asker = [sheet.asker.id] if "asker" in sheet.approvers else []
    people = {*asker, *(one for one in sheet.approvers if isinstance(one, int))}
    for one in people:
        if not await place.channel.has_left(sheet.address, one):
            return False
    return True
