"""F1 and F2 while turns wait for people: killed between question and tap, and tap and call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench.proof.crowd import Sent, keyboards
from bench.proof.ground import HostProcess
from bench.proof.order import Order
from bench.proof.points import Point
from bench.proof.store_relay import Words
from bench.proof.tally import Tally
from bench.proof.trial import Trial, trial, until

AGAIN_SECONDS = 2.0
TOGETHER = 4
MANY = 20


def _is_started(words: Words) -> bool:
    return b"started" in words


def _is_a_result(words: Words) -> bool:
    return b"result" in words


@dataclass(frozen=True, slots=True)
class Wait:
    """A point in the life of a turn that asks; `tapped` ones lie behind the tap."""

    point: Point
    tapped: bool = False


WAITS = (
    Wait(Point("question not recorded", "tool", "suspend", "before")),
    Wait(Point("question recorded, not sent", "tool", "suspend", "after")),
    Wait(Point("question sent, not recorded", "tool", "receipt", "before")),
    Wait(Point("tap not recorded", "tool", "update_approval", "before"), tapped=True),
    Wait(Point("tap recorded, call not started", "tool", "update_approval", "after"), tapped=True),
    Wait(Point("start not recorded", "tool", "append", "before", _is_started), tapped=True),
    Wait(Point("started, not called", "tool", "append", "after", _is_started), tapped=True),
    Wait(Point("called, not recorded", "tool", None, "before", _is_a_result), tapped=True),
)


async def killed_while_asking(order: Order) -> Tally:
    """Kill -9 at each of these, with several turns in each state; then everything is tapped."""
    async with trial(order, "f1-asking", 1) as t:
        t.place.write_agents(whitelistPatterns=[])
        await t.place.fork_hosts()
        host = await t.place.host()
        owed: list[Sent] = []
        for wait in WAITS * order.pick(1, max(1, order.at_each // 4)):
            t.tally.takeover.append(await host.start())
            await t.crowd.answered(20, owed)  # five lives without getting further are poison
            owed = await _one_kill(t, host, wait)
        t.tally.takeover.append(await host.start())
        async with _tapping(t):
            await t.crowd.answered()
            tally = await t.judged()
        unknown = [s for s in t.crowd.sent if f"count {s.nonce}" not in t.place.counted()]
        tally.notes.append(
            f"{len(t.crowd.sent)} calls that people allowed: {len(unknown)} of unknown fate were "
            "told to the model and not made"
        )
        at_most = t.tally.tries + TOGETHER * t.tally.tries
        tally.check(len(unknown) <= at_most, f"{len(unknown)} allowed calls were never made")
        await host.terminate()
        return tally


async def _one_kill(t: Trial, host: HostProcess, wait: Wait) -> list[Sent]:
    """One life of the host; what people had allowed in it before its end."""
    if not wait.tapped:
        trap = host.store.set(wait.point.trap())
        for whom in t.crowd.join(TOGETHER):
            t.crowd.say(whom, "tool")
        allowed = []
    else:
        said = [t.crowd.say(whom, "tool") for whom in t.crowd.join(TOGETHER)]
        await until(lambda: all(keyboards(one.room) for one in said))
        trap = host.store.set(wait.point.trap())
        allowed = said[:-1]
        for one in allowed:
            tap(t, one)
    try:
        await asyncio.wait_for(trap.caught.wait(), 25)
        t.tally.tries += 1
    except TimeoutError:
        t.tally.problem(f"the point {wait.point.name!r} was not reached")
    await host.kill()
    return allowed


async def killed_among_many(order: Order) -> Tally:
    """Twenty turns wait at once; while people tap, the host is killed at random moments."""
    async with trial(order, "f2-asking", 2) as t:
        t.place.write_agents(whitelistPatterns=[])
        await t.place.fork_hosts()
        host = await t.place.host()
        for _ in range(order.pick(2, 20)):
            t.tally.takeover.append(await host.start())
            for whom in t.crowd.join(order.pick(8, MANY)):
                t.crowd.say(whom, "tool")
            async with _tapping(t):
                await asyncio.sleep(t.crowd.chance.uniform(0.1, 1.5))
                await host.kill()
            t.tally.tries += 1
        t.tally.takeover.append(await host.start())
        async with _tapping(t):
            await t.crowd.answered()
            tally = await t.judged()
        await host.terminate()
        return tally


def tap(t: Trial, one: Sent) -> None:
    """Whoever was asked allows it, on the newest keyboard."""
    person = next(who for who, room in t.crowd.rooms if room is one.room)
    number, rows = keyboards(one.room)[-1]
    t.place.world.press_button(person, one.room, number, rows[0][0]["text"])


@contextlib.asynccontextmanager
async def _tapping(t: Trial) -> AsyncIterator[None]:
    """While the block runs, people tap what they are asked, and again what does not react."""

    async def forever() -> None:
        tapped: dict[tuple[int, int], float] = {}
        clock = asyncio.get_running_loop().time
        while True:
            for one in t.crowd.sent:
                for number, _ in keyboards(one.room)[-1:]:
                    if clock() - tapped.get((one.room.id, number), 0.0) > AGAIN_SECONDS:
                        tapped[one.room.id, number] = clock()
                        tap(t, one)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
