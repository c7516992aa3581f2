"""The model of the streams' proof: it tells a story for each name, the same again or another one.

A message is `story <name>`; a name that begins with `o` gets another text at each attempt.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from simulators.messages.turns import Text, Turn
from simulators.messages.validate import ModelRequest

ASK = re.compile(r"\bstory ([so]\d+)\b")
WORDS = ("one", "two", "много", "слов", "文字", "🎈", "data:", "id: 7", "a **b**", "\n", "\n\n")
PACE = 70.0
"""In tokens a second: some twenty pieces in a second or two."""
_ORDINALS = ("First", "Second", "Third", "Another")


def story(seed: int, name: str, attempt: int) -> str:
    """The text for a name at its n-th attempt; texts that differ do so from their first letter."""
    chance = random.Random(f"{seed} {name} {attempt if name.startswith('o') else 1}")
    words = chance.choices(WORDS, k=chance.randint(40, 90))
    number = min(attempt, len(_ORDINALS)) - 1 if name.startswith("o") else 0
    return f"{_ORDINALS[number]} {attempt if number == 3 else ''}{name}: {' '.join(words)} end."


@dataclass
class StoryModel:
    """Answers requests; `gate` holds every answer back, `asked` counts the requests of a name."""

    seed: int
    gate: str | None = None
    pace: float | None = PACE
    asked: dict[str, int] = field(default_factory=dict)

    def answer(self, request: ModelRequest) -> Turn:
        """The turn for the last thing that a person said."""
        name = ASK.findall(request.user_text)[-1]
        self.asked[name] = self.asked.get(name, 0) + 1
        told = story(self.seed, name, self.asked[name])
        return Turn((Text(told),), gate=self.gate, pace=self.pace)

    def stories(self, name: str) -> list[str]:
        """What it has told for a name, attempt for attempt."""
        return [story(self.seed, name, n + 1) for n in range(self.asked.get(name, 0))]
