"""Cursors of pages: opaque texts that open only for the account and the list they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from bot.http.api.problems import ApiError
from bot.store import keys
from bot.store.client import StoreClient

_MAC_BYTES = 16
_MOST = 512


class Cursors:
    """Makes and reads cursors; `secret` is the same on every replica."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def make(self, account: str, what: str, position: str) -> str:
        """A cursor for a position in a list, which `what` names with all that filters it."""
        mac = self._mac(account, what, position)
        return base64.urlsafe_b64encode(mac + position.encode()).decode().rstrip("=")

    def read(self, account: str, what: str, cursor: str) -> str:
        """The position of a cursor; raises ApiError (422) for one that was not made for this."""
        position = _position(cursor) if len(cursor) <= _MOST else ""
        wanted = self.make(account, what, position)
        if not hmac.compare_digest(cursor.encode(), wanted.encode()):
            raise ApiError(
                422,
                "invalid-cursor",
                "This cursor is not one of this list. Begin again without a cursor.",
                field="cursor",
            )
        return position

    def _mac(self, account: str, what: str, position: str) -> bytes:
        parts = (account, what, position)
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.digest(self._secret, text.encode(), hashlib.sha256)[:_MAC_BYTES]


def _position(cursor: str) -> str:
    try:
        raw = base64.b64decode((cursor + "=" * (-len(cursor) % 4)).encode("ascii"), b"-_")
        return raw[_MAC_BYTES:].decode()
    except (UnicodeError, binascii.Error):
        return ""


async def shared_secret(store: StoreClient) -> bytes:
    """The secret of all replicas, made by the first one; waits while the store is away."""

    async def ask() -> bytes:
        await store.command("SET", keys.API_SECRET, secrets.token_hex(32), "NX")
        found: bytes = await store.command("GET", keys.API_SECRET)
        return found

    return await store.retry_while_down(ask)
