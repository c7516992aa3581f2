"""F16 with webhooks: replicas end and are killed, and hosts change between polls and webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator

from bench.proof.relay import Ends, Relay
from bench.proof.result import Result
from bench.proof.trial import HostProcess, Run, Trial, chatting, trial
from simulators.testing.stage import until


class Balancer(Relay):
    """The public address: passes each connection to the next replica that accepts it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0))
        self.ports: list[int] = []

    async def _upstream(self) -> Ends:
        for port in [*self.ports]:
            self.ports.append(self.ports.pop(0))
            with contextlib.suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionRefusedError("no replica is there")


async def webhooks(run: Run) -> Result:
    """Telegram pushes to two replicas; by turns one is ended or killed, and comes back."""
    async with trial(run, "f16-webhooks", 3) as t, _balancer() as balancer:
        hosts = [await _behind(t, balancer, name) for name in ("one", "two")]
        for host in hosts:
            await host.spawn()
        await _registered(t, *hosts)
        async with chatting(t.crowd, every=0.05):
            for number in range(run.pick(2, 12)):
                await _one_goes(t, hosts[number // 2 % 2], kill=number % 2 == 1)
        result = await t.judged()
        polls = t.world.calls.of(method="getUpdates")
        result.check(not polls, f"{len(polls)} polls beside a webhook")
        return result


async def polls_and_webhooks(run: Run) -> Result:
    """The host is restarted with a webhook, and without, in peace and by kill -9, under load."""
    async with trial(run, "f16-doors", 2) as t, _balancer() as balancer:
        pushed, polled = await _behind(t, balancer, "pushed"), await t.host("polled")
        await polled.start()
        async with chatting(t.crowd, every=0.05):
            for number in range(run.pick(1, 6)):
                await _end(polled, kill=number % 2 == 1)
                await pushed.spawn()
                await _registered(t, pushed)
                await asyncio.sleep(t.crowd.chance.uniform(0.5, 2))
                await _end(pushed, kill=number % 2 == 0)
                t.result.takeover.append(await polled.start())
                await until(lambda: not any(bot.webhook.url for bot in t.bots))
                await asyncio.sleep(t.crowd.chance.uniform(0.5, 2))
                t.result.tries += 2
        return await t.judged()


@contextlib.asynccontextmanager
async def _balancer() -> AsyncIterator[Balancer]:
    balancer = Balancer()
    await balancer.open()
    try:
        yield balancer
    finally:
        await balancer.close()


async def _behind(t: Trial, balancer: Balancer, name: str) -> HostProcess:
    balancer.ports.append(_port())
    return await t.host(name, WEBHOOK_URL=balancer.url, HTTP_PORT=str(balancer.ports[-1]))


def _port() -> int:
    """A free port that stays free while the host is down: below those given to clients.

    It does not depend on the seed, so that trials that run at once do not choose the same one.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


async def _registered(t: Trial, *hosts: HostProcess) -> None:
    """Returns once all bots have a webhook; raises RuntimeError where a host ended before."""

    def is_over() -> bool:
        return all(bot.webhook.url for bot in t.bots) or not all(host.alive for host in hosts)

    try:
        await until(is_over)
    except TimeoutError:
        raise RuntimeError("no webhook: " + " | ".join(h.last_words() for h in hosts)) from None
    for host in hosts:
        if not host.alive:
            raise RuntimeError(f"host {host.name} ended by itself: {host.last_words()}")


async def _end(host: HostProcess, *, kill: bool) -> None:
    if kill:
        await host.kill()
    elif status := await host.terminate():
        raise RuntimeError(f"exit status {status}: {host.last_words()}")


async def _one_goes(t: Trial, host: HostProcess, *, kill: bool) -> None:
    """The other replica takes over while this one is away; then this one is back."""
    await asyncio.sleep(t.crowd.chance.uniform(0.3, 1.5))
    began = asyncio.get_running_loop().time()
    await _end(host, kill=kill)
    probes = [t.crowd.say(t.crowd.join(1, bot)[0], "quick") for bot in t.bots]
    await t.crowd.answered(among=probes)
    t.result.takeover.append(asyncio.get_running_loop().time() - began)
    await host.spawn()
    before = host.log.stat().st_size
    await until(lambda: "started" in host.log.read_text()[before:])
    t.result.tries += 1
