"""Who owns a line: taking it, keeping it by one heartbeat, and how long it is certainly ours."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from bot.errors import FencedOut, StoreUnavailable
from bot.messages import Clock, Fence, OutboxItem
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.inbox import InboxEntry, inbox_entry
from bot.store.outbox import outbox_item
from bot.store.sessions import SINGLE_KEPT_MS, is_single

SecondsLeft = Callable[[], float]
"""Seconds for which a line is certain to be ours."""

MIN_LEASE_SECONDS = 0.5
"""With less than this left, nothing more is sent."""

OPENED_ENTRIES, OPENED_PARTS = 200, 1000
"""How much of an inbox and an outbox is read as a conversation is opened."""
CHECKED_PER_BEAT = 64
"""Lines that a beat checks although nothing points to a loss."""

log = structlog.get_logger("leases")


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """One run of one host.

    `proof` names the data directory whose lock we hold: another incarnation with the same proof is
    dead, since only one process can hold that lock.
    """

    name: str
    proof: str
    incarnation: str

    @classmethod
    def new(cls, name: str, proof: str) -> HostIdentity:
        """A fresh incarnation."""
        return cls(name.replace("|", "-"), proof, secrets.token_hex(8))

    def __str__(self) -> str:
        return f"{self.name}|{self.proof}|{self.incarnation}"


@dataclass(frozen=True, slots=True)
class LeaseView:
    """The ids of the hosts that are alive, and who holds each line that is not free."""

    hosts: frozenset[str]
    holders: dict[str, str]


@dataclass(frozen=True, slots=True)
class OpenedLine:
    """A conversation that was just acquired: the first entries of its inbox, parts, timers."""

    fence: Fence
    entries: list[InboxEntry]
    parts: list[OutboxItem]
    timers: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class _HeldLine:
    token: int
    on_lost: Callable[[], None]


class Leases:
    """The lines that this host holds. `beat_forever` keeps them all by one key in the store.

    `bot_set` names what this host is ready to serve: hosts of the same set share their lines.
    `owner` is what the lease of a line says that is held here.
    `on_lost` of an acquired line is called once when the line is lost.
    """

    def __init__(
        self,
        client: StoreClient,
        host: HostIdentity,
        clock: Clock,
        lifetime: float = 10.0,
        bot_set: str = "",
    ) -> None:
        self._client = client
        self._clock = clock
        self.host = host
        self.lifetime = lifetime
        self.host_id = f"{host}|{bot_set}"
        self.owner = f"{host}|{int(lifetime * 1000)}"
        self._withdrawn = False
        self._held: dict[str, _HeldLine] = {}
        self._hosts: frozenset[str] = frozenset()
        self._until = 0.0
        self._beating = asyncio.Lock()
        self._last_beat_known = False  # no line can have been lost since that beat
        self._next_checked = 0

    async def acquire(self, line: str, on_lost: Callable[[], None]) -> Fence | None:
        """Take a line if it is free or provably abandoned; None where another host holds it."""
        token, *rest = await self._try_acquire(line)
        if token < 0:  # a store that does not know us was emptied, or was frozen
            self._until = 0.0
            token, *rest = await self._try_acquire(line)
        if token <= 0:
            log.info("line.held", line=line, by=rest[0].decode().split("|")[0] if rest else "?")
            return None
        self._held[line] = _HeldLine(token, on_lost)
        return Fence(line, token)

    async def _beat_if_due(self) -> None:
        async with self._beating:
            if self._until <= self._clock.monotonic():
                await self._beat()

    async def _try_acquire(self, line: str) -> list[Any]:
        await self._beat_if_due()
        names = [keys.fence(line), keys.lease(line), keys.LINES_OPEN, self._key]
        return list(await self._client.run("acquire", names, [self.owner, self.host.proof, line]))

    async def open_http(self, line: str, on_lost: Callable[[], None]) -> OpenedLine | None:
        """Acquire a conversation over HTTP, and read what waits in it, in one call.

        None where another host holds it.
        """
        token, *rest = await self._try_open(line)
        if token < 0:
            self._until = 0.0
            token, *rest = await self._try_open(line)
        if token <= 0:
            return None
        self._held[line] = _HeldLine(token, on_lost)
        _, entries, parts, timers = rest
        return OpenedLine(
            Fence(line, token),
            [inbox_entry(id, fields) for id, fields in entries],
            [outbox_item(id, fields) for id, fields in parts],
            [(nonce.decode(), float(due)) for nonce, due in pairs_of(timers)],
        )

    async def _try_open(self, line: str) -> list[Any]:
        await self._beat_if_due()
        names = [keys.fence(line), keys.lease(line), self._key]
        names += [keys.inbox(line), keys.outbox(line), keys.timers(line)]
        args = [self.owner, self.host.proof, OPENED_ENTRIES, OPENED_PARTS]
        return list(await self._client.run("open_line", names, args))

    def seconds_left(self, line: str) -> float:
        """Seconds for which the line is certain to be ours; at zero or less nothing may be sent."""
        return self._until - self._clock.monotonic() if line in self._held else 0.0

    async def release(self, fence: Fence) -> None:
        """Give a line back, so that another host can take it at once."""
        self._held.pop(fence.line, None)
        names = [keys.fence(fence.line), keys.lease(fence.line)]
        with contextlib.suppress(FencedOut, StoreUnavailable):
            await self._client.run("release_line", names, [fence.token, fence.line])

    async def release_idle(self, fence: Fence) -> bool:
        """Give an HTTP conversation back unless something waits in it; whether it was.

        Raises FencedOut and StoreUnavailable.
        """
        line = fence.line
        names = [keys.fence(line), keys.lease(line), keys.inbox(line), keys.outbox(line)]
        names += [keys.timers(line), keys.LINES_DUE, keys.dead_letters(line), keys.LINES_OPEN]
        names += [keys.session(line), keys.WEBHOOKS_DUE]
        kept = SINGLE_KEPT_MS if is_single(line) else 0
        held = self._held.pop(line, None)  # a beat from now on does not ask about it
        done = bool(await self._client.run("release_idle", names, [fence.token, line, kept]))
        if held is not None and not done:
            self._held[line] = held
        return done

    async def view(self, lines: Sequence[str]) -> LeaseView:
        """Who is alive, and who holds these lines; our dead incarnations hold nothing.

        With no line to ask for, the hosts are those of the last beat.
        """
        if not lines and self._last_beat_known:
            return LeaseView(self._hosts, {})
        names = [keys.HOSTS_ALIVE, *map(keys.lease, lines)]
        hosts, holders = await self._client.run("view_leases", names, [int(self.lifetime * 1000)])
        named = {line: holder.decode() for line, holder in zip(lines, holders, strict=True)}
        held = {line: holder for line, holder in named.items() if holder and not self._ours(holder)}
        return LeaseView(self._alive(hosts), held)

    async def withdraw(self) -> None:
        """Leave the hosts that share the lines; the lines held now stay ours."""
        self._withdrawn = True
        with contextlib.suppress(StoreUnavailable):
            await self._client.command("ZREM", keys.HOSTS_ALIVE, self.host_id)

    async def beat_forever(self) -> None:
        """Beat every third of the lifetime, sooner after a failure, until cancelled."""
        while True:
            pause = self.lifetime * 0.3
            try:
                await self.beat()
            except Exception as error:  # noqa: BLE001 the end of this loop would lose every line
                log.warning("beat.failed", error=str(error))
                pause = min(pause, 1.0)
            await self._clock.sleep(pause)

    async def beat(self) -> None:
        """Renew this host in one call; raises StoreUnavailable."""
        async with self._beating:
            await self._beat()

    async def _beat(self) -> None:
        lines = list(self._held.items())
        known, self._last_beat_known = self._last_beat_known, False
        first = self._next_checked if self._next_checked < len(lines) else 0
        self._next_checked = first + CHECKED_PER_BEAT
        if not known or not await self._renew("some", lines[first : self._next_checked]):
            await self._renew("all", lines)
        self._last_beat_known = True

    async def _renew(self, which: str, lines: list[tuple[str, _HeldLine]]) -> bool:
        """Renew our key and check these lines.

        False where the store had dropped our key, so that every line must be checked.
        """
        began = self._clock.monotonic()
        host_id = "" if self._withdrawn else self.host_id
        tokens = orjson.dumps([(line, str(held.token)) for line, held in lines])
        args = [self.owner, int(self.lifetime * 1000), host_id, which, tokens]
        reply = await self._client.run("beat", [keys.HOSTS_ALIVE, self._key], args)
        if not reply:
            return False
        self._hosts = self._alive(reply[0])
        for number in reply[1]:
            self._lose(*lines[number - 1])
        self._until = began + self.lifetime
        return True

    @property
    def _key(self) -> str:
        return keys.host(self.host.incarnation)

    def _alive(self, hosts: Sequence[bytes]) -> frozenset[str]:
        """Who beats, without our dead incarnations: they did a moment ago, but never will again."""
        found = {host.decode() for host in hosts}
        return frozenset(h for h in found if h == self.host_id or not self._ours(h))

    def _ours(self, holder: str) -> bool:
        return bool(self.host.proof) and holder.split("|")[1:2] == [self.host.proof]

    def _lose(self, line: str, held: _HeldLine) -> None:
        if self._held.get(line) is not held:  # released or acquired again meanwhile
            return
        del self._held[line]
        log.warning("line.lost", line=line)
        held.on_lost()
