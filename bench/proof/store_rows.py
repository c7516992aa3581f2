"""F3 to F6: the store is killed, unfit, away, full."""

from __future__ import annotations

import asyncio
import time

from bench.proof.ground import HostProcess
from bench.proof.order import Order
from bench.proof.store_relay import Trap
from bench.proof.tally import Tally
from bench.proof.trial import Trial, chatting, ends_by_itself, trial
from bench.proof.valkey import Valkey

LOSING = ("accept", "begin", "append", "finish", "receipt")


async def store_killed(order: Order) -> Tally:
    """F3: kill -9 of the store, again and again under load."""
    async with trial(order, "f3") as t:
        host = await t.place.host()
        await host.start()
        async with chatting(t.crowd):
            for _ in range(order.pick(3, 20)):
                await asyncio.sleep(t.crowd.chance.uniform(0.1, 0.8))
                await t.place.valkey.kill()
                began = time.monotonic()
                await asyncio.sleep(t.crowd.chance.uniform(0.0, 0.4))
                await t.place.valkey.start()
                t.tally.tries += 1
                probe = t.crowd.say(t.crowd.join(1)[0], "quick")
                await t.crowd.answered(15, [probe])
                t.tally.takeover.append(time.monotonic() - began)
        tally = await t.judged()
        tally.check(host.running, "the host ended")
        return tally


async def unfit_store(order: Order) -> Tally:
    """F4: no append-only file; eviction."""
    unfit = {
        "without append-only file": (("--appendonly", "no"), "append"),
        "with eviction": (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "evict"),
    }
    tally = Tally()
    for number, (name, (options, word)) in enumerate(unfit.items()):
        folder = order.folder / f"f4-{number}"
        async with trial(order, f"f4-{number}", 1, Valkey(folder / "store", options=options)) as t:
            host = await t.place.host()
            tally.tries += 1
            await host.spawn()
            if not await ends_by_itself(host, 6):
                tally.missing.append(f"a store {name} is not refused yet")
                continue
            said = host.last_words().lower()
            tally.check(word in said, f"{name}: refused without the reason: {said[-200:]}")
            if not order.short:
                volatile = await t.place.host("two", ALLOW_VOLATILE_REDIS="1")
                await volatile.start()
    return tally


async def store_away(order: Order) -> Tally:
    """F5: refused connections, then silence."""
    async with trial(order, "f5") as t:
        host = await t.place.host()
        await host.start()
        await t.crowd.chatter(4, 8, 0.5)
        for silent, seconds in ((False, order.pick(2, 60)), (True, order.pick(1, 20))):
            host.store.stall() if silent else host.store.shut()
            await _nothing_confirmed(t, host, float(seconds), silent=silent)
            if silent:
                host.store.flow()
            else:
                await host.store.reopen()
            began = time.monotonic()
            probe = t.crowd.say(t.crowd.join(1)[0], "quick")
            await t.crowd.answered(20, [probe])
            t.tally.takeover.append(time.monotonic() - began)
            t.tally.tries += 1
        await _answers_lost(t, host, order)
        tally = await t.judged()
        tally.check(host.running, "the host ended")
        return tally


async def _answers_lost(t: Trial, host: HostProcess, order: Order) -> None:
    """The store acts, and its answer is lost: of each script, half sent, and of all at once."""
    for script in LOSING * order.pick(1, 4):
        trap = host.store.set(Trap(script, "after"))
        t.crowd.say(t.crowd.join(1)[0], "tool")
        await asyncio.wait_for(trap.caught.wait(), 25)
        host.store.drop()
        t.tally.tries += 1
    for number in range(order.pick(2, 40)):
        said = t.crowd.chatter(2, 4, 0.2)
        host.store.cut() if number % 2 else host.store.break_answer(t.crowd.chance.randrange(200))
        await said
        t.tally.tries += 1


async def _nothing_confirmed(t: Trial, host: HostProcess, seconds: float, *, silent: bool) -> None:
    """While the store is away Telegram keeps every update, and health is red."""
    said = [t.crowd.say(whom, "plain") for whom in t.crowd.join(6)]
    await asyncio.sleep(seconds)
    waiting = b"".join(u.raw for bot in t.place.bots for u in bot.updates.waiting)
    gone = [one.nonce for one in said if one.nonce.encode() not in waiting]
    t.tally.check(not gone, f"confirmed without a store: {gone}")
    status, _ = await host.health()
    if status == 200 and not (silent and seconds < 5):
        t.tally.missing.append("health stays green while the store is away")


async def store_full(order: Order) -> Tally:
    """F6: disk full under both fsync modes, memory full."""
    tally = Tally()
    for fsync in ("everysec", "always"):
        tally.add(await _disk_full(order, fsync))
    return tally


async def _disk_full(order: Order, fsync: str) -> Tally:
    folder = order.folder / f"f6-{fsync}"
    valkey = Valkey(folder / "store", fsync=fsync)
    async with trial(order, f"f6-{fsync}", 2, valkey) as t:
        host = await t.place.host()
        await host.start()
        await t.crowd.chatter(3, 6, 0.3)
        valkey.fill_disk(4000)
        await _stops_confirming(t)
        if fsync == "always":  # the server exits; whoever supervises it starts it again
            t.tally.notes.append(f"always: the server {'stays' if valkey.running else 'exits'}")
            await valkey.kill()
            await valkey.start()
        else:
            valkey.free_disk()
            await t.crowd.answered(60)
            await _memory_full(t)
        tally = await t.judged()
        tally.check(host.running, "the host ended")
        return tally


async def _memory_full(t: Trial) -> None:
    async with t.place.valkey.client() as store:
        await store.config_set("maxmemory", (await store.info("memory"))["used_memory"])
        await _stops_confirming(t)
        await store.config_set("maxmemory", 0)


async def _stops_confirming(t: Trial) -> None:
    """Load until Telegram keeps what comes, for a second on end."""
    t.tally.tries += 1
    people = t.crowd.join(5)
    full = 0
    for _ in range(300):
        t.crowd.say(t.crowd.chance.choice(people), "quick")
        await asyncio.sleep(0.03)
        full = full + 1 if any(bot.updates.waiting for bot in t.place.bots) else 0
        if full > 40:
            return
    t.tally.problem("the store was full, and updates went on being confirmed")
