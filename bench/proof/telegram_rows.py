"""F11 and F12: Telegram fails."""

from __future__ import annotations

import asyncio

from bench.proof.crowd import Crowd
from bench.proof.order import Order
from bench.proof.tally import Tally
from bench.proof.trial import Trial, chatting, trial, until
from simulators.telegram.calls import CallRecord
from simulators.telegram.faults import Fault


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
