"""The simulator itself: a script, a cache, a clock, a pace, and what it has seen."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from simulators.messages.conversation import Placed, Said, fingerprint
from simulators.messages.demo_script import HonestScript
from simulators.messages.holds import Gates
from simulators.messages.limits import Limits
from simulators.messages.records import Records
from simulators.messages.reply import Reply, write
from simulators.messages.script import Script
from simulators.messages.threads import Threads
from simulators.messages.turns import Turn
from simulators.messages.usage import Cache
from simulators.messages.validate import Asked

PEOPLE = 40.0
MOST_PAUSED = 1000


class MessagesSim:
    """The Messages API's other end.

    `script` answers (the honest one by default); `clock` counts seconds for the cache; `pace` is in
    tokens a second, None at once; `keys` are the accepted API keys, None accepts any.
    """

    def __init__(
        self,
        script: Script | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pace: float | None = None,
        keys: Collection[str] | None = None,
        keep: int = 500,
    ) -> None:
        self.script: Script = script or HonestScript()
        self.pace = pace
        self.gates = Gates()
        self.records = Records(keep)
        self.skew = 0.0
        self.cache = Cache(lambda: clock() + self.skew)
        self.limits = Limits(lambda: clock() + self.skew)
        self.threads = Threads()
        self.paused: OrderedDict[str, None] = OrderedDict()
        self._keys = keys

    def accepts(self, key: str) -> bool:
        """Whether an API key is good."""
        return self._keys is None or key in self._keys

    def reply(self, asked: Asked, turn: Turn) -> Reply:
        """The content of an answer, its tokens counted and its cache marks kept."""
        reply = write(turn, asked, self.cache.account(asked.prompt, asked.model))
        self.limits.wrote(reply.tokens)
        if reply.stop == "pause_turn":
            self._remember(asked, reply)
        return reply

    def _remember(self, asked: Asked, reply: Reply) -> None:
        """A paused turn may come back as the last message, with what it continued."""
        last = asked.said[-1]
        before = last.blocks if last.role == "assistant" else []
        placed = [Placed(block, 0, at) for at, block in enumerate(reply.blocks)]
        self.paused[fingerprint(Said("assistant", [*before, *placed]))] = None
        while len(self.paused) > MOST_PAUSED:
            self.paused.popitem(last=False)

    def reset(self) -> None:
        """Forget what was seen and cached, open every gate that holds, set the clock right."""
        self.gates.open_all()
        self.gates = Gates()
        self.records.clear()
        self.cache.clear()
        self.paused.clear()
        self.skew = 0.0
        self.limits.clear()
        self.threads.clear()

    def close(self) -> None:
        """Let every held answer go, so that a server can stop."""
        self.gates.open_all()
