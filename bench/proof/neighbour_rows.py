"""F8 to F12: the neighbours of the host fail: tools, the model, Telegram."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from bench.proof.crowd import Sent, keyboards, texts
from bench.proof.result import Result
from bench.proof.trial import COUNTER, HostProcess, Run, Trial, chatting, trial
from simulators.messages.turns import Cut, Drop, EndEarly, ErrorEvent, HttpError, Stall
from simulators.messages.turns import Fault as ModelFault
from simulators.telegram.calls import CallRecord
from simulators.telegram.faults import Fault
from simulators.testing.stage import until

BAD_CALLS = ("die", "huge", "nonsense", "garbage")


async def bad_tools(run: Run) -> Result:
    """F8: killed in a call, garbage, huge, hanging, down at start, thousands of tools."""
    result = await _bad_calls(run)
    result.add(await _late_server(run))
    if not run.short:
        result.add(await _odd_lists(run, "many"))
    return result


async def _bad_calls(run: Run) -> Result:
    kinds = BAD_CALLS if run.short else (*BAD_CALLS * 2, "hang")
    async with trial(run, "f8") as t:
        t.tool_mode = "twins"
        host = await t.started_host()
        for kind in kinds:
            t.result.tries += 1
            bad = t.crowd.say(t.crowd.join(1)[0], kind)
            beside = t.crowd.say(t.crowd.join(1)[0], "quick")
            late = await t.crowd.answered(run.pick(15, 10), [beside])
            t.result.check(not late, f"{kind}: another chat waited")
            await t.crowd.answered(90, [bad], still=90)
            again = t.crowd.say(t.crowd.join(1)[0], "tool")
            await t.crowd.answered(30, [again])
            t.result.check(f"count {again.nonce}" in t.tool_runs(), f"{kind}: tools stay away")
        result = await t.judged()
        await host.terminate()
        result.check(not _processes(str(t.count_file)), "a tool server was left behind")
        return result


async def _late_server(run: Run) -> Result:
    async with trial(run, "f8-late") as t:
        late = t.folder / "late.py"
        path = t.write_agents()
        path.write_text(path.read_text().replace(str(COUNTER), str(late)))
        await t.started_host()
        t.result.tries += 1
        await t.crowd.answered(30, [t.crowd.say(t.crowd.join(1)[0], "plain")])
        shutil.copy(COUNTER, late)
        for _ in range(40):
            probe = t.crowd.say(t.crowd.join(1)[0], "tool")
            await t.crowd.answered(30, [probe])
            if f"count {probe.nonce}" in t.tool_runs():
                break
            await asyncio.sleep(0.5)
        else:
            t.result.problem("a server that came up later was never used")
        return await t.judged()


async def _odd_lists(run: Run, manner: str) -> Result:
    async with trial(run, f"f8-{manner}") as t:
        t.tool_mode = manner
        await t.started_host()
        t.result.tries += 1
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


async def busy_model(run: Run) -> Result:
    """F9: refusals, no connection, silence; passing ones, and ones that stay."""
    async with trial(run, "f9") as t:
        host = await t.started_host()
        faults: list[ModelFault] = [
            HttpError(429, retry_after=0.3),
            HttpError(529),
            HttpError(500),
            Drop(),
        ]
        for fault in faults * run.pick(1, 5):
            t.result.tries += 1
            t.model.strikes[t.crowd.say(t.crowd.join(1)[0], "plain").nonce] = fault
        await t.crowd.answered(20)
        host.messages.shut()
        away = t.crowd.say(t.crowd.join(1)[0], "plain")
        await asyncio.sleep(0.7)
        await host.messages.reopen()
        t.result.tries += 1
        await t.crowd.answered(20, [away])
        result = await t.judged()
    return result.add(await _gives_up_kindly(run))


async def _gives_up_kindly(run: Run) -> Result:
    """A model that stays away: bounded tries, then a sentence; others are not held up."""
    result = Result()
    lasting: list[ModelFault] = (
        [HttpError(529)] if run.short else [HttpError(529), HttpError(500), Stall(1)]
    )
    for number, fault in enumerate(lasting):
        async with trial(run, f"f9-{number}") as t:
            await t.started_host()
            t.model.fault = fault
            one = t.crowd.say(t.crowd.join(1)[0], "plain")
            result.tries += 1
            said = await _something_said(one, 400)
            asked = t.model.asked.get(one.nonce, 0)
            result.check(said, f"{fault}: silence")
            result.check(asked <= 8, f"{fault}: asked {asked} times")
            t.model.fault = None
            await _tried_again(t, one, result)
            again = t.crowd.say(t.crowd.rooms[0], "plain")
            result.lost += len(await t.crowd.answered(among=[again]))
            result.messages += 2
            what = fault.status if isinstance(fault, HttpError) else "silence"
            result.notes.append(f"{what}: the person was told after {asked} requests")
    return result


async def _tried_again(t: Trial, one: Sent, result: Result) -> None:
    """The apology has a button; pressed twice, it brings the one answer that was owed."""
    shown = keyboards(one.room)
    if not shown:
        result.problem("the apology has no button")
        return
    number, rows = shown[-1]
    for _ in range(2):
        t.world.press_button(t.crowd.rooms[0][0], one.room, number, rows[0][0]["text"])
    result.lost += len(await t.crowd.answered(among=[one]))
    await t.crowd.answered(among=[t.crowd.say(t.crowd.rooms[0], "quick")])  # both were seen to
    count = sum(f"{one.nonce}/000" in text for text in texts(one.room))
    result.check(count == 1, f"two presses brought {count} answers")


async def _something_said(one: Sent, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if texts(one.room):
            return True
        await asyncio.sleep(0.1)
    return False


async def broken_streams(run: Run) -> Result:
    """F10: cut at any byte, ended early, an error event, max_tokens inside a call."""
    async with trial(run, "f10") as t:
        host = await t.started_host()
        cuts: list[ModelFault] = [
            Cut(bytes=t.crowd.chance.randrange(1, 1300)) for _ in range(run.pick(8, 100))
        ]
        others: list[ModelFault] = [EndEarly(), ErrorEvent(events=3), Cut(events=4), Cut(events=1)]
        for fault in [*cuts, *others]:
            t.result.tries += 1
            kind = t.crowd.chance.choice(["plain", "tool", "quick"])
            t.model.strikes[t.crowd.say(t.crowd.join(1)[0], kind).nonce] = fault
        cut = [t.crowd.say(whom, "cut") for whom in t.crowd.join(run.pick(1, 5))]
        t.result.tries += len(cut)
        await t.crowd.answered(40)
        ran = [one for one in cut if f"count {one.nonce}" in t.tool_runs()]
        t.result.check(not ran, f"half a tool call was run: {ran}")
        t.result.add(await _wire_breaks(t, host, run))
        return await t.judged()


async def _wire_breaks(t: Trial, host: HostProcess, run: Run) -> Result:
    """The wire itself breaks an answer off."""
    result = Result()
    for _ in range(run.pick(2, 30)):
        host.messages.break_answer(t.crowd.chance.randrange(1, 1500))
        result.tries += 1
        await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "plain")])
    return result


async def telegram_fails(run: Run) -> Result:
    """F11: 429, 5xx, a proxy's page, no answer, half an answer, no network."""
    async with trial(run, "f11") as t:
        host = await t.started_host()
        for fault in (f for _ in range(run.pick(1, 8)) for f in _send_faults()):
            t.result.tries += 1
            kind = t.crowd.chance.choice(["quick", "plain", "long"])
            one = t.crowd.say(t.crowd.join(1)[0], kind)
            fault.chat = one.room.id
            t.world.faults.add(fault)
        await t.crowd.answered(40)
        for _ in range(run.pick(2, 30)):
            t.result.tries += 1
            host.telegram.break_answer(t.crowd.chance.randrange(1, 700))
            await t.crowd.answered(30, [t.crowd.say(t.crowd.join(1)[0], "quick")])
        async with chatting(t.crowd):
            await asyncio.sleep(0.5)
            host.telegram.shut()
            await asyncio.sleep(run.pick(1, 60))
            await host.telegram.reopen()
            t.result.tries += 1
        result = await t.judged()
        result.check(host.alive, "the host ended")
        return result


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


