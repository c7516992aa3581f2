"""F8 to F12: tools, the model and Telegram fail."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from bench.proof.crowd import Crowd, Sent, keyboards, texts
from bench.proof.ground import COUNTER, HostProcess
from bench.proof.order import Order
from bench.proof.tally import Tally
from bench.proof.trial import Trial, chatting, trial, until
from bot.sandbox.messages.turns import Cut, Drop, EndEarly, ErrorEvent, HttpError, Stall
from bot.sandbox.messages.turns import Fault as ModelFault
from bot.sandbox.telegram.calls import CallRecord
from bot.sandbox.telegram.faults import Fault

BAD_CALLS = ("die", "huge", "nonsense", "garbage")


async def bad_tools(order: Order) -> Tally:
    """F8: killed in a call, garbage, huge, hanging, down at start, thousands of tools."""
    tally = await _bad_calls(order)
    tally.add(await _late_server(order))
    if not order.short:
        tally.add(await _odd_lists(order, "many"))
    return tally


async def _bad_calls(order: Order) -> Tally:
    kinds = BAD_CALLS if order.short else (*BAD_CALLS * 2, "hang")
    async with trial(order, "f8") as t:
        t.place.manner = "twins"
        host = await t.place.host()
        await host.start()
        for kind in kinds:
            t.tally.tries += 1
            bad = t.crowd.say(t.crowd.join(1)[0], kind)
            beside = t.crowd.say(t.crowd.join(1)[0], "quick")
            late = await t.crowd.answered(order.pick(15, 10), [beside])
            t.tally.check(not late, f"{kind}: another chat waited")
            await t.crowd.answered(90, [bad], still=90)
            again = t.crowd.say(t.crowd.join(1)[0], "tool")
            await t.crowd.answered(30, [again])
            t.tally.check(f"count {again.nonce}" in t.place.counted(), f"{kind}: tools stay away")
        tally = await t.judged()
        await host.terminate()
        tally.check(not _processes(str(t.place.count_file)), "a tool server was left behind")
        return tally


async def _late_server(order: Order) -> Tally:
    async with trial(order, "f8-late") as t:
        late = t.place.folder / "late.py"
        path = t.place.write_agents()
        path.write_text(path.read_text().replace(str(COUNTER), str(late)))
        host = await t.place.host()
        await host.start()
        t.tally.tries += 1
        await t.crowd.answered(30, [t.crowd.say(t.crowd.join(1)[0], "plain")])
        shutil.copy(COUNTER, late)
        for _ in range(40):
            probe = t.crowd.say(t.crowd.join(1)[0], "tool")
            await t.crowd.answered(30, [probe])
            if f"count {probe.nonce}" in t.place.counted():
                break
            await asyncio.sleep(0.5)
        else:
            t.tally.problem("a server that came up later was never used")
        return await t.judged()


async def _odd_lists(order: Order, manner: str) -> Tally:
    async with trial(order, f"f8-{manner}") as t:
        t.place.manner = manner
        host = await t.place.host()
        await host.start()
        t.tally.tries += 1
        t.crowd.say(t.crowd.join(1)[0], "tool")
        return await t.judged()


def _processes(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line and b"counter" in line:
                found.append(int(entry.name))
    return found


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


async def telegram_fails(order: Order) -> Tally:
    """F11: 429, 5xx, a proxy's page, no answer, half an answer, no network."""
    async with trial(order, "f11") as t:
        host = await t.place.host()
        await host.start()
        for fault in (f for _ in range(order.pick(1, 8)) for f in _send_faults()):
            t.tally.tries += 1
            kind = t.crowd.chance.choice(["quick", "plain", "long"])
            one = t.crowd.say(t.crowd.join(1)[0], kind)
            fault.chat = one.room.id
            t.place.world.faults.add(fault)
        await t.crowd.answered(40)
        for _ in range(order.pick(2, 30)):
            t.tally.tries += 1
            host.telegram.break_answer(t.crowd.chance.randrange(1, 700))
            await t.crowd.answered(30, [t.crowd.say(t.crowd.join(1)[0], "quick")])
        async with chatting(t.crowd):
            await asyncio.sleep(0.5)
            host.telegram.shut()
            await asyncio.sleep(order.pick(1, 60))
            await host.telegram.reopen()
            t.tally.tries += 1
        tally = await t.judged()
        tally.check(host.running, "the host ended")
        return tally


def _send_faults() -> list[Fault]:
    def fault(kind: str, status: int = 500, **more: object) -> Fault:
        return Fault(kind, "sendMessage", status=status, parameters=more)  # type: ignore[arg-type]

    refused = fault("answer", 429, retry_after=1)
    refused.description = "Too Many Requests: retry after 1"
    return [
        refused,
        fault("answer", 500),
        fault("html", 502),
        fault("drop"),
        fault("lose"),
    ]


async def closed_to_us(order: Order) -> Tally:
    """F12: a revoked token, a person who blocked the bot, a chat that is not there."""
    async with trial(order, "f12", 3) as t:
        host = await t.place.host()
        await host.start()
        dead, alive, other = t.place.bots
        t.tally.tries = 3
        await _blocked(t.crowd, t)
        t.place.world.revoke(dead)
        beside = [t.crowd.say(t.crowd.join(1, bot)[0], "plain") for bot in (alive, other) * 3]
        t.tally.lost += len(await t.crowd.answered(20, beside))
        await asyncio.sleep(1)
        _, report = await host.health()
        states = {bot["id"]: bot["state"] for bot in report["bots"]}
        t.tally.check(states[dead.id] == "quarantined", f"the revoked bot is {states[dead.id]}")
        del t.place.bots[0]
        return await t.judged()


async def _blocked(crowd: Crowd, t: Trial) -> None:
    """Answers to a closed chat are tried once or twice and recorded, and nothing else waits."""
    bot = t.place.bots[1]
    person, room = crowd.join(1, bot)[0]
    t.place.voice.gate = "held"
    one = crowd.say((person, room), "quick")
    await t.place.sim.gates.reached("held", 10)
    t.place.world.block(person, bot)
    t.place.voice.gate = None
    t.place.sim.gates.open("held")
    stranger = crowd.join(1, bot)[0]
    refusal = "Bad Request: chat not found"
    gone = Fault("answer", "sendMessage", chat=stranger[1].id, status=400, description=refusal)
    t.place.world.faults.add(gone)
    two = crowd.say(stranger, "quick")
    await until(lambda: len(_refused(t)) >= 2)
    await asyncio.sleep(1)
    tried = _refused(t)
    t.tally.check(2 <= len(tried) <= 4, f"{len(tried)} refused sends to closed chats")
    t.tally.notes.append(f"{len(tried)} refused sends to 2 closed chats")
    crowd.sent = [s for s in crowd.sent if s not in (one, two)]


def _refused(t: Trial) -> list[CallRecord]:
    return [c for c in t.place.world.calls.of(method="sendMessage") if c.status in (400, 403)]
