"""What a bot and the fleet need of the leases and the wakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from bot.ports.fence import Fence

Lease = Callable[[], float]
"""Seconds for which a line is surely ours."""
LEAST_LEASE = 0.5
"""With less than this left, nothing is sent any more."""


class View(Protocol):
    """What a look shows."""

    @property
    def hosts(self) -> frozenset[str]:
        """The hosts that are alive, as they announce themselves."""
        ...

    @property
    def holders(self) -> Mapping[str, str]:
        """Who holds each line that is not free."""
        ...


class Leases(Protocol):
    """The lines of this replica; `announced` is what others see of it, offers last."""

    announced: str
    lifetime: float

    async def acquire(self, line: str, lost: Callable[[], None]) -> Fence | None:
        """The line's fence, or None while another replica holds it."""
        ...

    def left(self, line: str) -> float:
        """Seconds for which the line is surely ours."""
        ...

    async def release(self, fence: Fence) -> None:
        """Give the line back."""
        ...

    async def look(self, lines: Sequence[str]) -> View:
        """Who is alive, and who holds these lines."""
        ...

    async def depart(self) -> None:
        """Be no longer counted among the hosts that share the lines."""
        ...


class Wakes(Protocol):
    """How a replica hears of what others did."""

    async def stirred(self) -> set[str]:
        """Lines that others have put something into since the last call."""
        ...

    async def listen_forever(self, wake: Callable[[str], None], freed: Callable[[], None]) -> None:
        """Call `wake` with a line's name, and `freed` when some line was given back."""
        ...
