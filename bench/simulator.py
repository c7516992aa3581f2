"""What a message costs the Bot API simulator, beside what it costs the barest client.

`python bench/simulator.py [--bots 1000] [--messages 10000] [--profile FILE]`

Bots poll in this process with plain aiohttp and echo every message; the simulator runs in a process
of its own, and its persons write there. CPU is user plus system time of each process.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import os
import resource
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import orjson

ROOT = Path(__file__).parents[1]
_CHAT = 5_000_001


def main() -> None:
    """Both sides; prints one line for each figure."""
    given = _arguments()
    if given.serve:
        _profiled(_serve(given.bots, given.messages), given.profile)
    else:
        _run(_measure(given))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bots", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--profile", help="write the simulator's profile to this file")
    parser.add_argument("--most", type=float, help="fail when a message costs more ms of CPU")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(work: Coroutine[Any, Any, Any]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
    else:
        uvloop.run(work)


def _profiled(work: Coroutine[Any, Any, Any], file: str | None) -> None:
    profile = cProfile.Profile()
    if file:
        profile.enable()
    _run(work)
    if file:
        profile.disable()
        profile.dump_stats(file)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _token(number: int) -> str:
    return f"{700_000 + number}:bench-secret"


# --- the simulator's side ---


async def _serve(bots: int, messages: int) -> None:
    sys.path.insert(0, str(ROOT))
    from simulators.http_server import serving
    from simulators.telegram.routes import application
    from simulators.telegram.world import World

    world = World()
    ann = world.person("Ann", id=_CHAT)
    rooms = [world.private(ann, world.bot(_token(n), f"Bot {n}")) for n in range(bots)]
    async with serving(application(world)) as url:
        print(url, flush=True)
        for bot in world.members.bots.values():
            await bot.updates.wait_until_polled(120)
        before, began = _cpu(), time.perf_counter()
        for round_ in range(messages // bots):
            for room in rooms:
                world.say(ann, room, f"message {round_} to this bot")
            last = 2 * (round_ + 1)
            while any(len(room.messages) < last for room in rooms):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        spent = {"cpu": _cpu() - before, "seconds": time.perf_counter() - began}
        spent["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(orjson.dumps(spent).decode(), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


# --- the client's side ---


async def _measure(given: argparse.Namespace) -> None:
    command = [sys.executable, __file__, "--serve", "--bots", str(given.bots)]
    command += ["--messages", str(given.messages)]
    command += ["--profile", given.profile] if given.profile else []
    server = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdin is not None
    url = (await server.stdout.readline()).decode().strip()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        polls = [asyncio.create_task(_echo(http, url, n)) for n in range(given.bots)]
        await asyncio.sleep(0)
        before = _cpu()
        told = orjson.loads(await server.stdout.readline())
        mine = _cpu() - before
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
    server.stdin.write(b"\n")
    await server.wait()
    _report(given, told, mine)


async def _echo(http: aiohttp.ClientSession, url: str, number: int) -> None:
    base, offset = f"{url}/bot{_token(number)}", 0
    while True:
        poll = {"timeout": 50, "offset": offset}
        for update in await _call(http, f"{base}/getUpdates", poll):
            offset = update["update_id"] + 1
            said = update["message"]
            answer = {"chat_id": said["chat"]["id"], "text": said["text"]}
            await _call(http, f"{base}/sendMessage", answer)


async def _call(http: aiohttp.ClientSession, url: str, params: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    async with http.post(url, data=orjson.dumps(params), headers=headers) as response:
        return orjson.loads(await response.read())["result"]


def _report(given: argparse.Namespace, told: dict[str, float], mine: float) -> None:
    done = given.messages // given.bots * given.bots
    cost = told["cpu"] / done * 1000
    print(f"{given.bots} bots, {done} messages, {os.cpu_count()} cores")
    print(f"messages a second            {done / told['seconds']:9.0f}")
    print(f"simulator, CPU a message     {cost:9.3f} ms   (one poll, one send, one saying)")
    print(f"bare client, CPU a message   {mine / done * 1000:9.3f} ms")
    print(f"simulator, memory at most    {told['memory']:9.0f} MB")
    if given.most is not None and cost > given.most:
        raise SystemExit(f"over {given.most} ms")


if __name__ == "__main__":
    main()
