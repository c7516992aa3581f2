"""Who is signed in by a cookie, and the links that sign somebody in once; both by hash alone."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass

from bot.store import keys
from bot.store.client import StoreClient

SIGNED_IN_SECONDS = 12 * 3600
LINK_SECONDS = 5 * 60
_LONGEST = 128


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who signed in: with a key of the API, or with a link that a bot gave to a person.

    `key` is the SHA-256 of the key, `user` the person of its account for whom it was shown. A link
    has `person`, the numeric id in Telegram, their `name`, and the `bot` that made it.
    """

    key: str = ""
    user: str | None = None
    person: int = 0
    name: str = ""
    bot: int = 0


@dataclass(frozen=True, slots=True)
class SignIns:
    """The sign-ins of all replicas. Each method raises StoreError where the store is away."""

    store: StoreClient

    async def begin(self, who: SignIn) -> str:
        """Sign somebody in for twelve hours; the value of their cookie, 256 random bits."""
        return await self._add(keys.sign_in, who, SIGNED_IN_SECONDS)

    async def find(self, cookie: str) -> SignIn | None:
        """Who is signed in by a cookie; None where nobody is."""
        if not 0 < len(cookie) <= _LONGEST:
            return None
        return _read(await self.store.command("GET", keys.sign_in(_digest(cookie))))

    async def end(self, cookie: str) -> None:
        """Sign out: the cookie opens nothing from now on, on any replica."""
        await self.store.command("DEL", keys.sign_in(_digest(cookie)))

    async def make_link(self, who: SignIn) -> str:
        """The code of a link that signs somebody in once, within five minutes."""
        return await self._add(keys.sign_in_link, who, LINK_SECONDS)

    async def use_link(self, code: str) -> SignIn | None:
        """Who may sign in by a code; of several that try, on any replicas, one alone gets it."""
        if not 0 < len(code) <= _LONGEST:
            return None
        return _read(await self.store.command("GETDEL", keys.sign_in_link(_digest(code))))

    async def _add(self, kind: keys.Key, who: SignIn, seconds: int) -> str:
        secret = secrets.token_urlsafe(32)
        value = json.dumps(asdict(who), ensure_ascii=False)
        await self.store.command("SET", kind(_digest(secret)), value, "EX", seconds)
        return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _read(value: bytes | None) -> SignIn | None:
    return None if value is None else SignIn(**json.loads(value))
