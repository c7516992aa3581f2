"""Sealed texts: secrets that lie in the store, encrypted with a key that never does (AES-GCM).

A sealed text is `v1.<key id>.<nonce and ciphertext>`. It opens only for what it was sealed for, so
that it cannot be moved to another document; the key id tells with which key it was sealed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from dataclasses import dataclass
from typing import Any

from registry.errors import InvalidValue

KEY_BYTES = 32
NEW_KEY = "make a key with `switchboard secrets new-key`"
_NONCE_BYTES = 12
_SEALED = re.compile(r"v1\.([0-9a-f]{12})\.([A-Za-z0-9_-]{38,700})")


class Unopened(Exception):
    """A sealed text cannot be opened; says why, without a secret."""


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """One key; `id` tells it from others, and tells nothing else about it."""

    id: str
    raw: bytes

    @classmethod
    def parse(cls, text: str) -> SealingKey:
        """A key of 32 bytes in base64; raises InvalidValue."""
        plain = text.strip()
        try:
            urls = plain.replace("-", "+").replace("_", "/")
            raw = base64.b64decode(urls + "=" * (-len(urls) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidValue("is not base64", NEW_KEY) from None
        if len(raw) != KEY_BYTES:
            message = f"has {len(raw)} bytes in base64, not {KEY_BYTES}"
            raise InvalidValue(message, NEW_KEY)
        return cls(hashlib.sha256(b"switchboard key id\0" + raw).hexdigest()[:12], raw)


def new_key() -> str:
    """A fresh key in base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def is_sealed(text: str) -> bool:
    """Whether a text has the form of a sealed one."""
    return bool(_SEALED.fullmatch(text))


def key_id_of(sealed: str) -> str:
    """The id of the key that a text was sealed with; '' for another text."""
    found = _SEALED.fullmatch(sealed)
    return found[1] if found else ""


class Sealer:
    """Seals with one key, and opens what was sealed with it or with an `old` one."""

    def __init__(self, key: SealingKey, old: SealingKey | None = None) -> None:
        self.key = key
        self.key_id = key.id
        self._keys = {one.id: one.raw for one in (old, key) if one is not None}
        self._made: dict[str, Any] = {}

    def seal(self, text: str, purpose: str) -> str:
        """A text, sealed for one purpose."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(self.key_id).encrypt(nonce, text.encode(), purpose.encode())
        body = base64.urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()
        return f"v1.{self.key_id}.{body}"

    def open(self, sealed: str, purpose: str) -> str:
        """The text in a sealed one; raises Unopened."""
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise Unopened("it is not a sealed text")
        key_id, body = found.groups()
        if key_id not in self._keys:
            raise Unopened(f"it was sealed with another key, {key_id}, and SECRETS_KEY is not it")
        from cryptography.exceptions import InvalidTag

        try:
            raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            nonce, rest = raw[:_NONCE_BYTES], raw[_NONCE_BYTES:]
            return bytes(self._cipher(key_id).decrypt(nonce, rest, purpose.encode())).decode()
        except (InvalidTag, ValueError):
            raise Unopened("it was changed after it was sealed, or is another's") from None

    def load(self) -> None:
        """Import what sealing needs, which takes some milliseconds."""
        self._cipher(self.key_id)

    def _cipher(self, key_id: str) -> Any:
        if key_id not in self._made:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._made[key_id] = AESGCM(self._keys[key_id])
        return self._made[key_id]
