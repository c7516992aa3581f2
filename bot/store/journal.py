"""Transcripts and open turns. The transcript is the journal from which a turn resumes."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import orjson

from bot.errors import CrashSuspect, PoisonMessage
from bot.messages import (
    Attribution,
    Fence,
    Json,
    OutboxItem,
    OutgoingPart,
    TurnRef,
)
from bot.store import keys
from bot.store.client import StoreClient
from bot.store.outbox import dump_part, outbox_items


def end_record(entry: str, outcome: str, text: str) -> Record:
    """The record of how a turn ended, and what the person was told."""
    return Record("end", {"turn": entry, "outcome": outcome, "text": text})


ATTRIBUTION = "attribution"
"""Where a stored record, and an open turn, says who answers: `Attribution` as JSON."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a transcript: `kind` says what, `body` is its JSON; `id` is set once stored."""

    kind: str
    body: Json
    id: str = ""

    def attributed(self, attribution: Attribution) -> Record:
        """The record as it is stored, with who answers."""
        return replace(self, body={**self.body, ATTRIBUTION: asdict(attribution)})


@dataclass(slots=True)
class OpenTurn:
    """A turn as recorded: its state, how often it was begun, and how many writes it has made.

    `preview` is the message that shows the answer while it grows, where the chat has one; `nonce`
    names the last sheet of calls that waited, or waits, for people. `lost` is how many earlier
    lives of the turn may have asked the model and could not write it down. `writing` lets one write
    after the other go, since each has its ordinal.
    """

    ref: TurnRef
    state: Literal["running", "suspended", "sending"]
    render: str
    writes: int = 0
    tries: int = 1
    preview: int | None = None
    nonce: str = ""
    lost: int = 0
    writing: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What `begin` found: the turn, whether it was open before (a recovery), and the transcript.

    `held` is set where another turn of the conversation is open: `turn` is that one then.
    `records` are those after the last known one, or else the newest turns since the last boundary.
    """

    turn: OpenTurn
    resumed: bool
    records: list[Record]
    held: bool = False


RENDER_FOR_S = 2 * 3600
MAX_ATTEMPTS = 5
SUSPECT_AFTER = 3
RESUMED, HELD, IS_SUSPECT = 1, 2, 3


class Journal:
    """Implements `ports.Journal`: one script for each step of a turn."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def begin(
        self,
        fence: Fence,
        ref: TurnRef,
        render: str,
        message: Record,
        renders: Mapping[str, bytes],
        known: str = "",
        turns: int = 1000,
        alone: bool = False,
        *,
        attribution: Attribution,
    ) -> Opened:
        """Open the turn, or find it open; the transcript comes along.

        Raises Suspected where it was open at several ends of the host, unless it runs `alone`, and
        Poisoned where it has had its lives and recorded nothing in the last of them.
        """
        line = fence.line
        names = [*_turn_keys(line, ref), *(keys.render(line, digest) for digest in renders)]
        body = orjson.dumps(message.attributed(attribution).body)
        head = [fence.token, ref.entry, ref.agent, render, message.kind, body]
        names.append(keys.inbox(line))
        args = [*head, known, turns, RENDER_FOR_S, *renders.values()]
        args += [orjson.dumps(asdict(attribution))]
        args += [0 if alone else SUSPECT_AFTER, secrets.token_hex(6)]
        resumed, fields, records = await self._client.surely("begin", names, args)
        turn = _open_turn(ref.conversation, fields)
        if resumed == IS_SUSPECT:
            raise CrashSuspect(f"open at {turn.tries} ends of the host")
        held = resumed == HELD
        if not held and turn.state != "sending" and turn.tries > MAX_ATTEMPTS:
            found = Opened(turn, True, [_record(*item) for item in records])
            raise PoisonMessage(f"begun {turn.tries - 1} times without coming to anything", found)
        return Opened(turn, resumed == RESUMED, [_record(*item) for item in records], held)

    async def append(self, fence: Fence, turn: OpenTurn, records: Sequence[Record]) -> str:
        """Log records of a running turn; the id of the newest."""
        async with turn.writing:
            args = [fence.token, turn.ref.entry, turn.writes + 1, *_flat(records)]
            last = await self._client.surely("append", _turn_keys(fence.line, turn.ref), args)
            turn.writes += 1
        return str(last.decode())

    async def finish(
        self,
        fence: Fence,
        turn: OpenTurn,
        records: Sequence[Record],
        parts: Sequence[OutgoingPart],
    ) -> tuple[str, list[OutboxItem]]:
        """Log the reply and put its parts into the outbox; the id of the newest record."""
        line = fence.line
        names = [*_turn_keys(line, turn.ref), keys.outbox(line), keys.inbox(line)]
        async with turn.writing:
            head = [fence.token, turn.ref.entry, turn.writes + 1, len(records)]
            args = [*head, *_flat(records), *map(dump_part, parts)]
            last, *ids = await self._client.surely("finish", names, args)
            turn.writes += 1
        turn.state = "sending"
        return last.decode(), outbox_items(ids, parts)

    async def note_preview(self, fence: Fence, turn: OpenTurn, message: int) -> None:
        """Remember the message that shows the growing answer."""
        names = [keys.fence(fence.line), keys.open_turn(fence.line, turn.ref.conversation)]
        await self._client.surely("preview", names, [fence.token, turn.ref.entry, message])
        turn.preview = message

    async def boundary(
        self, fence: Fence, ref: TurnRef, record: Record, parts: Sequence[OutgoingPart]
    ) -> list[OutboxItem]:
        """Log a boundary; its inbox entry goes with it."""
        line = fence.line
        log = keys.log(line, ref.conversation, ref.agent)
        names = [keys.fence(line), keys.inbox(line), keys.outbox(line), log]
        args = [fence.token, ref.entry, *_flat([record]), *map(dump_part, parts)]
        return outbox_items(await self._client.surely("boundary", names, args), parts)

    async def newest(self, line: str, ref: TurnRef, count: int = 400) -> list[Record]:
        """The newest records since the last boundary, at most `count`, the oldest first."""
        log = keys.log(line, ref.conversation, ref.agent)
        words = ("XREVRANGE", log, "+", "-", "COUNT", count)
        items = await self._client.patiently(lambda: self._client.command(*words))
        found = [_record(id, fields[b"k"], fields[b"b"]) for id, fields in items]
        since = itertools.takewhile(lambda record: record.kind != "boundary", found)
        return [*since][::-1]

    async def render(self, line: str, digest: str) -> bytes | None:
        """A stored render by its digest."""
        found = await self._client.patiently(
            lambda: self._client.command("GET", keys.render(line, digest))
        )
        return found if isinstance(found, bytes) else None


