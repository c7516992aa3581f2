"""F13 to F16: replicas share the bots, die, freeze, and leave in peace."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence

from redis.asyncio import Redis

from bench.proof import door_rows
from bench.proof.ground import Ground, HostProcess
from bench.proof.order import Order
from bench.proof.store_relay import Trap
from bench.proof.tally import Tally
from bench.proof.trial import Trial, chatting, trial, until
from bot.store import keys
from simulators.telegram.refusals import RefusedError

STRANGER = "Conflict: terminated by other getUpdates request; make sure that only one bot"


async def two_pollers(order: Order) -> Tally:
    """F13: two replicas do not meet at Telegram; a stranger is survived."""
    async with trial(order, "f13") as t:
        hosts = [await t.place.host(name) for name in ("one", "two")]
        await all_owned(t.place, hosts)
        await t.crowd.chatter(6, 20, order.pick(1, 6))
        met = [c for c in t.place.world.calls.of(method="getUpdates") if c.status == 409]
        t.tally.check(not met, f"two replicas met {len(met)} times at Telegram")
        t.tally.tries += 1
        for bot in t.place.bots * order.pick(1, 3):
            t.tally.tries += 1
            bot.updates.interrupt(RefusedError(409, STRANGER))
            began = time.monotonic()
            probe = t.crowd.say(t.crowd.join(1, bot)[0], "quick")
            await t.crowd.answered(30, [probe])
            t.tally.takeover.append(time.monotonic() - began)
        t.tally.check(all(host.running for host in hosts), "a host ended")
        tally = await t.judged()
    tally.add(await _late_grab(order))
    return tally.add(await _one_name(order))


async def _one_name(order: Order) -> Tally:
    """Two incarnations under one name: no fence is given twice, and they never meet."""
    async with trial(order, "f13-name", 2) as t:
        more = {"LEASE_SECONDS": "2", "REPLICA_NAME": "same"}
        hosts = [await t.place.host(name, **more) for name in ("first", "second")]
        await all_owned(t.place, hosts)
        async with chatting(t.crowd):
            for number in range(order.pick(2, 6)):
                gone, stays = hosts[number % 2], hosts[1 - number % 2]
                began = time.monotonic()
                await gone.kill()
                t.tally.takeover.append(await owned_by(t.place, [stays], began))
                await gone.spawn()
                await until(gone.has_started)
                t.tally.tries += 1
        both = [fence for host in hosts for fence in host.store.fences]
        t.tally.check(len(both) == len(set(both)), f"a fence was given twice: {sorted(both)}")
        t.tally.check(len(both) > t.tally.tries, f"too few fences were seen: {both}")
        met = [c for c in t.place.world.calls.of(method="getUpdates") if c.status == 409]
        t.tally.notes.append(f"{len(both)} fences under one name, none given twice")
        strangers = len(t.place.bots) * t.tally.tries  # polls that a killed host left behind
        t.tally.check(len(met) <= strangers, f"{len(met)} polls met at Telegram")
        return await t.judged()


async def _late_grab(order: Order) -> Tally:
    """A replica's grab is on the wire while the owner comes back: the line stays the owner's."""
    async with trial(order, "f13-grab", 1) as t:
        hosts = [await t.place.host(name, LEASE_SECONDS="2") for name in ("one", "two")]
        await all_owned(t.place, hosts)
        owner, other = await _owner_and_other(t, hosts)
        trap = other.store.set(Trap("acquire", "before"))
        owner.signal(signal.SIGSTOP)
        await asyncio.wait_for(trap.caught.wait(), 25)
        owner.signal(signal.SIGCONT)
        await _holds_again(t, owner)
        answer = await other.store.let_go()
        t.tally.check(answer.startswith(b"*3\r\n:0\r\n"), f"a held line was taken: {answer[:60]!r}")
        t.tally.tries += 1
        await t.crowd.chatter(2, 4, 0.5)
        return await t.judged()


async def _holds_again(t: Trial, owner: HostProcess) -> None:
    """Wait until the owner's beat has made its host known again."""
    async with t.place.valkey.client() as store, asyncio.timeout(10):
        while owner.name not in await _known(store):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _known(store: Redis) -> set[str]:
    """The names of the hosts whose leases hold."""
    found = [str(await store.get(key)) async for key in store.scan_iter(match=keys.host("*"))]
    return {holder.removeprefix("b'").split("|")[0] for holder in found}


async def frozen_owner(order: Order) -> Tally:
    """F14: the owner is frozen past its lease while a write of it is on the wire."""
    tally = Tally()
    for number in range(order.pick(1, 10)):
        tally.add(await _frozen_once(order, number))
    return tally


