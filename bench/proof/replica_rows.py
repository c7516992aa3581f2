"""F13 to F16: replicas share the bots, die, freeze, and leave in peace."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence

from redis.asyncio import Redis

from bench.proof import webhook_rows
from bench.proof.result import Result
from bench.proof.store_relay import Trap
from bench.proof.trial import HostProcess, Run, Trial, chatting, trial
from bot.store import keys
from simulators.telegram.refusals import RefusedError
from simulators.testing.stage import until

STRANGER = "Conflict: terminated by other getUpdates request; make sure that only one bot"


async def two_pollers(run: Run) -> Result:
    """F13: two replicas do not meet at Telegram; a stranger is survived."""
    async with trial(run, "f13") as t:
        hosts = [await t.host(name) for name in ("one", "two")]
        await all_owned(t, hosts)
        await t.crowd.chatter(6, 20, run.pick(1, 6))
        met = [c for c in t.world.calls.of(method="getUpdates") if c.status == 409]
        t.result.check(not met, f"two replicas met {len(met)} times at Telegram")
        t.result.tries += 1
        for bot in t.bots * run.pick(1, 3):
            t.result.tries += 1
            bot.updates.interrupt(RefusedError(409, STRANGER))
            began = time.monotonic()
            probe = t.crowd.say(t.crowd.join(1, bot)[0], "quick")
            await t.crowd.answered(30, [probe])
            t.result.takeover.append(time.monotonic() - began)
        t.result.check(all(host.alive for host in hosts), "a host ended")
        result = await t.judged()
    result.add(await _late_grab(run))
    return result.add(await _one_name(run))


async def _one_name(run: Run) -> Result:
    """Two incarnations under one name: no fence is given twice, and they never meet."""
    async with trial(run, "f13-name", 2) as t:
        more = {"LEASE_SECONDS": "2", "REPLICA_NAME": "same"}
        hosts = [await t.host(name, **more) for name in ("first", "second")]
        await all_owned(t, hosts)
        async with chatting(t.crowd):
            for number in range(run.pick(2, 6)):
                gone, stays = hosts[number % 2], hosts[1 - number % 2]
                began = time.monotonic()
                await gone.kill()
                t.result.takeover.append(await owned_by(t, [stays], began))
                await gone.spawn()
                await until(lambda: gone.logged("started"))  # noqa: B023
                t.result.tries += 1
        both = [fence for host in hosts for fence in host.store.fences]
        t.result.check(len(both) == len(set(both)), f"a fence was given twice: {sorted(both)}")
        t.result.check(len(both) > t.result.tries, f"too few fences were seen: {both}")
        met = [c for c in t.world.calls.of(method="getUpdates") if c.status == 409]
        t.result.notes.append(f"{len(both)} fences of one line, none given twice")
        strangers = len(t.bots) * t.result.tries  # polls that a killed host left behind
        t.result.check(len(met) <= strangers, f"{len(met)} polls met at Telegram")
        return await t.judged()


async def _late_grab(run: Run) -> Result:
    """A replica's grab is on the wire while the owner comes back: the line stays the owner's."""
    async with trial(run, "f13-grab", 1) as t:
        hosts = [await t.host(name, LEASE_SECONDS="2") for name in ("one", "two")]
        await all_owned(t, hosts)
        owner, other = await _owner_and_other(t, hosts)
        trap = other.store.set(Trap("acquire", "before"))
        owner.send(signal.SIGSTOP)
        await asyncio.wait_for(trap.caught.wait(), 25)
        owner.send(signal.SIGCONT)
        await _holds_again(t, owner)
        answer = await other.store.let_go()
        t.result.check(
            answer.startswith(b"*3\r\n:0\r\n"), f"a held line was taken: {answer[:60]!r}"
        )
        t.result.tries += 1
        await t.crowd.chatter(2, 4, 0.5)
        return await t.judged()


async def _holds_again(t: Trial, owner: HostProcess) -> None:
    """Wait until the owner's beat has made its host known again."""
    async with t.valkey.client() as store, asyncio.timeout(10):
        while owner.name not in await _known(store):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _known(store: Redis) -> set[str]:
    """The names of the hosts whose leases hold."""
    found = [str(await store.get(key)) async for key in store.scan_iter(match=keys.host("*"))]
    return {holder.removeprefix("b'").split("|")[0] for holder in found}


async def frozen_owner(run: Run) -> Result:
    """F14: the owner is frozen past its lease while a write of it is on the wire."""
    result = Result()
    for number in range(run.pick(1, 10)):
        result.add(await _frozen_once(run, number))
    return result


