"""F7 and F19: very many updates, then idle size again; a backlog, and a hot chat beside others."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import Counter
from dataclasses import dataclass

from bench.process import cpu_of
from bench.proof.crowd import Sent, texts
from bench.proof.echo_model import TAG
from bench.proof.result import Result
from bench.proof.trial import HostProcess, Run, Trial, trial
from bot.store import keys
from simulators.telegram.people import Bot, Person
from simulators.telegram.rooms import Room
from simulators.testing.stage import until

BOTS = 8
COMMAND = "/help"
LEASE = (
    "10"  # as hosts have it: no send may last longer than the lease, and here all are in a hurry
)
ROUNDS = 20
GROWS = re.compile(r"^\{[^}]*\}:(conv:.*:log|seen|dead)$|^(ledger|spent|budget|agent|audit)")
"""Transcripts, ledger, audit and the names of two days grow by their records; nothing else may."""

ONE_FOR_EACH_LINE = re.compile(r"^\{bot:#\}:\w+$")


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in: of twenty updates sixteen are left alone, two are commands, two are turns."""

    people: list[tuple[Person, Room]]
    commanders: list[tuple[Person, Room]]
    groups: list[tuple[Person, Room]]


async def much_work(run: Run) -> Result:
    """F7: so many updates over many bots, then idle size again."""
    count = run.pick(400, 100_000)
    async with trial(run, "f7", run.pick(4, BOTS)) as t:
        host = await t.started_host(LEASE_SECONDS=LEASE)
        t.model.brisk = True
        load = _load(t, run)
        await _round(t, load, 0, 20)
        await t.emptied()
        idle, began, used = await _census(t), time.monotonic(), _used(host)
        sizes = []
        for number in range(ROUNDS):
            await _round(t, load, number, count // ROUNDS)
            sizes.append(host.resident())
        seconds = time.monotonic() - began
        await _all_commands_answered(t, load)
        await t.emptied(30)
        t.result.tries = count
        t.result.notes.append(
            f"{count:,} updates over {len(t.bots)} bots in {seconds:.0f} s "
            f"({count / seconds:.0f} a second; the host used {_used(host) - used:.0f} s of CPU, "
            f"four of five updates were ignored by a rule, and half of the rest were commands)"
        )
        _is_flat(t, sizes, run)
        _is_idle(t, idle, await _census(t))
        return await t.judged()


def _used(host: HostProcess) -> float:
    return cpu_of(host.pid)


def _load(t: Trial, run: Run) -> Load:
    rooms = run.pick(20, 200)
    groups = []
    for bot in t.bots:
        bot.privacy = False
        groups.append(t.crowd.gather(bot))
    return Load(t.crowd.join(rooms), t.crowd.join(rooms // 2), groups)


async def _round(t: Trial, load: Load, number: int, count: int) -> None:
    """So many updates, and the answers that are due for them."""
    said: list[Sent] = []
    first = number * count
    for i in range(first, first + count):
        kind, n = i % 20, i // 20
        if kind < 2:
            said.append(t.crowd.say(load.people[(2 * n + kind) % len(load.people)], "quick"))
        elif kind < 4:
            person, room = load.commanders[(2 * n + kind) % len(load.commanders)]
            t.world.say(person, room, COMMAND)
        else:
            person, room = load.groups[(16 * n + kind) % len(load.groups)]
            t.world.say(person, room, f"people among themselves {i}")
        if i % 100 == 0:
            await asyncio.sleep(0)
    left = await t.crowd.answered(among=said)
    t.result.check(not left, f"{len(left)} unanswered in round {number}")
    await until(lambda: not any(len(bot.updates.waiting) for bot in t.bots), 60)


async def _all_commands_answered(t: Trial, load: Load) -> None:
    """Each command has its one answer, and what people say among themselves has none."""

    def owed() -> int:
        return sum(
            sum(m.text == COMMAND for m in room.messages.values()) - len(texts(room))
            for _, room in load.commanders
        )

    moved, before = time.monotonic(), owed()
    while before > 0 and time.monotonic() < moved + 30:
        await asyncio.sleep(0.2)
        if (now := owed()) < before:
            moved, before = time.monotonic(), now
    t.result.check(before <= 0, f"{before} answers to commands are owed")
    t.result.marked += max(0, -before)
    spoken = sum(len(texts(room)) for _, room in load.groups)
    t.result.check(spoken == 0, f"{spoken} answers to people among themselves")


def _is_flat(t: Trial, sizes: list[float], run: Run) -> None:
    """Memory: what the host holds at the end is what it held half way."""
    half, end, most = sizes[len(sizes) // 2], sizes[-1], max(sizes)
    t.result.notes.append(
        f"resident {sizes[0]:.0f} MB after a twentieth, {half:.0f} MB half way, {end:.0f} MB at "
        f"the end, at most {most:.0f} MB"
    )
    if not run.short:
        t.result.check(end < half * 1.1 + 5, f"memory grew from {half:.0f} to {end:.0f} MB")


async def _census(t: Trial) -> Counter[str]:
    """How many keys, and entries in boxes, there are of each kind that must not grow."""
    found: Counter[str] = Counter()
    async with t.valkey.client() as store:
        async for raw in store.scan_iter(count=1000):
            key = raw.decode()
            if not GROWS.match(key):
                found[re.sub(r"[0-9a-f]{12,}|-?\d+", "#", key)] += 1
        for bot in t.bots:
            line = f"bot:{bot.id}"
            for box in (keys.inbox(line), keys.outbox(line)):
                found[re.sub(r"\d+", "#", box) + " entries"] += await store.xlen(box)
    return found


def _is_idle(t: Trial, before: Counter[str], after: Counter[str]) -> None:
    """Nothing is left that was not there when nothing had happened yet."""
    grown = {kind: (before[kind], n) for kind, n in after.items() if n > before[kind]}
    for kind, (was, now) in grown.items():
        each = 4 if ":render:" in kind else 1 if ONE_FOR_EACH_LINE.match(kind) else 0
        few = each * len(t.bots)
        t.result.check(now <= few, f"{kind}: {was} when idle, {now} afterwards")


async def backlog(run: Run) -> Result:
    """F19: thousands wait at the start; then one hot chat beside two hundred."""
    count, rooms = run.pick(200, 10_000), run.pick(20, 200)
    async with trial(run, "f19", run.pick(2, 4)) as t:
        t.model.brisk = True
        people = t.crowd.join(rooms)
        for number in range(count):
            t.crowd.say(people[number % rooms], "quick")
        host = await t.started_host(LEASE_SECONDS=LEASE)
        began, cpu, mine = time.monotonic(), _used(host), time.process_time()
        most = await _drained(t, host)
        seconds = time.monotonic() - began
        t.result.tries += 1
        t.result.notes.append(
            f"{count:,} waiting: {count / seconds:.0f} a second with at most {most:.0f} MB; of "
            f"{seconds:.0f} s the host used {_used(host) - cpu:.0f} s of CPU and the trial itself "
            f"(simulators, wires, people) {time.process_time() - mine:.0f} s"
        )
        await _hot_chat(t, people, run)
        return await t.judged()


async def _drained(t: Trial, host: HostProcess) -> float:
    """Wait until all is answered; MB that the host held at most."""
    most = host.resident()
    answered = asyncio.create_task(t.crowd.answered())
    while not answered.done():
        most = max(most, host.resident())
        await asyncio.wait({answered}, timeout=0.2)
    await answered
    return most


async def _hot_chat(t: Trial, people: list[tuple[Person, Room]], run: Run) -> None:
    """The same people at the same pace, alone and beside a chat that never stops writing."""
    bot = t.bots[0]
    beside = [whom for whom in people if whom[1].bot == bot.id][:100]
    idle = await _delays(t, beside, None, run)
    busy = await _delays(t, beside, bot, run)
    t.result.tries += 1
    t.result.notes.append(
        f"p95 of others at the same bot beside a hot chat {busy * 1000:.0f} ms, without "
        f"{idle * 1000:.0f} ms"
    )
    if not run.short:
        t.result.check(busy <= 2 * idle + 0.05, "a hot chat more than doubles the others' p95")


async def _delays(t: Trial, people: list[tuple[Person, Room]], hot: Bot | None, run: Run) -> float:
    """The 95th percentile of how long people wait, in seconds."""
    loud = t.crowd.join(1, hot)[0] if hot else None
    for _ in range(run.pick(40, 500) if loud else 0):
        t.crowd.say(loud or people[0], "quick")
    said: list[tuple[Sent, float]] = []
    for _ in range(run.pick(10, 150)):
        whom = people[len(said) % len(people)]
        said.append((t.crowd.say(whom, "quick"), t.world.now()))
        await asyncio.sleep(0.03)
    await t.crowd.answered(among=[one for one, _ in said])
    answered = _answered_at(t)
    waits = [answered.get(one.nonce, at + 60) - at for one, at in said]
    await t.crowd.answered()
    return statistics.quantiles(waits, n=20)[-1]


def _answered_at(t: Trial) -> dict[str, float]:
    found: dict[str, float] = {}
    for call in t.world.calls.of(method="sendMessage"):
        for nonce, _ in TAG.findall(str(call.params.get("text"))):
            found.setdefault(nonce, call.at)
    return found
