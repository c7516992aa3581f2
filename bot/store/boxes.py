"""A line's inbox and outbox."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson

from bot.events import Outgoing, TurnRef
from bot.ports.fence import Fence
from bot.ports.inbox import Accepted, Entry, Update
from bot.ports.outbox import Posted
from bot.store import keys
from bot.store.client import StoreClient

SEEN_FOR_MS = 48 * 3600 * 1000
NOTICE_FOR_S = 48 * 3600


class RedisInbox:
    """Accepted updates in a stream; implements `ports.Inbox`."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def accept(
        self, line: str, updates: Sequence[Update], fence: Fence | None = None
    ) -> Accepted:
        """Store what was not seen; raises StoreUnavailable at once, since the poller must wait."""
        names = [keys.inbox(line), keys.seen(line), keys.fence(line)]
        args: list[Any] = [SEEN_FOR_MS, fence.token if fence else 0]
        for update in updates:
            args += [update.name or update.id, update.id, update.raw]
        names += [keys.LINES_STIRRED, keys.STIRS]
        before, *ids = await self._client.run("accept", names, args)
        found = zip(ids, updates, strict=True)
        entries = [Entry(id.decode(), update.id, update.raw) for id, update in found if id]
        return Accepted(entries, before.decode())

    async def fetch(self, line: str, id: str) -> Entry | None:
        """One entry, or None where it is done."""
        words = ("XRANGE", keys.inbox(line), id, id)
        items = await self._client.patiently(lambda: self._client.command(*words))
        return _entry(*items[0]) if items else None

    async def pending(self, line: str, after: str = "", count: int = 1000) -> list[Entry]:
        """Entries that are not done, in order."""
        start = f"({after}" if after else "-"
        words = ("XRANGE", keys.inbox(line), start, "+", "COUNT", count)
        items = await self._client.patiently(lambda: self._client.command(*words))
        return [_entry(id, fields) for id, fields in items]

    async def settle(
        self,
        fence: Fence,
        entries: Sequence[str],
        parts: Sequence[Outgoing] = (),
        conv: str | None = None,
    ) -> list[Posted]:
        """Entries are done, and say this; a turn of the first that is open in `conv` is over."""
        names = [keys.fence(fence.line), keys.inbox(fence.line), keys.outbox(fence.line)]
        if conv is not None:
            names.append(keys.open_turn(fence.line, conv))
        args = [fence.token, len(entries), *entries, *map(dump, parts)]
        ids = await self._client.surely("settle", names, args)
        return posted(ids, parts)

    async def bury(
        self, fence: Fence, entry: str, why: str, parts: Sequence[Outgoing] = (), conv: str = ""
    ) -> list[Posted]:
        """Move an entry to the dead letters, and end its open turn."""
        line = fence.line
        names = [
            keys.fence(line),
            keys.inbox(line),
            keys.outbox(line),
            keys.dead(line),
            keys.open_turn(line, conv),
        ]
        args = [fence.token, entry, why, int(time.time()), *map(dump, parts)]
        ids = await self._client.surely("bury", names, args)
        return posted(ids, parts)


class RedisOutbox:
    """Parts to send in a stream; implements `ports.Outbox`."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def post(self, line: str, key: str, parts: Sequence[Outgoing]) -> list[Posted]:
        """Append notices, once for each key; the line's owner is told."""
        names = [keys.outbox(line), keys.notice(line, key), keys.lease(line)]
        names += [keys.LINES_STIRRED, keys.STIRS]
        ids = await self._client.surely("post", names, [NOTICE_FOR_S, *map(dump, parts)])
        return posted(ids, parts)

    async def unsent(self, line: str, after: str = "", count: int = 1000) -> list[Posted]:
        """Parts without a receipt, in order.

        Parts go out one by one in each chat, so only the head of a chat can have been sent already;
        a notice that was posted while nobody owned the line surely was not.
        """
        start = f"({after}" if after else "-"
        words = ("XRANGE", keys.outbox(line), start, "+", "COUNT", count)
        items = await self._client.patiently(lambda: self._client.command(*words))
        return [_unsent(id, fields) for id, fields in items]

    async def receipt(self, fence: Fence, part: str, turn: TurnRef | None) -> None:
        """A part is sent, or never can be."""
        line = fence.line
        names = [keys.fence(line), keys.outbox(line)]
        args: list[Any] = [fence.token, part]
        if turn:
            names += [keys.open_turn(line, turn.conversation), keys.inbox(line)]
            args.append(turn.entry)
        await self._client.surely("receipt", names, args)

    async def shown(self, fence: Fence, nonce: str, chat: int, message: int) -> bool:
        """A message of a chat shows a sheet; whether that has changed since it was asked.

        So does one that shows an admin's card, which is named `access:<nonce>:<admin>`.
        """
        names = [keys.fence(fence.line), keys.approval(fence.line, nonce)]
        args: list[Any] = [fence.token, f"{chat}:{message}"]
        script, kind, *rest = "shown", *nonce.split(":")
        if kind == "access":
            script, names[1], args[1:] = "carded", keys.request(rest[0]), [rest[1], message]
        return bool(await self._client.surely(script, names, args) == 2)


def dump(part: Outgoing) -> bytes:
    """A part as it is stored."""
    body: dict[str, Any] = {"c": part.chat, "m": part.method, "p": part.payload}
    if part.turn:
        body["t"] = [part.turn.entry, part.turn.conversation, part.turn.agent]
    if part.shows:
        body["s"] = part.shows
    if part.lapses:
        body["l"] = True
    return orjson.dumps(body)


def load(raw: bytes) -> Outgoing:
    """A stored part."""
    body = orjson.loads(raw)
    turn = TurnRef(*body["t"]) if "t" in body else None
    return Outgoing(body["c"], body["m"], body["p"], turn, body.get("s", ""), body.get("l", False))


def posted(ids: Sequence[bytes], parts: Sequence[Outgoing]) -> list[Posted]:
    """Parts with the ids that they got; nothing where the step was done before."""
    return [Posted(id.decode(), part) for id, part in zip(ids, parts, strict=False)]


def _unsent(id: bytes, fields: dict[bytes, bytes]) -> Posted:
    return Posted(id.decode(), load(fields[b"p"]), doubtful=fields.get(b"f") != b"0")


def _entry(id: bytes, fields: dict[bytes, bytes]) -> Entry:
    return Entry(id.decode(), int(fields[b"u"]), fields[b"r"])
