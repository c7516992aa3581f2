"""Checks that the store is durable and password-protected, and allows all that a host does."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import structlog

from bot.errors import ConfigError, StoreError, StoreUnavailable
from bot.messages import Clock
from bot.ops.network import resolve_host
from bot.store.admission import admission, cure_of, info, nearly_full, waited_for, will_pass
from bot.store.client import StoreClient
from registry.errors import Level, Problem

log = structlog.get_logger("store")

CHECK_SECONDS = 30.0
LOGIN_REFUSED = ("NOAUTH", "WRONGPASS", "invalid username-password", "authenticat")
NO_DATABASE = "DB index is out of range"
VOLATILE_CURE = "or set ALLOW_VOLATILE_REDIS=1, if messages may be lost"


@dataclass(frozen=True, slots=True)
class Persistence:
    """What the store says about how it keeps data."""

    append_only: bool
    eviction: str
    last_write: str

    def faults(self) -> list[str]:
        """Why this store would lose acknowledged writes; empty if it would not."""
        found = []
        if not self.append_only:
            found.append(
                "the store would lose messages: it keeps no append-only file, so a crash loses "
                "what was already accepted: set `appendonly yes`"
            )
        if self.eviction != "noeviction":
            found.append(
                "the store would lose messages: it evicts data when memory is short "
                f"(`maxmemory-policy {self.eviction}`): set `maxmemory-policy noeviction`"
            )
        return found


@dataclass(slots=True)
class StoreHealth:
    """Checks the store's settings at the start, and from time to time while the host runs.

    `waits_for` is what keeps the start waiting, in the store's words, and the fix.
    """

    client: StoreClient
    clock: Clock
    waits_for: str | None = field(init=False, default=None)
    _seen: Persistence | None = field(init=False, default=None)
    _missing: list[str] = field(init=False, default_factory=list)

    async def require_usable(self, *, allow_volatile: bool) -> None:
        """Wait for the store and check it; raises ConfigError where it must not be used."""
        check = partial(self._check_or_wait, allow_volatile=allow_volatile)
        found = await self.client.retry_while_down(check)
        self.waits_for = None
        if errors := [str(one) for one in found if one.level == "error"]:
            raise ConfigError("\n".join(errors))
        for one in found:
            log.warning("store.problem", problem=str(one))

    async def _check_or_wait(self, *, allow_volatile: bool) -> list[Problem]:
        try:
            return await self.problems(allow_volatile=allow_volatile)
        except StoreUnavailable as error:
            self.waits_for = f"{error}; {waited_for(error).cure}"
            raise

    async def problems(self, *, allow_volatile: bool) -> list[Problem]:
        """What is wrong with the store, or missing; raises StoreUnavailable."""
        try:
            self._seen, memory = await self._check()
            found = await admission(self.client) + nearly_full(memory)
        except StoreError as error:
            if any(word in str(error) for word in LOGIN_REFUSED):
                message = "the store refuses the login"
                cure = "put the right user and password into it, as redis://user:password@host:port"
            elif NO_DATABASE in str(error):
                message = "the store has no database with this number"
                cure = "write a smaller one: redis://host:port/0 always works"
            elif will_pass(error):
                raise
            else:
                message = f"the store refuses our commands: {error}"
                cure = cure_of(str(error))
            return [Problem("REDIS_URL", message, cure)]
        self._missing = [one.message for one in found if one.level == "warning"]
        volatile: Level = "warning" if allow_volatile else "error"
        faults = self._seen.faults()
        return found + [Problem("REDIS_URL", one, VOLATILE_CURE, volatile) for one in faults]

    async def watch_forever(self) -> None:
        """Check again, so that health shows a store whose settings were changed."""
        while True:
            await self.clock.sleep(CHECK_SECONDS)
            try:
                self._seen, _ = await self._check()
            except StoreError as error:
                log.debug("store.not_checked", error=str(error))

    def report(self) -> dict[str, Any]:
        """For health: the last check, and why the store does not answer, if it does not."""
        seen = asdict(self._seen) if self._seen else {}
        faults = [*(self._seen.faults() if self._seen else []), *self.client.wrong_types.values()]
        outage = self.client.outage
        state = {"state": "away" if outage else "ok", "trouble": outage, "faults": faults}
        return seen | state | {"missing": self._missing}

    async def _check(self) -> tuple[Persistence, dict[str, str]]:
        """How the store keeps data, and what it says about its memory."""
        kept, memory = [await info(self.client, one) for one in ("persistence", "memory")]
        seen = Persistence(
            append_only=kept.get("aof_enabled") == "1",
            eviction=memory.get("maxmemory_policy", "unknown"),
            last_write=kept.get("aof_last_write_status", "unknown"),
        )
        return seen, memory


async def require_password(url: str, *, allowed: bool) -> None:
    """Raise ConfigError where the store is on another machine and needs no password."""
    parts = urlsplit(url)
    if parts.scheme == "unix" or parts.password or allowed:
        return
    if "password=" in parts.query or await _is_local(parts.hostname or "localhost"):
        return
    raise ConfigError(
        f"REDIS_URL: {parts.hostname} is another machine, and there is no password in the URL: "
        "everybody who can reach it could read and change what people write. Write the URL as "
        "redis://user:password@host:port, or set ALLOW_OPEN_REDIS=1 in a private network."
    )


async def _is_local(host: str) -> bool:
    try:
        found = await resolve_host(host, 0)
    except OSError:
        return False
    return all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in found)