async def closed_to_us(run: Run) -> Result:
    """F12: a revoked token, a person who blocked the bot, a chat that is not there."""
    async with trial(run, "f12", 3) as t:
        host = await t.started_host()
        dead, alive, other = t.bots
        t.result.tries = 3
        await _blocked(t)
        t.world.revoke(dead)
        beside = [t.crowd.say(t.crowd.join(1, bot)[0], "plain") for bot in (alive, other) * 3]
        t.result.lost += len(await t.crowd.answered(20, beside))
        await asyncio.sleep(1)
        _, report = await host.health()
        states = {bot["id"]: bot["state"] for bot in report["bots"]}
        t.result.check(states[dead.id] == "quarantined", f"the revoked bot is {states[dead.id]}")
        del t.bots[0]
        return await t.judged()


async def _blocked(t: Trial) -> None:
    """Answers to a closed chat are tried once or twice and recorded, and nothing else waits."""
    bot = t.bots[1]
    person, room = t.crowd.join(1, bot)[0]
    t.model.gate = "held"
    one = t.crowd.say((person, room), "quick")
    await t.sim.gates.reached("held")
    t.world.block(person, bot)
    t.model.gate = None
    t.sim.gates.open("held")
    stranger = t.crowd.join(1, bot)[0]
    refusal = "Bad Request: chat not found"
    gone = Fault("answer", "sendMessage", chat=stranger[1].id, status=400, description=refusal)
    t.world.faults.add(gone)
    two = t.crowd.say(stranger, "quick")
    await until(lambda: len(_refused(t)) >= 2)
    await asyncio.sleep(1)
    tried = _refused(t)
    t.result.check(2 <= len(tried) <= 4, f"{len(tried)} refused sends to closed chats")
    t.result.notes.append(f"{len(tried)} refused sends to 2 closed chats")
    t.crowd.sent = [s for s in t.crowd.sent if s not in (one, two)]


def _refused(t: Trial) -> list[CallRecord]:
    return [c for c in t.world.calls.of(method="sendMessage") if c.status in (400, 403)]
