"""What one model request has cost, and how well that is known; pure.

`told`: the server said all of it. `estimated`: it said what went in, and what came out is reckoned
from what had arrived. `guessed`: the request was cut off before it said anything.
"""

from __future__ import annotations

import asyncio
import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson
import structlog

from bot.messages import Json, ModelRequest, Usage
from bot.store.journal import Record
from bot.usage.limits import Cost

Count = Literal["told", "estimated", "guessed"]

USUAL_BYTES_OF_A_TOKEN = 2
"""Of prompts and tools that no server has counted yet: more tokens than any usual text has."""
BYTES_OF_A_TOKEN = 3
BESIDE_TOOLS = 600
IMAGE_TOKENS = 5000
"""More than the server counts for the largest image, and for what it says of tools by itself."""
BESIDE_MESSAGE = 16
"""More than a message, or a part of one, costs by itself."""
BESIDE_ALL = 100
"""More than the time line may differ by, and whether calls are allowed."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost in millionths of a dollar, None where nobody knows it; `sure` says how it is known."""

    micros: int | None
    sure: str


Pricing = Callable[[str, Usage], Priced]


@dataclass(frozen=True, slots=True)
class Charge:
    """One request: its tokens, how they are known, the model that answered and the one asked for.

    `message` is the server's own name of the answer, '' where it never came.
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
        """The cost, by the price of the model that answered or else of the one asked for."""
        found = pricing(self.model, self.usage)
        if found.micros is None and self.asked and self.asked != self.model:
            found = pricing(self.asked, self.usage)
        return found

    def again(self) -> Charge:
        """The same request of an earlier life, of which nobody heard: as much, as a guess.

        What went in is this one's to the token, though the dearest kind: the cache that this one
        read may be what the earlier one wrote.
        """
        usage = self.usage
        written = usage.cache_read + usage.cache_write
        dear = replace(usage, cache_read=0, cache_write=written)
        return replace(self, usage=dear, count="guessed", message="")


def estimate_interrupted(request: ModelRequest) -> Charge | None:
    """What a request that was cut off has cost, None where it surely cost nothing."""
    meter = request.meter
    if not meter.sent:
        return None
    if not meter.started:
        usage = Usage(input=_tokens(request, BYTES_OF_A_TOKEN), output=_streamed(meter.streamed))
        return Charge(usage, "guessed", request.model)
    model, usage = meter.model or request.model, meter.usage
    if meter.ended:
        return Charge(usage, "told", model, request.model, meter.message)
    output = max(usage.output, _streamed(meter.streamed))
    estimate = replace(usage, output=output)
    return Charge(estimate, "estimated", model, request.model, meter.message)


def estimate_unanswered(model: str, size: int) -> Charge:
    """A request of an earlier life that was not made again, over a history of so many bytes."""
    return Charge(Usage(input=_streamed(size)), "guessed", model)


@dataclass(frozen=True, slots=True)
class KnownPrompt:
    """What is known of a conversation's next request from its newest answer; nothing by default.

    `tokens` are all of that answer's request, in and out, as the server told; `added` is the most
    that what came after it can have. `same` says that model, system prompt and tools are as then.
    """

    tokens: int = 0
    added: int = 0
    same: bool = False


def known_prompt(newest_first: Iterable[Record], head: str) -> KnownPrompt:
    """What the records of a conversation tell; `head` names the model, system prompt and tools."""
    added = 0
    for record in newest_first:
        body = record.body
        if record.kind == "model" and sum(told := _told(body)) - told[1] > 0:
            return KnownPrompt(sum(told), added, body.get("head") == head)
        if record.kind in ("person", "model", "result"):
            added += _most(body["content"]) + BESIDE_MESSAGE
    return KnownPrompt()


def _told(body: Json) -> Sequence[int]:
    """Tokens by kind (the second is what came out), as the server told them of a whole answer."""
    return (0, 0, 0, 0) if body.get("partial") else body["usage"]


def worst_case_cost(
    request: ModelRequest, pricing: Pricing, known: KnownPrompt | None = None
) -> tuple[Cost, Priced]:
    """What a request can cost at most."""
    tokens, out = _goes_in(request, known or KnownPrompt()), request.max_tokens
    kinds_of_in = (Usage(cache_write=tokens, output=out), Usage(input=tokens, output=out))
    priced = max((pricing(request.model, u) for u in kinds_of_in), key=lambda p: p.micros or 0)
    return Cost(tokens + out, priced.micros or 0), priced


def _goes_in(request: ModelRequest, known: KnownPrompt) -> int:
    """The most tokens that go in.

    No text has more tokens than bytes; what was counted before needs no such caution, nor do the
    operator's own texts.
    """
    if known.same:
        return known.tokens + known.added + BESIDE_ALL
    own = len(orjson.dumps([request.system, request.tools])) // USUAL_BYTES_OF_A_TOKEN
    own += BESIDE_ALL + BESIDE_TOOLS * bool(request.tools)
    said = sum(_most(message["content"]) + BESIDE_MESSAGE for message in request.messages)
    if not known.tokens:
        return own + said
    before = max(0, said - known.added) // USUAL_BYTES_OF_A_TOKEN
    return own + max(before, known.tokens) + known.added


def _most(content: Any) -> int:
    """The most tokens of a content: one for each byte."""
    plain, images = _without_images(content)
    return len(orjson.dumps(plain)) + images * IMAGE_TOKENS


def _tokens(request: ModelRequest, bytes_of_a_token: int) -> int:
    images = 0
    sent: list[Any] = [request.system, request.tools]
    for message in request.messages:
        content, found = _without_images(message["content"])
        sent.append(content)
        images += found
    return len(orjson.dumps(sent)) // bytes_of_a_token + images * IMAGE_TOKENS


def _without_images(content: Any) -> tuple[Any, int]:
    """Blocks without the bytes of their images, and how many images there were."""
    if not isinstance(content, list | tuple):
        return content, 0
    kept, found = [], 0
    for block in content:
        if block["type"] == "image":
            found += 1
        elif block["type"] == "tool_result":
            inner, more = _without_images(block["content"])
            kept.append({**block, "content": inner})
            found += more
        else:
            kept.append(block)
    return kept, found


def _streamed(size: int) -> int:
    return math.ceil(size / BYTES_OF_A_TOKEN)


def usage_from(counts: Iterable[int]) -> Usage:
    """Tokens as an answer's record has them."""
    return Usage(*counts)


def usage_by_kind(usage: Usage) -> Mapping[str, int]:
    """Tokens by kind, by the names that a line of the ledger has."""
    return {
        "in": usage.input,
        "out": usage.output,
        "cacheRead": usage.cache_read,
        "cacheWrite": usage.cache_write,
    }


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
