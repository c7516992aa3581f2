"""Tasks over HTTP: how one stands, its result, and its end before that.

Nothing is kept of a task but what its conversation has: the events of its turn, and the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot.http.accounts.conversations import (
    NOT_KEPT,
    Asker,
    Conversations,
    SentMessage,
    TurnAnswer,
)
from bot.http.accounts.webhooks import WebhookRules
from bot.messages import Json, TaskContext
from bot.store.events import ENDS
from bot.store.sessions import WEBHOOK, is_task
from bot.turn.results import TIMEOUT

State = Literal["queued", "running", "suspended", "completed", "failed", "cancelled"]
OVER: frozenset[State] = frozenset({"completed", "failed", "cancelled"})
TIMED_OUT = "Request timed out after multiple retries"
CANCEL_SECONDS = 10.0
LOOK_SECONDS = 0.05
_STATES: Mapping[str, State] = {"done": "completed", "stopped": "cancelled"}
_KINDS = {"refused": "Refused", "failed": "TaskFailed", "stopped": "Cancelled"}
"""The kind of error of a task for whose end nothing more is known than its outcome."""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """How a task stands; times are in seconds since the epoch.

    `result` is that of a task which is over, `approval` what one that is suspended waits for.
    """

    task: SentMessage
    state: State
    created: float
    updated: float
    result: Json | None = None
    approval: Json | None = None

    @property
    def agent_type(self) -> str:
        """The agent or the instance, as the caller's account names it."""
        return agent_type(self.task.instance)


def agent_type(id: str) -> str:
    """How an account names an agent, or an instance of its own."""
    return id.rpartition("/")[2]


@dataclass(slots=True, repr=False)
class Tasks:
    """The tasks of all accounts; `webhooks` is None where nobody may hear of their ends."""

    conversations: Conversations
    webhooks: WebhookRules | None = None

    async def begin(
        self,
        asker: Asker,
        agent: str,
        text: str,
        context: TaskContext,
        *,
        idempotency: str | None = None,
        grows: bool = False,
        webhook: str = "",
        preset: str = "",
    ) -> SentMessage:
        """Accept a task for an agent or an instance; raises MessageReused and StoreUnavailable.

        `webhook` is the address that hears of its end, '' for none. `preset` is laid over the
        agent.
        """
        about = {"agent": context.specialization.shown_name(agent_type(agent))}
        if webhook:
            about[WEBHOOK] = webhook
        return await self.conversations.begin_task(
            asker,
            agent,
            text,
            context=context,
            about=about,
            idempotency=idempotency,
            grows=grows,
            preset=preset,
        )

    async def find(self, asker: Asker, task: str) -> SentMessage | None:
        """A task of the caller; None where it is nobody's, another's, or too old."""
        found = await self.conversations.find(asker, task, look=False)
        return found if found and is_task(found.line) else None

    async def of_account(self, account: str, task: str) -> SentMessage | None:
        """A task of anybody in an account, for those who answer its questions."""
        found = await self.conversations.of_account(account, task)
        return found if found and is_task(found.line) else None

    async def status(self, task: SentMessage) -> TaskStatus:
        """How a task stands now."""
        conversations, created = self.conversations, float(task.at)
        now = await conversations.sessions.progress(task.line, task.turn)
        newest = now.newest
        updated = _seconds(newest.id) if newest else created
        if newest is not None and newest.kind in ENDS:
            return self._ended(task, await conversations.told_answer(task))
        if now.state == "suspended":
            request = await conversations.requests.load(task.line, now.nonce)
            if request is not None and request.pending and not request.closed:
                question = await conversations.question(task.line, request)
                return TaskStatus(task, "suspended", created, updated, approval=question)
        if now.state:
            return TaskStatus(task, "running", created, updated)
        if now.waiting:
            return TaskStatus(task, "queued", created, created)
        lost = TurnAnswer("", failure=NOT_KEPT)
        return self._ended(task, await conversations.recorded_answer(task) or lost)

    def _ended(self, task: SentMessage, answer: TurnAnswer) -> TaskStatus:
        outcome = "failed" if answer.failure else str(answer.summary.get("outcome", "failed"))
        updated = answer.ended_at / 1000 if answer.ended_at else float(task.at)
        result = result_of(task, answer)
        return TaskStatus(task, _STATES.get(outcome, "failed"), float(task.at), updated, result)

    async def cancel(self, asker: Asker, task: SentMessage) -> TaskStatus:
        """Stop a task that is not over, and wait for its end; how it stands then."""
        status, clock = await self.status(task), self.conversations.clock
        if status.state in OVER:
            return status
        await self.conversations.stop(asker, task)
        until = clock.monotonic() + CANCEL_SECONDS
        while status.state not in OVER and clock.monotonic() < until:
            await asyncio.sleep(LOOK_SECONDS)
            status = await self.status(task)
        return status


def result_of(task: SentMessage, answer: TurnAnswer) -> Json:
    """What a task came to, as spec 5 has it: success, output, artifacts and metadata."""
    summary = answer.summary
    outcome = "failed" if answer.failure else str(summary.get("outcome", "failed"))
    output, metadata = answer.text, _metadata(task, answer)
    if outcome == "failed":
        kind = str(summary.get("error") or _KINDS["failed"])
        output = TIMED_OUT if kind == TIMEOUT else f"Error: {answer.failure or NOT_KEPT}"
        if answer.text:
            metadata["partial_output"] = answer.text
    if outcome != "done":
        metadata["error_type"] = str(summary.get("error") or _KINDS.get(outcome, "TaskFailed"))
        metadata["completion_status"] = "partial"
    return {
        "success": outcome == "done",
        "output": output,
        "artifacts": [*answer.artifacts],
        "metadata": metadata,
    }


def _metadata(task: SentMessage, answer: TurnAnswer) -> dict[str, Any]:
    summary = answer.summary
    return {
        "agent": task.about.get("agent") or agent_type(task.instance),
        "tools_used": list(summary.get("tools") or ()),
        "model": summary.get("model") or None,
        "completion_status": "partial" if summary.get("partial") else "complete",
        "usage": answer.usage,
    }


def _seconds(id: str) -> float:
    return int(id.partition("-")[0]) / 1000
