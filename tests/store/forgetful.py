"""A store client whose answers get lost: the store has done it, and nobody hears of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.errors import StoreUnavailable
from bot.ops.tasks import SystemClock
from bot.store.client import StoreClient
from tests.store.engines import Engine

T = TypeVar("T")


class Forgetful(StoreClient):
    """Loses the answers to the next `lost` calls; `between` happens before the next try."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.connect(), SystemClock())
        self.lost = 0
        self.between: Callable[[], Awaitable[object]] | None = None

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        found = await super().call(call)
        if self.lost:
            self.lost -= 1
            if self.between is not None:
                happens, self.between = self.between, None
                await happens()
            raise StoreUnavailable("the answer was lost")
        return found
