"""F8: tools fail."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from bench.proof.ground import COUNTER
from bench.proof.order import Order
from bench.proof.tally import Tally
from bench.proof.trial import trial

BAD_CALLS = ("die", "huge", "nonsense", "garbage")


async def bad_tools(order: Order) -> Tally:
    """F8: killed in a call, garbage, huge, hanging, down at start, thousands of tools."""
    tally = await _bad_calls(order)
    tally.add(await _late_server(order))
    if not order.short:
        tally.add(await _odd_lists(order, "many"))
    return tally


async def _bad_calls(order: Order) -> Tally:
    kinds = BAD_CALLS if order.short else (*BAD_CALLS * 2, "hang")
    async with trial(order, "f8") as t:
        t.place.manner = "twins"
        host = await t.place.host()
        await host.start()
        for kind in kinds:
            t.tally.tries += 1
            bad = t.crowd.say(t.crowd.join(1)[0], kind)
            beside = t.crowd.say(t.crowd.join(1)[0], "quick")
            late = await t.crowd.answered(order.pick(15, 10), [beside])
            t.tally.check(not late, f"{kind}: another chat waited")
            await t.crowd.answered(90, [bad], still=90)
            again = t.crowd.say(t.crowd.join(1)[0], "tool")
            await t.crowd.answered(30, [again])
            t.tally.check(f"count {again.nonce}" in t.place.counted(), f"{kind}: tools stay away")
        tally = await t.judged()
        await host.terminate()
        tally.check(not _processes(str(t.place.count_file)), "a tool server was left behind")
        return tally


async def _late_server(order: Order) -> Tally:
    async with trial(order, "f8-late") as t:
        late = t.place.folder / "late.py"
        path = t.place.write_agents()
        path.write_text(path.read_text().replace(str(COUNTER), str(late)))
        host = await t.place.host()
        await host.start()
        t.tally.tries += 1
        await t.crowd.answered(30, [t.crowd.say(t.crowd.join(1)[0], "plain")])
        shutil.copy(COUNTER, late)
        for _ in range(40):
            probe = t.crowd.say(t.crowd.join(1)[0], "tool")
            await t.crowd.answered(30, [probe])
            if f"count {probe.nonce}" in t.place.counted():
                break
            await asyncio.sleep(0.5)
        else:
            t.tally.problem("a server that came up later was never used")
        return await t.judged()


async def _odd_lists(order: Order, manner: str) -> Tally:
    async with trial(order, f"f8-{manner}") as t:
        t.place.manner = manner
        host = await t.place.host()
        await host.start()
        t.tally.tries += 1
        t.crowd.say(t.crowd.join(1)[0], "tool")
        return await t.judged()


def _processes(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in line and b"counter" in line:
                found.append(int(entry.name))
    return found
