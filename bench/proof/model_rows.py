"""F9 and F10: the model fails."""

from __future__ import annotations

import asyncio
import time

from bench.proof.crowd import Sent, keyboards, texts
from bench.proof.ground import HostProcess
from bench.proof.order import Order
from bench.proof.tally import Tally
from bench.proof.trial import Trial, trial
from simulators.messages.turns import Cut, Drop, EndEarly, ErrorEvent, HttpError, Stall
from simulators.messages.turns import Fault as ModelFault


async def busy_model(order: Order) -> Tally:
    """F9: refusals, no connection, silence; passing ones, and ones that stay."""
    async with trial(order, "f9") as t:
        host = await t.place.host()
        await host.start()
        faults: list[ModelFault] = [
            HttpError(429, retry_after=0.3),
            HttpError(529),
            HttpError(500),
            Drop(),
        ]
        for fault in faults * order.pick(1, 5):
            t.tally.tries += 1
            t.place.voice.strikes[t.crowd.say(t.crowd.join(1)[0], "plain").nonce] = fault
        await t.crowd.answered(20)
        host.messages.shut()
        away = t.crowd.say(t.crowd.join(1)[0], "plain")
        await asyncio.sleep(0.7)
        await host.messages.reopen()
        t.tally.tries += 1
        await t.crowd.answered(20, [away])
        tally = await t.judged()
    return tally.add(await _gives_up_kindly(order))


async def _gives_up_kindly(order: Order) -> Tally:
    """A model that stays away: bounded tries, then a sentence; others are not held up."""
    tally = Tally()
    lasting: list[ModelFault] = (
        [HttpError(529)] if order.short else [HttpError(529), HttpError(500), Stall(1)]
    )
    for number, fault in enumerate(lasting):
        async with trial(order, f"f9-{number}") as t:
            host = await t.place.host()
            await host.start()
            t.place.voice.fault = fault
            one = t.crowd.say(t.crowd.join(1)[0], "plain")
            tally.tries += 1
            said = await _something_said(one, 400)
            asked = t.place.voice.asked.get(one.nonce, 0)
            tally.check(said, f"{fault}: silence")
            tally.check(asked <= 8, f"{fault}: asked {asked} times")
            t.place.voice.fault = None
            await _tried_again(t, one, tally)
            again = t.crowd.say(t.crowd.rooms[0], "plain")
            tally.lost += len(await t.crowd.answered(among=[again]))
            tally.messages += 2
            tally.notes.append(f"after {type(fault).__name__}: told after {asked} requests")
    return tally


async def _tried_again(t: Trial, one: Sent, tally: Tally) -> None:
    """The apology has a button; pressed twice, it brings the one answer that was owed."""
    shown = keyboards(one.room)
    if not shown:
        tally.problem("the apology has no button")
        return
    number, rows = shown[-1]
    for _ in range(2):
        t.place.world.press_button(t.crowd.rooms[0][0], one.room, number, rows[0][0]["text"])
    tally.lost += len(await t.crowd.answered(among=[one]))
    await t.crowd.answered(among=[t.crowd.say(t.crowd.rooms[0], "quick")])  # both were seen to
    count = sum(f"{one.nonce}/000" in text for text in texts(one.room))
    tally.check(count == 1, f"two presses brought {count} answers")


async def _something_said(one: Sent, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if texts(one.room):
            return True
        await asyncio.sleep(0.1)
    return False


async def broken_streams(order: Order) -> Tally:
    """F10: cut at any byte, ended early, an error event, max_tokens inside a call."""
    async with trial(order, "f10") as t:
        host = await t.place.host()
        await host.start()
        cuts: list[ModelFault] = [
            Cut(bytes=t.crowd.chance.randrange(1, 1300)) for _ in range(order.pick(8, 100))
        ]
        others: list[ModelFault] = [EndEarly(), ErrorEvent(events=3), Cut(events=4), Cut(events=1)]
        for fault in [*cuts, *others]:
            t.tally.tries += 1
            kind = t.crowd.chance.choice(["plain", "tool", "quick"])
            t.place.voice.strikes[t.crowd.say(t.crowd.join(1)[0], kind).nonce] = fault
        cut = [t.crowd.say(whom, "cut") for whom in t.crowd.join(order.pick(1, 5))]
        t.tally.tries += len(cut)
        await t.crowd.answered(40)
        ran = [one for one in cut if f"count {one.nonce}" in t.place.counted()]
        t.tally.check(not ran, f"half a tool call was run: {ran}")
        t.tally.add(await _wire_breaks(t, host, order))
        return await t.judged()


async def _wire_breaks(t: Trial, host: HostProcess, order: Order) -> Tally:
    """The wire itself breaks an answer off."""
    tally = Tally()
    for _ in range(order.pick(2, 30)):
        host.messages.break_answer(t.crowd.chance.randrange(1, 1500))
        tally.tries += 1
        await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "plain")])
    return tally
