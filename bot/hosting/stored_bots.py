"""The bots of the store on this host: each change of their documents is followed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from bot.hosting.fleet import Fleet
from bot.hosting.line import HostedLine
from bot.ops.redaction import Secrets
from bot.ops.tasks import cancel_and_wait
from registry.bot_edits import sealing_keys, set_the_key, unreadable
from registry.errors import Problem
from registry.sealing import Sealer, Unopened
from registry.snapshot import Entry, Snapshot
from registry.stored_bot import StoredBot

log = structlog.get_logger("bots")

MakeLine = Callable[[StoredBot, str], HostedLine]
"""The line of a bot with this token."""


@dataclass(slots=True, repr=False)
class StoredBots:
    """Adds a line for each running bot of the store whose token can be read, and takes it away.

    `own` are the bots of the environment, which the store does not change. `closed` is called with
    a line that has ended and whether it was served here, `changed` after each change.
    """

    fleet: Fleet
    sealer: Sealer | None
    own: Collection[int]
    secrets: Secrets
    make_line: MakeLine
    closed: Callable[[HostedLine, bool], Awaitable[None]]
    changed: Callable[[], None] = field(default=lambda: None)
    _bots: Mapping[str, Entry[StoredBot]] = field(default_factory=dict, init=False)
    _lines: dict[str, tuple[str, HostedLine]] = field(default_factory=dict, init=False)
    """By the bot's id its sealed token, and its line."""
    _leaving: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _problems: dict[str, Problem] = field(default_factory=dict, init=False)

    def follow(self, snapshot: Snapshot) -> None:
        """Put the bots of a snapshot in force."""
        bots = snapshot.document.bots
        if bots is not self._bots:
            self._bots = bots
            self._look()

    def _look(self) -> None:
        wanted = {
            id: entry.value
            for id, entry in self._bots.items()
            if entry.value.state == "running" and int(id) not in self.own
        }
        for id, (sealed, line) in [*self._lines.items()]:
            bot = wanted.get(id)
            if id not in self._leaving and (bot is None or bot.token != sealed):
                if bot is not None and self._is_same(bot, sealed):
                    self._lines[id] = bot.token, line  # sealed anew with another key
                    continue
                task = asyncio.create_task(self._end(id, line), name=f"bot.end:{id}")
                self._leaving[id] = task
        self._problems = {id: one for id, one in self._problems.items() if id in wanted}
        for id, bot in wanted.items():
            if id not in self._lines:
                self._open(bot)
        self.changed()

    def _open(self, bot: StoredBot) -> None:
        try:
            token = self._token(bot)
        except Unopened as why:
            if bot.id not in self._problems:
                log.error("bot.unreadable", bot=bot.id, why=str(why))
            self._problems[bot.id] = self._problem(bot, str(why))
            return
        self._problems.pop(bot.id, None)
        self.secrets.add(token)
        line = self.make_line(bot, token)
        self._lines[bot.id] = bot.token, line
        self.fleet.add(line)
        log.info("bot.added", bot=bot.id, username=bot.username)

    def _token(self, bot: StoredBot) -> str:
        if self.sealer is None:
            raise Unopened("SECRETS_KEY is not set here")
        return self.sealer.open(bot.token, bot.purpose)

    def _problem(self, bot: StoredBot, why: str) -> Problem:
        if self.sealer is None:
            message = f"the token of {bot.called} cannot be read: SECRETS_KEY is not set here"
            return Problem(f"bot {bot.id}", message, set_the_key(sealing_keys([bot])))
        return unreadable(bot, why)

    def _is_same(self, bot: StoredBot, sealed: str) -> bool:
        """Whether the token is the one that was sealed in another way before."""
        try:
            return self.sealer is not None and self._token(bot) == self.sealer.open(
                sealed, bot.purpose
            )
        except Unopened:
            return True  # nothing better is known: what is served goes on

    async def _end(self, id: str, line: HostedLine) -> None:
        was_served = line.is_held
        try:
            await self.fleet.remove(line.line)
            await self.closed(line, was_served)
        finally:
            self._lines.pop(id, None)
            self._leaving.pop(id, None)
        log.info("bot.ended", bot=id)
        self._look()  # it may be wanted again by now, or with another token

    async def close(self) -> None:
        """Stop waiting for lines that end."""
        await cancel_and_wait([*self._leaving.values()])

    # --- how they are ---

    def problems(self) -> Iterator[Problem]:
        """The bots whose token cannot be read here, with what to do."""
        yield from self._problems.values()

    def resting(self) -> list[tuple[StoredBot, str, str]]:
        """The bots that have no line here, each with its state and why."""
        found = []
        for id, entry in self._bots.items():
            if id in self._lines or int(id) in self.own:
                continue
            problem = self._problems.get(id)
            state = "unreadable" if problem else "paused"
            found.append((entry.value, state, problem.message if problem else ""))
        return found

    def token_of(self, bot: int) -> str | None:
        """The token of a bot of the store; None where there is none that can be read."""
        entry = self._bots.get(str(bot))
        try:
            return self._token(entry.value) if entry else None
        except Unopened:
            return None
