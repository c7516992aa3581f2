"""Who owns a line: acquisition, the beat, and the deadline that a send must keep."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
import structlog

from bot.errors import FencedOut, StoreUnavailable
from bot.ports import Clock, Fence
from bot.store import keys
from bot.store.client import StoreClient

log = structlog.get_logger("leases")


@dataclass(frozen=True, slots=True)
class Host:
    """This incarnation of this replica.

    `proof` names the data directory whose lock we hold: another incarnation with the same proof is
    dead, since only one process can hold that lock.
    """

    name: str
    proof: str
    incarnation: str

    @classmethod
    def new(cls, name: str, proof: str) -> Host:
        """A fresh incarnation."""
        return cls(name.replace("|", "-"), proof, secrets.token_hex(8))

    def __str__(self) -> str:
        return f"{self.name}|{self.proof}|{self.incarnation}"


@dataclass(frozen=True, slots=True)
class View:
    """What a look shows: the hosts that beat, and who holds each line that is not free."""

    hosts: frozenset[str]
    holders: dict[str, str]


@dataclass(slots=True)
class _Held:
    token: int
    deadline: float
    lost: Callable[[], None]


def boot_time() -> float:
    """Seconds since boot, counting sleep: a suspended machine must not think its lease fresh."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Leases:
    """The lines of this host. `beat_forever` keeps them; a lost line is told once.

    `offers` names what this host is ready to serve: hosts with the same offers share the lines.
    """

    def __init__(
        self,
        client: StoreClient,
        host: Host,
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

    async def acquire(self, line: str, lost: Callable[[], None]) -> Fence | None:
        """The line's fence if it is free or provably abandoned, else None."""
        began = boot_time()
        names = [keys.fence(line), keys.lease(line), keys.LINES_OPEN]
        args = [self._owner, int(self.lifetime * 1000), self.host.proof, line]
        token, holder, *_ = await self._client.run("acquire", names, args)
        if not token:
            log.info("line.held", line=line, by=holder.decode().split("|")[0])
            return None
        self._held[line] = _Held(token, began + self.lifetime, lost)
        return Fence(line, token)

    def left(self, line: str) -> float:
        """Seconds for which the line is surely ours; zero or less: nothing may be sent."""
        held = self._held.get(line)
        return held.deadline - boot_time() if held else 0.0

    async def release(self, fence: Fence) -> None:
        """Give a line back, so that another replica takes it at once."""
        self._held.pop(fence.line, None)
        names = [keys.fence(fence.line), keys.lease(fence.line), keys.LINES_OPEN]
        with contextlib.suppress(FencedOut, StoreUnavailable):
            await self._client.run("release", names, [fence.token, fence.line])

    async def look(self, lines: Sequence[str]) -> View:
        """Who is alive, and who holds these lines; a dead incarnation of ours holds nothing."""
        names = [keys.HOSTS_ALIVE, *map(keys.lease, lines)]
        hosts, holders = await self._client.run("look", names, [int(self.lifetime * 1000)])
        named = {line: holder.decode() for line, holder in zip(lines, holders, strict=True)}
        held = {line: holder for line, holder in named.items() if holder and not self._ours(holder)}
        return View(frozenset(host.decode() for host in hosts), held)

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
        """Renew all lines in one call; raises StoreUnavailable when the store is away."""
        lines = list(self._held.items())
        began = boot_time()
        announced = "" if self._leaving else self.announced
        tokens = orjson.dumps([(line, str(held.token)) for line, held in lines])
        args = [self._owner, int(self.lifetime * 1000), announced, tokens]
        lost = set(await self._client.run("beat", [keys.HOSTS_ALIVE], args))
        for place, (line, held) in enumerate(lines, 1):
            if place not in lost:
                held.deadline = began + self.lifetime
            elif self._held.get(line) is held:
                self._lose(line, held)

    def _ours(self, holder: str) -> bool:
        return bool(self.host.proof) and holder.split("|")[1:2] == [self.host.proof]

    def _lose(self, line: str, held: _Held) -> None:
        del self._held[line]
        log.warning("line.lost", line=line)
        held.lost()
