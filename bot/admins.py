"""The host's admins: through which bots they can be reached, and the alerts that they get."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from bot.errors import StoreError
from bot.messages import Clock, OutgoingPart
from bot.ops.tasks import cancel_and_wait
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.outbox import Outbox
from registry.errors import Problem

log = structlog.get_logger("alerts")

MAX_CHARACTERS = 3500
OTHERS_FIRST_S = 3.0
ALERT_ONCE_S = 48 * 3600
SAME_ALERT_S = 600
CHECK_DELAY_S = 0.2


@dataclass(frozen=True, slots=True)
class PersonLines:
    """A stored set of pairs, "<person> <line>": who wrote there in private, or has a menu there."""

    client: StoreClient
    key: str

    async def note(self, person: int, line: str) -> None:
        """Add a pair."""
        await self.client.command("SADD", self.key, f"{person} {line}")

    async def forget(self, person: int, line: str) -> None:
        """Remove a pair."""
        await self.client.command("SREM", self.key, f"{person} {line}")

    async def lines(self) -> dict[int, list[str]]:
        """The lines of each person."""
        found: dict[int, list[str]] = {}
        for member in await self.client.command("SMEMBERS", self.key):
            person, _, line = member.decode().partition(" ")
            found.setdefault(int(person), []).append(line)
        return found

    async def of(self, line: str) -> set[int]:
        """The persons of a line."""
        return {person for person, lines in (await self.lines()).items() if line in lines}


@dataclass(slots=True)
class AdminAlerts:
    """Sends each alert to each admin once, over a line of this replica where there is one.

    `contacts` are those who wrote to a line in private, so that its bot may write to them. `admins`
    are those of the moment, `served` the lines that this replica owns now. `nudge` makes a line
    look at its outbox; `hide` takes secrets out of a text; `dead` are lines that nobody can use
    now.
    """

    outbox: Outbox
    contacts: PersonLines
    admins: Callable[[], Collection[int]]
    clock: Clock
    served: Callable[[], Collection[str]]
    nudge: Callable[[str], Awaitable[None]]
    hide: Callable[[str], str] = str
    dead: Callable[[], Collection[str]] = field(init=False, default=tuple)
    _remembered: set[tuple[int, str]] = field(init=False, default_factory=set)

    async def remember(self, person: int, line: str) -> bool:
        """Note that an admin wrote to a line in private; True if this process did not know."""
        if (person, line) in self._remembered:
            return False
        with suppress(StoreError):  # their next message tries again
            await self.contacts.note(person, line)
            self._remembered.add((person, line))
        return True

    def expect_all(self) -> None:
        """Who is an admin has changed: all who write next count as new to this process."""
        self._remembered.clear()

    async def forget(self, person: int, line: str) -> None:
        """An admin cannot be reached over a line, until they write there again."""
        self._remembered.discard((person, line))
        with suppress(StoreError):
            await self.contacts.forget(person, line)

    async def routes(
        self, preferred: str = "", people: Collection[int] | None = None
    ) -> dict[int, str]:
        """The line over which each admin can be reached, or each of these people.

        The preferred one if they know it.

        Else one that is served here; always the same one. `people` are meant in place of admins.
        """
        lines, served, dead = await self.contacts.lines(), self.served(), self.dead()
        usable = {p: [one for one in known if one not in dead] for p, known in lines.items()}
        return {
            person: min(
                usable[person], key=lambda line: (line != preferred, line not in served, line)
            )
            for person in (self.admins() if people is None else people)
            if usable.get(person)
        }

    async def send(self, key: str, text: str) -> bool:
        """Send a plain text to every admin who can be reached, once for its key on all replicas.

        False where no admin can be reached yet, or the store is away.
        """
        try:
            return await self._send(key, self.hide(text)[:MAX_CHARACTERS])
        except StoreError as error:
            log.warning("alert.not_sent", error=str(error))
            return False

    async def forget_alert(self, key: str) -> None:
        """The reason for an alert is gone: if it comes back, admins are told again."""
        with suppress(StoreError):
            await self.contacts.client.command("DEL", keys.alert_sent(key))

    async def send_new(self, text: str) -> None:
        """Send a text; the same one within the same ten minutes is the same alert."""
        at = int(self.clock.wall() // SAME_ALERT_S)
        await self.send(hashlib.sha256(f"{at}\n{text}".encode()).hexdigest()[:32], text)

    async def _send(self, key: str, text: str) -> bool:
        routes = await self.routes()
        if not routes:
            log.warning("alert.nobody", why="no admin has written to one of the bots yet")
            return False
        if not set(routes.values()) & set(self.served()):  # a replica that can send goes first
            await self.clock.sleep(OTHERS_FIRST_S)
        command = ("SET", keys.alert_sent(key), 1, "NX", "EX", ALERT_ONCE_S)
        if await self.contacts.client.command(*command) is None:
            return True
        at = self.clock.wall()  # an alert that comes back is another one to the outbox
        for person, line in routes.items():
            part = OutgoingPart(person, "message", {"text": text})
            await self.outbox.post(line, f"{key}:{at}:{person}", [part])
        for line in set(routes.values()):
            await self.nudge(line)
        return True


@dataclass(slots=True)
class StandingAlerts:
    """Reports each problem once, and again if it returns after it was gone.

    `problems` are the present ones by key; `head` is the sentence above each of them, `event` its
    name in the log. What no admin could be told is tried again at each check.
    """

    problems: Callable[[], Mapping[str, Problem]]
    alerts: AdminAlerts
    head: str
    event: str
    _logged: set[str] = field(init=False, default_factory=set)
    _told: set[str] = field(init=False, default_factory=set)
    _sending: asyncio.Task[None] | None = field(init=False, default=None)
    _changed: bool = field(init=False, default=False)

    def check(self) -> None:
        """Compare with what was told; never blocks."""
        found = self.problems()
        for problem in (found[key] for key in found.keys() - self._logged):
            log.error(self.event, problem=str(problem))
        self._logged = set(found)
        if found.keys() == self._told:
            return
        self._changed = True
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send(), name="alerts")

    async def _send(self) -> None:
        while self._changed:
            self._changed, found = False, self.problems()
            for key in self._told - found.keys():
                await self.alerts.forget_alert(key)
                self._told.discard(key)
            for key in found.keys() - self._told:
                if await self.alerts.send(key, f"{self.head}\n\n{found[key]}."):
                    self._told.add(key)

    async def close(self) -> None:
        """Stop sending."""
        if self._sending is not None:
            await cancel_and_wait([self._sending])


@dataclass(slots=True)
class ProblemAlerts:
    """Checks for errors after each change, and reports a source that has some and had none.

    A source that was repaired and breaks again is reported again. `consequence` says what is in
    force meanwhile.
    """

    errors: Callable[[], Sequence[Problem]]
    consequence: Callable[[], str]
    alerts: AdminAlerts
    _reported: set[str] = field(init=False, default_factory=set)
    _sending: set[asyncio.Task[None]] = field(init=False, default_factory=set)
    _soon: asyncio.TimerHandle | None = field(init=False, default=None)

    def check_soon(self) -> None:
        """Check once in a while, however often this is called: bots may start by the hundred."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(CHECK_DELAY_S, self.check)

    def check(self) -> None:
        """Compare with the last check; never blocks."""
        self._cancel_timer()
        errors = self.errors()
        new = [problem for problem in errors if _source(problem) not in self._reported]
        self._reported = {_source(problem) for problem in errors}
        if not new:
            return
        problems = "\n".join(str(problem) for problem in new)
        log.error("agents.bad", problems=problems)
        head = f"The agents have a problem. {self.consequence()}".strip()
        text = f"{head}\n\n{problems}"
        task = asyncio.create_task(self.alerts.send_new(text))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Stop sending."""
        self._cancel_timer()
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    def _cancel_timer(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None


def _source(problem: Problem) -> str:
    """The document of a problem, without its line and column."""
    return re.sub(r"(?<=.)(:\d+){1,2}\Z", "", problem.place)
