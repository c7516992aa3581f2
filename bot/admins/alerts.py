"""Word to the admins, in the chats that they opened with one of our bots."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress

import structlog

from bot.admins.contacts import AdminContacts
from bot.errors import StoreError
from bot.messages import Clock, OutgoingPart
from bot.store.outbox import Outbox
from registry.errors import Problem

log = structlog.get_logger("notices")

MOST_CHARACTERS = 3500
OTHERS_FIRST_S = 3.0


class AdminAlerts:
    """Each notice goes to each admin once, over a line of this replica where there is one.

    `admins` are those of the moment, `served` the lines that this replica owns now; `nudge` has one
    of them look at its outbox; `hide` takes secrets out of what is told.
    """

    def __init__(
        self,
        outbox: Outbox,
        known: AdminContacts,
        admins: Callable[[], Collection[int]],
        clock: Clock,
        served: Callable[[], Collection[str]],
        nudge: Callable[[str], Awaitable[None]],
        hide: Callable[[str], str] = str,
    ) -> None:
        self._hide = hide
        self._outbox = outbox
        self._known = known
        self._admins = admins
        self._clock = clock
        self._served = served
        self.nudge = nudge
        self._met: set[tuple[int, str]] = set()

    async def seen(self, person: int, line: str) -> bool:
        """An admin wrote to a line in private; whether that is news to this process."""
        if (person, line) in self._met:
            return False
        with suppress(StoreError):  # the next message tells it again
            await self._known.note(person, line)
            self._met.add((person, line))
        return True

    async def lost(self, person: int, line: str) -> None:
        """An admin cannot be reached over a line, until they write there again."""
        self._met.discard((person, line))
        with suppress(StoreError):
            await self._known.forget(person, line)

    async def ways(self, first: str = "") -> dict[int, str]:
        """The line over which each admin can be reached: the first one, where they know that."""
        known = await self._known.lines()
        return {
            person: self._way(known[person], first) for person in self._admins() if person in known
        }

    async def tell(self, key: str, text: str) -> None:
        """Plain text to every admin who has a chat with us, once for the key on all replicas."""
        try:
            await self._tell(key, self._hide(text)[:MOST_CHARACTERS])
        except StoreError as error:
            log.warning("notice.not_sent", error=str(error))

    async def _tell(self, key: str, text: str) -> None:
        ways = await self.ways()
        if not ways:
            log.warning("notice.nobody", why="no admin has written to one of the bots yet")
            return
        if not set(ways.values()) & set(self._served()):  # a replica that can send goes first
            await self._clock.sleep(OTHERS_FIRST_S)
        if not await self._known.claim(key):
            return
        for person, line in ways.items():
            part = OutgoingPart(person, "message", {"text": text})
            await self._outbox.post(line, f"{key}:{person}", [part])
        for line in set(ways.values()):
            await self.nudge(line)

    def _way(self, lines: Iterable[str], first: str) -> str:
        """The line to take: the first, or one that is served here; always the same one."""
        served = self._served()
        return min(lines, key=lambda line: (line != first, line not in served, line))


def key_of(text: str, at: float) -> str:
    """A key for a notice: the same text within the same ten minutes is the same notice."""
    words = f"{int(at // 600)}\n{text}"
    return hashlib.sha256(words.encode()).hexdigest()[:32]


SOON = 0.2


class ProblemAlerts:
    """Looks at the errors after each change, and tells of a source that has some and had none.

    A source that is mended and breaks again is told of again.
    """

    def __init__(
        self, errors: Callable[[], Sequence[Problem]], notices: AdminAlerts, clock: Clock
    ) -> None:
        self._errors = errors
        self._notices = notices
        self._clock = clock
        self._bad: set[str] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self._soon: asyncio.TimerHandle | None = None

    def look_soon(self) -> None:
        """Look once in a moment, however often this is called: bots come by the hundred."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(SOON, self.look)

    def look(self) -> None:
        """Compare with the last look; never blocks."""
        self._forget_soon()
        errors = self._errors()
        news = [problem for problem in errors if _source(problem) not in self._bad]
        self._bad = {_source(problem) for problem in errors}
        if not news:
            return
        text = "\n".join(str(problem) for problem in news)
        log.error("agents.bad", problems=text)
        words = f"The agents have a problem; what was good before stays in force.\n\n{text}"
        told = asyncio.create_task(self._notices.tell(key_of(words, self._clock.wall()), words))
        self._telling.add(told)
        told.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Stop telling."""
        self._forget_soon()
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    def _forget_soon(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None


def _source(problem: Problem) -> str:
    """The document of a problem, without its line and column."""
    place = problem.place
    for _ in range(2):
        before, _, number = place.rpartition(":")
        place = before if before and number.isdecimal() else place
    return place
