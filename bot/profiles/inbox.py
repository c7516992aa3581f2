"""The inbox of an agent: what its rules have added, what it has read, and how that is put to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bot.messages import Block, Json
from bot.profiles.wording import filled, one_line, written
from bot.store.journal import Record
from registry.profile import REFLECTION, Profile
from registry.state_conditions import Read

REFLECT = (
    "Reflect on your last answer before the person reads it: does it answer what they asked, is "
    "each fact in it supported by what you know or have looked up, and did you use the tools that "
    "help? If something is missing, put it right now. Then give the whole answer: the person reads "
    "only your newest one, and nothing of this note."
)
"""What an item of `SELF_REFLECTION_PROMPT` says where the profile has no words of its own."""
NAMED = "A rule of yours asks you to look at this before you go on: {}."
ABOVE = "From {}:"
WITHDRAWN = "withdrawn"
"""Where the record of a turn's end names what it takes back, unread."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a turn takes over from the ones before it: what waits to be read, and its own number."""

    unread: dict[str, Json] = field(default_factory=dict)
    number: int = 1


def earlier_in(turns: Sequence[Sequence[Record]]) -> Earlier:
    """What the records of earlier turns, the oldest first, leave to the one that begins.

    The newest one with rules has all that is unread: each takes over what was left to it.
    """
    for since, records in enumerate(reversed(turns), 1):
        bodies = [record.body for record in records if record.kind == "rules"]
        if bodies:
            left = {id: one for id, one in unread_in(records).items() if not reflects(one)}
            return Earlier(left, int(bodies[-1].get("number", 1)) + since)
    return Earlier(number=len(turns) + 1)


def unread_in(records: Iterable[Record]) -> dict[str, Json]:
    """What a turn has added to its agent's inbox and no answer has read."""
    found: dict[str, Json] = {}
    read: set[str] = set()
    for record in records:
        if record.kind == "rules":
            found |= {one["id"]: one for one in record.body.get("added", ()) if "to" not in one}
        if record.kind in ("rules", "model"):
            read.update(record.body.get("read", ()), record.body.get(WITHDRAWN, ()))
    return {id: item for id, item in found.items() if id not in read}


def reflects(item: Json) -> bool:
    """Whether an item is about an answer of its own turn: no later turn can read it."""
    return bool(item["source"] == REFLECTION)


def block_of(profile: Profile, item: Json, read: Read) -> Block:
    """An item as the model reads it."""
    return {"type": "text", "text": words_of(profile, item, read)}


def words_of(profile: Profile, item: Json, read: Read) -> str:
    """An item in words: its payload by the shape of that, or what its source means."""
    source = str(item["source"])
    if item.get("payload") is not None:
        return f"{ABOVE.format(one_line(source))}\n{written(item['payload'])}"
    if (own := profile.text_definitions.get(source)) is not None and own.strip():
        return filled(own, read).strip() or NAMED.format(one_line(source))
    return REFLECT if source == REFLECTION else NAMED.format(one_line(source))
