"""The loads: messages offered to a bot, and the time until each final answer comes back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from bench.server.http_loads import HttpLoads
from bench.server.messages import EVENTS, FRAME, Messages
from bench.server.telegram import Bot, Telegram

FIRST_CHAT = 1000
PIECES = EVENTS - FRAME
HOT_ANSWERS = 100  # of the hot chat, before the others begin


class Loads:
    """Offers messages and waits for their answers; one load at a time for each bot."""

    def __init__(self) -> None:
        self.telegram = Telegram(self._seen)
        self.messages = Messages(self._model_ended)
        self.http = HttpLoads(self.messages)
        self._offered: dict[tuple[int, int], list[float]] = {}
        self._model_end: dict[int, float] = {}
        self._results: dict[int, list[tuple[int, float, float]]] = {}
        self._added: list[float] = []
        self._wanted: dict[int, int] = {}
        self._done: dict[int, asyncio.Event] = {}
        self._warm: dict[int, asyncio.Event] = {}
        self.strays = 0

    def _seen(self, bot: Bot, chat: int, now: float) -> None:
        waiting = self._offered.get((bot.number, chat))
        if not waiting:
            self.strays += 1
            return
        self._results[bot.number].append((chat, waiting.pop(0), now))
        if (ended := self._model_end.pop(chat, None)) is not None:
            self._added.append(now - ended)
        if len(self._results[bot.number]) == HOT_ANSWERS and bot.number in self._warm:
            self._warm[bot.number].set()
        if len(self._results[bot.number]) >= self._wanted[bot.number]:
            self._done[bot.number].set()

    def _model_ended(self, chat: int, now: float) -> None:
        self._model_end[chat] = now

    def _begin(self, bot: int, wanted: int) -> None:
        self._results[bot] = []
        self._wanted[bot] = wanted
        self._done[bot] = asyncio.Event()

    def _offer(self, bot: int, chats: list[int]) -> None:
        """All at once; the clock of each starts now."""
        one = self.telegram.bot(bot)
        for chat in chats:
            one.push(chat, f"chat:{chat}: When does the library open today?")
        now = time.perf_counter()
        for chat in chats:
            self._offered.setdefault((bot, chat), []).append(now)
        one.flush()

    async def burst(self, words: dict[str, Any]) -> dict[str, Any]:
        """`each` messages from each of `chats` chats at once: seconds until all are answered."""
        bot, chats, each = int(words["bot"]), int(words["chats"]), int(words.get("each", 1))
        first = int(words.get("first", FIRST_CHAT))
        self._begin(bot, chats * each)
        began = time.perf_counter()
        self._offer(bot, [first + n for _ in range(each) for n in range(chats)])
        await asyncio.wait_for(self._done[bot].wait(), float(words.get("seconds", 120)))
        found = self._results.pop(bot)
        return {
            "seconds": max(end for _, _, end in found) - began,
            "latencies": [end - start for _, start, end in found],
        }

    async def one_by_one(self, words: dict[str, Any]) -> dict[str, Any]:
        """`count` messages, each offered when the one before is answered."""
        bot, count, chats = int(words["bot"]), int(words["count"]), int(words.get("chats", 10))
        first, gap = int(words.get("first", FIRST_CHAT)), float(words.get("gap", 0.0))
        latencies = []
        for number in range(count):
            self._begin(bot, 1)
            self._offer(bot, [first + number % chats])
            await asyncio.wait_for(self._done[bot].wait(), 30)
            _, start, end = self._results.pop(bot)[0]
            latencies.append(end - start)
            await asyncio.sleep(gap)
        return {"latencies": latencies}

    async def fairness(self, words: dict[str, Any]) -> dict[str, Any]:
        """`hot` messages of one chat at once; while they are answered, `chats` others beside it."""
        bot, hot, chats = int(words["bot"]), int(words["hot"]), int(words["chats"])
        rate, count = float(words["rate"]), int(words["count"])
        one = FIRST_CHAT + 900_000
        self._begin(bot, hot + count)
        if hot:
            self._offer(bot, [one] * hot)
            await asyncio.wait_for(self._warm.setdefault(bot, asyncio.Event()).wait(), 60)
        began = time.perf_counter()
        for number in range(count):
            self._offer(bot, [FIRST_CHAT + number % chats])
            await asyncio.sleep(max(0.0, began + (number + 1) / rate - time.perf_counter()))
        await asyncio.wait_for(self._done[bot].wait(), float(words.get("seconds", 300)))
        found = self._results.pop(bot)
        others = [end - start for chat, start, end in found if chat != one]
        return {"latencies": others, "hot_seconds": max(end for _, _, end in found) - began}

    async def stream(self, words: dict[str, Any]) -> dict[str, Any]:
        """`chats` answers of several bots that grow at once; the delay added to each final."""
        first, bots, chats = int(words["first"]), int(words["bots"]), int(words["chats"])
        numbers = range(first, first + bots)
        self.messages.pace, self.messages.pieces = float(words["pace"]), int(words["pieces"])
        self._added = []
        before = self._calls(numbers)
        began = time.perf_counter()
        each = {"chats": chats // bots, "seconds": words["seconds"]}
        loads = [each | {"bot": bot, "first": 600_000 + bot % 1000 * 1000} for bot in numbers]
        try:
            await asyncio.gather(*map(self.burst, loads))
        finally:
            self.messages.pace, self.messages.pieces = 0.0, PIECES
        made = self._calls(numbers)
        calls = {name: count - before.get(name, 0) for name, count in made.items()}
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "added": self._added, "calls": calls}

    def _calls(self, numbers: range) -> dict[str, int]:
        found: dict[str, int] = {}
        for number in numbers:
            for name, count in self.telegram.bot(number).calls.items():
                found[name] = found.get(name, 0) + count
        return found

    async def prepare(self, words: dict[str, Any]) -> dict[str, Any]:
        """A backlog that waits before its bot first polls."""
        bot, chats, each = int(words["bot"]), int(words["chats"]), int(words["each"])
        self._begin(bot, chats * each)
        self._offer(bot, [FIRST_CHAT + n for _ in range(each) for n in range(chats)])
        return {}

    async def prepared(self, words: dict[str, Any]) -> dict[str, Any]:
        """When the prepared backlog was answered: seconds from the first to the last answer."""
        bot = int(words["bot"])
        await asyncio.wait_for(self._done[bot].wait(), float(words.get("seconds", 300)))
        found = self._results.pop(bot)
        ends = sorted(end for _, _, end in found)
        return {"seconds": ends[-1] - ends[0], "count": len(ends)}

    async def progress(self, words: dict[str, Any]) -> dict[str, Any]:
        """How many of the load's answers are there."""
        return {"answered": len(self._results.get(int(words["bot"]), ()))}

    async def polls(self, words: dict[str, Any]) -> dict[str, Any]:
        """How many of these bots have polled at least once."""
        bots = self.telegram.bots
        first, count = int(words["first"]), int(words["count"])
        known = (bots.get(first + n) for n in range(count))
        return {"polled": sum(1 for bot in known if bot is not None and bot.polled)}

    async def about(self, _: dict[str, Any]) -> dict[str, Any]:
        """What came besides: strays, model requests, streams that are open."""
        m = self.messages
        return {
            "strays": self.strays,
            "requests": m.requests,
            "open": m.open,
            "largest_request": m.largest,
            "newest_request": m.newest,
        }
