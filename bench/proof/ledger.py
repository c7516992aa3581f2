"""`python -m bench.proof.ledger [--turns N] [--kills N] [--seed N]`: the ledger is the bill.

Mixed turns of several people with several agents, and hosts that are killed in between. Then every
request that the simulator served is looked up in the ledger, to the token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.proof.ledger_model import KINDS, LedgerModel, Served
from bench.proof.result import Result
from bench.proof.trial import HostProcess, Run, Trial, trial
from bot.usage.budgets import day_of
from simulators.telegram.people import Person
from simulators.telegram.rooms import Room

MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
PRICE = {"input": 1, "output": 5, "cacheRead": 0.1, "cacheWrite": 1.25}
GENEROUS = {"TOKENS": str(10**12), "USD": "1000000"}
PATIENCE = 20.0

Line = Mapping[str, Any]
Turn = tuple[str, str]
"""A line, and a turn's entry in it, or a chat."""


async def proved(run: Run, turns: int, kills: int, people: int = 24) -> Result:
    """So many turns; the result's notes are the rows of the table, its problems what is wrong."""
    model = LedgerModel(run.seed)
    async with trial(run, "ledger", len(MODELS), forked=True) as t:
        agents, agent_of = _agents(), {bot.id: f"agent{n}" for n, bot in enumerate(t.bots)}
        t.write_document(agents, agent_of, "count")
        t.sim.script = model
        model.count(t.sim)
        host = await t.started_host(**_settings())
        talk = Talk(t, model, people)
        killing = asyncio.create_task(_kill(talk, host, kills, turns))
        await talk.run(turns)
        await killing
        await t.emptied(90)
        lines = await _read(t)
        compare(t.result, model.served, lines)
        _row(t.result, "errors before an answer (429, 529), which cost nothing", model.refused)
        t.result.messages = len(model.served)
        return t.result


class Talk:
    """People in chats with several bots; each writes again when the last message was answered."""

    def __init__(self, t: Trial, model: LedgerModel, people: int) -> None:
        self.chance = random.Random(t.run.seed)
        self.sent = 0
        self.progress = asyncio.Event()
        self._world = t.world
        self._model = model
        self._by_nonce: dict[str, tuple[Person, Room]] = {}
        model.on_stop = self._stop
        persons = [t.world.person(f"P{number % (people - 2)}") for number in range(people)]
        self._rooms = [
            (person, t.world.private(person, t.bots[number % len(t.bots)]))
            for number, person in enumerate(persons)
        ]

    async def run(self, turns: int) -> None:
        """So many messages, by all people at once."""
        shares = [len(range(n, turns, len(self._rooms))) for n in range(len(self._rooms))]
        pairs = zip(self._rooms, shares, strict=True)
        await asyncio.gather(*(self._talk(*room, count) for room, count in pairs))

    async def _talk(self, person: Person, room: Room, count: int) -> None:
        for _ in range(count):
            nonce, kind = f"m{self.sent:05d}", self.chance.choice(KINDS)
            self._by_nonce[nonce] = (person, room)
            self._model.chats[nonce] = (f"bot:{room.bot}", str(person.id))
            self.sent += 1
            self.progress.set()
            self._world.say(person, room, f"{nonce} {kind}")
            await self._answered(room)

    async def _answered(self, room: Room) -> None:
        """Until a message of the answer is there, or patience ends: it may have been stopped."""
        had, deadline = len(room.messages), time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if len(room.messages) > had:
                return
            await asyncio.sleep(0.02)

    def _stop(self, nonce: str) -> None:
        if nonce in self._by_nonce:
            person, room = self._by_nonce[nonce]
            self._world.say(person, room, "/stop")


async def _kill(talk: Talk, host: HostProcess, kills: int, turns: int) -> None:
    """kill -9 at so many random moments, spread over all turns."""
    for number in range(1, kills + 1):
        while talk.sent < turns * number // (kills + 1):
            talk.progress.clear()
            await talk.progress.wait()
        await asyncio.sleep(talk.chance.uniform(0, 0.7))
        await host.kill()
        await host.start()


def _agents() -> list[dict[str, Any]]:
    return [
        {
            "id": f"agent{number}",
            "name": f"Agent {number}",
            "mcpServerEndpoints": [],
            "mcpServers": ["counter"],
            "whitelistPatterns": ["mcp:counter:*"],
            "customInstructions": "Count what you are told. " * 40 * number,
            "llmOverrides": {"model": model},
            "costConfig": {"maxTokensPerRequest": 500},
        }
        for number, model in enumerate(MODELS)
    ]


def _settings() -> dict[str, str]:
    kinds = ("TURN", "PERSON", "CHAT", "AGENT", "ACCOUNT", "HOST")
    budgets = {f"BUDGETS__{k}__{unit}": most for k in kinds for unit, most in GENEROUS.items()}
    return {**budgets, "PRICES": json.dumps(dict.fromkeys(MODELS, PRICE))}


