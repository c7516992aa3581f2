"""Fault injection from the page: each switch arms one fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from simulators.messages.script import Script
from simulators.messages.sim import READING_PACE, MessagesSim
from simulators.messages.turns import Cut, HttpError, Turn
from simulators.messages.turns import Fault as ModelFault
from simulators.messages.validate import ModelRequest
from simulators.telegram.faults import Fault
from simulators.telegram.world import World

Json = dict[str, Any]
SLOW_PACE = 5.0


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch of the page; `side` is the service that fails."""

    name: str
    side: Literal["telegram", "model"]
    label: str
    tells: str
    telegram: Callable[[], Fault] | None = None
    model: ModelFault | None = None
    times: int = 1


SWITCHES = (
    Switch(
        "flood",
        "telegram",
        "429 Too Many Requests",
        "The next sendMessage is refused for 3 seconds. The chat waits, then the answer comes.",
        telegram=lambda: Fault(
            "answer",
            "sendMessage",
            status=429,
            description="Too Many Requests: retry after 3",
            parameters={"retry_after": 3},
        ),
    ),
    Switch(
        "error",
        "telegram",
        "500 Internal Server Error",
        "The next two sendMessage calls fail. They are tried again.",
        telegram=lambda: Fault("answer", "sendMessage", times=2),
    ),
    Switch(
        "drop",
        "telegram",
        "Connection cut",
        "The next sendMessage never arrives: the line goes dead before it.",
        telegram=lambda: Fault("drop", "sendMessage"),
    ),
    Switch(
        "lose",
        "telegram",
        "Answer lost",
        "The next sendMessage arrives, but the bot gets no answer. A repeat is marked with ↻.",
        telegram=lambda: Fault("lose", "sendMessage"),
    ),
    Switch(
        "overloaded",
        "model",
        "529 Overloaded",
        "The next two model requests are refused. They are made again.",
        model=HttpError(529),
        times=2,
    ),
    Switch(
        "cut",
        "model",
        "Stream cut",
        "The next answer breaks off in the middle. The step is made again.",
        model=Cut(events=12),
    ),
)
_BY_NAME = {switch.name: switch for switch in SWITCHES}


class FaultInjector:
    """The armed faults. As a Script it wraps the real one, and puts faults into its turns."""

    def __init__(self, world: World, sim: MessagesSim) -> None:
        self._world = world
        self._sim = sim
        self._script: Script = sim.script
        self._model_faults: deque[tuple[str, ModelFault]] = deque()
        self._telegram_faults: list[tuple[str, Fault]] = []

    def answer(self, asked: ModelRequest) -> Turn:
        """The script's turn, with an armed fault in it."""
        turn = self._script.answer(asked)
        return replace(turn, fault=self._model_faults.popleft()[1]) if self._model_faults else turn

    def arm(self, name: str) -> None:
        """Arm a switch; raises KeyError for an unknown name."""
        switch = _BY_NAME[name]
        if switch.telegram is not None:
            fault = self._world.faults.add(switch.telegram())
            self._telegram_faults.append((name, fault))
        if switch.model is not None:
            if self._sim.script is not self:
                self._script, self._sim.script = self._sim.script, self
            self._model_faults.extend([(name, switch.model)] * switch.times)

    def slow(self, on: bool) -> None:
        """Slow the model down, or back to its usual pace."""
        self._sim.pace = SLOW_PACE if on else READING_PACE

    def clear(self) -> None:
        """Disarm all faults."""
        self._model_faults.clear()
        self._telegram_faults.clear()
        self._world.faults.clear()
        self._sim.pace = READING_PACE

    def finish_answers(self) -> None:
        """Send the rest of every running answer at once, so that all can end."""
        self._model_faults.clear()
        self._sim.pace = None
        self._sim.close()

    def show(self) -> Json:
        """The armed faults by switch, and whether the model is slow."""
        still = {id(fault) for fault in self._world.faults.open}
        self._telegram_faults = [pair for pair in self._telegram_faults if id(pair[1]) in still]
        armed: dict[str, int] = {}
        for name, fault in self._telegram_faults:
            armed[name] = armed.get(name, 0) + fault.times
        for name, _ in self._model_faults:
            armed[name] = armed.get(name, 0) + 1
        return {"armed": armed, "slow": self._sim.pace == SLOW_PACE}


def switches() -> list[Json]:
    """All switches, as the page draws them."""
    return [{"name": s.name, "side": s.side, "label": s.label, "tells": s.tells} for s in SWITCHES]
