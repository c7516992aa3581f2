"""Transcripts and open turns. The transcript is the journal from which a turn resumes."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import orjson

from bot.errors import CrashSuspect, PoisonMessage
from bot.messages import Attribution, Fence, Json, OutboxItem, OutgoingPart, TurnRef
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.outbox import dump_part, outbox_items

RENDER_FOR_S = 2 * 3600
MAX_ATTEMPTS = 5
SUSPECT_AFTER = 3
MOST_HITS = 3
"""A turn is suspected after so many ends of the host that it met alone, not within seconds."""
ENDS_APART_SECONDS = 10.0
RESUMED, BLOCKED, IS_SUSPECT = 1, 2, 3
"""What the script `begin` found, beside 0: a new turn."""

TurnState = Literal["running", "suspended", "sending"]


ATTRIBUTION = "attribution"
"""Where a stored record, and an open turn, says who answers: `Attribution` as JSON."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a transcript: its kind and its JSON; `id` is set once it is stored."""

    kind: str
    body: Json
    id: str = ""

    def attributed(self, attribution: Attribution) -> Record:
        """The record as it is stored, with who answers."""
        return replace(self, body={**self.body, ATTRIBUTION: attribution.as_json()})


GOES_ON = "goes_on"
"""Where the record of what rules did says that the answer before it is a draft."""


def end_record(
    entry: str, outcome: str, text: str, *, refused: bool = False, summary: Json | None = None
) -> Record:
    """The record of how a turn ended, and what the person was told.

    `refused`: the model's API does not accept what was said in this turn, so it is not sent again.
    A turn over HTTP has a `summary`, as its event stream does; its `text` is the answer as readers
    got it, where that is another one.
    """
    body: dict[str, Any] = {"turn": entry, "outcome": outcome, "text": text}
    if summary is not None:
        body["summary"] = summary
    return Record("end", body | {"refused": True} if refused else body)


