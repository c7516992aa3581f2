"""Sheets of calls that wait for people, their timers, and what was allowed for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bot.approvals.request import ApprovalRequest, load_request
from bot.messages import Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.journal import OpenTurn, Record
from bot.store.outbox import dump_part, outbox_items

KEEP_S = 48 * 3600
RENDER_SLACK_S = 2 * 3600


class ApprovalStore:
    """Implements `bot.approvals.store.ApprovalStore`: one script for each step."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def suspend(
        self,
        fence: Fence,
        turn: OpenTurn,
        records: Sequence[Record],
        sheet: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        renders: Sequence[str],
        seconds: float,
    ) -> tuple[str, list[OutboxItem]]:
        """The turn waits, for at most so many seconds; newest record's id, and the parts."""
        line, ref = fence.line, turn.ref
        names = [
            keys.fence(line),
            keys.open_turn(line, ref.conversation),
            keys.log(line, ref.conversation, ref.agent),
            keys.outbox(line),
            keys.inbox(line),
            keys.approval(line, sheet.nonce),
            keys.timers(line),
            *(keys.render(line, digest) for digest in renders),
        ]
        lifetime = int(seconds) + RENDER_SLACK_S
        async with turn.writing:
            head = [fence.token, ref.entry, turn.writes + 1, sheet.nonce, sheet.dump(), sheet.due]
            args = [*head, lifetime, len(records), *_flat(records), *map(dump_part, parts)]
            last, *ids = await self._client.surely("suspend", names, args)
            turn.writes += 1
        turn.state = "suspended"
        return last.decode(), outbox_items(ids, parts)

    async def sheet(self, line: str, nonce: str) -> ApprovalRequest | None:
        """A sheet by its nonce, or None where there is none (any more)."""
        command = self._client.command
        name = keys.approval(line, nonce)
        body, version, messages = await self._client.patiently(
            lambda: command("HMGET", name, "b", "v", "m")
        )
        if body is None:
            return None
        shown = [one.split(":") for one in (messages or b"").decode().split(",") if one]
        return load_request(
            body, int(version), [(int(chat), int(number)) for chat, number in shown]
        )

    async def decide(
        self,
        fence: Fence,
        entry: str,
        after: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        grants: Mapping[str, bytes],
    ) -> list[OutboxItem] | None:
        """Store a sheet over the version it was made from; None where that is another by now."""
        line = fence.line
        names = [
            keys.fence(line),
            keys.inbox(line),
            keys.outbox(line),
            keys.approval(line, after.nonce),
            keys.timers(line),
            keys.grants(line, after.turn.conversation),
        ]
        head = [fence.token, entry, after.nonce, after.version, after.dump(), after.due]
        given = [word for pair in grants.items() for word in pair]
        args = [*head, len(grants), *given, *map(dump_part, parts)]
        done, *ids = await self._client.surely("decide", names, args)
        return None if done < 0 else outbox_items(ids, parts)

    async def supersede(
        self,
        fence: Fence,
        after: ApprovalRequest,
        records: Sequence[Record],
        parts: Sequence[OutgoingPart],
        settles: str = "",
    ) -> list[OutboxItem] | None:
        """End the sheet's turn; None where the sheet is another than it was made from."""
        line, ref = fence.line, after.turn
        names = [
            keys.fence(line),
            keys.open_turn(line, ref.conversation),
            keys.log(line, ref.conversation, ref.agent),
            keys.outbox(line),
            keys.approval(line, after.nonce),
            keys.timers(line),
            keys.inbox(line),
        ]
        head = [fence.token, ref.entry, after.nonce, after.version, after.dump(), KEEP_S, settles]
        args = [*head, len(records), *_flat(records), *map(dump_part, parts)]
        done, *ids = await self._client.surely("supersede", names, args)
        return None if done < 0 else outbox_items(ids, parts)

    async def asked_in(self, line: str, conversation: str) -> str:
        """The nonce of the sheet that a conversation's open turn has asked last, or nothing."""
        words = ("HGET", keys.open_turn(line, conversation), "nonce")
        found = await self._client.patiently(lambda: self._client.command(*words))
        return (found or b"").decode()

    async def waiting(self, line: str) -> list[tuple[str, float]]:
        """Nonces of all sheets whose turns are not over, with the time when each is due."""
        words = ("ZRANGE", keys.timers(line), 0, -1, "WITHSCORES")
        flat = await self._client.patiently(lambda: self._client.command(*words))
        return [(nonce.decode(), float(due)) for nonce, due in pairs_of(flat)]

    async def forget(self, fence: Fence, nonce: str) -> None:
        """A sheet has done its work."""
        line = fence.line
        names = [keys.fence(line), keys.approval(line, nonce), keys.timers(line)]
        await self._client.surely("forget", names, [fence.token, nonce, KEEP_S])

    async def grants(self, line: str, conversation: str) -> dict[str, dict[str, Any]]:
        """What is allowed for good in a conversation: by whom, and when."""
        words = ("HGETALL", keys.grants(line, conversation))
        found = await self._client.patiently(lambda: self._client.command(*words))
        return {name.decode(): orjson.loads(body) for name, body in pairs_of(found)}

    async def revoke(self, fence: Fence, conversation: str, grant: str) -> None:
        """Something is allowed no more."""
        names = [keys.fence(fence.line), keys.grants(fence.line, conversation)]
        await self._client.surely("revoke", names, [fence.token, grant])


def _flat(records: Sequence[Record]) -> list[Any]:
    return [word for record in records for word in (record.kind, orjson.dumps(record.body))]
