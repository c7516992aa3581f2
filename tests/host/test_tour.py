"""The tour in docs/tour.md is the way that a message really takes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.host.stage import ROOT, Stage

TOUR = ROOT / "docs" / "tour.md"
HOP = re.compile(r"^\s*\d+\. `([\w.]+):([\w.]+)`", re.MULTILINE)


class Trace:
    """The functions of the house, each time that one is called or goes on after waiting."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith("bot."):
            self.seen.append((module, frame.f_code.co_qualname))


def hops(text: str) -> list[tuple[str, str]]:
    """The tour's hops: module and function, in order."""
    return HOP.findall(text)


async def test_the_tour_is_the_way_that_a_message_takes(stage: Stage) -> None:
    echo = stage.bot("Echo")
    ann = stage.person("Ann")
    room = stage.world.private(ann, echo)
    stage.script.on("warm", "hello")
    trace = Trace()
    async with stage.host() as host:
        await stage.ask(ann, room, echo, "warm up")
        await host.fleet.lines[0].idle()
        await echo.updates.wait_until_polled()
        sys.setprofile(trace)
        try:
            await stage.ask(ann, room, echo, "hi")
            await host.fleet.lines[0].idle()
        finally:
            sys.setprofile(None)
    tour = hops(TOUR.read_text())
    steps = iter(trace.seen)
    missed = [hop for hop in tour if hop not in steps]  # each hop after the one before it
    assert missed == []


def test_every_hop_of_the_tour_stands_where_it_says() -> None:
    tour = hops(TOUR.read_text())
    assert len(tour) == 18
    for module, function in tour:
        source = ROOT / Path(*module.split(".")).with_suffix(".py")
        assert f"def {function.rpartition('.')[2]}(" in source.read_text(), (module, function)