@dataclass(slots=True)
class OpenTurn:
    """A turn that has not ended.

    `render` is the digest of its prompt, `preview` the message that shows the growing answer, where
    the chat has one. `nonce` names its last approval request. `attempts` counts how often the turn
    was begun since it last recorded something, `unrecorded_attempts` those before this one that may
    have asked the model without recording it, `hits` the ends of the host that speak against it.
    Each write has an ordinal, `writes` is the last one; `writing` keeps them in order. `preset` is
    that of the agent, as `<owner>/<id>`, '' for none.
    """

    ref: TurnRef
    state: TurnState
    render: str
    writes: int = 0
    attempts: int = 1
    preview: int | None = None
    nonce: str = ""
    unrecorded_attempts: int = 0
    hits: int = 0
    preset: str = ""
    writing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What `begin` found: the turn, whether it was open before (a recovery), and the transcript.

    Where another turn of the conversation is open, `blocked` is set and `turn` is that one.
    `records` are those after the last known one, or else the newest turns since the last boundary.
    """

    turn: OpenTurn
    resumed: bool
    records: list[Record]
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Journal:
    """The transcripts and open turns of all lines: one script for each step of a turn."""

    client: StoreClient

    async def begin(
        self,
        fence: Fence,
        ref: TurnRef,
        render: str,
        message: Record,
        renders: Mapping[str, bytes],
        known: str = "",
        turns: int = 1000,
        isolated: bool = False,
        *,
        attribution: Attribution,
        call: str = "",
        life: str = "",
    ) -> Opened:
        """Open the turn, or find it already open, and read its transcript.

        `known` is the newest record that is in memory; without it, up to `turns` turns are read.
        `call` is an id of this attempt, and `life` one of this life of the host. Raises
        CrashSuspect for a turn that was open at several ends of the host, unless it runs
        `isolated`, and PoisonMessage where it has used up its attempts, and ends that it met alone
        speak against it.
        """
        stored = (keys.render(fence.line, digest) for digest in renders)
        names: list[keys.AnyKey] = [*turn_keys(fence.line, ref), *stored]
        names.append(keys.inbox)
        begun = dump_records([message.attributed(attribution)])
        args = [ref.entry, ref.agent, render, *begun, known, turns, RENDER_FOR_S]
        args += [*renders.values(), orjson.dumps(attribution.as_json())]
        args += [life, int(ENDS_APART_SECONDS * 1000)]
        args += [0 if isolated else SUSPECT_AFTER, call or new_call()]
        found, fields, items, *again = await self.client.as_owner("begin", fence, names, *args)
        turn = _open_turn(ref.conversation, fields)
        if found == IS_SUSPECT:
            raise CrashSuspect(turn.attempts, again[0] / 1000)
        records = [read_record(*item) for item in items]
        opened = Opened(turn, found == RESUMED, records, found == BLOCKED)
        used_up = turn.attempts > MAX_ATTEMPTS and turn.hits >= MOST_HITS
        if not opened.blocked and turn.state != "sending" and used_up:
            tries = turn.attempts - 1
            raise PoisonMessage(f"begun {tries} times without any progress", opened)
        return opened

    async def append(self, fence: Fence, turn: OpenTurn, records: Sequence[Record]) -> str:
        """Record something of a running turn; returns the id of the newest record."""
        names = turn_keys(fence.line, turn.ref)
        async with turn.writing:
            args = (turn.ref.entry, turn.writes + 1, *dump_records(records))
            newest = await self.client.as_owner("append", fence, names, *args)
            turn.writes += 1
        return str(newest.decode())

    async def finish(
        self, fence: Fence, turn: OpenTurn, records: Sequence[Record], parts: Sequence[OutgoingPart]
    ) -> tuple[str, list[OutboxItem]]:
        """Record the reply, and post its parts; returns the newest record's id, and the parts."""
        names = [*turn_keys(fence.line, turn.ref), keys.outbox, keys.inbox]
        async with turn.writing:
            args = [turn.ref.entry, turn.writes + 1, len(records), *dump_records(records)]
            args += map(dump_part, parts)
            newest, *ids = await self.client.as_owner("finish", fence, names, *args)
            turn.writes += 1
        turn.state = "sending"
        return newest.decode(), outbox_items(ids, parts)

    async def note_preview(self, fence: Fence, turn: OpenTurn, message: int) -> None:
        """Remember the message that shows the growing answer."""
        names = [keys.open_turn(fence.line, turn.ref.conversation)]
        await self.client.as_owner("note_preview", fence, names, turn.ref.entry, message)
        turn.preview = message

    async def boundary(
        self, fence: Fence, ref: TurnRef, record: Record, parts: Sequence[OutgoingPart]
    ) -> list[OutboxItem]:
        """Record that a new conversation begins, settle the entry, and post the parts."""
        transcript = keys.transcript(fence.line, ref.conversation, ref.agent)
        names = (keys.inbox, keys.outbox, transcript)
        args = (ref.entry, *dump_records([record]), *map(dump_part, parts))
        return outbox_items(await self.client.as_owner("boundary", fence, names, *args), parts)

    async def newest(self, line: str, ref: TurnRef, count: int = 400) -> list[Record]:
        """The newest records since the last boundary, at most `count`, oldest first."""
        name = keys.transcript(line, ref.conversation, ref.agent)
        items = await self.client.read("XREVRANGE", name, "+", "-", "COUNT", count)
        found = [read_record(id, fields[b"k"], fields[b"b"]) for id, fields in items]
        since = itertools.takewhile(lambda record: record.kind != "boundary", found)
        return [*since][::-1]

    async def render(self, line: str, digest: str) -> bytes | None:
        """A stored part of a prompt by its digest; None where it is gone."""
        found = await self.client.read("GET", keys.render(line, digest))
        return found if isinstance(found, bytes) else None


def new_call() -> str:
    """An id for an attempt of a turn."""
    return secrets.token_hex(6)


def turn_keys(line: str, ref: TurnRef) -> list[keys.AnyKey]:
    """The keys of a turn: that it is open, and its transcript."""
    open_turn = keys.open_turn(line, ref.conversation)
    return [open_turn, keys.transcript(line, ref.conversation, ref.agent)]


def dump_records(records: Sequence[Record]) -> list[Any]:
    """Records as arguments of a script: the kind and the body of each."""
    return [part for record in records for part in (record.kind, orjson.dumps(record.body))]


def read_record(id: bytes, kind: bytes, body: bytes) -> Record:
    """A record as the store has it."""
    found = orjson.loads(body)
    found.pop(ATTRIBUTION, None)  # a turn does not read it, and it takes much memory
    return Record(kind.decode(), found, id.decode())


def _preset_in(attribution: str) -> str:
    """The preset of who answers; '' for none."""
    if '"preset":null' in attribution or not attribution:
        return ""
    return orjson.loads(attribution).get("preset") or ""


def _open_turn(conversation: str, fields: Sequence[bytes]) -> OpenTurn:
    found = {n.decode(): v.decode() for n, v in zip(fields[::2], fields[1::2], strict=True)}
    preview = found.get("preview")
    return OpenTurn(
        ref=TurnRef(found["entry"], conversation, found.get("agent", "")),
        state=cast("TurnState", found["state"]),
        render=found["render"],
        writes=int(found["writes"]),
        attempts=int(found["tries"]),
        preview=int(preview) if preview else None,
        nonce=found.get("nonce", ""),
        unrecorded_attempts=max(0, int(found.get("dark", 1)) - 1),
        hits=int(found.get("hits", 0)),
        preset=_preset_in(found.get(ATTRIBUTION, "")),
    )
