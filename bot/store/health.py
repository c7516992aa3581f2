"""Checks that the store is durable and password-protected."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import structlog

from bot.errors import ConfigError, StoreError, StoreUnavailable
from bot.messages import Clock
from bot.ops.network import resolve_host
from bot.store.client import StoreClient

log = structlog.get_logger("store")

CHECK_SECONDS = 30.0
LOGIN_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "invalid username-password", "authenticated")


@dataclass(frozen=True, slots=True)
class Persistence:
    """What the store says about how it keeps data."""

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
                f"it evicts data when memory is short (`maxmemory-policy {self.eviction}`): "
                "set `maxmemory-policy noeviction`"
            )
        return found


@dataclass(slots=True)
class StoreHealth:
    """Checks the store's settings at the start, and from time to time while the host runs."""

    client: StoreClient
    clock: Clock
    _seen: Persistence | None = field(init=False, default=None)

    async def require_durable(self, *, allow_volatile: bool) -> None:
        """Wait for the store and check it; raises ConfigError where it must not be used."""
        self._seen = await self.client.retry_while_down(self._first_check)
        faults = self._seen.faults()
        if faults and not allow_volatile:
            reasons = "; ".join(faults)
            raise ConfigError(
                f"REDIS_URL: this store would lose messages: {reasons}. "
                "Or set ALLOW_VOLATILE_REDIS=1, if messages may be lost."
            )
        for fault in faults:
            log.warning("store.volatile", why=fault)

    async def watch_forever(self) -> None:
        """Check again, so that health shows a store whose settings were changed."""
        while True:
            await self.clock.sleep(CHECK_SECONDS)
            try:
                self._seen = await self._check()
            except StoreError as error:
                log.debug("store.not_checked", error=str(error))

    def report(self) -> dict[str, Any]:
        """For health: the last check, and why the store does not answer, if it does not."""
        seen = asdict(self._seen) if self._seen else {}
        faults = [*(self._seen.faults() if self._seen else []), *self.client.wrong_types.values()]
        outage = self.client.outage
        return seen | {"state": "away" if outage else "ok", "trouble": outage, "faults": faults}

    async def _first_check(self) -> Persistence:
        try:
            return await self._check()
        except StoreError as error:
            if any(word in str(error) for word in LOGIN_REFUSED):
                raise ConfigError(
                    "REDIS_URL: the store refuses the login: put the right user and password into "
                    "the URL, as redis://user:password@host:port"
                ) from None
            if isinstance(error, StoreUnavailable):
                raise
            raise ConfigError(
                f"REDIS_URL: the store refuses our commands: {error}. Allow them to its user, or "
                "correct the URL."
            ) from None

    async def _check(self) -> Persistence:
        facts: dict[str, str] = {}
        for section in ("persistence", "memory"):
            facts |= _facts(await self.client.command("INFO", section))
        return Persistence(
            append_only=facts.get("aof_enabled") == "1",
            eviction=facts.get("maxmemory_policy", "unknown"),
            last_write=facts.get("aof_last_write_status", "unknown"),
        )


def _facts(reply: Any) -> dict[str, str]:
    """The lines of an INFO reply, which the library may have parsed already."""
    if isinstance(reply, dict):
        return {str(name): str(value) for name, value in reply.items()}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


async def require_password(url: str, *, allowed: bool) -> None:
    """Raise ConfigError where the store is on another machine and needs no password."""
    parts = urlsplit(url)
    if parts.scheme == "unix" or parts.password or allowed:
        return
    if "password=" in parts.query or await _is_local(parts.hostname or "localhost"):
        return
    raise ConfigError(
        f"REDIS_URL: {parts.hostname} is another machine, and there is no password in the URL: "
        "everybody who reaches it could read and write what people say. Write the URL as "
        "redis://user:password@host:port, or set ALLOW_OPEN_REDIS=1 in a private network."
    )


async def _is_local(host: str) -> bool:
    try:
        found = await resolve_host(host, 0)
    except OSError:
        return False
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)
