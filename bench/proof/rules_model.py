"""The model of agents with rules: it drafts until it is told to reflect, and notes each reminder.

A message is `<nonce> <kind>`: `plain` is drafted and then answered; `tool` calls a tool before
that; `quick` is answered at once, which ends its turn while a reminder still waits.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from bench.proof.echo_model import ASK
from simulators.messages.conversation import Message
from simulators.messages.turns import Call, Text, Turn
from simulators.messages.validate import ModelRequest

FIRST, AGAIN = "The first reminder of the proof.", "The second reminder of the proof."
LEAVES = "leaves a reminder"
Reminders = tuple[str, ...]


@dataclass
class RulesModel:
    """Answers by what it is reminded of; `asked` are the reminders of each request of a nonce.

    `gates` hold the first request of a nonce that has just such reminders.
    """

    gates: dict[tuple[str, Reminders], str] = field(default_factory=dict)
    asked: dict[str, list[Reminders]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)

    def answer(self, request: ModelRequest) -> Turn:
        """The turn for the last thing that a person said."""
        nonce, kind = _wanted(request)
        found = _reminders(request.messages[-1])
        self.asked[nonce].append(found)
        if any(_reminders(message) for message in request.messages[:-1]):
            self.problems.append(f"{nonce}: a reminder stands in an earlier message")
        if FIRST in request.system_text or AGAIN in request.system_text:
            self.problems.append(f"{nonce}: a reminder stands in the system prompt")
        gate = self.gates.pop((nonce, found), None)
        if kind == "tool" and not request.results and FIRST in found:
            return Turn((Call("counter__count", {"word": nonce, "seconds": 0.0}),), gate=gate)
        if kind == "quick":
            return Turn((Text(f"{nonce}/000 {LEAVES}"),), gate=gate)
        if AGAIN in found and FIRST not in found:
            return Turn((Text(f"{nonce}/000 is answered"),), gate=gate)
        return Turn((Text(f"{nonce} is only drafted"),), gate=gate)


def _wanted(request: ModelRequest) -> tuple[str, str]:
    """The nonce and the kind of the newest message that has some."""
    for message in reversed(request.messages):
        if message.role == "user":
            words = "\n".join(placed.block["text"] for placed in message.of("text"))
            if found := ASK.findall(words):
                nonce, kind = found[-1]
                return nonce, kind
    return "", "plain"


def _reminders(message: Message) -> Reminders:
    words = [placed.block["text"] for placed in message.of("text")]
    every = (one for one in (FIRST, AGAIN) for text in words for _ in range(text.count(one)))
    return tuple(every)
