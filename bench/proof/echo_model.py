"""The model of the proof: it answers each message with its nonce, so that answers can be compared.

A message is `<nonce> <kind>`; every line of its answer carries the tag `<nonce>/<line>`.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from simulators.messages.turns import Call, Fault, Text, Turn
from simulators.messages.validate import ModelRequest

ASK = re.compile(r"\b(n\d+) (plain|quick|long|grow|tool|look|die|hang|huge|nonsense|garbage|cut)\b")
AGENT = "echo"
TAG = re.compile(r"(n\d+)/(\d{3})")
LINES = {"long": 110, "grow": 30}
GROWS = 22.0
WORDS = "so that one answer is longer than one message may be, and has to go out in parts"
TOOLS = {"tool": "count", "cut": "count"}
CALLING = frozenset({"tool", "look", "die", "hang", "huge", "nonsense", "garbage", "cut"})


def lines_of(kind: str) -> int:
    """How many tagged lines the answer to a kind has."""
    return LINES.get(kind, 1)


def answer_text(nonce: str, kind: str) -> str:
    """The whole answer."""
    if kind == "long":
        return "\n\n".join(f"{nonce}/{line:03d} {WORDS}" for line in range(LINES[kind]))
    if kind == "grow":
        return "\n\n".join(f"{nonce}/{line:03d} grows" for line in range(LINES[kind]))
    return f"{nonce}/000 is answered"


@dataclass
class EchoModel:
    """Answers requests; `strikes` are the faults of one request of a nonce, `fault` that of all.

    `gate` holds every answer; `brisk` sends all at once; `asked` counts the requests of a nonce."""

    seed: int
    gate: str | None = None
    brisk: bool = False
    fault: Fault | None = None
    strikes: dict[str, Fault] = field(default_factory=dict)
    tool_seconds: float | None = None
    asked: dict[str, int] = field(default_factory=dict)

    def answer(self, request: ModelRequest) -> Turn:
        """The turn for the last thing that a person said."""
        found = ASK.findall(request.user_text)
        if not found:
            return Turn((Text("I heard nothing to echo."),))
        nonce, kind = found[-1]
        self.asked[nonce] = self.asked.get(nonce, 0) + 1
        fault = self.strikes.pop(nonce, self.fault)
        chance = random.Random(f"{self.seed} {nonce} {self.asked[nonce]}")
        pace = None if self.brisk or kind == "quick" else self._pace(kind, chance)
        if kind in CALLING and not request.results:
            call = self._call(nonce, kind, chance)
            return Turn((call,), fault=fault, gate=self.gate)
        return Turn((Text(answer_text(nonce, kind)),), fault=fault, gate=self.gate, pace=pace)

    def _pace(self, kind: str, chance: random.Random) -> float | None:
        if kind == "grow":
            return GROWS
        if kind == "long":
            return chance.choice([None, 6000.0, 12000.0])
        return chance.choice([None, 20.0, 60.0])

    def _call(self, nonce: str, kind: str, chance: random.Random) -> Call:
        seconds = chance.choice([0.0, 0.05, 0.3])
        if self.tool_seconds is not None:
            seconds = self.tool_seconds
        name = f"counter__{TOOLS.get(kind, kind)}"
        return Call(name, {"word": nonce, "seconds": seconds}, cut=kind == "cut")
