"""F2 in groups: the host is killed while an answer grows there by edits."""

from __future__ import annotations

import asyncio

from bench.proof.crowd import Sent, texts
from bench.proof.ground import HostProcess
from bench.proof.oracle import MARK
from bench.proof.order import Order
from bench.proof.points import Point
from bench.proof.tally import Tally
from bench.proof.trial import Trial, trial, until
from bench.proof.voice import TAG, lines_of

GROUPS = 3
UNNOTED = (
    Point("preview about to be sent", "grow", "note_preview", "after"),
    Point("preview sent, its number not recorded", "grow", "note_preview", "before", skip=1),
)


async def killed_while_growing(order: Order) -> Tally:
    """The message that people saw grow becomes the whole answer, once."""
    async with trial(order, "f2-growing", 1) as t:
        await t.place.fork_hosts()
        host = await t.place.host()
        owed: list[Sent] = []
        for _ in range(order.pick(1, 15)):
            t.tally.takeover.append(await host.start())
            await t.crowd.answered(30, owed)  # five lives without getting further are poison
            owed = await _while_it_grows(t, host, order)
        t.tally.takeover.append(await host.start())
        for point in UNNOTED[order.pick(1, 0) :]:
            await _number_unknown(t, host, point)
        tally = await t.judged()
        await host.terminate()
        return tally


async def _while_it_grows(t: Trial, host: HostProcess, order: Order) -> list[Sent]:
    """One life of the host; what it had begun to say."""
    said = [t.crowd.say(t.crowd.gather(), "grow") for _ in range(GROUPS)]
    await until(lambda: all(_shown(one) for one in said))
    await until(lambda: host.store.scripts.get("note_preview", 0) >= 2 * GROUPS)
    await asyncio.sleep(t.crowd.chance.uniform(0.1, order.pick(1, 3)))
    await host.kill()
    host.store.scripts.clear()
    t.tally.tries += 1
    return said


def _shown(one: Sent) -> bool:
    """Whether a part of the answer can be read."""
    return 0 < sum(len(TAG.findall(text)) for text in texts(one.room)) < lines_of("grow")


async def _number_unknown(t: Trial, host: HostProcess, point: Point) -> None:
    """Killed before a beginning has its number on record: the whole answer tells of it."""
    trap = host.store.set(point.trap())
    one = t.crowd.say(t.crowd.gather(), "grow")
    await asyncio.wait_for(trap.caught.wait(), 25)
    await host.kill()
    t.tally.tries += 1
    stray = texts(one.room)
    t.tally.takeover.append(await host.start())
    t.crowd.sent.remove(one)
    t.tally.lost += len(await t.crowd.answered(among=[one]))
    t.tally.messages += 1
    left = [text for text in texts(one.room) if text in stray]
    whole = [text for text in texts(one.room) if text not in stray]
    t.tally.check(len(left) <= 1, f"{len(left)} strays")
    t.tally.check(len(whole) == 1, f"{len(texts(one.room))} messages")
    t.tally.check(all(text.startswith(MARK) for text in whole), f"no mark after: {point.name}")
    if left:
        t.tally.marked += 1
        t.tally.notes.append(
            "killed between a growing answer's first message in a group and the record of its "
            "number: that beginning stays, and the whole answer comes below it with the mark"
        )
