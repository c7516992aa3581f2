"""Whether a store keeps what it acknowledges, and keeps it from strangers."""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import structlog

from bot.errors import ConfigError, StoreError, StoreUnavailable
from bot.ports import Clock
from bot.store.client import StoreClient

log = structlog.get_logger("store")

AGAIN_SECONDS = 30.0
LOCKED_OUT = ("NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password", "authenticated")


@dataclass(frozen=True, slots=True)
class Persistence:
    """What the store says of itself."""

    append_only: bool
    eviction: str
    last_write: str

    def faults(self) -> list[str]:
        """Why this store would lose acknowledged writes; empty where it would not."""
        found = []
        if not self.append_only:
            found.append(
                "it keeps no append-only file, so that a crash loses messages that were accepted "
                "already: set `appendonly yes`"
            )
        if self.eviction != "noeviction":
            found.append(
                f"it throws data away when memory is short (`maxmemory-policy {self.eviction}`): "
                "set `maxmemory-policy noeviction`"
            )
        return found


class Judge:
    """Looks at the store's settings at the start, and now and then while it runs."""

    def __init__(self, client: StoreClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._seen: Persistence | None = None

    async def admit(self, *, volatile: bool) -> None:
        """Wait for the store and look at it; raises ConfigError where it may not be used."""
        self._seen = await self._client.patiently(self._look_in)
        faults = self._seen.faults()
        if faults and not volatile:
            reasons = "; ".join(faults)
            raise ConfigError(
                f"REDIS_URL: this store would lose messages: {reasons}. "
                "Or set ALLOW_VOLATILE_REDIS=1, if messages may be lost."
            )
        for fault in faults:
            log.warning("store.volatile", why=fault)

    async def watch_forever(self) -> None:
        """Look again, so that health tells a store that was set up anew."""
        while True:
            await self._clock.sleep(AGAIN_SECONDS)
            try:
                self._seen = await self._look()
            except StoreError as error:
                log.debug("store.not_seen", error=str(error))

    def report(self) -> dict[str, Any]:
        """For health: what was seen last, and the trouble that there is now."""
        seen = asdict(self._seen) if self._seen else {}
        faults = [*(self._seen.faults() if self._seen else []), *self._client.wrong.values()]
        away = self._client.away
        return seen | {"state": "away" if away else "ok", "trouble": away, "faults": faults}

    async def _look_in(self) -> Persistence:
        try:
            return await self._look()
        except StoreError as error:
            if any(word in str(error) for word in LOCKED_OUT):
                raise ConfigError(
                    "REDIS_URL: the store does not let us in: put the right user and password "
                    "into it, as redis://user:password@host:port"
                ) from None
            if isinstance(error, StoreUnavailable):
                raise
            raise ConfigError(
                f"REDIS_URL: the store refuses our commands: {error}. Give its user leave for "
                "them, or correct the URL."
            ) from None

    async def _look(self) -> Persistence:
        replies = [await self._client.command("INFO", part) for part in ("persistence", "memory")]
        facts: dict[str, str] = {}
        for reply in replies:
            facts |= _facts(reply)
        return Persistence(
            append_only=facts.get("aof_enabled") == "1",
            eviction=facts.get("maxmemory_policy", "unknown"),
            last_write=facts.get("aof_last_write_status", "unknown"),
        )


def _facts(reply: Any) -> dict[str, str]:
    """INFO's lines; the library may have read them into a mapping already."""
    if isinstance(reply, dict):
        return {str(name): str(value) for name, value in reply.items()}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


async def refuse_open(url: str, *, allowed: bool) -> None:
    """Raises ConfigError where the store is on another machine and asks for no password."""
    parts = urlsplit(url)
    if parts.scheme == "unix" or parts.password or allowed:
        return
    if "password=" in parts.query or await _is_here(parts.hostname or "localhost"):
        return
    raise ConfigError(
        f"REDIS_URL: {parts.hostname} is another machine, and there is no password in the URL: "
        "everybody who reaches it could read and write what people say. Write it as "
        "redis://user:password@host:port, or set ALLOW_OPEN_REDIS=1 in a network of your own."
    )


async def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return False
    return all(
        ipaddress.ip_address(str(item[4][0]).partition("%")[0]).is_loopback for item in found
    )