async def _frozen_once(order: Order, number: int) -> Tally:
    script = ("finish", "receipt", "begin")[number % 3]
    async with trial(order, f"f14-{number}", 1) as t:
        hosts = [await t.place.host(name, LEASE_SECONDS="2") for name in ("one", "two")]
        await all_owned(t.place, hosts)
        old, new = await _owner_and_other(t, hosts)
        trap = old.store.set(Trap(script, "before"))
        said = [t.crowd.say(whom, "plain") for whom in t.crowd.join(3)]
        await asyncio.wait_for(trap.caught.wait(), 25)
        old.signal(signal.SIGSTOP)
        began = time.monotonic()
        t.place.let_go_of_polls()
        await new.telegram.polled([t.place.bots[0].id], began)
        t.tally.takeover.append(time.monotonic() - began)
        t.tally.tries += 1
        await t.crowd.answered(20, said)
        answer = await old.store.let_go()
        t.tally.check(b"FENCED" in answer, f"an old owner's {script} got {answer[:60]!r}")
        old.signal(signal.SIGCONT)
        await t.crowd.chatter(3, 6, 1.5)
        return await t.judged()


async def _owner_and_other(
    t: Trial, hosts: Sequence[HostProcess]
) -> tuple[HostProcess, HostProcess]:
    """Once both are there: who holds the bot, and who waits for it."""
    await until(lambda: all(host.has_started() for host in hosts))
    await asyncio.sleep(1.5)
    await owned_by(t.place, hosts, time.monotonic())
    name = _owner(hosts, t.place.bots[0].id)
    one, two = hosts
    return (one, two) if one.name == name else (two, one)


async def replica_killed(order: Order) -> Tally:
    """F15: three replicas, many bots, one is killed."""
    count = order.pick(9, 50)
    async with trial(order, "f15", count) as t:
        hosts = [await t.place.host(name) for name in ("one", "two", "three")]
        await all_owned(t.place, hosts)
        await _spread(t, hosts, order)
        victims = hosts[: order.pick(1, 2)]
        for victim in victims:
            for bot in t.place.bots:
                t.crowd.say(t.crowd.join(1, bot)[0], "plain")
            await asyncio.sleep(0.2)
            hosts.remove(victim)
            await victim.kill()
            t.tally.takeover.append(await owned_by(t.place, hosts, time.monotonic()))
            t.tally.tries += 1
            for bot in t.place.bots:
                t.crowd.say(t.crowd.join(1, bot)[0], "quick")
        worst = max(t.tally.takeover)
        t.tally.check(worst < 15, f"a bot was without an owner for {worst:.1f} s")
        return await t.judged()


async def _spread(t: Trial, hosts: Sequence[HostProcess], order: Order) -> None:
    """How evenly the bots lie on the replicas once these had some seconds."""
    fair = len(t.place.bots) / len(hosts)
    shares: Counter[str] = Counter()
    for _ in range(order.pick(10, 20)):
        since = time.monotonic()
        await asyncio.sleep(1)
        await owned_by(t.place, hosts, since)
        shares = Counter(_owner(hosts, bot.id) for bot in t.place.bots)
        if len(shares) == len(hosts) and max(shares.values()) <= fair * 1.5 + 1:
            break
    else:
        t.tally.missing.append(f"bots are not spread evenly: {sorted(shares.values())}")
    t.tally.notes.append(f"{len(t.place.bots)} bots lay as {sorted(shares.values())}")


def _owner(hosts: Sequence[HostProcess], bot: int) -> str:
    return max(hosts, key=lambda host: host.telegram.polls.get(bot, 0)).name


async def all_owned(place: Ground, hosts: Sequence[HostProcess]) -> None:
    """Start replicas, and wait until some replica asks for each bot."""
    began = time.monotonic()
    for host in hosts:
        await host.spawn()
    await owned_by(place, hosts, began)


async def owned_by(
    place: Ground, hosts: Sequence[HostProcess], since: float, seconds: float = 40
) -> float:
    """Wait until each bot was asked for by one of these; seconds until the last one was."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        newest = [max(h.telegram.polls.get(bot.id, 0) for h in hosts) for bot in place.bots]
        if min(newest) > since:
            return time.monotonic() - since
        await asyncio.sleep(0.02)
    raise TimeoutError(f"not every bot is polled after {seconds:g} s")


async def peaceful_end(order: Order) -> Tally:
    """F16: SIGTERM while twenty turns run and a stream is open."""
    tally = Tally()
    for number, finishing in enumerate((True, False) if not order.short else (True,)):
        async with trial(order, f"f16-{number}") as t:
            host = await t.place.host()
            await host.start()
            t.place.voice.gate = "open stream"
            running = [t.crowd.say(whom, "plain") for whom in t.crowd.join(20)]
            await until(lambda: len(t.place.voice.asked) >= len(running))  # noqa: B023
            asyncio.get_running_loop().call_later(0.5 if finishing else 25, _open, t)
            began = time.monotonic()
            status = await host.terminate()
            took = time.monotonic() - began
            tally.tries += 1
            tally.check(status == 0, f"exit status {status}")
            tally.check(took < 25, f"the end took {took:.1f} s")
            words = "turns that can end" if finishing else "turns that cannot end in time"
            tally.notes.append(f"{words}: exit {status} after {took:.1f} s")
            _open(t)
            tally.takeover.append(await host.start())
            tally.add(await t.judged())
    if not order.short:
        tally.add(await door_rows.webhooks(order))
        tally.add(await door_rows.doors_changed(order))
    return tally


def _open(t: Trial) -> None:
    t.place.voice.gate = None
    t.place.sim.gates.open("open stream")
