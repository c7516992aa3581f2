"""The lines of this host, and how hosts share the lines among them.

Once in a sweep, and whenever a line is given back, the fleet looks which hosts are alive and which
lines are free. Each host computes the same even spread: the host that a free line prefers tries at
once, the others after a while; a host that holds what another should have gives it back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import structlog

from bot.errors import StoreError
from bot.hosting.leases import Leases
from bot.hosting.line import HostedLine
from bot.messages import Clock
from bot.ops.tasks import backoff, cancel_and_wait, wait_first
from bot.store import keys
from bot.store.client import StoreClient

log = structlog.get_logger("fleet")

PATIENCE = (0.3, 3.0)
"""How long a free line waits for the host that it prefers: in lifetimes of a lease, in seconds."""
RECIPIENT_SECONDS = 5.0
"""How much longer we leave a line alone after giving it to a host, which may be slow."""
MISPLACED_SWEEPS = 2
"""A line is given away only after so many sweeps in which another host should have it."""
KEEP_SECONDS = 60.0
"""How long a line is kept before it may be given away once more."""
WITHDRAW_SECONDS = 2.0
LISTEN_PAUSES = (0.2, 5.0)
"""Seconds before listening again: after the first failure, and at most."""


def assign_lines(lines: Iterable[str], hosts: Collection[str]) -> dict[str, str]:
    """The host for each line, spread evenly: the one that it prefers among those with room.

    Each line has an order of preference of its own (rendezvous hashing), so that few lines move
    when a host comes or goes.
    """
    ordered = sorted(set(lines), key=_rank)
    most = -(-len(ordered) // len(hosts)) if hosts else 0
    load: Counter[str] = Counter()
    found: dict[str, str] = {}
    for line in ordered if hosts else []:
        with_room = (host for host in hosts if load[host] < most)
        found[line] = min(with_room, key=lambda host: _rank(f"{line} {host}"))
        load[found[line]] += 1
    return found


def bot_set(own_bots: str, key_id: str) -> str:
    """What a host can serve: the bots of its environment, and those of the store with its key."""
    return f"{own_bots}+{key_id}" if key_id else own_bots


def serving_the_same(me: str, hosts: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Of these hosts those with the bots of our environment, and those with our key of the store.

    An id of a host ends in its `bot_set`. A host without a key serves no bot of the store.
    """

    def parts(host: str) -> tuple[str, str]:
        own, _, key = host.rpartition("|")[2].partition("+")
        return own, key

    own, key = parts(me)
    same = frozenset(host for host in hosts if parts(host)[0] == own)
    keyed = frozenset(host for host in hosts if key and parts(host)[1] == key)
    return same | {me}, keyed | {me}


