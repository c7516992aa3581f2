"""F3 to F6: the store is killed, unfit, away, full."""

from __future__ import annotations

import asyncio
import time

from bench.proof.result import Result
from bench.proof.store_relay import Trap
from bench.proof.trial import HostProcess, Run, Trial, chatting, trial
from simulators.testing.valkey import Valkey

LOSING = ("accept", "begin", "append", "finish", "receipt")


async def store_killed(run: Run) -> Result:
    """F3: kill -9 of the store, again and again under load."""
    async with trial(run, "f3") as t:
        host = await t.started_host()
        async with chatting(t.crowd):
            for _ in range(run.pick(3, 20)):
                await asyncio.sleep(t.crowd.chance.uniform(0.1, 0.8))
                await t.valkey.kill()
                began = time.monotonic()
                await asyncio.sleep(t.crowd.chance.uniform(0.0, 0.4))
                await t.valkey.start()
                t.result.tries += 1
                probe = t.crowd.say(t.crowd.join(1)[0], "quick")
                await t.crowd.answered(15, [probe])
                t.result.takeover.append(time.monotonic() - began)
        result = await t.judged()
        result.check(host.alive, "the host ended")
        return result


async def unfit_store(run: Run) -> Result:
    """F4: no append-only file; eviction."""
    unfit = {
        "without append-only file": (("--appendonly", "no"), "append"),
        "with eviction": (("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "evict"),
    }
    result = Result()
    for number, (name, (options, word)) in enumerate(unfit.items()):
        folder = run.folder / f"f4-{number}"
        async with trial(run, f"f4-{number}", 1, Valkey(folder / "store", options=options)) as t:
            host = await t.host()
            result.tries += 1
            await host.spawn()
            try:
                await host.wait(30)
            except TimeoutError:
                result.not_built.append(f"a store {name} is not refused yet")
                continue
            said = host.last_words().lower()
            result.check(word in said, f"{name}: refused without the reason: {said[-200:]}")
            if not run.short:
                volatile = await t.host("two", ALLOW_VOLATILE_REDIS="1")
                await volatile.start()
    return result


async def store_away(run: Run) -> Result:
    """F5: refused connections, then silence."""
    async with trial(run, "f5") as t:
        host = await t.started_host()
        await t.crowd.chatter(4, 8, 0.5)
        for silent, seconds in ((False, run.pick(2, 60)), (True, run.pick(1, 20))):
            host.store.stall() if silent else host.store.shut()
            await _nothing_confirmed(t, host, float(seconds), silent=silent)
            if silent:
                host.store.flow()
            else:
                await host.store.reopen()
            began = time.monotonic()
            probe = t.crowd.say(t.crowd.join(1)[0], "quick")
            await t.crowd.answered(20, [probe])
            t.result.takeover.append(time.monotonic() - began)
            t.result.tries += 1
        await _answers_lost(t, host, run)
        result = await t.judged()
        result.check(host.alive, "the host ended")
        return result


async def _answers_lost(t: Trial, host: HostProcess, run: Run) -> None:
    """The store acts, and its answer is lost: of each script, half sent, and of all at once."""
    for script in LOSING * run.pick(1, 4):
        trap = host.store.set(Trap(script, "after"))
        t.crowd.say(t.crowd.join(1)[0], "tool")
        await asyncio.wait_for(trap.caught.wait(), 25)
        host.store.drop()
        t.result.tries += 1
    for number in range(run.pick(2, 40)):
        said = t.crowd.chatter(2, 4, 0.2)
        host.store.cut() if number % 2 else host.store.break_answer(t.crowd.chance.randrange(200))
        await said
        t.result.tries += 1


async def _nothing_confirmed(t: Trial, host: HostProcess, seconds: float, *, silent: bool) -> None:
    """While the store is away Telegram keeps every update, and health is red."""
    said = [t.crowd.say(whom, "plain") for whom in t.crowd.join(6)]
    await asyncio.sleep(seconds)
    waiting = b"".join(u.raw for bot in t.bots for u in bot.updates.waiting)
    gone = [one.nonce for one in said if one.nonce.encode() not in waiting]
    t.result.check(not gone, f"confirmed without a store: {gone}")
    status, _ = await host.health()
    if status == 200 and not (silent and seconds < 5):
        t.result.not_built.append("health stays green while the store is away")


async def store_full(run: Run) -> Result:
    """F6: disk full under both fsync modes, memory full."""
    result = Result()
    for fsync in ("everysec", "always"):
        result.add(await _disk_full(run, fsync))
    return result


async def _disk_full(run: Run, fsync: str) -> Result:
    folder = run.folder / f"f6-{fsync}"
    valkey = Valkey(folder / "store", fsync=fsync)
    async with trial(run, f"f6-{fsync}", 2, valkey) as t:
        host = await t.started_host()
        await t.crowd.chatter(3, 6, 0.3)
        valkey.fill_disk(4000)
        await _stops_confirming(t)
        if fsync == "always":  # the server exits; its supervisor starts it again
            end = "stays up" if valkey.running else "exits"
            t.result.notes.append(f"with `DATA_FSYNC=always` the server {end}")
            await valkey.kill()
            await valkey.start()
        else:
            valkey.free_disk()
            await t.crowd.answered(60)
            await _memory_full(t)
        result = await t.judged()
        result.check(host.alive, "the host ended")
        return result


async def _memory_full(t: Trial) -> None:
    async with t.valkey.client() as store:
        await store.config_set("maxmemory", (await store.info("memory"))["used_memory"])
        await _stops_confirming(t)
        await store.config_set("maxmemory", 0)


async def _stops_confirming(t: Trial) -> None:
    """Load until Telegram keeps what comes, for a second on end."""
    t.result.tries += 1
    people = t.crowd.join(5)
    full = 0
    for _ in range(300):
        t.crowd.say(t.crowd.chance.choice(people), "quick")
        await asyncio.sleep(0.03)
        full = full + 1 if any(bot.updates.waiting for bot in t.bots) else 0
        if full > 40:
            return
    t.result.problem("the store was full, and updates went on being confirmed")
