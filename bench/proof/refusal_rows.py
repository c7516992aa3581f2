"""F23 to F25: a long flood limit, kills within seconds, and refusals while hosts are killed."""

from __future__ import annotations

import asyncio
import time

from bench.proof.crowd import Sent, texts
from bench.proof.result import Result
from bench.proof.trial import HostProcess, Run, Trial, trial
from bot.store import keys
from simulators.messages.turns import ErrorEvent, HttpError, Stall
from simulators.messages.turns import Fault as ModelFault
from simulators.telegram.faults import Fault
from simulators.telegram.people import Person
from simulators.telegram.rooms import Room
from simulators.testing.stage import until

HOUR = 3600
QUICK_KILLS = 5


async def long_flood(run: Run) -> Result:
    """F23: some chats are told to wait an hour; hosts are stopped and killed, others are served."""
    async with trial(run, "f23", 1) as t:
        host = await t.started_host()
        frozen = [_frozen(t) for _ in range(run.pick(2, 10))]
        async with t.valkey.client() as store:
            for _ in range(1000):
                if await store.zcard(keys.frozen(f"bot:{t.bots[0].id}")) == len(frozen):
                    break
                await asyncio.sleep(0.02)
        for number in range(run.pick(2, 20)):
            t.result.tries += 1
            since = t.world.now()
            await _ended(t, host, killed=number % 2 == 1)
            t.result.takeover.append(await host.start())
            beside = t.crowd.say(t.crowd.join(1)[0], "plain")
            late = await t.crowd.answered(30, [beside])
            t.result.check(not late, "a chat beside the frozen ones waited")
            early = [one.room.id for one in frozen if _calls_to(t, one, since)]
            t.result.check(not early, f"{len(early)} frozen chats were called")
        _, report = await host.health()
        shown = report["bots"][0].get("frozen", {}).get("chats")
        t.result.check(shown == len(frozen), f"health shows {shown} frozen chats")
        async with t.valkey.client() as store:  # an hour later
            await store.delete(keys.frozen(f"bot:{t.bots[0].id}"))
        await host.kill()
        await host.start()
        result = await t.judged()
        await host.terminate()
        return result


def _frozen(t: Trial) -> Sent:
    """A message whose answer meets a 429 of an hour."""
    whom = t.crowd.join(1)[0]
    words = f"Too Many Requests: retry after {HOUR}"
    wait = {"retry_after": HOUR}
    t.world.faults.add(
        Fault("answer", "send*", chat=whom[1].id, status=429, description=words, parameters=wait)
    )
    return t.crowd.say(whom, "quick")


def _calls_to(t: Trial, one: Sent, since: float) -> list[str]:
    calls = t.world.calls.of(bot=t.bots[0].id)
    return [c.method for c in calls if c.at >= since and c.params.get("chat_id") == one.room.id]


async def _ended(t: Trial, host: HostProcess, *, killed: bool) -> None:
    if killed:
        await host.kill()
        return
    began = time.monotonic()
    status = await host.terminate()
    took = time.monotonic() - began
    t.result.check(status == 0, f"exit status {status}")
    t.result.check(took < 10, f"a stop waited {took:.1f} s for a frozen chat")


async def quick_kills(run: Run) -> Result:
    """F24: whatever is open at five kills within seconds is kept; what ends the host is not."""
    async with trial(run, "f24", 2) as t:
        host = await t.host()
        t.model.gate = "slow"
        for whom in t.crowd.join(run.pick(4, 20)):
            t.crowd.say(whom, "plain")
        for _ in range(QUICK_KILLS):
            t.result.tries += 1
            t.result.takeover.append(await host.start())
            await asyncio.sleep(t.crowd.chance.uniform(0.1, 0.4))
            await host.kill()
        t.model.gate = None
        t.sim.gates.open("slow")
        t.result.takeover.append(await host.start())
        await t.crowd.answered()
        t.result.check(
            await _letters(t) == 0, "a message was set aside that nothing speaks against"
        )
        if not run.short:
            await _poison_among(t, host)
        result = await t.judged()
        await host.terminate()
        return result