async def _read(t: Trial) -> list[dict[str, Any]]:
    """All lines of the ledger; the budgets must be their sum, and nothing may stay reserved."""
    lines: list[dict[str, Any]] = []
    async with t.valkey.client() as store:
        for day in (day_of(time.time() - 86400), day_of(time.time())):
            entries: Any = await store.xrange(f"ledger:{day}")
            here = [json.loads(fields[b"l"]) for _, fields in entries]
            spent = await store.hgetall(f"budget:host:{day}")
            total = int(spent.get(b"tokens", 0))
            fits = total == sum(line["tokens"]["total"] for line in here)
            t.result.check(fits, f"the host's budget of {day} is not the sum of its lines")
            lines += here
        reserved = [key.decode() async for key in store.scan_iter("budget:*:held")]
        t.result.check(not reserved, f"still reserved: {reserved}")
    return lines


# --- the ledger beside the server's own count ---


def compare(result: Result, served: Sequence[Served], lines: Sequence[Line]) -> None:
    """Compares each answer of the server with its line of the ledger."""
    by_message = {one.message: one for one in served}
    named = [line for line in lines if line["message"]]
    guessed = [line for line in lines if not line["message"]]
    times = Counter(line["message"] for line in named)
    twice = [message for message, count in times.items() if count > 1]
    result.check(not twice, f"{len(twice)} requests have two lines")
    strange = [line for line in named if line["message"] not in by_message]
    result.check(not strange, f"{len(strange)} lines are of no request that was served")
    named = [line for line in named if line["message"] in by_message]
    for line in named:
        _compare_line(result, line, by_message[line["message"]])
    undelivered = [one for one in served if one.message not in times]
    _row(result, "served by the simulator", *_served_sum(served))
    for count in ("told", "estimated"):
        some = [line for line in named if line["count"] == count]
        theirs = [by_message[line["message"]] for line in some]
        what = f"of these with a line, {count}"
        _row(result, f"{what}: the simulator", *_served_sum(theirs))
        _row(result, f"{what}: the ledger", *_line_sum(some))
    turns = {by_message[line["message"]].nonce: (line["line"], line["turn"]) for line in named}
    _compare_guesses(result, undelivered, guessed, turns)


def _compare_line(result: Result, line: Line, one: Served) -> None:
    fresh, out, read, wrote = one.counts
    entered = (line["in"], line["cacheRead"], line["cacheWrite"]) == (fresh, read, wrote)
    result.check(entered, f"{one.nonce}: in {_tokens_in(line)}, served {one.tokens_in}")
    result.check(line["count"] in ("told", "estimated"), f"{one.nonce}: {line['count']}")
    if line["count"] == "told":
        result.check(line["out"] == out, f"{one.nonce}: out {line['out']}, served {out}")


def _compare_guesses(
    result: Result,
    undelivered: Sequence[Served],
    guessed: Sequence[Line],
    turns: Mapping[str, Turn],
) -> None:
    """Each answer that no host has heard has a guess in its turn, with the same tokens in.

    A turn of which nothing was heard at all is known by its chat.
    """
    free: dict[Turn, list[Line]] = defaultdict(list)
    for line in guessed:
        turn = (line["line"], line["turn"])
        chat = (line["line"], line["conversation"])
        free[turn if turn in turns.values() else chat].append(line)
    found: list[Line] = []
    exact = 0
    for one in undelivered:
        here = free.get(turns.get(one.nonce, one.chat), [])
        same = [line for line in here if _tokens_in(line) == one.tokens_in] or here
        result.check(same, f"{one.nonce}: served ({one.tokens_in} in), and no line")
        if same:
            guess = same[0]
            here.remove(guess)
            found.append(guess)
            exact += _tokens_in(guess) == one.tokens_in
    what = "of these never heard by a host"
    _row(result, f"{what} (killed): the simulator", *_served_sum(undelivered))
    _row(result, f"{what}: the ledger's guess", *_line_sum(found))
    _row(result, "… the same to the token going in", exact)
    rest = [line for lines in free.values() for line in lines]
    _row(result, "guesses of requests that were never served", *_line_sum(rest))


def _tokens_in(line: Line) -> int:
    """Input tokens of a request: new ones, and those that the cache read or wrote."""
    return int(line["in"] + line["cacheRead"] + line["cacheWrite"])


def _served_sum(served: Sequence[Served]) -> tuple[int, int, int]:
    return len(served), sum(one.tokens_in for one in served), sum(one.counts[1] for one in served)


def _line_sum(lines: Sequence[Line]) -> tuple[int, int, int]:
    return len(lines), sum(map(_tokens_in, lines)), sum(line["out"] for line in lines)


def _row(result: Result, what: str, requests: int, tokens_in: int = 0, out: int = 0) -> None:
    result.notes.append(f"| {what} | {requests:,} | {tokens_in:,} | {out:,} |")


def main() -> int:
    """Prints the table; 0 where everything fits."""
    parser = argparse.ArgumentParser(prog="python -m bench.proof.ledger")
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="random when left out")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proof", ignore_cleanup_errors=True) as folder:
        run = Run(Path(folder), seed, short=False)
        result = asyncio.run(proved(run, given.turns, given.kills))
    print("| | requests | tokens in | tokens out |\n| --- | ---: | ---: | ---: |")
    print("\n".join(result.notes))
    print("\n".join(f"WRONG: {words}" for words in result.problems))
    minutes = (time.monotonic() - began) / 60
    print(f"seed {seed}, {given.turns} turns, {given.kills} kills, {minutes:.1f} minutes: ", end="")
    print("every request has its line" if result.holds else "something is wrong")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())
