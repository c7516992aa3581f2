"""Approval requests in the store, when they are due, and what was allowed permanently."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bot.approvals.request import ApprovalRequest, load_request
from bot.messages import Fence, OutboxItem, OutgoingPart
from bot.store import keys
from bot.store.client import StoreClient, pairs_of
from bot.store.journal import OpenTurn, Record, dump_records, turn_keys
from bot.store.outbox import dump_part, outbox_items

CLOSED_FOR_S = 48 * 3600
"""How long a closed request is kept, to answer late presses."""
RENDER_SLACK_S = 2 * 3600


@dataclass(frozen=True, slots=True)
class ApprovalChange:
    """The next state of a request, and what is sent, settled and counted with it.

    `settles` is the inbox entry that caused it ('' for none), `end_records` the last records of a
    turn that ends. `reschedule` wakes the turn when the request is due.
    """

    request: ApprovalRequest
    parts: Sequence[OutgoingPart] = ()
    settles: str = ""
    grants: Mapping[str, bytes] = field(default_factory=dict)
    end_records: Sequence[Record] = ()
    reschedule: bool = True
    counter: str = ""


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
        line, lifetime = fence.line, int(seconds) + RENDER_SLACK_S
        names = [*turn_keys(line, turn.ref), keys.outbox, keys.inbox]
        names += [keys.approval(line, request.nonce), keys.timers]
        names += [keys.render(line, digest) for digest in renders]
        async with turn.writing:
            args = [turn.ref.entry, turn.writes + 1, request.nonce, request.dump(), request.due]
            args += [lifetime, len(records), *dump_records(records), *map(dump_part, parts)]
            last, *ids = await self.client.as_owner("suspend", fence, names, *args)
            turn.writes += 1
        turn.state = "suspended"
        return last.decode(), outbox_items(ids, parts)

    async def load(self, line: str, nonce: str) -> ApprovalRequest | None:
        """A request by its nonce; None if it does not exist, or no longer does."""
        key = keys.approval(line, nonce)
        body, version, shown = await self.client.read("HMGET", key, "b", "v", "m")
        if body is None:
            return None
        messages = [one.split(":") for one in (shown or b"").decode().split(",") if one]
        return load_request(body, int(version), [(int(chat), int(id)) for chat, id in messages])

    async def save(self, fence: Fence, change: ApprovalChange) -> list[OutboxItem] | None:
        """Replace a request, with all that its change brings.

        None where the stored request is no longer the version that this one was made from.
        """
        line, request, records = fence.line, change.request, change.end_records
        approval, turn = keys.approval(line, request.nonce), request.turn
        args: list[Any] = [request.nonce, request.version, request.dump()]
        if records:
            script = "supersede"
            names = [*turn_keys(line, turn), keys.outbox, approval, keys.timers, keys.inbox]
            args = [turn.entry, *args, CLOSED_FOR_S, change.settles]
            args += [len(records), *dump_records(records)]
        else:
            script, grants = "update_approval", keys.grants(line, turn.conversation)
            names = [keys.inbox, keys.outbox, approval, keys.timers, grants]
            args = [change.settles, *args, request.due, len(change.grants)]
            args += itertools.chain(*change.grants.items())
        parts = change.parts
        done, *ids = await self.client.as_owner(script, fence, names, *args, *map(dump_part, parts))
        return None if done < 0 else outbox_items(ids, parts)

    async def pending_in(self, line: str, conversation: str) -> ApprovalRequest | None:
        """The open request for which a conversation waits, if it does."""
        nonce = await self.client.read("HGET", keys.open_turn(line, conversation), "nonce")
        request = await self.load(line, nonce.decode()) if nonce else None
        return None if request is None or request.closed else request

    async def due_times(self, line: str) -> list[tuple[str, float]]:
        """Nonces of the requests whose turns are not over, with the time when each is due."""
        found = await self.client.read("ZRANGE", keys.timers(line), 0, -1, "WITHSCORES")
        return [(nonce.decode(), float(due)) for nonce, due in pairs_of(found)]

    async def expire(self, fence: Fence, nonce: str) -> None:
        """Take a request off the timers, and let it expire in a while."""
        names = (keys.approval(fence.line, nonce), keys.timers)
        await self.client.as_owner("expire_approval", fence, names, nonce, CLOSED_FOR_S)

    async def grants(self, line: str, conversation: str) -> dict[str, dict[str, Any]]:
        """What is allowed permanently in a conversation, by grant name."""
        found = await self.client.read("HGETALL", keys.grants(line, conversation))
        return {name.decode(): orjson.loads(body) for name, body in pairs_of(found)}

    async def revoke_grant(self, fence: Fence, conversation: str, grant: str) -> None:
        """Take a permanent permission back."""
        names = [keys.grants(fence.line, conversation)]
        await self.client.as_owner("revoke_grant", fence, names, grant)