def _turn_keys(line: str, ref: TurnRef) -> list[str]:
    log = keys.log(line, ref.conversation, ref.agent)
    return [keys.fence(line), keys.open_turn(line, ref.conversation), log]


def _flat(records: Sequence[Record]) -> list[Any]:
    return [word for record in records for word in (record.kind, orjson.dumps(record.body))]


def _record(id: bytes, kind: bytes, body: bytes) -> Record:
    found = orjson.loads(body)
    found.pop(ATTRIBUTION, None)  # a turn does not read it, and it takes much memory
    return Record(kind.decode(), found, id.decode())


def _open_turn(conversation: str, fields: Sequence[bytes]) -> OpenTurn:
    found = {n.decode(): v.decode() for n, v in zip(fields[::2], fields[1::2], strict=True)}
    preview, state = found.get("preview"), found["state"]
    return OpenTurn(
        ref=TurnRef(found["entry"], conversation, found.get("agent", "")),
        state="sending" if state == "sending" else _waiting_or_running(state),
        render=found["render"],
        writes=int(found["writes"]),
        tries=int(found["tries"]),
        preview=int(preview) if preview else None,
        nonce=found.get("nonce", ""),
        lost=max(0, int(found.get("dark", 1)) - 1),
    )


def _waiting_or_running(state: str) -> Literal["suspended", "running"]:
    return "suspended" if state == "suspended" else "running"
