"""A turn to run, as it is given to the runner."""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.events import Incoming, TurnRef
from bot.ports.channel import Channel
from bot.ports.fence import Fence
from bot.turn.again import Again
from bot.turn.plan import Plan
from bot.turn.timers import Timers


@dataclass(frozen=True, slots=True)
class Job:
    """A turn to run: for whom, where, with which agent, under which fence.

    `again` is what it repeats, where a person asks for an answer once more; `alone` says that no
    other suspect of ending the host runs beside it.
    """

    fence: Fence
    entry: str
    incoming: Incoming
    plan: Plan
    channel: Channel
    timers: Timers = field(default_factory=Timers)
    role: str = "everyone"
    again: Again | None = None
    alone: bool = False

    @property
    def ref(self) -> TurnRef:
        """The turn's name in the store."""
        return TurnRef(self.entry, self.incoming.address.conversation, self.plan.agent)
