"""F17, F18, F20 to F22: poison, a broken configuration, odd clocks and ids, a deaf poller."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.proof.crowd import keyboards, texts
from bench.proof.ground import AGENT, HostProcess
from bench.proof.order import Order
from bench.proof.tally import Tally
from bench.proof.trial import Trial, trial, until
from bench.proof.valkey import Valkey
from bot.store import keys

STRANGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("message", {}),
    ("message", {"message_id": 1, "date": "yesterday", "chat": {"id": "x"}, "from": 7}),
    ("message", {"message_id": 1, "date": 0, "chat": {"id": 77, "type": "private"}, "text": 5}),
    ("callback_query", {"id": 5}),
    ("my_chat_member", {"chat": None}),
)


async def poison(order: Order) -> Tally:
    """F17: updates that make no sense, a conversation whose record does, the longest text."""
    async with trial(order, "f17", 1) as t:
        host = await t.place.host()
        await host.start()
        bot = t.place.bots[0]
        for kind, body in STRANGE:
            t.tally.tries += 1
            bot.updates.add(kind, body)
        await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "plain")])
        person, room = t.crowd.join(1)[0]
        t.place.world.say(person, room, "\U0001f600" * 2048)
        await _spoilt_record(t)
        t.tally.tries += 2
        t.tally.check(host.running, "the host ended")
        return await t.judged()


async def _spoilt_record(t: Trial) -> None:
    """A conversation that cannot be read: set aside with word; the next conversation goes on."""
    bot = t.place.bots[0]
    person, room = t.crowd.join(1)[0]
    line = f"bot:{bot.id}"
    async with t.place.valkey.client() as store:
        await store.xadd(
            keys.transcript(line, str(room.id), AGENT), {"k": "person", "b": "{spoilt"}
        )
        one = t.crowd.say((person, room), "plain")
        beside = t.crowd.say(t.crowd.join(1)[0], "plain")
        await t.crowd.answered(20, [beside])
        for _ in range(200):
            if texts(room) and await store.xlen(keys.dead_letters(line)):
                break
            await asyncio.sleep(0.05)
        t.tally.check(texts(room), "nobody told the person of a dead letter")
        t.tally.check(await store.xlen(keys.dead_letters(line)) == 1, "no dead letter was kept")
    t.crowd.sent.remove(one)


async def broken_configuration(order: Order) -> Tally:
    """F18: agents.json is broken in every way while the host runs."""
    async with trial(order, "f18", 1) as t:
        host = await t.place.host()
        path = t.place.write_agents()
        good = path.read_text()
        await host.start()
        for name, change in _breaks(good).items():
            t.tally.tries += 1
            change(path)
            await asyncio.sleep(order.pick(0, 1) + 0.3)
            probe = t.crowd.say(t.crowd.join(1)[0], "quick")
            late = await t.crowd.answered(10, [probe])
            t.tally.check(not late, f"{name}: the bot is down")
        _, report = await host.health()
        if not report.get("problems"):
            t.tally.missing.append("health does not show a broken file: reload is not there yet")
        path.write_text(good)
        return await t.judged()


def _breaks(good: str) -> dict[str, Callable[[Path], object]]:
    document = json.loads(good)
    twice = document | {"agents": document["agents"] * 2}
    odd = document | {"agents": [document["agents"][0] | {"colour": "blue"}]}
    wrong = document | {"agents": [document["agents"][0] | {"id": 7}]}

    def writing(text: str) -> Callable[[Path], object]:
        return lambda path: path.write_text(text)

    return {
        "half written": writing(good[: len(good) // 2]),
        "no JSON": writing("agents: none"),
        "an unknown field": writing(json.dumps(odd)),
        "an id twice": writing(json.dumps(twice)),
        "a wrong type": writing(json.dumps(wrong)),
        "deleted": lambda path: path.unlink(),
    }


async def odd_clocks(order: Order) -> Tally:
    """F20: the wall clock of host and store jumps an hour, forward and back."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return Tally(missing=["not tried here: moving a clock needs a C compiler"])
    folder = order.folder / "f20"
    environ = await _moved_clock(compiler, folder)
    valkey = Valkey(folder / "store", environ=environ)
    async with trial(order, "f20", 2, valkey) as t:
        host = await t.place.host(**environ)
        await host.start()
        bot = t.place.bots[0]
        for hours in (1, 0, -1, 0):
            t.tally.tries += 1
            known = bot.updates
            t.crowd.say(t.crowd.join(1, bot)[0], "quick")
            (again,) = [*known.waiting][-1:]
            said = asyncio.create_task(t.crowd.chatter(4, 10, 0.6))
            await asyncio.sleep(0.3)
            _move(Path(environ["PROOF_CLOCK"]), hours)
            await said
            await t.crowd.answered(20)
            known.restore(again)
            await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1, bot)[0], "plain")])
        if not order.short:
            await _crash_and_go_on(t, host)
        return await t.judged()


