"""Results that may be used again: how long, how many, and under which key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bot.mcp.result import ToolFile
from bot.ops.logging import Counters
from bot.skills.api import SkillContext
from bot.tools.cache import ToolResultCache, cache_key
from bot.tools.calls import NO_ANSWER, Result, failed
from registry.skill import Scope
from tests.clocks import StoppedClock


class Calls:
    """A tool that answers when it is told to, in the order in which its calls began."""

    def __init__(self) -> None:
        self.running: list[asyncio.Future[Result]] = []
        self.given: list[float] = []
        self.cancelled = 0

    async def make(self, seconds: float) -> Result:
        self.given.append(seconds)
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.running.append(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def turns() -> None:
    """What is ready to run has run."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_a_result_is_there_until_its_time_is_over() -> None:
    clock, counters = StoppedClock(), Counters()
    kept = ToolResultCache(clock, counters)
    kept.put("a", [{"type": "text", "text": "rain"}], 60)
    clock.now += 59.9
    assert kept.get("a") == [{"type": "text", "text": "rain"}]
    clock.now += 0.1
    assert kept.get("a") is None
    assert kept.size == 0
    assert counters.snapshot() == {"tool_cache:hit": 1}


def test_what_is_kept_cannot_be_changed_by_who_got_it() -> None:
    kept = ToolResultCache(StoppedClock(), Counters())
    kept.put("a", [{"text": "rain"}], 60)
    found = kept.get("a")
    assert found is not None
    found[0]["text"] = "sun"
    assert kept.get("a") == [{"text": "rain"}]


def test_the_whole_stays_under_its_limit_and_the_longest_unused_goes_first() -> None:
    kept = ToolResultCache(StoppedClock(), Counters(), max_bytes=16_000)
    for name in range(40):
        kept.put(str(name), "x" * 600, 60)
        kept.get("0")
        assert kept.size <= 16_000
    assert kept.get("0") is not None
    assert kept.get("1") is None
    assert kept.get("39") is not None


def test_a_result_that_is_too_large_is_not_kept_and_drops_nothing() -> None:
    counters = Counters()
    kept = ToolResultCache(StoppedClock(), counters, max_bytes=16_000)
    kept.put("a", "small", 60)
    kept.put("b", "x" * 2_000, 60)
    assert (kept.get("a"), kept.get("b")) == ("small", None)
    assert counters["tool_cache:too_large"] == 1


CachedCall = Callable[..., "asyncio.Task[Result]"]


@pytest.fixture
def asked(calls: Calls) -> CachedCall:
    """Asks one tool the same thing; each time by another turn."""
    kept = ToolResultCache(StoppedClock(), Counters())

    def ask(seconds: float = 60) -> asyncio.Task[Result]:
        call: Coroutine[Any, Any, Result] = kept.result("a", 60, seconds, calls.make)
        return asyncio.create_task(call)

    return ask


async def test_the_files_of_a_result_come_again_with_it_and_count(calls: Calls) -> None:
    clock = StoppedClock()
    cache = ToolResultCache(clock, Counters())
    made = asyncio.create_task(cache.result("a", 60, 9, calls.make))
    await turns()
    files = (ToolFile("notes.txt", "text/plain", text="x" * 1000),)
    calls.running[0].set_result(Result("ok", files=files))
    first, again = await made, await cache.result("a", 60, 9, calls.make)
    assert (first.files, again.files, len(calls.running)) == (files, files, 1)
    assert cache.size > 1000
    clock.now += 60
    assert cache.get("a") is None
    assert cache.size == 0


async def test_equal_calls_at_once_are_one_call_and_its_result_is_kept(
    calls: Calls, asked: CachedCall
) -> None:
    all_of_them = [asked() for _ in range(20)]
    await turns()
    calls.running[0].set_result(Result([{"text": "rain"}]))
    results = await asyncio.gather(*all_of_them)
    assert [result.content for result in results] == [[{"text": "rain"}]] * 20
    results[1].content[0]["text"] = "sun"
    assert results[2].content == results[0].content == [{"text": "rain"}]
    assert (await asked()).content == [{"text": "rain"}]
    assert len(calls.running) == 1


async def test_who_began_a_call_may_leave_and_the_others_get_its_result(
    calls: Calls, asked: CachedCall
) -> None:
    first, second, third = asked(), asked(), asked()
    await turns()
    first.cancel()
    second.cancel()
    await turns()
    assert first.cancelled()
    assert second.cancelled()
    calls.running[0].set_result(Result("rain"))
    assert (await third).content == "rain"
    assert (len(calls.running), calls.cancelled) == (1, 0)


async def test_a_call_that_nobody_waits_for_any_more_ends_and_is_made_anew(
    calls: Calls, asked: CachedCall
) -> None:
    first, second = asked(), asked()
    await turns()
    first.cancel()
    second.cancel()
    await turns()
    assert calls.cancelled == 1
    third = asked()
    await turns()
    calls.running[1].set_result(Result("rain"))
    assert (await third).content == "rain"


async def test_a_failure_is_only_its_own_callers_and_the_rest_try_once_more_together(
    calls: Calls, asked: CachedCall
) -> None:
    first, *others = [asked() for _ in range(10)]
    await turns()
    calls.running[0].set_result(Result("no time", error=True, fate_unknown=True))
    await turns()
    assert (await first).fate_unknown
    assert len(calls.running) == 2
    calls.running[1].set_result(Result("rain"))
    assert {result.content for result in await asyncio.gather(*others)} == {"rain"}
    assert (await asked()).content == "rain"
    assert len(calls.running) == 2


async def test_a_failure_is_never_kept(calls: Calls, asked: CachedCall) -> None:
    for number in range(3):
        task = asked()
        await turns()
        calls.running[number].set_result(Result("closed", error=True))
        assert (await task).error
    assert len(calls.running) == 3


async def test_whoever_waits_for_another_call_waits_no_longer_than_it_has_time(
    calls: Calls, asked: CachedCall
) -> None:
    first = asked(60)
    await turns()
    late = asked(0.01)
    assert await late == failed("Request timed out", retry=True, note=NO_ANSWER)
    calls.running[0].set_result(Result("rain"))
    assert (await first).content == "rain"
    assert calls.given == [60]


async def test_a_call_that_is_cancelled_from_within_cancels_nobody(
    calls: Calls, asked: CachedCall
) -> None:
    task = asked()
    await turns()
    calls.running[0].cancel()
    assert await task == failed("Request timed out", retry=True, note=NO_ANSWER)


ANN = SkillContext("default", "1", "bot:1/7", "clerk")


@pytest.mark.parametrize(
    ("scope", "other", "same"),
    [
        ("person", SkillContext("default", "2", "bot:1/7", "clerk"), False),
        ("person", SkillContext("default", "1", "bot:1/8", "clerk"), False),
        ("conversation", SkillContext("default", "2", "bot:1/7", "clerk"), True),
        ("conversation", SkillContext("default", "1", "bot:1/8", "clerk"), False),
        ("agent", SkillContext("default", "2", "bot:2/9", "clerk"), True),
        ("agent", SkillContext("default", "1", "bot:1/7", "other"), False),
        ("agent", SkillContext("acme", "1", "bot:1/7", "clerk"), False),
    ],
)
def test_a_key_is_shared_as_far_as_its_scope(scope: Scope, other: SkillContext, same: bool) -> None:
    assert (cache_key(scope, ANN, "call", "id") == cache_key(scope, other, "call", "id")) is same
    assert cache_key(scope, ANN, "call", "id") != cache_key(scope, ANN, "call", "other secret")
