"""Changes that were told and are not read yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class News:
    """What has changed since it was last taken: some of `our` keys, or perhaps all of them."""

    def __init__(self, ours: Callable[[str], bool]) -> None:
        self._ours = ours
        self._keys: set[str] = set()
        self._everything = self._over = False
        self._wake = asyncio.Event()

    def hear(self, keys: tuple[str, ...] | None) -> None:
        """Names of changed keys; None means that any may have changed."""
        self._everything |= keys is None
        self._keys.update(key for key in keys or () if self._ours(key))
        self._wake.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._wake.set()

    async def come(self) -> bool:
        """Wait for news; False once nothing more comes."""
        await self._wake.wait()
        self._wake.clear()
        return not self._over

    def take(self) -> tuple[bool, list[str]]:
        """Whether everything must be read, and else which keys."""
        found = self._everything, [*self._keys]
        self._everything = False
        self._keys.clear()
        return found