def _rank(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()


@dataclass(slots=True, repr=False)
class Notifications:
    """Listens to `wake:{line}` and `lines:free`."""

    client: StoreClient
    clock: Clock
    _count: int | None = field(default=None, init=False)

    async def changed_lines(self) -> set[str]:
        """Lines that others have written to since the last call, lost messages included."""
        read = self.client.command
        before, now = self._count, int(await read("GET", keys.LINE_CHANGES) or 0)
        if before is None or now == before:
            self._count = now
            return set()
        first = before if now > before else 0  # else another store, or one that was emptied
        found = await read("ZRANGE", keys.LINES_CHANGED, f"({first}", "+inf", "BYSCORE")
        self._count = now
        return {line.decode() for line in found}

    async def listen_forever(
        self, on_changed: Callable[[str], None], on_free: Callable[[], None]
    ) -> None:
        """Call `on_changed` with a line's name, and `on_free` when some line was given back."""
        for failures in itertools.count(1):
            with contextlib.suppress(StoreError):
                await self._listen(on_changed, on_free)
            await self.clock.sleep(backoff(failures, *LISTEN_PAUSES))

    async def _listen(self, on_changed: Callable[[str], None], on_free: Callable[[], None]) -> None:
        listening = self.client.listen((keys.LINES_FREE,), keys.NOTIFICATIONS)
        async with contextlib.aclosing(listening) as messages:
            async for found in messages:
                if found is None or found[0] == keys.LINES_FREE:
                    on_free()  # also when listening begins: look for what we missed
                else:
                    on_changed(found[1])


@dataclass(slots=True, repr=False)
class Fleet:
    """The lines of this host's bots; `line_ended` is called when one is no longer served.

    `on_http_line` is called with any other line that another host has written to.
    """

    leases: Leases
    notifications: Notifications
    clock: Clock
    sweep_seconds: float = 1.0
    line_ended: Callable[[], object] = field(default=lambda: None, init=False)
    on_http_line: Callable[[str], object] = field(default=lambda _line: None, init=False)
    _lines: dict[str, HostedLine] = field(default_factory=dict, init=False)
    _sweep_soon: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _free_since: dict[str, float] = field(default_factory=dict, init=False)
    _misplaced_for: dict[str, int] = field(default_factory=dict, init=False)
    _kept_until: dict[str, float] = field(default_factory=dict, init=False)
    _given_away: set[str] = field(default_factory=set, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _served: dict[str, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _is_running: bool = field(default=False, init=False)
    _leaving: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _spread_hosts: frozenset[str] | None = field(default=None, init=False)
    _spread: dict[str, str] = field(default_factory=dict, init=False)
    _misplaced: list[HostedLine] = field(default_factory=list, init=False)

    @property
    def lines(self) -> list[HostedLine]:
        """All lines, in the order in which they were added."""
        return list(self._lines.values())

    def add(self, line: HostedLine) -> None:
        """Serve another line, from now on or from when `run` begins."""
        self._lines[line.line] = line
        self._spread_hosts = None
        if self._is_running and not self._leaving.is_set():
            self._serve(line)
            self._sweep_soon.set()

    async def remove(self, name: str) -> None:
        """Let a line finish what runs, give it back, and serve it no more."""
        line, task = self._lines.get(name), self._served.get(name)
        if line is None:
            return
        line.shutdown()
        if task is not None:
            await asyncio.wait([task])
        self._served.pop(name, None)
        self._lines.pop(name, None)
        for kept in (self._free_since, self._misplaced_for, self._kept_until):
            kept.pop(name, None)
        self._spread_hosts = None

    def _serve(self, line: HostedLine) -> None:
        work = self._run_line(line)
        self._served[line.line] = asyncio.create_task(work, name=f"line:{line.line}")

    async def run(self) -> None:
        """Serve all lines, also those that are added meanwhile, until they have ended."""
        listening = self.notifications.listen_forever(self._notify, self._sweep_soon.set)
        tasks = [
            asyncio.create_task(self._sweep_forever(), name="fleet.sweep"),
            asyncio.create_task(listening, name="fleet.listen"),
        ]
        try:
            self._is_running = True
            for line in self.lines:
                self._serve(line)
            await self._leaving.wait()
            await asyncio.gather(*self._served.values())
        finally:
            await cancel_and_wait([*tasks, *self._tasks, *self._served.values()])

    async def _run_line(self, line: HostedLine) -> None:
        await line.run()
        self.line_ended()

    def shutdown(self) -> None:
        """Let every line finish and end; other hosts may take over from now on."""
        self._leaving.set()
        self._tasks.add(asyncio.create_task(self._shut_down()))

    async def _shut_down(self) -> None:
        """Leave the hosts that share lines first, so that the others reassign ours at once."""
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(WITHDRAW_SECONDS):
                await self.leases.withdraw()
        for line in self.lines:
            line.shutdown()

    def active_lines(self) -> set[str]:
        """The names of the lines that are served here now."""
        return {line.line for line in self.lines if line.is_served}

    def quarantined_lines(self) -> list[HostedLine]:
        """The lines whose credential is no longer valid."""
        return [line for line in self.lines if line.state == "quarantined"]

    async def send_pending(self, line: str) -> None:
        """Send what others put into a line's outbox, if the line is served here."""
        if found := self._lines.get(line):
            await found.send_pending()

    def show_menu(self, line: str, person: int) -> None:
        """Show the menu of an admin who wrote to a line."""
        if found := self._lines.get(line):
            found.show_menu(person)

    def show_menus(self) -> None:
        """Show all menus again: the admins have changed."""
        for line in self.lines:
            if line.is_served:
                line.show_menu()

    def _notify(self, line: str) -> None:
        if found := self._lines.get(line):
            found.notify()
        else:
            self.on_http_line(line)

    async def _sweep_forever(self) -> None:
        while True:
            self._sweep_soon.clear()
            try:
                await self._sweep()
            except StoreError as error:
                log.warning("sweep.failed", error=str(error))
            except Exception:
                log.exception("sweep.failed")
            await wait_first(self._sweep_soon, timeout=self.sweep_seconds)

    async def _sweep(self) -> None:
        wanted = [line for line in self.lines if line.is_wanted]
        view = await self.leases.view([line.line for line in wanted])
        self._assign(view.hosts)
        now = self.clock.monotonic()
        for line in wanted:
            self._consider(line, view.holders, now)
        lines = self._lines
        for name in [one for one in self._free_since if one in lines and lines[one].is_held]:
            del self._free_since[name]
        self._give_away_misplaced(now)
        for name in await self.notifications.changed_lines():
            self._notify(name)

    def _assign(self, hosts: frozenset[str]) -> None:
        """Spread the lines over the hosts that can serve them: see `serving_the_same`."""
        if self._spread_hosts == hosts:
            return
        me, self._spread_hosts = self.leases.host_id, hosts
        own, stored = serving_the_same(me, hosts)
        if own == stored:
            self._spread = assign_lines(self._lines, own)
        else:
            kept = {name for name, line in self._lines.items() if line.is_stored}
            spread = assign_lines(kept, stored)
            self._spread = {**spread, **assign_lines(self._lines.keys() - kept, own)}
        self._misplaced = [line for line in self.lines if self._spread[line.line] != me]
        log.info("fleet.rebalance", hosts=len(own | stored), lines=len(self._lines))

    def _consider(self, line: HostedLine, holders: Mapping[str, str], now: float) -> None:
        """Try for a line if it is free, and ours or left alone for long enough."""
        if line.line in holders:
            self._free_since.pop(line.line, None)
            self._given_away.discard(line.line)
            line.held_elsewhere()
            return
        since = self._free_since.setdefault(line.line, now)
        patience = min(PATIENCE[0] * self.leases.lifetime, PATIENCE[1])
        if line.line in self._given_away:
            patience += RECIPIENT_SECONDS
        if self._spread.get(line.line) == self.leases.host_id or now - since >= patience:
            line.try_now()

    def _give_away_misplaced(self, now: float) -> None:
        """Give lines to the hosts that should have them, each at most once in a while."""
        served = [line for line in self._misplaced if line.is_served]
        before = self._misplaced_for
        self._misplaced_for = {line.line: before.get(line.line, 0) + 1 for line in served}
        for line in served:
            name = line.line
            is_due = now >= self._kept_until.get(name, 0.0)
            if self._misplaced_for[name] >= MISPLACED_SWEEPS and is_due and not line.is_ending:
                self._kept_until[name] = now + KEEP_SECONDS
                self._given_away.add(name)
                log.info(
                    "line.given_back", line=name, to=self._spread.get(name, "").partition("|")[0]
                )
                line.give_back()
