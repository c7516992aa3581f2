"""Artifacts for clients: addresses that need no key, are signed, and end with the file itself."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote

from bot.messages import Json

PATH = "/api/v1/artifacts/"
_ID = re.compile(r"([0-9a-f]{24})-[0-9a-f]{12}")
_EXPIRES = re.compile(r"[0-9]{1,12}")
_PURPOSE = b"artifacts"
"""What the key is derived for: nothing else that is signed with the same secret fits here."""


def turn_of(id: str) -> str | None:
    """The turn of an artifact by its id; None where it can be none."""
    found = _ID.fullmatch(id)
    return found[1] if found else None


@dataclass(slots=True, repr=False)
class ArtifactLinks:
    """Makes and checks the addresses of artifacts; `base` is the public address of the host, or ''.

    `secret` is the one that all replicas share; until it is there no address is valid.
    """

    base: str = ""
    secret: bytes = b""

    def listed(self, artifacts: Iterable[Mapping[str, Any]]) -> list[Json]:
        """Artifacts as clients see them, from what is known of each."""
        return [self._listed(one) for one in artifacts]

    def is_valid(self, id: str, expires: str, signature: str, now: float) -> bool:
        """Whether an address was made here, and has not expired."""
        if not self.secret or turn_of(id) is None or not _EXPIRES.fullmatch(expires):
            return False
        wanted = self._signature(id, expires)
        is_ours = hmac.compare_digest(signature.encode("utf-8", "replace"), wanted.encode())
        return is_ours and now < int(expires)

    def is_signed(self, path: str, query: bytes, now: float) -> bool:
        """The same of a path and a query as they came."""
        found = parse_qs(query.decode("latin-1"))
        expires, signature = (found.get(name, [""]) for name in ("expires", "signature"))
        return self.is_valid(path.removeprefix(PATH), expires[0], signature[0], now)

    def _listed(self, one: Mapping[str, Any]) -> Json:
        told = {name: one[name] for name in ("id", "name", "mime_type", "size")}
        if one["expires"] is None:  # it is elsewhere
            return {**told, "url": one["url"], "expires_at": None}
        expires = str(one["expires"])
        query = f"expires={expires}&signature={self._signature(one['id'], expires)}"
        ends = datetime.fromtimestamp(one["expires"], UTC).isoformat()
        return {**told, "url": f"{self.base}{PATH}{one['id']}?{query}", "expires_at": ends}

    def _signature(self, id: str, expires: str) -> str:
        key = hmac.digest(self.secret, _PURPOSE, hashlib.sha256)
        return hmac.digest(key, f"{id}.{expires}".encode(), hashlib.sha256).hex()


def disposition(name: str) -> str:
    """A `Content-Disposition` that saves a file under a name."""
    plain = "".join(one if one.isascii() and one not in '"\\' else "_" for one in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
