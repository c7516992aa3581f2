"""A line's parts to send, each with its own receipt."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bot.messages import Fence, OutboxItem, OutgoingPart, PartKind, TurnRef
from bot.store import keys
from bot.store.client import StoreClient, pairs_of

POSTED_FOR_S = 48 * 3600
FAILURES_FOR_S = 48 * 3600
CLOSED_FOR_S = 30 * 24 * 3600
MOST_OF_CLOSED = 20
"""How many dead letters are kept of a chat in which the bot may not write: the newest."""
PAGE = 1000
ACCESS_CARD, QUESTION_CARD = "access", "question"
MENU = "menu:"
"""Before the nonce of a menu whose message is tracked."""
MENU_MESSAGE_FOR_S = 3600
CARD_KEYS = {ACCESS_CARD: keys.access_request, QUESTION_CARD: keys.question_cards}
"""What a card can show, and the kind of key that has the messages of its cards."""
STORED_KINDS: dict[PartKind, str] = {
    "message": "sendMessage",
    "edit": "editMessageText",
    "clear_keyboard": "editMessageReplyMarkup",
    "callback_answer": "answerCallbackQuery",
}
"""The words that stand for the kinds in the store; earlier releases wrote them as well."""
KINDS = {stored: kind for kind, stored in STORED_KINDS.items()}


@dataclass(frozen=True, slots=True)
class Failures:
    """How often sending a part failed, over all owners of its line.

    `faults` counts answers that something failed, `unanswered` answers that never came. `served`:
    others were sent something in the meantime.
    """

    faults: int = 0
    unanswered: int = 0
    served: bool = False


@dataclass(frozen=True, slots=True)
class Outbox:
    """The outboxes of all lines, each a stream."""

    client: StoreClient

    async def post(self, line: str, key: str, parts: Sequence[OutgoingPart]) -> list[OutboxItem]:
        """Append parts, once for a key, and notify the line's owner; needs no fence."""
        names = [keys.outbox(line), keys.posted(line, key), keys.lease(line)]
        names += [keys.LINES_CHANGED, keys.LINE_CHANGES]
        args = [POSTED_FOR_S, *map(dump_part, parts)]
        return outbox_items(await self.client.run_idempotent("post", names, args), parts)

    async def unsent(self, line: str) -> list[OutboxItem]:
        """Parts without a receipt, in order.

        An earlier owner may have sent them: parts go out one by one in each chat, so only the first
        of a chat. A part that was posted while nobody owned the line cannot have been sent.
        """
        found: list[OutboxItem] = []
        start, key = "-", keys.outbox(line)
        while page := await self.client.read("XRANGE", key, start, "+", "COUNT", PAGE):
            found += [outbox_item(id, fields) for id, fields in page]
            start = f"({found[-1].id}"
        return found

    async def receipt(self, fence: Fence, item: OutboxItem, *, delivered: bool = True) -> None:
        """Remove a part that was sent, or may be left out; the last part of a turn ends it.

        If it was `delivered` late, the note in its turn's history is removed.
        """
        turn, late, line = item.part.turn, item.part.late_for, fence.line
        names: list[keys.AnyKey] = [keys.outbox, keys.failing]
        args: list[Any] = [item.id, turn.entry if turn else ""]
        if turn:
            names += [keys.open_turn(line, turn.conversation), keys.inbox]
        elif late and delivered:
            names.append(keys.transcript(line, late.conversation, late.agent))
            args.append(orjson.dumps({"turn": late.entry}))
        await self.client.as_owner("receipt", fence, names, *args)

    async def set_aside(
        self, fence: Fence, item: OutboxItem, why: str, told: OutgoingPart | None, *, keep: bool
    ) -> list[OutboxItem]:
        """Remove a part that was never delivered; its turn's history says so.

        With `keep` it becomes a dead letter, and its chat is `told`, once for a turn. Of a chat
        that cannot be told, only the newest letters stay.
        """
        turn, line = item.part.turn, fence.line
        entry = turn.entry if turn else ""
        names: list[keys.AnyKey] = [keys.outbox, keys.failing, keys.dead_letters]
        names.append(keys.posted(line, f"refused:{entry or item.id}"))
        names.append(keys.closed(line, item.part.chat))
        if turn:
            transcript = keys.transcript(line, turn.conversation, turn.agent)
            names += [keys.open_turn(line, turn.conversation), keys.inbox, transcript]
        record = orjson.dumps({"turn": entry, "why": why})
        args: list[Any] = [item.id, entry, why, record, POSTED_FOR_S, int(time.time())]
        args += [MOST_OF_CLOSED, CLOSED_FOR_S]
        if keep:  # the turn is over when its letter is sent after all
            late = replace(item.part, turn=None, late_for=turn or item.part.late_for)
            args += map(dump_part, (late, told) if told else (late,))
        ids = await self.client.as_owner("set_aside", fence, names, *args)
        return outbox_items(ids, [told] if told else [])

    async def block_chat(self, fence: Fence, chat: int, seconds: float) -> None:
        """Note that a chat accepts nothing for some seconds."""
        args = (chat, math.ceil(seconds * 1000))
        await self.client.as_owner("block_chat", fence, [keys.frozen], *args)

    async def blocked_chats(self, line: str) -> dict[int, float]:
        """For how many more seconds each chat accepts nothing, by the store's clock."""
        found = await self.client.read("ZRANGE", keys.frozen(line), 0, -1, "WITHSCORES")
        if not found:
            return {}
        seconds, micros = await self.client.read("TIME")
        now = int(seconds) + int(micros) / 1e6
        return {int(chat): float(until) / 1000 - now for chat, until in pairs_of(found)}

    async def failures(self, line: str, part: str) -> Failures:
        """How often sending a part failed so far."""
        found = await self.client.read("HGET", keys.failing(line), part)
        return Failures(*orjson.loads(found)) if found else Failures()

    async def note_failures(self, fence: Fence, part: str, failures: Failures) -> None:
        """Keep how often sending a part failed, until it is removed."""
        counts = orjson.dumps([failures.faults, failures.unanswered, failures.served])
        args = (part, counts, FAILURES_FOR_S)
        await self.client.as_owner("note_failures", fence, [keys.failing], *args)

    async def mark_shown(self, fence: Fence, nonce: str, chat: int, message: int) -> bool:
        """Note the message that shows an approval request; True if that has changed since.

        The same for a card, see `card_id`, and for a menu, see `menu_id`.
        """
        if nonce.startswith(MENU):
            names = [keys.menu_message(fence.line, nonce.removeprefix(MENU))]
            await self.client.as_owner("menu_sent", fence, names, message, MENU_MESSAGE_FOR_S)
            return False
        if card := parse_card_id(nonce):
            kind, request, person = card
            names, args = [CARD_KEYS[kind](request)], (person, message)
            found = await self.client.as_owner("card_sent", fence, names, *args)
        else:
            names, shown = [keys.approval(fence.line, nonce)], f"{chat}:{message}"
            found = await self.client.as_owner("approval_sent", fence, names, shown)
        return bool(found == 2)


