"""F26 to F28: hosts go away while answers stream over HTTP.

Two replicas share a store; each client asks one address, as at a proxy, and is led to the replica
that is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

from bench.proof.relay import Address, Relay
from bench.proof.result import Result
from bench.proof.store_relay import Arguments, Point, Trap
from bench.proof.stream_client import StreamClient
from bench.proof.stream_model import StoryModel
from bench.proof.trial import HostProcess, Run, Trial, trial
from bot.store import keys
from bot.store.sessions import line_of
from bot.usage.budgets import day_of
from simulators.testing.stage import until

KEY = "a-key-of-the-proof-0123456789abcdef"
INSTANCE = "acme/poet"
PATH = "/accounts/acme/agents/poet"
SETTINGS = {
    "API_KEYS__0__KEY": KEY,
    "API_KEYS__0__ACCOUNT": "acme",
    "API_REQUESTS": "10000000",
    "LEASE_SECONDS": "1.5",
}
WORKERS = 2
LONGEST = 1.5
"""Seconds within which a kill comes, from when the answers begin."""

Role = Literal["owner", "reader", "both"]
"""What the host that is killed was to a client: it ran the turn, it was read from, or both."""


@dataclass(eq=False)
class Told:
    """A client that is told a story, and what the killed host was to it."""

    name: str
    session: str
    role: Role
    client: StreamClient
    had: int = 0
    """How many connections it had lost when the host was killed."""


@dataclass(eq=False)
class Streams:
    """Two replicas, an address in front of each, and clients."""

    t: Trial
    model: StoryModel
    http: aiohttp.ClientSession
    hosts: list[HostProcess]
    fronts: list[Relay]
    chance: random.Random
    told: list[Told] = field(default_factory=list)

    def client(self, name: str, front: int, session: str, **more: Any) -> StreamClient:
        """A client that asks at the address of a replica for a story in a session."""
        params = {"message": f"story {name}", "session_id": session}
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": f"once {name}"}
        relay = self.fronts[front]
        path = f"{PATH}/stream"
        return StreamClient(self.http, lambda: relay.url, path, params, headers, **more)

    def tell(self, kind: str, role: Role, victim: int) -> Told:
        """A new client in whose turn the victim will have this role."""
        name = f"{kind}{len(self.told) + 1:05d}"
        at = 1 - victim if role == "owner" else victim
        told = Told(name, f"session-{name}", role, self.client(name, at, f"session-{name}"))
        self.told.append(told)
        return told

    async def read(self, told: Told, victim: int) -> None:
        """Begin the turn where it is to run, and read it to its end where it is to be read."""
        if told.role != "both":
            owner = victim if told.role == "owner" else 1 - victim
            beginner = self.client(told.name, owner, told.session)
            await beginner.begin()
            told.client.last = beginner.last
        await told.client.read()

    async def kill(self, victim: int) -> None:
        """Kill -9; who asks at its address is led to the other one from now on."""
        self.fronts[victim].upstream = self.fronts[1 - victim].upstream
        await self.hosts[victim].kill()

    async def start(self, number: int) -> None:
        """Start a replica, and lead to it who asks at its address."""
        host = self.hosts[number]
        await host.spawn()
        await until(lambda: host.logged("api.open"))
        self.fronts[number].upstream = _address_of(host)

    async def history(self, told: Told) -> list[dict[str, Any]]:
        """The messages of a session, as its owner is shown them."""
        url = f"{self.fronts[0].url}{PATH}/history"
        headers = {"Authorization": f"Bearer {KEY}"}
        params = {"session_id": told.session}
        async with self.http.get(url, params=params, headers=headers) as answer:
            found: list[dict[str, Any]] = (await answer.json())["messages"]
            return found


def _address_of(host: HostProcess) -> Address:
    url = host.address
    assert url is not None
    parts = urlsplit(url)
    return (parts.hostname or "", parts.port or 0)


@contextlib.asynccontextmanager
async def streams(run: Run, name: str, replicas: int = 2, **more: str) -> AsyncIterator[Streams]:
    """Replicas that serve HTTP alone, once their API is open."""
    model = StoryModel(run.seed)
    async with trial(run, name, 0, forked=True) as t:
        t.sim.script = model
        write_instance(t)
        settings = {**SETTINGS, "AGENT_CONFIGS_DIR": str(t.folder / "agent_configs"), **more}
        hosts = [await t.host(f"host{n}", **settings) for n in range(replicas)]
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        fronts = [Relay(("127.0.0.1", 0)) for _ in hosts]
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
            made = Streams(t, model, http, hosts, fronts, random.Random(f"{run.seed} {name}"))
            for number, front in enumerate(fronts):
                await front.open()
                await made.start(number)
            try:
                yield made
            finally:
                for front in fronts:
                    await front.close()


def write_instance(t: Trial) -> None:
    """Writes the one instance that all clients talk with."""
    folder = t.folder / "agent_configs" / "acme" / "poet"
    folder.mkdir(parents=True)
    told = {"agent_type": "simple_chat", "account": "acme", "instance_name": "poet"}
    (folder / "config.yaml").write_text(json.dumps(told))
    (t.folder / "agents.json").write_text('{"agents": []}')


# --- F26 and F27: random moments -----------------------------------------------------------------


async def shortly(run: Run) -> Result:
    """A few kills of every kind between two hosts, for the tests."""
    async with streams(run, "streams", LEASE_SECONDS="1") as s:
        await _one_kill(s, "so")
        await _at_moment(s, END_STORED)
        return await _judged(s)


async def same_again(run: Run) -> Result:
    """F26: the model tells the same again: 0 bytes are missing, and 0 come twice."""
    workers = 1 if run.short else WORKERS
    counts = [len(range(run.pick(2, 200))[n::workers]) for n in range(workers)]
    return _sum(await asyncio.gather(*(_same(run, *one) for one in enumerate(counts))))


async def _same(run: Run, number: int, kills: int) -> Result:
    async with streams(run.with_seed(number), f"f26-{number}") as s:
        for _ in range(kills):
            await _one_kill(s, "s")
        return await _judged(s)


async def another_text(run: Run) -> Result:
    """F27: the model tells another story: what was shown is closed and marked, the rest is new."""
    wanted = run.pick(1, 50)
    async with streams(run, "f27") as s:
        tries = 0
        while min(tries, sum(map(_was_closed, s.told))) < wanted and tries < 3 * wanted:
            await _one_kill(s, "o")
            tries += 1
        closed = sum(_was_closed(told) for told in s.told)
        s.t.result.check(closed >= wanted, f"only {closed} answers were closed as incomplete")
        return await _judged(s)


def _was_closed(told: Told) -> bool:
    return bool(told.client.partials)


async def _one_kill(s: Streams, kinds: str) -> None:
    """Three answers of each kind, for each of which the killed host was something else."""
    victim = s.chance.randrange(2)
    roles: tuple[Role, ...] = ("owner", "reader", "both")
    told = [s.tell(kind, role, victim) for kind in kinds for role in roles]
    reading = [asyncio.create_task(s.read(one, victim)) for one in told]
    if "o" in kinds:
        await told[-1].client.until(lambda: told[-1].client.pieces > 0)
    await asyncio.sleep(s.chance.uniform(0, LONGEST * (0.6 if "o" in kinds else 1)))
    for one in told:
        one.had = one.client.breaks
    running = sum(not one.client.is_over for one in told)
    await s.kill(victim)
    began = time.monotonic()
    if s.chance.random() < 0.5:  # it comes back before its leases have run out
        await s.start(victim)
    await asyncio.gather(*reading)
    if running:
        s.t.result.takeover.append(time.monotonic() - began)
    s.t.result.tries += 1
    if not s.hosts[victim].alive:
        await s.start(victim)


# --- F28: named moments --------------------------------------------------------------------------


def _is_end(words: Arguments) -> bool:
    return b"done" in words


def _is_piece(words: Arguments) -> bool:
    return b"message" in words


END_STORED = Point("end stored, not shown", "s", "append_events", "after", _is_end)
MOMENTS = (
    Point("message not stored", "s", "accept_message", "before"),
    Point("message stored, not confirmed", "s", "accept_message", "after"),
    Point("line not acquired", "s", "open_line", "before"),
    Point("turn begun, nothing written", "s", "begin", "after"),
    Point("first piece not stored", "s", "append_events", "before", _is_piece),
    Point("first piece stored, not shown", "s", "append_events", "after", _is_piece),
    Point("last piece shown, answer not recorded", "s", "finish", "before"),
    Point("answer recorded, end not written", "s", "finish", "after"),
    Point("end not stored", "s", "append_events", "before", _is_end),
    END_STORED,
    Point("end shown, not recorded", "s", "receipt", "before"),
    Point("recorded, line not given back", "s", "release_idle", "before"),
)


async def named_moments(run: Run) -> Result:
    """F28: the host that runs the turn and is read from is killed at each of these points."""
    async with streams(run, "f28") as s:
        for point in MOMENTS * run.pick(1, max(1, run.at_each // 4)):
            await _at_moment(s, point)
        await _before_any_piece(s)
        return await _judged(s)


async def _at_moment(s: Streams, point: Point) -> None:
    victim = s.chance.randrange(2)
    host = s.hosts[victim]
    trap = host.store.set(point.trap())
    told = s.tell("s", "both", victim)
    reading = asyncio.create_task(s.read(told, victim))
    await _killed_at(s, victim, trap, point)
    await reading
    s.t.result.tries += 1
    await s.start(victim)


async def _killed_at(s: Streams, victim: int, trap: Trap, point: Point) -> None:
    try:
        await asyncio.wait_for(trap.caught.wait(), 25)
    except TimeoutError:
        s.t.result.problem(f"the point {point.name!r} was not reached")
    await s.kill(victim)


async def _before_any_piece(s: Streams) -> None:
    """The model was asked and has said nothing; the client has the name of the turn alone."""
    roles: tuple[Role, ...] = ("both", "owner")
    for role in roles:
        victim = s.chance.randrange(2)
        s.model.gate = f"held {len(s.told)}"
        told = s.tell("s", role, victim)
        reading = asyncio.create_task(s.read(told, victim))
        await until(lambda: s.model.asked.get(told.name, 0) > 0)  # noqa: B023
        gate, s.model.gate = s.model.gate, None
        told.had = told.client.breaks
        await s.kill(victim)
        await reading
        s.t.sim.gates.open(gate)
        s.t.result.tries += 1
        await s.start(victim)


# --- the judgement -------------------------------------------------------------------------------


async def _judged(s: Streams) -> Result:
    result = s.t.result
    result.messages = len(s.told)
    await _given_back(s)
    async with s.t.valkey.client() as store:
        found: list[Any] = []
        for day in {day_of(time.time() - 86400), day_of(time.time())}:
            found += await store.xrange(f"ledger:{day}") or []
        lines = Counter(json.loads(fields[b"l"])["line"] for _, fields in found)
        for told in s.told:
            for words in await _wrong(s, told, store, lines):
                result.problem(f"{told.name} ({told.role}): {words}")
    result.lost = sum(not told.client.ends for told in s.told)
    guesses = sum(lines.values()) - sum(s.model.asked.values())
    asked = sum(s.model.asked.values()) - len(s.told)
    breaks = sum(told.client.breaks for told in s.told)
    result.notes.append(
        f"{len(s.told)} answers, {breaks} connections lost, {asked} answers asked for again, "
        f"{sum(map(_was_closed, s.told))} closed as incomplete and answered anew"
        + (f", {guesses} ledger lines for requests cut off before they arrived" if guesses else "")
    )
    return result


async def _given_back(s: Streams) -> None:
    """Every line was given back: nothing waits, and no living host holds any."""
    lines = [line_of("acme", told.session) for told in s.told]
    waiting, held = 0, 0
    async with s.t.valkey.client() as store:
        for _ in range(200):
            waiting = sum([await store.xlen(keys.inbox(line)) for line in lines])
            living = [await store.get(key) async for key in store.scan_iter(match=keys.host("*"))]
            held = sum([await store.get(keys.lease(line)) in {*living} - {None} for line in lines])
            if not (waiting or held):
                return
            await asyncio.sleep(0.05)
    s.t.result.problem(f"{held} conversations are held, and {waiting} messages wait")


async def _wrong(s: Streams, told: Told, store: Any, lines: Counter[str]) -> list[str]:
    """Everything that is wrong with one answer, in words."""
    client, line = told.client, line_of("acme", told.session)
    stories, wrong = s.model.stories(told.name), [*client.problems]
    if client.ends != ["done"]:
        return [*wrong, f"ended with {client.ends}, {client.error}"]
    if client.text not in stories:
        wrong.append(_difference(client.text, stories))
    for partial, _ in client.partials:
        if not partial or not any(one.startswith(partial) for one in stories):
            wrong.append(f"a partial answer is no beginning: {partial[:80]!r}")
    if told.role == "owner" and client.breaks > told.had:
        wrong.append("the reader at the other replica lost its connection")
    if not await client.is_nothing_more():
        wrong.append("after the end it was given something")
    wrong += _wrong_records(told, stories, await _records(store, line))
    wrong += _wrong_history(told, await s.history(told))
    asked = s.model.asked.get(told.name, 0)
    if not asked <= lines[line] <= asked + 1:
        wrong.append(f"{lines[line]} lines in the ledger for {asked} requests")
    return wrong


def _difference(text: str, stories: Sequence[str]) -> str:
    """How an answer differs from the story that it is most like."""
    like = max(stories, key=lambda one: _common(one, text), default="")
    same = _common(like, text)
    return (
        f"of {len(like)} characters {len(text)} came, and from {same} on "
        f"{text[same : same + 30]!r} in place of {like[same : same + 30]!r}"
    )


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


async def _records(store: Any, line: str) -> list[tuple[str, dict[str, Any]]]:
    found = await store.xrange(keys.transcript(line, "0", INSTANCE))
    return [(fields[b"k"].decode(), json.loads(fields[b"b"])) for _, fields in found]


def _wrong_records(
    told: Told, stories: Sequence[str], records: Sequence[tuple[str, dict[str, Any]]]
) -> list[str]:
    """One turn, with one end, that says what the client was given."""
    kinds = Counter(kind for kind, _ in records)
    wrong = [
        f"{kinds[kind]} records of kind {kind}"
        for kind in ("person", "model", "end")
        if kinds[kind] != 1
    ]
    ends = [body["text"] for kind, body in records if kind == "end"]
    if ends != [told.client.text]:
        wrong.append(f"recorded was {ends} for {len(stories)} stories")
    return wrong


def _wrong_history(told: Told, history: Sequence[dict[str, Any]]) -> list[str]:
    """What was closed as incomplete is there, marked, as the client was shown it; then the rest."""
    given = [*(text for text, _ in told.client.partials), told.client.text]
    said = [one["content"] for one in history if one["role"] == "assistant"]
    marked = [one for one in history if one.get("metadata")]
    wrong = [] if said == given else [f"the history has {said}, the client {given}"]
    pieces = [count for _, count in told.client.partials]
    facts = [
        {"partial": True, "completion_status": "partial", "chunks_received": count}
        for count in pieces
    ]
    noted = [one["metadata"] for one in marked]
    if not all(one.pop("error", "") for one in noted) or noted != facts:
        wrong.append(f"marked with {noted}, given in {pieces} pieces")
    return wrong


def _sum(results: Sequence[Result]) -> Result:
    total = Result()
    for result in results:
        total.add(result)
    return total
