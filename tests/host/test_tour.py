"""The tour in docs/tour.md is the way that a message really takes, and it is short."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from simulators.messages.turns import Call, turn
from tests.host.stage import CLOCK_SERVER, ROOT, Stage

TOUR = ROOT / "docs" / "tour.md"
FUNCTION = re.compile(r"`(bot[\w.]+):([\w.]+)`")
HOP = re.compile(r"^\d+\. `bot[\w.]+:[\w.]+`", re.MULTILINE)
PLACE = re.compile(r"^\| (.+) \| `([\w/]+\.py)` \| `(\w+)` \|$", re.MULTILINE)
MOST_FRAMES = 10
QUEUE, MODEL = "ConversationQueues.", "MessagesModel.stream"


class Trace:
    """The host's functions in the order of their calls, and the frames down to the model."""

    def __init__(self) -> None:
        self.called: list[tuple[str, str]] = []
        self.chain: list[str] = []

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not module.startswith("bot."):
            return
        self.called.append((module, frame.f_code.co_qualname))
        if frame.f_code.co_qualname == MODEL and not self.chain:
            self.chain = chain_to(frame)


def chain_to(frame: FrameType | None) -> list[str]:
    """The frames from the conversation queue's task down to this one, the task's own first."""
    names = []
    while frame is not None:
        names.append(frame.f_code.co_qualname)
        frame = frame.f_back
    first = max(at for at, name in enumerate(names) if name.startswith(QUEUE))
    return names[first::-1]


def functions(text: str) -> list[tuple[str, str]]:
    """The functions that a page names, in its order: module and qualified name."""
    return FUNCTION.findall(text)


@pytest.fixture
async def trace(stage: Stage) -> Trace:
    """A message whose answer calls a tool first, through a host that is warm."""
    stage.agents["mcpServers"] = {"time": CLOCK_SERVER}
    bot = stage.bot("Clock", mcpServers=["time"], whitelistPatterns=["mcp:time:*"])
    ann = stage.person("Ann")
    room = stage.world.private(ann, bot)
    call = Call("time__get_current_time", {"timezone": "UTC"})
    stage.script.on(turn(call), "warm", turn(call), "hello")
    trace = Trace()
    async with stage.host() as host:
        await stage.ask(ann, room, bot, "warm up")
        await host.fleet.lines[0].idle()
        await bot.updates.wait_until_polled()
        sys.setprofile(trace)
        try:
            await stage.ask(ann, room, bot, "hi")
            await host.fleet.lines[0].idle()
        finally:
            sys.setprofile(None)
    return trace


async def test_the_tour_is_the_way_that_a_message_takes_and_few_frames_lead_to_the_model(
    trace: Trace,
) -> None:
    steps = iter(trace.called)
    missed = [one for one in functions(TOUR.read_text()) if one not in steps]  # each after the last
    assert missed == []
    assert 1 < len(trace.chain) <= MOST_FRAMES, trace.chain


def test_the_tour_has_nine_hops_and_each_function_is_where_it_says() -> None:
    page = TOUR.read_text()
    assert len(HOP.findall(page)) == 9
    stale = [
        f"{module}:{function}"
        for module, function in functions(page)
        if function not in defined(Path(*module.split(".")).with_suffix(".py"))
    ]
    assert stale == [], "docs/tour.md names functions that are not there"


def test_ten_features_are_in_the_files_that_the_tour_names() -> None:
    places = PLACE.findall(TOUR.read_text())
    assert len(places) == 10
    stale = [
        f"{feature}: no `{symbol}` in {file}"
        for feature, file, symbol in places
        if symbol not in defined(Path(file))
    ]
    assert stale == [], "docs/tour.md, the table of features"


def defined(file: Path) -> set[str]:
    """The classes and functions of a module, methods as `Class.method`; none if it is gone."""
    path = ROOT / file
    tree = ast.parse(path.read_text() if path.is_file() else "")
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = set[str]()
    for node in tree.body:
        if isinstance(node, kinds):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, kinds)}
    return names
