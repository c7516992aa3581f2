"""Transcripts and open turns; the transcript is the journal from which a turn resumes."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import orjson

from bot.errors import Poisoned, Suspected
from bot.events import Outgoing, TurnRef
from bot.ports.fence import Fence
from bot.ports.journal import Opened, OpenTurn, Record
from bot.ports.outbox import Posted
from bot.store import keys
from bot.store.boxes import dump, posted
from bot.store.client import StoreClient

RENDER_FOR_S = 2 * 3600
LIVES = 5
SUSPECT = 3
RESUMED, HELD, IS_SUSPECT = 1, 2, 3


class RedisJournal:
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
    ) -> Opened:
        """Open the turn, or find it open; the transcript comes along.

        Raises Suspected where it was open at several ends of the host, unless it runs `alone`, and
        Poisoned where it has had its lives and recorded nothing in the last of them.
        """
        line = fence.line
        names = [*_turn_keys(line, ref), *(keys.render(line, digest) for digest in renders)]
        head = [fence.token, ref.entry, ref.agent, render, message.kind, orjson.dumps(message.body)]
        names.append(keys.inbox(line))
        args = [*head, known, turns, RENDER_FOR_S, *renders.values()]
        args += [0 if alone else SUSPECT, secrets.token_hex(6)]
        resumed, fields, records = await self._client.surely("begin", names, args)
        turn = _open_turn(ref.conversation, fields)
        if resumed == IS_SUSPECT:
            raise Suspected(f"open at {turn.tries} ends of the host")
        held = resumed == HELD
        if not held and turn.state != "sending" and turn.tries > LIVES:
            found = Opened(turn, True, [_record(*item) for item in records])
            raise Poisoned(f"begun {turn.tries - 1} times without coming to anything", found)
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
        parts: Sequence[Outgoing],
    ) -> tuple[str, list[Posted]]:
        """Log the reply and put its parts into the outbox; the id of the newest record."""
        line = fence.line
        names = [*_turn_keys(line, turn.ref), keys.outbox(line), keys.inbox(line)]
        async with turn.writing:
            head = [fence.token, turn.ref.entry, turn.writes + 1, len(records)]
            args = [*head, *_flat(records), *map(dump, parts)]
            last, *ids = await self._client.surely("finish", names, args)
            turn.writes += 1
        turn.state = "sending"
        return last.decode(), posted(ids, parts)

    async def note_preview(self, fence: Fence, turn: OpenTurn, message: int) -> None:
        """Remember the message that shows the growing answer."""
        names = [keys.fence(fence.line), keys.open_turn(fence.line, turn.ref.conversation)]
        await self._client.surely("preview", names, [fence.token, turn.ref.entry, message])
        turn.preview = message

    async def boundary(
        self, fence: Fence, ref: TurnRef, record: Record, parts: Sequence[Outgoing]
    ) -> list[Posted]:
        """Log a boundary; its inbox entry goes with it."""
        line = fence.line
        log = keys.log(line, ref.conversation, ref.agent)
        names = [keys.fence(line), keys.inbox(line), keys.outbox(line), log]
        args = [fence.token, ref.entry, *_flat([record]), *map(dump, parts)]
        return posted(await self._client.surely("boundary", names, args), parts)

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
    return Record(kind.decode(), orjson.loads(body), id.decode())


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
