"""A turn that waits for people: what makes it wait, and where that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bot.events import Incoming, Outgoing
from bot.ports.channel import Channel
from bot.ports.fence import Fence
from bot.ports.journal import OpenTurn, Record
from bot.ports.outbox import Posted
from bot.tools import sheets
from bot.tools.approvals import Asked, Sheet, new_nonce
from bot.tools.calls import Call
from bot.turn.filters import Filter
from bot.turn.plan import Plan
from bot.turn.timers import Timers


@dataclass(frozen=True, slots=True)
class Asking:
    """A call that needs a person; `always` says whether it may be allowed for good."""

    call: Call
    definition: str
    always: bool


@dataclass(frozen=True, slots=True)
class Suspension:
    """The walk cannot go on without a person; `said` is what was not told yet."""

    asking: tuple[Asking, ...]
    said: str = ""


class Place(Protocol):
    """A line while it is ours: the right to write, the way to people, the timers."""

    @property
    def fence(self) -> Fence: ...  # noqa: D102
    @property
    def channel(self) -> Channel: ...  # noqa: D102
    @property
    def timers(self) -> Timers: ...  # noqa: D102


class Approvals(Protocol):
    """A line's sheets, their timers, and what was allowed for good."""

    async def suspend(
        self,
        fence: Fence,
        turn: OpenTurn,
        records: Sequence[Record],
        sheet: Sheet,
        parts: Sequence[Outgoing],
        renders: Sequence[str],
        seconds: float,
    ) -> tuple[str, list[Posted]]:
        """The turn waits: records, sheet, question and the end of its entry, in one step."""
        ...

    async def sheet(self, line: str, nonce: str) -> Sheet | None:
        """A sheet by its nonce, or None."""
        ...

    async def decide(
        self,
        fence: Fence,
        entry: str,
        after: Sheet,
        parts: Sequence[Outgoing],
        grants: Mapping[str, bytes],
    ) -> list[Posted] | None:
        """Store a sheet over the version that it was made from; None where that has gone."""
        ...

    async def supersede(
        self,
        fence: Fence,
        after: Sheet,
        records: Sequence[Record],
        parts: Sequence[Outgoing],
        settles: str = "",
    ) -> list[Posted] | None:
        """End the sheet's turn where it waits; None where the sheet is another by now."""
        ...

    async def asked_in(self, line: str, conversation: str) -> str:
        """The nonce of the sheet that a conversation's open turn has asked last, or nothing."""
        ...

    async def waiting(self, line: str) -> list[tuple[str, float]]:
        """All sheets whose turns are not over, with the time when each is due."""
        ...

    async def forget(self, fence: Fence, nonce: str) -> None:
        """A sheet has done its work."""
        ...

    async def grants(self, line: str, conversation: str) -> dict[str, dict[str, Any]]:
        """What is allowed for good in a conversation, by its name."""
        ...

    async def revoke(self, fence: Fence, conversation: str, grant: str) -> None:
        """Something is allowed no more."""
        ...


@dataclass(frozen=True, slots=True)
class Granted:
    """What was allowed for good in one conversation."""

    approvals: Approvals
    fence: Fence
    conversation: str

    async def all(self) -> dict[str, dict[str, Any]]:
        """By its name: who allowed it, and when."""
        return await self.approvals.grants(self.fence.line, self.conversation)

    async def revoke(self, grant: str) -> None:
        """Allow it no more."""
        await self.approvals.revoke(self.fence, self.conversation, grant)


def sheet_of(
    suspension: Suspension,
    turn: OpenTurn,
    incoming: Incoming,
    plan: Plan,
    approvers: tuple[int | str, ...],
    now: float,
) -> Sheet:
    """The sheet for calls that wait from now on."""
    limit = sheets.SHOWN_LIMIT // len(suspension.asking)
    return Sheet(
        nonce=new_nonce(),
        turn=turn.ref,
        address=incoming.address,
        asker=incoming.person,
        message=incoming.message,
        approvers=approvers,
        asked=tuple(_asked(one, limit, plan.filter) for one in suspension.asking),
        until=now + plan.approval_seconds,
    )


def _asked(asking: Asking, limit: int, guard: Filter) -> Asked:
    call = asking.call
    return Asked(
        call=call.id,
        key=call.key,
        digest=call.digest,
        definition=asking.definition,
        always=asking.always,
        shown=sheets.described(call.origin, call.tool or "", call.arguments, limit, guard.question),
    )


def asking(channel: Channel, sheet: Sheet, reply_to: int | None = None) -> list[Outgoing]:
    """The parts that show a sheet to people; the last one has its buttons."""
    text, buttons = sheets.question(sheet), sheets.rows(sheet)
    parts = channel.render(sheet.address, text, reply_to, buttons=buttons)
    return [*parts[:-1], replace(parts[-1], shows=sheet.nonce)]


def redrawn(channel: Channel, sheet: Sheet, also: int | None = None) -> list[Outgoing]:
    """Edits of every message that shows a sheet; `also` is one that a press came from."""
    messages = dict.fromkeys([*sheet.messages, *([also] if also else [])])
    text, buttons = sheets.question(sheet), sheets.rows(sheet)
    return [
        replace(part, lapses=True)
        for message in messages
        for part in channel.render(sheet.address, text, edit=message, buttons=buttons)
    ]
