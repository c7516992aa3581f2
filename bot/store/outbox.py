"""A line's parts to send, each with its own receipt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from bot.messages import Fence, OutboxItem, OutgoingPart, PartKind, TurnRef
from bot.store import keys
from bot.store.client import StoreClient

NOTICE_FOR_S = 48 * 3600
STORED_KINDS: dict[PartKind, str] = {
    "message": "sendMessage",
    "edit": "editMessageText",
    "clear_keyboard": "editMessageReplyMarkup",
    "callback_answer": "answerCallbackQuery",
}
"""The words that stand for the kinds in the store; earlier releases wrote them as well."""
KINDS = {stored: kind for kind, stored in STORED_KINDS.items()}


class Outbox:
    """Parts to send in a stream; implements `ports.Outbox`."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def post(self, line: str, key: str, parts: Sequence[OutgoingPart]) -> list[OutboxItem]:
        """Append notices, once for each key; the line's owner is told."""
        names = [keys.outbox(line), keys.notice(line, key), keys.lease(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        ids = await self._client.surely("post", names, [NOTICE_FOR_S, *map(dump_part, parts)])
        return outbox_items(ids, parts)

    async def unsent(self, line: str, after: str = "", count: int = 1000) -> list[OutboxItem]:
        """Parts without a receipt, in order.

        Parts go out one by one in each chat, so only the head of a chat can have been sent already;
        a notice that was posted while nobody owned the line surely was not.
        """
        start = f"({after}" if after else "-"
        words = ("XRANGE", keys.outbox(line), start, "+", "COUNT", count)
        items = await self._client.patiently(lambda: self._client.command(*words))
        return [_item(id, fields) for id, fields in items]

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


def dump_part(part: OutgoingPart) -> bytes:
    """A part as it is stored."""
    body: dict[str, Any] = {"c": part.chat, "m": STORED_KINDS[part.kind], "p": part.payload}
    if part.turn:
        body["t"] = [part.turn.entry, part.turn.conversation, part.turn.agent]
    if part.tracks:
        body["s"] = part.tracks
    if part.best_effort:
        body["l"] = True
    return orjson.dumps(body)


def load_part(raw: bytes) -> OutgoingPart:
    """A stored part."""
    body = orjson.loads(raw)
    turn = TurnRef(*body["t"]) if "t" in body else None
    return OutgoingPart(
        body["c"], KINDS[body["m"]], body["p"], turn, body.get("s", ""), body.get("l", False)
    )


def outbox_items(ids: Sequence[bytes], parts: Sequence[OutgoingPart]) -> list[OutboxItem]:
    """Parts with the ids that they got; nothing where the step was done before."""
    return [OutboxItem(id.decode(), part) for id, part in zip(ids, parts, strict=False)]


def _item(id: bytes, fields: dict[bytes, bytes]) -> OutboxItem:
    return OutboxItem(id.decode(), load_part(fields[b"p"]), maybe_sent=fields.get(b"f") != b"0")
