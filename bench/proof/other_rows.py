"""F17, F18, F20 to F22: poison, a broken configuration, odd clocks and ids, a stalled poller."""

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
from bench.proof.echo_model import AGENT
from bench.proof.result import Result
from bench.proof.trial import HostProcess, Run, Trial, trial
from bot.store import keys
from simulators.testing.stage import until
from simulators.testing.valkey import Valkey

STRANGE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("message", {}),
    ("message", {"message_id": 1, "date": "yesterday", "chat": {"id": "x"}, "from": 7}),
    ("message", {"message_id": 1, "date": 0, "chat": {"id": 77, "type": "private"}, "text": 5}),
    ("callback_query", {"id": 5}),
    ("my_chat_member", {"chat": None}),
)


async def poison(run: Run) -> Result:
    """F17: updates that make no sense, a conversation whose record does, the longest text."""
    async with trial(run, "f17", 1) as t:
        host = await t.started_host()
        bot = t.bots[0]
        for kind, body in STRANGE:
            t.result.tries += 1
            bot.updates.add(kind, body)
        await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "plain")])
        person, room = t.crowd.join(1)[0]
        t.world.say(person, room, "\U0001f600" * 2048)
        await _spoilt_record(t)
        t.result.tries += 2
        t.result.check(host.alive, "the host ended")
        return await t.judged()


async def _spoilt_record(t: Trial) -> None:
    """A conversation that cannot be read: set aside with word; the next conversation goes on."""
    bot = t.bots[0]
    person, room = t.crowd.join(1)[0]
    line = f"bot:{bot.id}"
    async with t.valkey.client() as store:
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
        t.result.check(texts(room), "nobody told the person of a dead letter")
        t.result.check(await store.xlen(keys.dead_letters(line)) == 1, "no dead letter was kept")
    t.crowd.sent.remove(one)


async def broken_configuration(run: Run) -> Result:
    """F18: agents.json is broken in every way while the host runs."""
    async with trial(run, "f18", 1) as t:
        host = await t.host()
        path = t.write_agents()
        good = path.read_text()
        await host.start()
        for name, change in _breaks(good).items():
            t.result.tries += 1
            change(path)
            await asyncio.sleep(run.pick(0, 1) + 0.3)
            probe = t.crowd.say(t.crowd.join(1)[0], "quick")
            late = await t.crowd.answered(10, [probe])
            t.result.check(not late, f"{name}: the bot is down")
        _, report = await host.health()
        if not report.get("problems"):
            t.result.not_built.append("health does not show a broken file: reload is not there yet")
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


async def odd_clocks(run: Run) -> Result:
    """F20: the wall clock of host and store jumps an hour, forward and back."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return Result(not_built=["not tried here: moving a clock needs a C compiler"])
    folder = run.folder / "f20"
    environ = await _moved_clock(compiler, folder)
    valkey = Valkey(folder / "store", environ=environ)
    async with trial(run, "f20", 2, valkey) as t:
        host = await t.started_host(**environ)
        bot = t.bots[0]
        for hours in (1, 0, -1, 0):
            t.result.tries += 1
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
        if not run.short:
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


async def odd_ids(run: Run) -> Result:
    """F21: update ids fall; the same update comes again."""
    async with trial(run, "f21", 1) as t:
        bot = t.bots[0]
        bot.updates.next_id = 900_000_000
        await t.started_host()
        await t.crowd.chatter(2, 4, 0.2)
        await t.crowd.answered(20)
        rounds = range(run.pick(1, 5))
        for first in (n * 10 + low for n in rounds for low in (5, 800_000_000, 700)):
            t.result.tries += 1
            bot.updates.next_id = first
            one = t.crowd.say(t.crowd.join(1)[0], "quick")
            (update,) = [*bot.updates.waiting][-1:]
            await t.crowd.answered(20, [one])
            bot.updates.restore(update)
            await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "quick")])
        result = await t.judged()
    return result.add(await _pressed_twice(run))


async def _pressed_twice(run: Run) -> Result:
    """A person approves a call, and the press arrives under two ids: the call is made once."""
    async with trial(run, "f21-press", 1) as t:
        t.write_agents(whitelistPatterns=[])
        bot = t.bots[0]
        await t.started_host()
        for _ in range(run.pick(1, 5)):
            person, room = t.crowd.join(1)[0]
            one = t.crowd.say((person, room), "tool")
            await until(lambda: bool(keyboards(room)))  # noqa: B023
            number, keyboard = keyboards(room)[-1]
            t.world.press_button(person, room, number, keyboard[0][0]["text"])
            press = bot.updates.waiting[-1].body["callback_query"]
            bot.updates.add("callback_query", press)
            t.result.lost += len(await t.crowd.answered(20, [one]))
            bot.updates.add("callback_query", press)
            await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "quick")])
            runs = t.tool_runs().get(f"count {one.nonce}", 0)
            t.result.check(runs == 1, f"an approved call ran {runs} times")
            t.result.tries += 1
            t.result.messages += 2
        return t.result


async def stalled_poller(run: Run) -> Result:
    """F22: polls are swallowed by the network; everything else works."""
    async with trial(run, "f22", 1) as t:
        host = await t.started_host(POLL_SECONDS="1", STALLED_SECONDS="3")
        await t.crowd.answered(20, [t.crowd.say(t.crowd.join(1)[0], "quick")])
        host.telegram.swallows_polls = True
        began = time.monotonic()
        one = t.crowd.say(t.crowd.join(1)[0], "quick")
        seen = await _not_healthy(host, 20)
        t.result.check(seen, "health stays green while the poller is stalled")
        host.telegram.swallows_polls = False
        await t.crowd.answered(30, [one])
        t.result.takeover.append(time.monotonic() - began)
        t.result.tries += 1
        return await t.judged()


async def _not_healthy(host: HostProcess, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status, report = await host.health()
        if status != 200 or any(bot["state"] != "polling" for bot in report["bots"]):
            return True
        await asyncio.sleep(0.1)
    return False
