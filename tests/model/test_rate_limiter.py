"""A refusal holds back all requests of a model: its rate limiter, at a server that counts."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from aiohttp import web

from bot.errors import ModelBusy
from bot.messages import Answer, ModelRequest
from bot.model.client import MessagesModel
from bot.model.rate_limiter import FIRST_CONCURRENCY, LONGEST_WAIT, RateLimiter
from bot.model.refusals import retry_after
from bot.ops.tasks import SystemClock
from tests.model.test_client import WHOLE, Api, api, model, refuse, speak

__all__ = ["api", "model"]


async def ask(model: MessagesModel, name: str = "claude-sonnet-5-5") -> bool:
    """Whether an answer came."""
    said = [{"role": "user", "content": "hi"}]
    async with aclosing(model.stream(ModelRequest(name, 50, [], [], said))) as pieces:
        return any([isinstance(piece, Answer) async for piece in pieces])


class Counting:
    """Answers, and remembers when each request came and how many there were at once."""

    def __init__(self, held: asyncio.Event | None = None) -> None:
        self.at: list[float] = []
        self.inside = self.most = 0
        self._held = held
        self._speak = speak(WHOLE)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.at.append(time.monotonic())
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            if self._held:
                await self._held.wait()
            return await self._speak(request)
        finally:
            self.inside -= 1


async def test_after_a_refusal_nobody_asks_before_its_time_and_then_a_few_at_once(
    api: Api, model: MessagesModel
) -> None:
    api.answer = refuse(429, "rate_limit_error", retry_after="0.4")
    with pytest.raises(ModelBusy):
        await ask(model)
    refused_at, held = time.monotonic(), asyncio.Event()
    api.answer = counting = Counting(held)
    all_of_them = [asyncio.create_task(ask(model)) for _ in range(30)]
    while counting.inside < FIRST_CONCURRENCY:
        await asyncio.wait(all_of_them, timeout=0.01)
    assert min(counting.at) - refused_at > 0.35
    await asyncio.wait(all_of_them, timeout=0.1)
    assert counting.most == FIRST_CONCURRENCY
    held.set()
    assert all(await asyncio.gather(*all_of_them))
    assert len(counting.at) == 30


async def test_a_limit_of_one_model_holds_no_other_back(api: Api, model: MessagesModel) -> None:
    api.answer = refuse(429, "rate_limit_error", retry_after="30")
    with pytest.raises(ModelBusy):
        await ask(model)
    api.answer = speak(WHOLE)
    assert await ask(model, "claude-haiku-5-5")
    waits = asyncio.create_task(ask(model))
    await asyncio.wait({waits}, timeout=0.1)
    assert not waits.done()
    waits.cancel()


async def test_whoever_would_wait_too_long_hears_so_at_once_and_nothing_is_sent(
    api: Api, model: MessagesModel
) -> None:
    api.answer = refuse(429, "rate_limit_error", retry_after="3600")
    for _ in range(2):
        with pytest.raises(ModelBusy) as busy:
            await ask(model)
        assert busy.value.retry_after is not None
        assert busy.value.retry_after > LONGEST_WAIT
    assert len(api.requests) == 1


async def test_what_was_on_its_way_when_the_pause_began_does_not_end_it() -> None:
    clock = Hands()
    limiter = RateLimiter(clock, "m")
    early = [limiter.permit() for _ in range(200)]
    permits = [await one.__aenter__() for one in early]
    permits[0].refused(429, 30)
    for permit, one in zip(permits[1:], early[1:], strict=True):
        permit.succeeded()
        await one.__aexit__(None, None, None)
    late = asyncio.create_task(limiter.permit().__aenter__())
    await asyncio.wait({late}, timeout=0.05)
    assert not late.done()
    late.cancel()


class Hands:
    """A clock that is moved by hand."""

    now = 1000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_one_in_a_minute_finds_out_whether_a_long_limit_is_lifted() -> None:
    clock = Hands()
    limiter = RateLimiter(clock, "m")
    limiter.pause(3600)
    clock.now += LONGEST_WAIT - 1
    with pytest.raises(ModelBusy, match="takes no request for 3541 s"):
        await limiter.permit().__aenter__()
    clock.now += 1
    async with limiter.permit() as first:
        with pytest.raises(ModelBusy):
            await limiter.permit().__aenter__()
        first.succeeded()
    async with asyncio.timeout(10), limiter.permit():
        pass


async def test_an_overloaded_server_is_asked_by_a_few_until_it_answers(
    api: Api, model: MessagesModel
) -> None:
    api.answer = refuse(529, "overloaded_error")
    with pytest.raises(ModelBusy):
        await ask(model)
    held = asyncio.Event()
    api.answer = counting = Counting(held)
    all_of_them = [asyncio.create_task(ask(model)) for _ in range(10)]
    await asyncio.wait(all_of_them, timeout=0.2)
    assert counting.most == FIRST_CONCURRENCY
    held.set()
    assert all(await asyncio.gather(*all_of_them))


async def test_a_limit_is_lifted_after_enough_requests_have_succeeded() -> None:
    limiter = RateLimiter(SystemClock(), "m")
    limiter.pause(0)
    for _ in range(200):
        async with limiter.permit() as permit:
            permit.succeeded()
    assert limiter.is_unlimited


async def test_one_who_leaves_while_it_waits_takes_nobodys_place() -> None:
    limiter = RateLimiter(SystemClock(), "m")
    limiter.pause(0)
    inside = [limiter.permit() for _ in range(FIRST_CONCURRENCY)]
    for permit in inside:
        await permit.__aenter__()
    waits = [asyncio.create_task(limiter.permit().__aenter__()) for _ in range(2)]
    await asyncio.wait(waits, timeout=0.05)
    waits[0].cancel()
    await inside[0].__aexit__(None, None, None)
    await asyncio.wait_for(waits[1], 10)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"requests-remaining": "0", "requests-reset": "2023-11-14T22:13:50Z"}, 30.0),
        ({"requests-remaining": "7", "requests-reset": "2023-11-14T22:13:50Z"}, None),
        ({"tokens-remaining": "0", "tokens-reset": "soon"}, None),
        ({"tokens-remaining": "0", "tokens-reset": "2023-11-14T22:13:10Z"}, 0.0),
    ],
)
def test_a_limit_that_is_used_up_tells_when_it_is_whole_again(
    headers: dict[str, str], seconds: float | None
) -> None:
    named = {f"anthropic-ratelimit-{name}": value for name, value in headers.items()}
    assert retry_after(named, 1_700_000_000.0) == seconds
    assert retry_after(named | {"retry-after": "7"}, 1_700_000_000.0) == 7.0
