"""Who owns a line: acquisition, the beat, and the deadline that a send must keep."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from bot.errors import FencedOut, StoreUnavailable
from bot.messages import Clock, Fence
from bot.store import keys
from bot.store.client import StoreClient

SecondsLeft = Callable[[], float]
"""Seconds for which a line is surely ours."""


LEAST_LEASE = 0.5
"""With less than this left, nothing is sent any more."""


log = structlog.get_logger("leases")

CHECKED_AT_ONCE = 64
"""Lines that a beat looks at although nothing points to a loss."""


@dataclass(frozen=True, slots=True)
class HostIdentity:
    """This incarnation of this replica.

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
    """What a look shows: the hosts that beat, and who holds each line that is not free."""

    hosts: frozenset[str]
    holders: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Held:
    token: int
    lost: Callable[[], None]


def boot_time() -> float:
    """Seconds since boot, counting sleep: a suspended machine must not think its lease fresh."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leases:
    """The lines of this host. `beat_forever` keeps them, all by one key; a lost line is told once.

    `offers` names what this host is ready to serve: hosts with the same offers share the lines.
    """

    def __init__(
        self,
        client: StoreClient,
        host: HostIdentity,
        clock: Clock,
        lifetime: float = 10.0,
        offers: str = "",
    ) -> None:
        self._client = client
        self._clock = clock
        self.host = host
        self.lifetime = lifetime
        self.announced = f"{host}|{offers}"
        self._owner = f"{host}|{int(lifetime * 1000)}"
        self._leaving = False
        self._held: dict[str, _Held] = {}
        self._hosts: frozenset[str] = frozenset()
        self._until = 0.0
        self._beating = asyncio.Lock()
        self._is_sure = False  # no line can have been lost since the last beat that we heard of
        self._checked = 0

    async def acquire(self, line: str, lost: Callable[[], None]) -> Fence | None:
        """The line's fence if it is free or provably abandoned, else None."""
        token, *rest = await self._tried(line)
        if token < 0:  # a store that does not know us has been emptied, or was frozen
            self._until = 0.0
            token, *rest = await self._tried(line)
        if token <= 0:
            log.info("line.held", line=line, by=rest[0].decode().split("|")[0] if rest else "?")
            return None
        self._held[line] = _Held(token, lost)
        return Fence(line, token)

    async def _tried(self, line: str) -> list[Any]:
        await self._beat_where_over()
        names = [keys.fence(line), keys.lease(line), keys.LINES_OPEN, self._key]
        return list(await self._client.run("acquire", names, [self._owner, self.host.proof, line]))

    def left(self, line: str) -> float:
        """Seconds for which the line is surely ours; zero or less: nothing may be sent."""
        return self._until - boot_time() if line in self._held else 0.0

    async def release(self, fence: Fence) -> None:
        """Give a line back, so that another replica takes it at once."""
        self._held.pop(fence.line, None)
        names = [keys.fence(fence.line), keys.lease(fence.line)]
        with contextlib.suppress(FencedOut, StoreUnavailable):
            await self._client.run("release_line", names, [fence.token, fence.line])

    async def look(self, lines: Sequence[str]) -> LeaseView:
        """Who is alive, and who holds these lines; a dead incarnation of ours holds nothing.

        Without a line to ask for, the hosts are those of the last beat.
        """
        if not lines and self._is_sure:
            return LeaseView(self._hosts, {})
        names = [keys.HOSTS_ALIVE, *map(keys.lease, lines)]
        hosts, holders = await self._client.run("view_leases", names, [int(self.lifetime * 1000)])
        named = {line: holder.decode() for line, holder in zip(lines, holders, strict=True)}
        held = {line: holder for line, holder in named.items() if holder and not self._ours(holder)}
        return LeaseView(self._alive(hosts), held)

    async def depart(self) -> None:
        """Be no longer counted among the hosts that share the lines; what is held is kept."""
        self._leaving = True
        with contextlib.suppress(StoreUnavailable):
            await self._client.command("ZREM", keys.HOSTS_ALIVE, self.announced)

    async def beat_forever(self) -> None:
        """Beat every third of the lifetime, sooner after a failure, until cancelled."""
        while True:
            pause = self.lifetime * 0.3
            try:
                await self.beat()
            except Exception as error:  # noqa: BLE001 a beat that ends would lose every line
                log.warning("beat.failed", error=str(error))
                pause = min(pause, 1.0)
            await self._clock.sleep(pause)

    async def beat(self) -> None:
        """Renew this host in one call; raises StoreUnavailable when the store is away."""
        async with self._beating:
            await self._beat()

    async def _beat_where_over(self) -> None:
        async with self._beating:
            if self._until <= boot_time():
                await self._beat()

    async def _beat(self) -> None:
        lines = list(self._held.items())
        sure, self._is_sure = self._is_sure, False
        if not sure or not await self._renewed("some", self._some_of(lines)):
            await self._renewed("all", lines)
        self._is_sure = True

    def _some_of(self, lines: list[tuple[str, _Held]]) -> list[tuple[str, _Held]]:
        first = self._checked if self._checked < len(lines) else 0
        self._checked = first + CHECKED_AT_ONCE
        return lines[first : self._checked]

    async def _renewed(self, which: str, lines: list[tuple[str, _Held]]) -> bool:
        """False where the store let go of us meanwhile, so that each line must be looked at."""
        began = boot_time()
        announced = "" if self._leaving else self.announced
        tokens = orjson.dumps([(line, str(held.token)) for line, held in lines])
        args = [self._owner, int(self.lifetime * 1000), announced, which, tokens]
        reply = await self._client.run("beat", [keys.HOSTS_ALIVE, self._key], args)
        if not reply:
            return False
        self._hosts = self._alive(reply[0])
        for place in reply[1]:
            self._lose(*lines[place - 1])
        self._until = began + self.lifetime
        return True

    @property
    def _key(self) -> str:
        return keys.host(self.host.incarnation)

    def _alive(self, hosts: Sequence[bytes]) -> frozenset[str]:
        """Who beats; a dead incarnation of ours beat a moment ago, but never will again."""
        found = {host.decode() for host in hosts}
        return frozenset(h for h in found if h == self.announced or not self._ours(h))

    def _ours(self, holder: str) -> bool:
        return bool(self.host.proof) and holder.split("|")[1:2] == [self.host.proof]

    def _lose(self, line: str, held: _Held) -> None:
        if self._held.get(line) is not held:  # given back meanwhile, or taken anew
            return
        del self._held[line]
        log.warning("line.lost", line=line)
        held.lost()