def _clock_file(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(struct.pack("q", 0))


def _move(file: Path, hours: int) -> None:
    with file.open("r+b") as shared:  # in place: it is mapped by those whose clock it moves
        shared.write(struct.pack("q", hours * 3600 * 1_000_000))


async def _crash_and_go_on(t: Trial, host: HostProcess) -> None:
    t.crowd.say(t.crowd.join(1)[0], "plain")
    await asyncio.sleep(0.1)
    await host.kill()
    await host.start()


async def _moved_clock(compiler: str, folder: Path) -> dict[str, str]:
    library, file = folder / "clock.so", folder / "clock"
    await asyncio.to_thread(_clock_file, file)
    source = Path(__file__).with_name("clock.c")
    words = ["-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    process = await asyncio.create_subprocess_exec(compiler, *words)
    if await process.wait():
        raise RuntimeError("clock.c does not compile here")
    return {"LD_PRELOAD": str(library), "PROOF_CLOCK": str(file)}


async def odd_ids(order: Order) -> Tally:
    """F21: update ids fall; the same update comes again."""
    async with trial(order, "f21", 1) as t:
        bot = t.place.bots[0]
        bot.updates.next_id = 900_000_000
        host = await t.place.host()
        await host.start()
        await t.crowd.chatter(2, 4, 0.2)
        await t.crowd.answered(20)
        rounds = range(order.pick(1, 5))
        for first in (n * 10 + low for n in rounds for low in (5, 800_000_000, 700)):
            t.tally.tries += 1
            bot.updates.next_id = first
            one = t.crowd.say(t.crowd.join(1)[0], "quick")
            (update,) = [*bot.updates.waiting][-1:]
            await t.crowd.answered(20, [one])
            bot.updates.restore(update)
            await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "quick")])
        tally = await t.judged()
    return tally.add(await _pressed_twice(order))


async def _pressed_twice(order: Order) -> Tally:
    """A person approves a call, and the press arrives under two ids: the call is made once."""
    async with trial(order, "f21-press", 1) as t:
        t.place.write_agents(whitelistPatterns=[])
        bot = t.place.bots[0]
        host = await t.place.host()
        await host.start()
        for _ in range(order.pick(1, 5)):
            person, room = t.crowd.join(1)[0]
            one = t.crowd.say((person, room), "tool")
            await until(lambda: bool(keyboards(room)))  # noqa: B023
            number, keyboard = keyboards(room)[-1]
            t.place.world.press_button(person, room, number, keyboard[0][0]["text"])
            press = bot.updates.waiting[-1].body["callback_query"]
            bot.updates.add("callback_query", press)
            t.tally.lost += len(await t.crowd.answered(20, [one]))
            bot.updates.add("callback_query", press)
            await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "quick")])
            runs = t.place.counted().get(f"count {one.nonce}", 0)
            t.tally.check(runs == 1, f"an approved call ran {runs} times")
            t.tally.tries += 1
            t.tally.messages += 2
        return t.tally


async def deaf_poller(order: Order) -> Tally:
    """F22: polls are swallowed by the network; everything else works."""
    async with trial(order, "f22", 1) as t:
        host = await t.place.host(POLL_SECONDS="1", DEAF_SECONDS="3")
        await host.start()
        await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "quick")])
        host.telegram.deaf = True
        began = time.monotonic()
        one = t.crowd.say(t.crowd.join(1)[0], "quick")
        seen = await _not_healthy(host, 20)
        t.tally.check(seen, "health stays green while the poller is deaf")
        host.telegram.deaf = False
        await t.crowd.answered(30, [one])
        t.tally.takeover.append(time.monotonic() - began)
        t.tally.tries += 1
        return await t.judged()


async def _not_healthy(host: HostProcess, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, report = await host.health()
        if status != 200 or any(bot["state"] != "polling" for bot in report["bots"]):
            return True
        await asyncio.sleep(0.1)
    return False