async def _poison_among(t: Trial, host: HostProcess) -> None:
    """Each request for one message ends the host, while others write and wait for their answers."""
    person, room = t.crowd.join(1)[0]
    one = t.crowd.say((person, room), "plain")
    lives = 0
    while not await _letters(t):
        lives += 1
        if lives > 40:
            t.result.problem("a message that ends the host is never set aside")
            return
        t.model.strikes[one.nonce] = Stall()
        asked = t.model.asked.get(one.nonce, 0)
        t.crowd.say(t.crowd.join(1)[0], "plain")
        if not host.alive:
            await host.start()
        for _ in range(600):
            if t.model.asked.get(one.nonce, 0) > asked:
                await host.kill()
            if not host.alive or await _letters(t):
                break
            await asyncio.sleep(0.1)
    t.crowd.sent.remove(one)
    asked = t.model.asked[one.nonce]
    t.result.notes.append(f"a message that crashes the host was sent to the model {asked} times")
    t.result.check(asked <= 20, f"a message that ends the host was asked {asked} times")
    if not host.alive:
        await host.start()
    await until(lambda: bool(texts(room)))
    t.result.check(await _letters(t) == 1, "more was set aside than the message that ends the host")


async def _letters(t: Trial) -> int:
    async with t.valkey.client() as store:
        found = [await store.xlen(keys.dead_letters(f"bot:{bot.id}")) for bot in t.bots]
    return sum(found)


MODEL_REFUSALS: tuple[ModelFault, ...] = (
    HttpError(400, "messages.0.content.0: this cannot be processed"),
    HttpError(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    HttpError(413),
    HttpError(422, "an unknown reason"),
    HttpError(429, retry_after=0.2),
    HttpError(529),
    ErrorEvent(),
)
"""What the model API says once to a message that has others before it; then it answers."""
TELEGRAM_REFUSALS = (
    (429, "Too Many Requests: retry after 1", 1),
    (500, "Internal Server Error", 2),
    (502, "Bad Gateway", 1),
)
"""What Telegram says so many times to a chat; then it takes the message."""
FINAL = "Bad Request: a reason that nobody knows"


async def refused_and_killed(run: Run) -> Result:
    """F25: neighbours refuse as in the table while hosts are killed: each message has its end."""
    async with trial(run, "f25", 2, forked=True) as t:
        host = await t.started_host()
        known = t.crowd.join(run.pick(4, 24))
        for whom in known:
            t.crowd.say(whom, "plain")
        await t.crowd.answered()
        refused: list[Sent] = []
        for number in range(run.pick(3, 60)):
            t.result.tries += 1
            if not host.alive:
                t.result.takeover.append(await host.start())
            _refused_by_the_model(t, number, known[number % len(known)])
            _refused_by_telegram(t, number)
            if number % 3 == 0:
                refused.append(_refused_for_good(t))
            t.crowd.say(t.crowd.join(1)[0], "plain")
            await asyncio.sleep(t.crowd.chance.uniform(0.2, 2.0))
            await host.kill()
        t.crowd.sent = [one for one in t.crowd.sent if one not in refused]
        t.result.takeover.append(await host.start())
        await t.crowd.answered()
        await until(lambda: all(texts(one.room) for one in refused), 120)
        letters = await _letters(t)
        t.result.check(letters == len(refused), f"{letters} letters for {len(refused)} refusals")
        result = await t.judged()
        await host.terminate()
        return result


def _refused_by_the_model(t: Trial, number: int, whom: tuple[Person, Room]) -> None:
    nonce = f"n{len(t.crowd.sent):06d}"
    t.model.strikes[nonce] = MODEL_REFUSALS[number % len(MODEL_REFUSALS)]
    t.crowd.say(whom, "plain")


def _refused_by_telegram(t: Trial, number: int) -> None:
    status, words, times = TELEGRAM_REFUSALS[number % len(TELEGRAM_REFUSALS)]
    whom = t.crowd.join(1)[0]
    wait = {"retry_after": 1} if status == 429 else {}
    t.world.faults.add(
        Fault(
            "answer",
            "send*",
            chat=whom[1].id,
            times=times,
            status=status,
            description=words,
            parameters=wait,
        )
    )
    t.crowd.say(whom, "plain")


def _refused_for_good(t: Trial) -> Sent:
    """A message whose answer Telegram never takes; all else that is said in its chat, it does."""
    whom = t.crowd.join(1)[0]
    one = t.crowd.say(whom, "plain")
    t.world.faults.add(
        Fault(
            "answer",
            "send*",
            chat=whom[1].id,
            says=one.nonce,
            times=1000,
            status=400,
            description=FINAL,
        )
    )
    return one
