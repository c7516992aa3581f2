"""The simulator of the Messages API: its script, cache, limits, clock, pace and records."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection

from simulators.messages.conversation import Message, PlacedBlock, fingerprint
from simulators.messages.demo_script import DemoScript
from simulators.messages.gates import Gates
from simulators.messages.limits import Limits
from simulators.messages.records import Records
from simulators.messages.reply import Reply, write
from simulators.messages.script import Script
from simulators.messages.threads import Threads
from simulators.messages.turns import Turn
from simulators.messages.usage import Cache
from simulators.messages.validate import ModelRequest

READING_PACE = 40.0
MOST_PAUSED = 1000


class MessagesSim:
    """One Messages API.

    `script` answers (by default the demo script); `clock` gives seconds for the cache; `pace` is
    in tokens a second, None at once. `keys` are the accepted API keys: None accepts any, an empty
    one accepts requests without a key.
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
        self.script: Script = script or DemoScript()
        self.pace = pace
        self.gates = Gates()
        self.records = Records(keep)
        self.skew = 0.0
        self.cache = Cache(lambda: clock() + self.skew)
        self.limits = Limits(lambda: clock() + self.skew)
        self.threads = Threads()
        self.paused: OrderedDict[str, None] = OrderedDict()
        self.keys = keys

    def accepts(self, key: str) -> bool:
        """Whether an API key is good."""
        return bool(key) if self.keys is None else key in self.keys

    def reply(self, request: ModelRequest, turn: Turn) -> Reply:
        """The content of an answer; its tokens count, and its marked prefixes are cached."""
        reply = write(turn, request, self.cache.account(request.prompt, request.model))
        self.limits.wrote(reply.tokens)
        if reply.stop == "pause_turn":
            self._remember(request, reply)
        return reply

    def _remember(self, request: ModelRequest, reply: Reply) -> None:
        """A paused turn may come back as the last message, with what it continued."""
        last = request.messages[-1]
        before = last.blocks if last.role == "assistant" else []
        placed = [PlacedBlock(block, 0, at) for at, block in enumerate(reply.blocks)]
        self.paused[fingerprint(Message("assistant", [*before, *placed]))] = None
        while len(self.paused) > MOST_PAUSED:
            self.paused.popitem(last=False)

    def reset(self) -> None:
        """Forget requests, cache and limits, open every gate, and set the clock back."""
        self.gates.open_all()
        self.gates = Gates()
        self.records.clear()
        self.cache.clear()
        self.paused.clear()
        self.skew = 0.0
        self.limits.clear()
        self.threads.clear()

    def close(self) -> None:
        """Open every gate, so that a server can stop."""
        self.gates.open_all()
