"""The model of the ledger's proof: turns of every kind, and the tokens of each request."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from simulators.messages.reply import Reply
from simulators.messages.sim import MessagesSim
from simulators.messages.turns import (
    Call,
    Cut,
    Drop,
    EndEarly,
    ErrorEvent,
    Fault,
    HttpError,
    Part,
    Text,
    Think,
    Turn,
)
from simulators.messages.validate import ModelRequest

CALLING = {"tool": 1, "pair": 1, "chain": 2, "half": 1}
FAULTY = ("busy", "broken", "early", "error", "drop", "worn")
KINDS = ("plain",) * 12 + ("tool",) * 5 + ("pair", "chain", "half", "long", "stop") * 2 + FAULTY
ASK = re.compile(rf"\b(m\d+) ({'|'.join(sorted(set(KINDS)))})\b")


@dataclass(frozen=True, slots=True)
class Served:
    """A request that the server answered: `counts` are tokens new, out, read and written."""

    message: str
    nonce: str
    tokens_in: int
    counts: tuple[int, int, int, int]
    chat: tuple[str, str]


@dataclass
class LedgerModel:
    """Answers by kind; `on_stop` is called with the nonce of an answer that the person stops.

    `chats` are the line and the conversation that a nonce belongs to.
    """

    seed: int
    on_stop: Callable[[str], None] = lambda _nonce: None
    served: list[Served] = field(default_factory=list)
    chats: dict[str, tuple[str, str]] = field(default_factory=dict)
    refused: int = 0
    asked: dict[str, int] = field(default_factory=dict)

    def count(self, sim: MessagesSim) -> None:
        """Records what this simulator answers, by its own figures, from now on."""
        reply = sim.reply

        def counting(request: ModelRequest, turn: Turn) -> Reply:
            made = reply(request, turn)
            usage = made.whole()["usage"]
            read, wrote = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
            counts = (usage["input_tokens"], usage["output_tokens"], read, wrote)
            nonce = _wanted(request)[0]
            chat = self.chats.get(nonce, ("", ""))
            self.served.append(Served(made.id, nonce, counts[0] + read + wrote, counts, chat))
            return made

        sim.reply = counting  # type: ignore[method-assign]

    def answer(self, request: ModelRequest) -> Turn:
        """The turn for the last thing that a person said."""
        nonce, kind = _wanted(request)
        self.asked[nonce] = self.asked.get(nonce, 0) + 1
        chance = random.Random(f"{self.seed} {nonce} {self.asked[nonce]}")
        fault = self._fault(nonce, kind, chance)
        self.refused += isinstance(fault, HttpError)
        if kind == "stop":
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.5), self.on_stop, nonce)
        if _rounds(request) < CALLING.get(kind, 0):
            return Turn(tuple(_calls(nonce, kind, chance)), fault=fault)
        return Turn(tuple(_text(nonce, kind, chance)), fault=fault, pace=_pace(kind, chance))

    def _fault(self, nonce: str, kind: str, chance: random.Random) -> Fault | None:
        if kind not in FAULTY or (self.asked[nonce] > 1 and kind != "worn"):
            return None
        events = chance.randint(1, 14)
        faults: dict[str, Fault] = {
            "busy": HttpError(chance.choice([429, 529]), retry_after=0.02),
            "broken": Cut(events=events - 1),
            "early": EndEarly(events=events),
            "error": ErrorEvent(events=events),
            "drop": Drop(),
            "worn": ErrorEvent(events=2),
        }
        return faults[kind]


def _wanted(request: ModelRequest) -> tuple[str, str]:
    found = ASK.findall(request.user_text)
    return found[-1] if found else ("", "plain")


def _rounds(request: ModelRequest) -> int:
    """How many answers this turn has had already."""
    people = [n for n, one in enumerate(request.messages) if one.role == "user" and one.of("text")]
    return sum(one.role == "assistant" for one in request.messages[people[-1] :]) if people else 0


def _calls(nonce: str, kind: str, chance: random.Random) -> list[Part]:
    given = {"word": nonce, "seconds": chance.choice([0.0, 0.05, 0.2])}
    calls: list[Part] = [Call("counter__count", given, cut=kind == "half")]
    if kind == "pair":
        calls.append(Call("counter__look", given))
    return [Text("Let me look."), *calls] if chance.random() < 0.5 else calls


def _text(nonce: str, kind: str, chance: random.Random) -> list[Part]:
    count = {"long": 900, "stop": 200}.get(kind, chance.randint(1, 60))
    text = " ".join(chance.choices(["one", "two", "three", "много", "слов"], k=count))
    said: list[Part] = [Text(f"{nonce} {text}")]
    return [Think("I have to think of this for a while."), *said] if kind == "plain" else said


def _pace(kind: str, chance: random.Random) -> float | None:
    return 150.0 if kind == "stop" else chance.choice([None, None, 100.0, 400.0])
