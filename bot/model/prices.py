"""What a model request costs: by a price list that is kept well, or as the operator says."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any

import structlog

from bot.ports.model import Usage
from bot.turn.charges import Priced

log = structlog.get_logger("prices")

MICRO = 1_000_000
OWN, LISTED, UNKNOWN = "own", "listed", "unknown"

OwnPrices = Mapping[str, Mapping[str, float]]


class Prices:
    """Prices in millionths of a dollar; `own` are dollars for a million tokens of each kind.

    The list is of the model's maker: with another server behind `ANTHROPIC_BASE_URL` it is not
    asked (`listed` is False), since that one has prices of its own.
    """

    def __init__(self, own: OwnPrices, *, listed: bool = True) -> None:
        self._own = own
        self._listed = listed
        self._library: Any = None

    async def warm(self) -> None:
        """Load the list, off the loop: it takes most of a second."""
        if self._listed:
            self._library = await asyncio.to_thread(importlib.import_module, "genai_prices")
            await asyncio.to_thread(self._by_list, "claude-sonnet-5-5", Usage(input=1))

    def price(self, model: str, usage: Usage) -> Priced:
        """The cost, and how sure it is: own, listed, or unknown (then there is none)."""
        if own := self._own.get(model):
            return Priced(_by_own(own, usage), OWN)
        found = self._by_list(model, usage) if self._listed else None
        return Priced(found, UNKNOWN if found is None else LISTED)

    def _by_list(self, model: str, usage: Usage) -> int | None:
        library = self._library or importlib.import_module("genai_prices")
        whole = library.Usage(
            input_tokens=usage.input + usage.cache_read + usage.cache_write,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
            output_tokens=usage.output,
        )
        try:
            found = library.calc_price(whole, model, provider_id="anthropic")
        except LookupError:
            return None
        except Exception:
            log.exception("price.failed", model=model)
            return None
        micros: int = round(found.total_price * MICRO)
        return micros


def _by_own(own: Mapping[str, float], usage: Usage) -> int:
    """Dollars for a million tokens are millionths for one."""
    full = own.get("input", 0.0)
    cost = usage.input * full + usage.output * own.get("output", 0.0)
    cost += usage.cache_read * own.get("cacheRead", full)
    cost += usage.cache_write * own.get("cacheWrite", full)
    return round(cost)
