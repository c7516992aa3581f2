"""What a model request costs at most, what it did cost, and how well that is known.

A line of the ledger says `told` where the server said all of it, `estimated` where it said what
went in and the rest is estimated from what had arrived, and `guessed` where the request was cut off
before the server said anything.
"""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from bot.messages import ModelRequest, Usage
from bot.store.journal import Record
from bot.usage.budgets import Cost
from registry.errors import InvalidValue
from registry.fields import issues_of

log = structlog.get_logger("prices")

Count = Literal["told", "estimated", "guessed"]
Source = Literal["own", "listed", "unknown"]
OwnPrices = Mapping[str, Mapping[str, float]]

BYTES_PER_TOKEN = 3
MIN_BYTES_PER_TOKEN = 2
"""Of prompts and tools that no server has counted yet: no usual text has more tokens than that."""
IMAGE_TOKENS = 5000
"""More than the server counts for the largest image."""
TOOLS_TOKENS = 600
"""More than the server counts for what it adds where there are tools."""
MESSAGE_TOKENS = 16
"""More than the server counts for a message, or a part of one, beside its text."""
SLACK_TOKENS = 100
"""More than two requests differ by their time line, and by whether calls are allowed."""
MICRO = 1_000_000

_Dollars = Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)]


class Price(BaseModel):
    """What a model costs, in dollars per million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)

    input: _Dollars
    output: _Dollars
    cache_read: _Dollars = 0
    cache_write: _Dollars = 0


def check_prices(prices: OwnPrices) -> OwnPrices:
    """The same prices by model; raises InvalidValue for one that is not valid."""
    for model, price in prices.items():
        try:
            Price.model_validate(price)
        except ValidationError as error:
            first = next(issues_of(error, Price))
            cure = (
                "give the prices input and output, and perhaps cacheRead and cacheWrite, all in "
                "dollars per million tokens"
            )
            raise InvalidValue(f"{model}: {first.message}", cure) from None
    return prices


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost in micro-dollars, None where it is not known, and where the price is from."""

    micros: int | None
    source: Source


Pricing = Callable[[str, Usage], Priced]


@dataclass(frozen=True, slots=True)
class Charge:
    """One request: its tokens, how they are known, the model that answered and the one asked for.

    `message` is the server's id of the answer, '' where none came.
    """

    usage: Usage
    count: Count
    model: str
    asked: str = ""
    message: str = ""

    @property
    def tokens(self) -> int:
        """Tokens of all kinds."""
        usage = self.usage
        return usage.input + usage.output + usage.cache_read + usage.cache_write

    def priced(self, pricing: Pricing) -> Priced:
        """The cost, by the price of the model that answered, or else of the one asked for."""
        found = pricing(self.model, self.usage)
        if found.micros is None and self.asked and self.asked != self.model:
            found = pricing(self.asked, self.usage)
        return found

    def of_earlier_attempt(self) -> Charge:
        """A guess at what the same request cost in an attempt that recorded nothing.

        The same tokens went in, though perhaps of the dearest kind: the cache that this request
        read may be what the earlier one wrote.
        """
        read, written = self.usage.cache_read, self.usage.cache_write
        dearest = replace(self.usage, cache_read=0, cache_write=read + written)
        return replace(self, usage=dearest, count="guessed", message="")


def estimate_interrupted(request: ModelRequest) -> Charge | None:
    """What a request that was cut off cost; None if it cannot have cost anything."""
    meter = request.meter
    if not meter.sent:
        return None
    if not meter.started:
        usage = Usage(input=_sent_tokens(request), output=tokens_in(meter.streamed))
        return Charge(usage, "guessed", request.model)
    model, usage = meter.model or request.model, meter.usage
    if meter.ended:
        return Charge(usage, "told", model, request.model, meter.message)
    estimate = replace(usage, output=max(usage.output, tokens_in(meter.streamed)))
    return Charge(estimate, "estimated", model, request.model, meter.message)


@dataclass(frozen=True, slots=True)
class KnownPrompt:
    """What the newest answer of a conversation says about its next request.

    `tokens` are all of that answer's request, in and out, as the server reported them; `added` is
    the most that what came after it can have. `same` says that model, system prompt and tools are
    unchanged. By default nothing is known.
    """

    tokens: int = 0
    added: int = 0
    same: bool = False