def menu_id(nonce: str) -> str:
    """The name under which the outbox tracks the message of a menu."""
    return f"{MENU}{nonce}"


def card_id(kind: str, nonce: str, person: int) -> str:
    """The name under which the outbox tracks the card that shows a request to a person."""
    return f"{kind}:{nonce}:{person}"


def parse_card_id(name: str) -> tuple[str, str, int] | None:
    """Kind, request and person of the card that a tracked message shows; None for other names."""
    kind, _, rest = name.partition(":")
    nonce, _, person = rest.rpartition(":")
    return (kind, nonce, int(person)) if kind in CARD_KEYS and nonce else None


def dump_part(part: OutgoingPart) -> bytes:
    """A part as it is stored."""
    body: dict[str, Any] = {"c": part.chat, "m": STORED_KINDS[part.kind], "p": part.payload}
    if part.turn:
        body["t"] = [part.turn.entry, part.turn.conversation, part.turn.agent]
    if part.tracks:
        body["s"] = part.tracks
    if part.best_effort:
        body["l"] = True
    if part.late_for:
        body["d"] = [part.late_for.entry, part.late_for.conversation, part.late_for.agent]
    return orjson.dumps(body)


def load_part(raw: bytes) -> OutgoingPart:
    """A stored part."""
    body = orjson.loads(raw)
    turn, late_for = (TurnRef(*body[name]) if name in body else None for name in ("t", "d"))
    kind, tracks, best_effort = KINDS[body["m"]], body.get("s", ""), body.get("l", False)
    return OutgoingPart(body["c"], kind, body["p"], turn, tracks, best_effort, late_for)


def outbox_item(id: bytes, fields: Any) -> OutboxItem:
    """A part of the stream, as commands and as scripts return it."""
    found = dict(pairs_of(fields))
    return OutboxItem(id.decode(), load_part(found[b"p"]), found.get(b"f") != b"0")


def outbox_items(ids: Sequence[bytes], parts: Sequence[OutgoingPart]) -> list[OutboxItem]:
    """Parts with the ids that they got; nothing where the step was done before."""
    return [OutboxItem(id.decode(), part) for id, part in zip(ids, parts, strict=False)]