async def _frozen_once(run: Run, number: int) -> Result:
    script = ("finish", "receipt", "begin")[number % 3]
    async with trial(run, f"f14-{number}", 1) as t:
        hosts = [await t.host(name, LEASE_SECONDS="2") for name in ("one", "two")]
        await all_owned(t, hosts)
        old, new = await _owner_and_other(t, hosts)
        trap = old.store.set(Trap(script, "before"))
        said = [t.crowd.say(whom, "plain") for whom in t.crowd.join(3)]
        await asyncio.wait_for(trap.caught.wait(), 25)
        old.send(signal.SIGSTOP)
        began = time.monotonic()
        t.end_polls()
        await new.telegram.polled([t.bots[0].id], began)
        t.result.takeover.append(time.monotonic() - began)
        t.result.tries += 1
        await t.crowd.answered(20, said)
        answer = await old.store.let_go()
        t.result.check(b"FENCED" in answer, f"an old owner's {script} got {answer[:60]!r}")
        old.send(signal.SIGCONT)
        await t.crowd.chatter(3, 6, 1.5)
        return await t.judged()


async def _owner_and_other(
    t: Trial, hosts: Sequence[HostProcess]
) -> tuple[HostProcess, HostProcess]:
    """The host that holds the bot, and the one that waits for it, once both have started."""
    await until(lambda: all(host.logged("started") for host in hosts))
    await asyncio.sleep(1.5)
    await owned_by(t, hosts, time.monotonic())
    name = _owner(hosts, t.bots[0].id)
    one, two = hosts
    return (one, two) if one.name == name else (two, one)


async def replica_killed(run: Run) -> Result:
    """F15: three replicas, many bots, one is killed."""
    count = run.pick(9, 50)
    async with trial(run, "f15", count) as t:
        hosts = [await t.host(name) for name in ("one", "two", "three")]
        await all_owned(t, hosts)
        await _spread(t, hosts, run)
        victims = hosts[: run.pick(1, 2)]
        for victim in victims:
            for bot in t.bots:
                t.crowd.say(t.crowd.join(1, bot)[0], "plain")
            await asyncio.sleep(0.2)
            hosts.remove(victim)
            await victim.kill()
            t.result.takeover.append(await owned_by(t, hosts, time.monotonic()))
            t.result.tries += 1
            for bot in t.bots:
                t.crowd.say(t.crowd.join(1, bot)[0], "quick")
        worst = max(t.result.takeover)
        t.result.check(worst < 15, f"a bot was without an owner for {worst:.1f} s")
        return await t.judged()


async def _spread(t: Trial, hosts: Sequence[HostProcess], run: Run) -> None:
    """How evenly the bots are spread over the replicas after some seconds."""
    fair = len(t.bots) / len(hosts)
    shares: Counter[str] = Counter()
    for _ in range(run.pick(10, 20)):
        since = time.monotonic()
        await asyncio.sleep(1)
        await owned_by(t, hosts, since)
        shares = Counter(_owner(hosts, bot.id) for bot in t.bots)
        if len(shares) == len(hosts) and max(shares.values()) <= fair * 1.5 + 1:
            break
    else:
        t.result.not_built.append(f"bots are not spread evenly: {sorted(shares.values())}")
    spread = ", ".join(map(str, sorted(shares.values())))
    t.result.notes.append(f"{len(t.bots)} bots on {len(hosts)} hosts: {spread}")


def _owner(hosts: Sequence[HostProcess], bot: int) -> str:
    return max(hosts, key=lambda host: host.telegram.polls.get(bot, 0)).name


async def all_owned(t: Trial, hosts: Sequence[HostProcess]) -> None:
    """Start replicas, and wait until some replica asks for each bot."""
    began = time.monotonic()
    for host in hosts:
        await host.spawn()
    await owned_by(t, hosts, began)


async def owned_by(
    t: Trial, hosts: Sequence[HostProcess], since: float, seconds: float = 40
) -> float:
    """Wait until each bot was asked for by one of these; seconds until the last one was."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        newest = [max(h.telegram.polls.get(bot.id, 0) for h in hosts) for bot in t.bots]
        if min(newest) > since:
            return time.monotonic() - since
        await asyncio.sleep(0.02)
    raise TimeoutError(f"not every bot is polled after {seconds:g} s")


async def peaceful_end(run: Run) -> Result:
    """F16: SIGTERM while twenty turns run and a stream is open."""
    result = Result()
    for number, finishing in enumerate((True, False) if not run.short else (True,)):
        async with trial(run, f"f16-{number}") as t:
            host = await t.started_host()
            t.model.gate = "open stream"
            running = [t.crowd.say(whom, "plain") for whom in t.crowd.join(20)]
            await until(lambda: len(t.model.asked) >= len(running))  # noqa: B023
            asyncio.get_running_loop().call_later(0.5 if finishing else 25, _open, t)
            began = time.monotonic()
            status = await host.terminate()
            took = time.monotonic() - began
            result.tries += 1
            result.check(status == 0, f"exit status {status}")
            result.check(took < 25, f"the end took {took:.1f} s")
            words = "turns that can end" if finishing else "turns that cannot end in time"
            result.notes.append(f"{words}: exit {status} after {took:.1f} s")
            _open(t)
            result.takeover.append(await host.start())
            result.add(await t.judged())
    if not run.short:
        result.add(await webhook_rows.webhooks(run))
        result.add(await webhook_rows.polls_and_webhooks(run))
    return result


def _open(t: Trial) -> None:
    t.model.gate = None
    t.sim.gates.open("open stream")
