"""F1 and F2: the host is killed at named points, and at random moments.

Also while turns wait for people, between question and press, between press and call, and while an
answer grows in a group.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.proof.crowd import Sent, keyboards, texts
from bench.proof.echo_model import TAG, lines_of
from bench.proof.judge import MARK
from bench.proof.result import Result
from bench.proof.store_relay import Arguments, Point
from bench.proof.trial import HostProcess, Run, Trial, trial
from simulators.testing.stage import until

WORKERS = 2
PRESS_AGAIN_SECONDS = 2.0
TOGETHER = 4
GROUPS = 3


def _is_start(words: Arguments) -> bool:
    return b"started" in words


def _is_result(words: Arguments) -> bool:
    return b"result" in words


POINTS = (
    Point("received not stored", "plain", "accept", "before"),
    Point("stored not confirmed", "plain", "accept", "after"),
    Point("delivered not started", "plain", "begin", "before"),
    Point("model answered not recorded", "plain", "finish", "before"),
    Point("tool called, result not recorded", "tool", None, "before", _is_result),
    Point("reply recorded not sent", "plain", "finish", "after"),
    Point("sent not recorded", "plain", "receipt", "before"),
    Point("recorded not acknowledged", "plain", "receipt", "after"),
    Point("between the parts of a split answer", "long", "receipt", "after"),
)


@dataclass(frozen=True, slots=True)
class Approval:
    """A point in the life of a turn that asks; `pressed` ones come after the press."""

    point: Point
    pressed: bool = False


APPROVALS = (
    Approval(Point("question not recorded", "tool", "suspend", "before")),
    Approval(Point("question recorded, not sent", "tool", "suspend", "after")),
    Approval(Point("question sent, not recorded", "tool", "receipt", "before")),
    Approval(Point("tap not recorded", "tool", "update_approval", "before"), pressed=True),
    Approval(
        Point("tap recorded, call not started", "tool", "update_approval", "after"), pressed=True
    ),
    Approval(Point("start not recorded", "tool", "append", "before", _is_start), pressed=True),
    Approval(Point("started, not called", "tool", "append", "after", _is_start), pressed=True),
    Approval(Point("called, not recorded", "tool", None, "before", _is_result), pressed=True),
)
PREVIEWS = (
    Point("preview about to be sent", "grow", "note_preview", "after"),
    Point("preview sent, its number not recorded", "grow", "note_preview", "before", skip=1),
)


async def named_points(run: Run) -> Result:
    """F1: kill -9 at each named point, also of turns that wait for people."""
    workers = 1 if run.short else WORKERS
    tries = [point for point in POINTS for _ in range(run.at_each)]
    work = [_at_points(run, number, tries[number::workers]) for number in range(workers)]
    results = await asyncio.gather(*work)
    if not run.short:
        results.append(await killed_while_asking(run))
    return _sum(results)


async def _at_points(run: Run, number: int, points: Sequence[Point]) -> Result:
    async with trial(run.with_seed(number), f"f1-{number}", 1, forked=True) as t:
        host = await t.host()
        for point in points:
            t.result.takeover.append(await host.start())
            if await t.crowd.answered(run.pick(15, 40)) and run.short:
                break  # lost already: the judge will say so
            trap = host.store.set(point.trap())
            t.crowd.say(t.crowd.join(1)[0], point.kind)
            for beside in t.crowd.join(2):
                t.crowd.say(beside)
                t.crowd.say(beside)
            await _caught(t, trap.caught, point)
            await host.kill()
        return await _last_life(t, host)


async def random_moments(run: Run) -> Result:
    """F2: kill -9 at random moments under load, also while it starts, asks, and shows growth."""
    workers = 1 if run.short else WORKERS
    counts = [len(range(run.kills)[number::workers]) for number in range(workers)]
    work: list[Coroutine[Any, Any, Result]] = [
        _at_random(run, number, count) for number, count in enumerate(counts)
    ]
    if not run.short:
        work += [killed_among_many(run), killed_while_growing(run)]
    return _sum(await asyncio.gather(*work))


async def _at_random(run: Run, number: int, kills: int) -> Result:
    async with trial(run.with_seed(1000 + number), f"f2-{number}", 2, forked=True) as t:
        t.result.tries = kills
        host = await t.host()
        for _ in range(kills):
            await _one_life(t, host, partial(t.crowd.chatter, 5, 9, 1.0))
        return await _last_life(t, host)


async def _one_life(
    t: Trial, host: HostProcess, talk: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """One life: mostly killed up to two seconds after load began, else while it starts."""
    if t.crowd.chance.random() < 0.15:
        await host.spawn()
        load = asyncio.create_task(talk())
        await asyncio.sleep(t.crowd.chance.uniform(0.3, 1.2))
    else:
        t.result.takeover.append(await host.start())
        load = asyncio.create_task(talk())
        await asyncio.sleep(t.crowd.chance.uniform(0.0, 2.0))
    await host.kill()
    await load


async def _last_life(t: Trial, host: HostProcess) -> Result:
    """A last life that is not killed; then the judgement."""
    if not host.alive:
        await host.start()
    left = await t.crowd.answered(still=t.run.pick(15, 45))
    await t.emptied()
    await host.terminate()
    return t.result.add(await t.judge(left))


async def twenty(run: Run, *, own_store: bool = True) -> Result:
    """Twelve in flight and eight sent while down: kill -9, restart, twenty answers."""
    async with trial(run, "twenty", 2) as t:
        host = await t.started_host(**({"REDIS_URL": ""} if own_store else {}))
        t.model.gate = "in flight"
        for whom in t.crowd.join(12):
            t.crowd.say(whom, "plain")
        await until(lambda: len(t.model.asked) >= 12)
        await host.kill()
        t.model.gate = None
        for whom in t.crowd.join(8):
            t.crowd.say(whom, "plain")
        t.result.tries = 1
        t.result.takeover.append(await host.start())
        left = await t.crowd.answered(30)
        t.result.messages, t.result.lost = len(t.crowd.sent), len(left)
        t.result.unmarked = sum(len(texts(room)) for _, room in t.crowd.rooms) - 20
        await host.terminate()
        return t.result


# --- turns that wait for people ---


async def killed_while_asking(run: Run) -> Result:
    """Kill -9 at each of these, with several turns in each state; then everything is pressed."""
    async with trial(run, "f1-asking", 1, forked=True) as t:
        t.write_agents(whitelistPatterns=[])
        host = await t.host()
        owed: list[Sent] = []
        for approval in APPROVALS * run.pick(1, max(1, run.at_each // 4)):
            t.result.takeover.append(await host.start())
            await t.crowd.answered(20, owed)  # five lives without getting further are poison
            owed = await _one_question(t, host, approval)
        t.result.takeover.append(await host.start())
        async with _pressing(t):
            await t.crowd.answered()
            result = await t.judged()
        unknown = [s for s in t.crowd.sent if f"count {s.nonce}" not in t.tool_runs()]
        result.notes.append(
            f"{len(t.crowd.sent)} calls that people allowed: for {len(unknown)} it was unknown "
            "after a kill whether they had run, so they were not made again, and the model was "
            "told so"
        )
        at_most = t.result.tries + TOGETHER * t.result.tries
        result.check(len(unknown) <= at_most, f"{len(unknown)} allowed calls were never made")
        await host.terminate()
        return result


async def _one_question(t: Trial, host: HostProcess, approval: Approval) -> list[Sent]:
    """One life of the host; what people had allowed in it before its end."""
    sent = (
        [t.crowd.say(whom, "tool") for whom in t.crowd.join(TOGETHER)] if approval.pressed else []
    )
    allowed = sent[:-1]
    await until(lambda: all(keyboards(one.room) for one in sent))
    trap = host.store.set(approval.point.trap())
    if approval.pressed:
        for one in allowed:
            _press(t, one)
    else:
        for whom in t.crowd.join(TOGETHER):
            t.crowd.say(whom, "tool")
    await _caught(t, trap.caught, approval.point)
    await host.kill()
    return allowed


async def killed_among_many(run: Run) -> Result:
    """Twenty turns wait at once; while people press, the host is killed at random moments."""
    async with trial(run, "f2-asking", 2, forked=True) as t:
        t.write_agents(whitelistPatterns=[])
        host = await t.host()
        for _ in range(run.pick(2, 20)):
            t.result.takeover.append(await host.start())
            for whom in t.crowd.join(run.pick(8, 20)):
                t.crowd.say(whom, "tool")
            async with _pressing(t):
                await asyncio.sleep(t.crowd.chance.uniform(0.1, 1.5))
                await host.kill()
            t.result.tries += 1
        t.result.takeover.append(await host.start())
        async with _pressing(t):
            await t.crowd.answered()
            result = await t.judged()
        await host.terminate()
        return result


def _press(t: Trial, one: Sent) -> None:
    """Whoever was asked allows it, on the newest keyboard."""
    person = next(who for who, room in t.crowd.rooms if room is one.room)
    number, rows = keyboards(one.room)[-1]
    t.world.press_button(person, one.room, number, rows[0][0]["text"])


@contextlib.asynccontextmanager
async def _pressing(t: Trial) -> AsyncIterator[None]:
    """While the block runs, people allow what they are asked, again where a press did nothing."""

    async def forever() -> None:
        pressed: dict[tuple[int, int], float] = {}
        clock = asyncio.get_running_loop().time
        while True:
            for one in t.crowd.sent:
                for number, _ in keyboards(one.room)[-1:]:
                    last = pressed.get((one.room.id, number), 0.0)
                    if clock() - last > PRESS_AGAIN_SECONDS:
                        pressed[one.room.id, number] = clock()
                        _press(t, one)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# --- answers that grow in a group ---


async def killed_while_growing(run: Run) -> Result:
    """The message that people saw grow becomes the whole answer, once."""
    async with trial(run, "f2-growing", 1, forked=True) as t:
        host = await t.host()
        owed: list[Sent] = []
        for _ in range(run.pick(1, 15)):
            t.result.takeover.append(await host.start())
            await t.crowd.answered(30, owed)  # five lives without getting further are poison
            owed = await _one_growth(t, host)
        t.result.takeover.append(await host.start())
        for point in PREVIEWS[run.pick(1, 0) :]:
            await _before_its_number(t, host, point)
        result = await t.judged()
        await host.terminate()
        return result


async def _one_growth(t: Trial, host: HostProcess) -> list[Sent]:
    """One life of the host, killed while answers grow; these answers."""
    sent = [t.crowd.say(t.crowd.gather(), "grow") for _ in range(GROUPS)]
    await until(lambda: all(_is_partly_shown(one) for one in sent))
    await until(lambda: host.store.scripts.get("note_preview", 0) >= 2 * GROUPS)
    await asyncio.sleep(t.crowd.chance.uniform(0.1, t.run.pick(1, 3)))
    await host.kill()
    host.store.scripts.clear()
    t.result.tries += 1
    return sent


def _is_partly_shown(one: Sent) -> bool:
    return 0 < sum(len(TAG.findall(text)) for text in texts(one.room)) < lines_of("grow")


async def _before_its_number(t: Trial, host: HostProcess, point: Point) -> None:
    """Killed before a first message's number is recorded: the whole answer carries the mark."""
    trap = host.store.set(point.trap())
    one = t.crowd.say(t.crowd.gather(), "grow")
    await asyncio.wait_for(trap.caught.wait(), 25)
    await host.kill()
    t.result.tries += 1
    stray = texts(one.room)
    t.result.takeover.append(await host.start())
    t.crowd.sent.remove(one)
    t.result.lost += len(await t.crowd.answered(among=[one]))
    t.result.messages += 1
    left = [text for text in texts(one.room) if text in stray]
    whole = [text for text in texts(one.room) if text not in stray]
    t.result.check(len(left) <= 1, f"{len(left)} strays")
    t.result.check(len(whole) == 1, f"{len(texts(one.room))} messages")
    t.result.check(all(text.startswith(MARK) for text in whole), f"no mark after: {point.name}")
    if left:
        t.result.marked += 1
        t.result.notes.append(
            "killed between a growing answer's first message in a group and the record of its "
            "number: that beginning stays, and the whole answer comes below it with the mark"
        )


async def _caught(t: Trial, caught: asyncio.Event, point: Point) -> None:
    """Waits until a trap has caught its request."""
    try:
        await asyncio.wait_for(caught.wait(), 25)
        t.result.tries += 1
    except TimeoutError:
        t.result.problem(f"the point {point.name!r} was not reached")


def _sum(results: Sequence[Result]) -> Result:
    total = Result()
    for result in results:
        total.add(result)
    return total
