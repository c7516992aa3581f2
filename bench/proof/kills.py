"""F1 and F2: the host is killed at named points, and at random moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from bench.proof import asking, growing
from bench.proof.crowd import Crowd, Sent, texts
from bench.proof.ground import Ground, HostProcess, ground
from bench.proof.oracle import judge
from bench.proof.order import Order
from bench.proof.points import Point
from bench.proof.store_relay import Words
from bench.proof.tally import Tally
from bench.proof.trial import settled, trial, until

WORKERS = 2


def _has_a_result(words: Words) -> bool:
    return b"result" in words


POINTS = (
    Point("received not stored", "plain", "accept", "before"),
    Point("stored not confirmed", "plain", "accept", "after"),
    Point("delivered not started", "plain", "begin", "before"),
    Point("model answered not recorded", "plain", "finish", "before"),
    Point("tool called, result not recorded", "tool", None, "before", _has_a_result),
    Point("reply recorded not sent", "plain", "finish", "after"),
    Point("sent not recorded", "plain", "receipt", "before"),
    Point("recorded not acknowledged", "plain", "receipt", "after"),
    Point("between the parts of a split answer", "long", "receipt", "after"),
)


async def named_points(order: Order) -> Tally:
    """F1: kill -9 at each named point, also of turns that wait for people."""
    tries = [point for point in POINTS for _ in range(order.at_each)]
    shares = [tries[n :: _workers(order)] for n in range(_workers(order))]
    work = [_killed_at(order, number, share) for number, share in enumerate(shares)]
    if order.short:
        return _sum(await asyncio.gather(*work))
    return _sum([*await asyncio.gather(*work), await asking.killed_while_asking(order)])


async def _killed_at(order: Order, number: int, points: list[Point]) -> Tally:
    tally = Tally()
    folder, seed = order.folder / f"f1-{number}", order.seed + number
    async with ground(folder, seed, bots=1, nursery=order.nursery) as place:
        crowd = Crowd(place, seed)
        await place.fork_hosts()
        host = await place.host()
        for point in points:
            tally.takeover.append(await host.start())
            if await crowd.answered(order.pick(15, 40)) and order.short:
                break  # lost already: the judge will say so
            trap = host.store.set(point.trap())
            crowd.say(crowd.join(1)[0], point.kind)
            for beside in crowd.join(2):
                crowd.say(beside)
                crowd.say(beside)
            try:
                await asyncio.wait_for(trap.caught.wait(), 25)
                tally.tries += 1
            except TimeoutError:
                tally.problem(f"the point {point.name!r} was not reached")
            await host.kill()
        return tally.add(await _to_the_end(place, crowd, host, order))


async def random_moments(order: Order) -> Tally:
    """F2: kill -9 at random moments under load, also while it starts, asks, and shows growth."""
    workers = _workers(order)
    counts = [len(range(order.kills)[n::workers]) for n in range(workers)]
    work = [_killed_at_random(order, number, count) for number, count in enumerate(counts)]
    if not order.short:
        work += [asking.killed_among_many(order), growing.killed_while_growing(order)]
    return _sum(await asyncio.gather(*work))


async def _killed_at_random(order: Order, number: int, kills: int) -> Tally:
    tally = Tally(tries=kills)
    seed = order.seed + 1000 + number
    folder = order.folder / f"f2-{number}"
    async with ground(folder, seed, bots=2, nursery=order.nursery) as place:
        crowd = Crowd(place, seed)
        if not order.short:
            await place.fork_hosts()
        host = await place.host()
        for _ in range(kills):
            talk = partial(crowd.chatter, 5, 9, 1.0)
            await _one_life(host, crowd, talk, tally)
        return tally.add(await _to_the_end(place, crowd, host, order))


async def _one_life(
    host: HostProcess, crowd: Crowd, talk: Callable[[], asyncio._CoroutineLike[None]], tally: Tally
) -> None:
    """One life: mostly killed up to two seconds after load began, else while it comes up."""
    if crowd.chance.random() < 0.15:
        await host.spawn()
        load = asyncio.create_task(talk())
        await asyncio.sleep(crowd.chance.uniform(0.3, 1.2))
    else:
        tally.takeover.append(await host.start())
        load = asyncio.create_task(talk())
        await asyncio.sleep(crowd.chance.uniform(0.0, 2.0))
    await host.kill()
    await load


async def twenty(order: Order, *, own_store: bool = True) -> Tally:
    """Twelve in flight and eight sent while down: kill -9, restart, twenty answers."""
    async with trial(order, "twenty", 2) as t:
        more = {"REDIS_URL": ""} if own_store else {}
        host = await t.place.host(**more)
        await host.start()
        t.place.voice.gate = "in flight"
        for whom in t.crowd.join(12):
            t.crowd.say(whom, "plain")
        await until(lambda: len(t.place.voice.asked) >= 12)
        await host.kill()
        t.place.voice.gate = None
        for whom in t.crowd.join(8):
            t.crowd.say(whom, "plain")
        t.tally.tries = 1
        t.tally.takeover.append(await host.start())
        left: list[Sent] = await t.crowd.answered(30)
        t.tally.messages, t.tally.lost = len(t.crowd.sent), len(left)
        said = [len(texts(room)) for _, room in t.crowd.rooms]
        t.tally.unmarked = sum(said) - 20
        await host.terminate()
        return t.tally


async def _to_the_end(place: Ground, crowd: Crowd, host: HostProcess, order: Order) -> Tally:
    """A last life that nobody ends; then the judgement."""
    if not host.running:
        await host.start()
    left = await crowd.answered(still=order.pick(15, 45))
    await settled(place)
    await host.terminate()
    return await judge(place, crowd, left)


def _workers(order: Order) -> int:
    return 1 if order.short else WORKERS


def _sum(tallies: list[Tally]) -> Tally:
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
