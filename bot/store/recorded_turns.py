"""A turn that was recorded, found by its id in whatever conversation it is. Reads, and no more."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

import orjson

from bot.messages import Json
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.journal import ATTRIBUTION, Record, read_record

_PAGE = 500
_MOST_SCANS = 1_000_000
_MOST_PAGES = 40
"""Pages of one transcript that are looked through: a turn far back is no longer of use."""
MOST_BEFORE = 2_000
"""Records before a turn that are read."""
_GLOB = re.compile(r"([\[\]*?^\\-])")


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn as it was recorded, and what was said `before` it since the conversation began.

    `id` is the entry of the inbox that its records name, whatever it was found by; `attribution`
    says who answered.
    """

    line: str
    conversation: str
    agent: str
    id: str
    records: Sequence[Record]
    before: Sequence[Record] = ()
    attribution: Json = field(default_factory=dict)

    @property
    def answering(self) -> str:
        """The id of the agent or the instance that answered; of a router the one that it chose."""
        who = self.attribution
        if not who:
            return self.agent
        name = who.get("agent_instance")
        return f"{who['account']}/{name}" if name else str(who["agent"])

    @property
    def has_ended(self) -> bool:
        """Whether its end is recorded."""
        return any(record.kind == "end" for record in self.records)


async def recorded_turns(client: StoreClient, id: str, agent: str = "") -> list[RecordedTurn]:
    """The turns with an id: that of an inbox entry, or the one that clients over HTTP know.

    Nearly always one; two lines may have entries of one id. Raises StoreError.
    """
    read = [await _turn_in(client, name, id) async for name in _transcripts(client, agent)]
    return [turn for turn in read if turn is not None]


async def _transcripts(client: StoreClient, agent: str) -> AsyncIterator[str]:
    own = _GLOB.sub(r"\\\1", keys.spoken_to(agent)) if agent else "*"
    cursor, pattern, seen = b"0", f"{{*}}:conv:*:{own}:log", set[bytes]()
    for _ in range(_MOST_SCANS):
        cursor, names = await client.command("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
        for name in dict.fromkeys(names):  # a scan may name a key twice
            if name not in seen:
                seen.add(name)
                yield name.decode()
        if int(cursor) == 0:
            break


async def _turn_in(client: StoreClient, name: str, id: str) -> RecordedTurn | None:
    """The turn of a transcript that has this id; None where there is none."""
    end, wanted = "+", id.encode()
    for _ in range(_MOST_PAGES):
        page = await client.command("XREVRANGE", name, end, "-", "COUNT", _PAGE)
        for entry, fields in page:
            if fields.get(b"k") == b"person" and wanted in fields.get(b"b", b""):
                record = read_record(entry, fields[b"k"], fields[b"b"])
                if id in (record.body.get("turn"), record.body.get("stream")):
                    who = orjson.loads(fields[b"b"]).get(ATTRIBUTION) or {}
                    return replace(await _whole(client, name, record), attribution=who)
        if len(page) < _PAGE:
            break
        end = f"({page[-1][0].decode()}"
    return None


async def _whole(client: StoreClient, name: str, person: Record) -> RecordedTurn:
    """A turn with all its records, and those before it."""
    line, _, rest = name.removeprefix("{").partition("}:conv:")
    conversation, _, agent = rest.removesuffix(":log").rpartition(":")
    turn = person.body["turn"]
    own, start = [person], person.id
    for _ in range(_MOST_PAGES):
        page = await client.command("XRANGE", name, f"({start}", "+", "COUNT", _PAGE)
        records = [read_record(id, fields[b"k"], fields[b"b"]) for id, fields in page]
        of_it = [*takewhile(lambda one: one.kind not in ("person", "boundary"), records)]
        own += (one for one in of_it if one.body.get("turn") == turn)
        if len(of_it) < len(records) or len(page) < _PAGE:
            break
        start = records[-1].id
    words = ("XREVRANGE", name, f"({person.id}", "-", "COUNT", MOST_BEFORE)
    page = await client.command(*words)
    earlier = (read_record(id, fields[b"k"], fields[b"b"]) for id, fields in page)
    before = [*takewhile(lambda one: one.kind != "boundary", earlier)][::-1]
    return RecordedTurn(line, conversation, agent, turn, own, before)
