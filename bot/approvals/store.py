"""Approval requests in the store, when they are due, and what was allowed permanently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from bot.approvals.request import ApprovalRequest, load_request
from bot.messages import Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.journal import OpenTurn, Record, dump_records
from bot.store.outbox import dump_part, outbox_items

CLOSED_FOR_S = 48 * 3600
"""How long a closed request is kept, to answer late presses."""
RENDER_SLACK_S = 2 * 3600


@dataclass(frozen=True, slots=True)
class ApprovalStore:
    """One script for each step of an approval request."""

    client: StoreClient

    async def suspend(
        self,
        fence: Fence,
        turn: OpenTurn,
        records: Sequence[Record],
        request: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        renders: Sequence[str],
        seconds: float,
    ) -> tuple[str, list[OutboxItem]]:
        """Suspend a turn for at most `seconds`: its last records, the request, the question.

        `renders` are the digests of the prompt that must last as long. Returns the id of the
        newest record, and the parts as they are in the outbox.
        """
        line, ref = fence.line, turn.ref
        names = [
            keys.fence(line),
            keys.open_turn(line, ref.conversation),
            keys.transcript(line, ref.conversation, ref.agent),
            keys.outbox(line),
            keys.inbox(line),
            keys.approval(line, request.nonce),
            keys.timers(line),
            *(keys.render(line, digest) for digest in renders),
        ]
        async with turn.writing:
            args = [fence.token, ref.entry, turn.writes + 1]
            args += [request.nonce, request.dump(), request.due, int(seconds) + RENDER_SLACK_S]
            args += [len(records), *dump_records(records), *map(dump_part, parts)]
            last, *ids = await self.client.run_idempotent("suspend", names, args)
            turn.writes += 1
        turn.state = "suspended"
        return last.decode(), outbox_items(ids, parts)

    async def load(self, line: str, nonce: str) -> ApprovalRequest | None:
        """A request by its nonce; None where there is none (any more)."""
        body, version, shown = await self.client.read(
            "HMGET", keys.approval(line, nonce), "b", "v", "m"
        )
        if body is None:
            return None
        messages = [one.split(":") for one in (shown or b"").decode().split(",") if one]
        return load_request(body, int(version), [(int(chat), int(id)) for chat, id in messages])

    async def update(
        self,
        fence: Fence,
        entry: str,
        request: ApprovalRequest,
        parts: Sequence[OutgoingPart],
        grants: Mapping[str, bytes],
    ) -> list[OutboxItem] | None:
        """Replace a request, and settle the inbox entry that caused it ('' for none).

        None where the stored request is no longer the version that this one was made from.
        """
        line = fence.line
        names = [
            keys.fence(line),
            keys.inbox(line),
            keys.outbox(line),
            keys.approval(line, request.nonce),
            keys.timers(line),
            keys.grants(line, request.turn.conversation),
        ]
        args = [fence.token, entry, request.nonce, request.version, request.dump(), request.due]
        args += [len(grants), *(word for pair in grants.items() for word in pair)]
        args += map(dump_part, parts)
        done, *ids = await self.client.run_idempotent("update_approval", names, args)
        return None if done < 0 else outbox_items(ids, parts)

    async def supersede(
        self,
        fence: Fence,
        request: ApprovalRequest,
        records: Sequence[Record],
        parts: Sequence[OutgoingPart],
        settles: str = "",
    ) -> list[OutboxItem] | None:
        """Close a request and end its turn; also settles the inbox entry `settles`.

        None where the stored request is no longer the version that this one was made from.
        """
        line, ref = fence.line, request.turn
        names = [
            keys.fence(line),
            keys.open_turn(line, ref.conversation),
            keys.transcript(line, ref.conversation, ref.agent),
            keys.outbox(line),
            keys.approval(line, request.nonce),
            keys.timers(line),
            keys.inbox(line),
        ]
        args = [fence.token, ref.entry, request.nonce, request.version, request.dump()]
        args += [CLOSED_FOR_S, settles, len(records), *dump_records(records)]
        args += map(dump_part, parts)
        done, *ids = await self.client.run_idempotent("supersede", names, args)
        return None if done < 0 else outbox_items(ids, parts)

    async def open_nonce(self, line: str, conversation: str) -> str:
        """The nonce of the last request of a conversation's open turn; '' where there is none."""
        found = await self.client.read("HGET", keys.open_turn(line, conversation), "nonce")
        return (found or b"").decode()

    async def due_times(self, line: str) -> list[tuple[str, float]]:
        """Nonces of the requests whose turns are not over, with the time when each is due."""
        found = await self.client.read("ZRANGE", keys.timers(line), 0, -1, "WITHSCORES")
        return [(nonce.decode(), float(due)) for nonce, due in pairs_of(found)]

    async def expire(self, fence: Fence, nonce: str) -> None:
        """Take a request off the timers, and let it expire in a while."""
        names = [keys.fence(fence.line), keys.approval(fence.line, nonce), keys.timers(fence.line)]
        await self.client.run_idempotent(
            "expire_approval", names, [fence.token, nonce, CLOSED_FOR_S]
        )

    async def grants(self, line: str, conversation: str) -> dict[str, dict[str, Any]]:
        """What is allowed permanently in a conversation, by grant name."""
        found = await self.client.read("HGETALL", keys.grants(line, conversation))
        return {name.decode(): orjson.loads(body) for name, body in pairs_of(found)}

    async def revoke_grant(self, fence: Fence, conversation: str, grant: str) -> None:
        """Take a permanent permission back."""
        names = [keys.fence(fence.line), keys.grants(fence.line, conversation)]
        await self.client.run_idempotent("revoke_grant", names, [fence.token, grant])
