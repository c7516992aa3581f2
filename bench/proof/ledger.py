"""`python -m bench.proof.ledger [--turns N] [--kills N] [--seed N]`: the ledger is the bill.

Mixed turns of several people with several agents, and hosts that are killed in between. Then every
request that the simulator served is looked up in the ledger.
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
from pathlib import Path
from typing import Any

from bench.proof.books import Books, compared
from bench.proof.ground import COUNTER, Ground, HostProcess, ground
from bench.proof.ledger_voice import KINDS, LedgerVoice
from bench.proof.trial import settled
from bot.usage.limits import day_of
from registry.binding import token_hash
from simulators.telegram.people import Person
from simulators.telegram.rooms import Room

MODELS = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-haiku-5-5")
PRICE = {"input": 1, "output": 5, "cacheRead": 0.1, "cacheWrite": 1.25}
GENEROUS = {"TOKENS": str(10**12), "USD": "1000000"}
PATIENCE = 20.0


async def proved(
    folder: Path, seed: int, turns: int, kills: int, people: int = 24
) -> tuple[Books, list[str]]:
    """The books of so many turns, and what does not fit."""
    voice = LedgerVoice(seed)
    async with ground(folder, seed, bots=len(MODELS)) as place:
        _agents(place)
        place.sim.script = voice
        voice.count(place.sim)
        await place.fork_hosts()
        host = await place.host(**_environ())
        await host.start()
        town = Town(place, voice, seed, people)
        killing = asyncio.create_task(_killed(town, host, kills, turns))
        await town.talk(turns)
        await killing
        await settled(place, 90)
        lines, wrong = await _read(place)
        books = compared(voice.served, lines)
        books.row("errors before an answer (429, 529), which cost nothing", voice.refused, 0, 0)
        return books, books.problems + wrong


class Town:
    """People in chats with several bots; each says the next thing when the last was answered."""

    def __init__(self, place: Ground, voice: LedgerVoice, seed: int, people: int) -> None:
        self.place = place
        self.chance = random.Random(seed)
        self.said = 0
        self._voice = voice
        self.moved = asyncio.Event()
        self._rooms: list[tuple[Person, Room]] = []
        self._by_nonce: dict[str, tuple[Person, Room]] = {}
        voice.on_stop = self._stop
        for number in range(people):
            person = place.world.person(f"P{number % (people - 2)}")
            room = place.world.private(person, place.bots[number % len(place.bots)])
            self._rooms.append((person, room))

    async def talk(self, turns: int) -> None:
        """So many messages, by all of them at once."""
        shares = [len(range(n, turns, len(self._rooms))) for n in range(len(self._rooms))]
        pairs = zip(self._rooms, shares, strict=True)
        await asyncio.gather(*(self._talk(*room, count) for room, count in pairs))

    async def _talk(self, person: Person, room: Room, count: int) -> None:
        for _ in range(count):
            nonce, kind = f"m{self.said:05d}", self.chance.choice(KINDS)
            self._by_nonce[nonce] = (person, room)
            self._voice.chats[nonce] = (f"bot:{room.bot}", str(person.id))
            self.said += 1
            self.moved.set()
            self.place.world.say(person, room, f"{nonce} {kind}")
            await self._answered(room)

    async def _answered(self, room: Room) -> None:
        """Until a word of the answer is there, or patience ends: a stop may have come first."""
        had, deadline = len(room.messages), time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if len(room.messages) > had:
                return
            await asyncio.sleep(0.02)

    def _stop(self, nonce: str) -> None:
        if nonce in self._by_nonce:
            person, room = self._by_nonce[nonce]
            self.place.world.say(person, room, "/stop")


async def _killed(town: Town, host: HostProcess, kills: int, turns: int) -> None:
    """kill -9 at so many random moments, spread over all turns."""
    for number in range(1, kills + 1):
        while town.said < turns * number // (kills + 1):
            town.moved.clear()
            await town.moved.wait()
        await asyncio.sleep(town.chance.uniform(0, 0.7))
        await host.kill()
        await host.start()


def _agents(place: Ground) -> None:
    counter = {
        "command": sys.executable,
        "args": ["-I", "-S", str(COUNTER), str(place.count_file), ""],
        "repeatable": ["look", "count"],
    }
    agents: list[dict[str, Any]] = [
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
    bindings = [
        {"agentId": agent["id"], "type": "TelegramBot", "bindingKey": token_hash(bot.token)}
        for agent, bot in zip(agents, place.bots, strict=True)
    ]
    document = {"agents": agents, "bindings": bindings, "mcpServers": {"counter": counter}}
    (place.folder / "agents.json").write_text(json.dumps(document))


def _environ() -> dict[str, str]:
    kinds = ("TURN", "PERSON", "CHAT", "AGENT", "ACCOUNT", "HOST")
    budgets = {f"BUDGETS__{k}__{unit}": most for k in kinds for unit, most in GENEROUS.items()}
    return {**budgets, "PRICES": json.dumps(dict.fromkeys(MODELS, PRICE))}


async def _read(place: Ground) -> tuple[list[dict[str, Any]], list[str]]:
    """All lines, and what of the budgets does not fit them."""
    lines: list[dict[str, Any]] = []
    wrong: list[str] = []
    async with place.valkey.client() as store:
        for day in (day_of(time.time() - 86400), day_of(time.time())):
            here = [json.loads(fields[b"l"]) for _, fields in await store.xrange(f"ledger:{day}")]
            spent = await store.hgetall(f"budget:host:{day}")
            if int(spent.get(b"tokens", 0)) != sum(line["tokens"] for line in here):
                wrong.append(f"the host's budget of {day} is not the sum of its lines")
            lines += here
        held = [key.decode() async for key in store.scan_iter("budget:*:held")]
        wrong += [f"still set aside: {key}" for key in held]
    return lines, wrong


def main() -> int:
    """The table; 0 where all fits."""
    parser = argparse.ArgumentParser(prog="python -m bench.proof.ledger")
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="random when left out")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="proof", ignore_cleanup_errors=True) as folder:
        books, wrong = asyncio.run(proved(Path(folder) / "g", seed, given.turns, given.kills))
    print(books.table())
    print("\n".join(f"WRONG: {words}" for words in wrong))
    minutes = (time.monotonic() - began) / 60
    print(f"seed {seed}, {given.turns} turns, {given.kills} kills, {minutes:.1f} minutes: ", end="")
    print("something is wrong" if wrong else "every request has its line")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