def known_prompt(newest_first: Iterable[Record], head: str) -> KnownPrompt:
    """What a conversation's records say; `head` identifies model, system prompt and tools."""
    added = 0
    for record in newest_first:
        body = record.body
        if record.kind == "model" and not body.get("partial"):
            usage = body["usage"]  # as the server reported it; the second is the output
            if sum(usage) - usage[1] > 0:
                return KnownPrompt(sum(usage), added, body.get("head") == head)
        if record.kind in ("person", "model", "result"):
            added += most_tokens(body["content"]) + MESSAGE_TOKENS
    return KnownPrompt(added=added)


def worst_case_cost(
    request: ModelRequest, pricing: Pricing, known: KnownPrompt | None = None
) -> tuple[Cost, Priced]:
    """The most that a request can cost."""
    tokens, output = _max_input_tokens(request, known or KnownPrompt()), request.max_tokens
    inputs = (Usage(cache_write=tokens, output=output), Usage(input=tokens, output=output))
    priced = max((pricing(request.model, u) for u in inputs), key=lambda p: p.micros or 0)
    return Cost(tokens + output, priced.micros or 0), priced


def _max_input_tokens(request: ModelRequest, known: KnownPrompt) -> int:
    """The most tokens that go in.

    No text has more tokens than bytes. What the server counted before needs no such caution, nor do
    the operator's own texts.
    """
    if known.same:
        return known.tokens + known.added + SLACK_TOKENS
    own = len(orjson.dumps([request.system, request.tools])) // MIN_BYTES_PER_TOKEN
    own += SLACK_TOKENS + TOOLS_TOKENS * bool(request.tools)
    said = sum(most_tokens(message["content"]) + MESSAGE_TOKENS for message in request.messages)
    if not known.tokens:
        return own + said
    before = max(0, said - known.added) // MIN_BYTES_PER_TOKEN
    return own + max(before, known.tokens) + known.added


def most_tokens(content: Any) -> int:
    """The most tokens of a content: one for each byte."""
    plain, images = _without_images(content)
    return len(orjson.dumps(plain)) + images * IMAGE_TOKENS


def _sent_tokens(request: ModelRequest) -> int:
    contents = [_without_images(message["content"]) for message in request.messages]
    sent = [request.system, request.tools, *(content for content, _ in contents)]
    images = sum(found for _, found in contents)
    return len(orjson.dumps(sent)) // BYTES_PER_TOKEN + images * IMAGE_TOKENS


def _without_images(content: Any) -> tuple[Any, int]:
    """Blocks without the bytes of their images, and how many images there were."""
    if not isinstance(content, list | tuple):
        return content, 0
    others, found = [], 0
    for block in content:
        if block["type"] == "image":
            found += 1
        elif block["type"] == "tool_result":
            inner, more = _without_images(block["content"])
            others.append({**block, "content": inner})
            found += more
        else:
            others.append(block)
    return others, found


def tokens_in(size: int) -> int:
    """About how many tokens so many bytes have."""
    return math.ceil(size / BYTES_PER_TOKEN)


@dataclass(slots=True, repr=False)
class Prices:
    """Prices of models; `own` are dollars per million tokens, by model and kind of token.

    The list is the model maker's. With another server behind `ANTHROPIC_BASE_URL`, which has prices
    of its own, it is not used (`listed` is False).
    """

    own: OwnPrices
    listed: bool = field(default=True, kw_only=True)
    _library: Any = field(init=False, default=None)

    async def warm(self) -> None:
        """Load the list off the loop: it takes most of a second."""
        if self.listed:
            self._library = await asyncio.to_thread(importlib.import_module, "genai_prices")
            await asyncio.to_thread(self._by_list, "claude-sonnet-5-5", Usage(input=1))

    def price(self, model: str, usage: Usage) -> Priced:
        """What these tokens cost, by the own prices or else by the list."""
        if own := self.own.get(model):
            return Priced(_by_own(own, usage), "own")
        found = self._by_list(model, usage) if self.listed else None
        return Priced(found, "unknown" if found is None else "listed")

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
    """Micro-dollars: dollars per million tokens are micro-dollars for one."""
    full = own.get("input", 0.0)
    cost = usage.input * full + usage.output * own.get("output", 0.0)
    cost += usage.cache_read * own.get("cacheRead", full)
    cost += usage.cache_write * own.get("cacheWrite", full)
    return round(cost)
