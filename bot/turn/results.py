"""How a turn ends: an outcome that is a value, and the sentence that goes with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import structlog

from bot.agents.runnable import RunnableAgent
from bot.approvals.request import ApprovalRequest
from bot.approvals.service import Approvers, Suspension, new_request, question_parts
from bot.approvals.store import ApprovalStore
from bot.line_context import Timers
from bot.messages import Buttons, Channel, Clock, Fence, IncomingMessage, OutgoingPart, TurnRef
from bot.ops.counters import Counters
from bot.ops.tasks import offload_if_long
from bot.store.journal import Record
from bot.turn import retry
from bot.turn.prompt import RenderedPrompt
from bot.turn.retry import Retry
from bot.turn.turn import Recorder

Outcome = Literal["done", "refused", "failed", "stopped"]

REFUSED = "I can't help with that."
SILENT = "I have nothing to add."
CUT = "_(The answer was cut here: it reached its length limit.)_"
FULL = "This conversation has grown too long for me. Send /new to begin a new one."
STOPPED = "_(stopped)_"
STOPPED_EARLY = "Stopped."
AGAIN = "the model is busy, trying again"
AGENT_GONE = "The agent that began this answer was removed, so it ends here."
TIRED = "I had to stop here: this took longer than I am allowed to work on one answer."
SPENT = "I have to stop here: {}"
TOO_OFTEN = "That were many requests in one minute. Please wait a little, then write again."
BUSY = "The model behind me does not answer right now. Please try again in a little while."
BROKEN = (
    "I can't answer at the moment: the model refused the request. "
    "The operator finds the reason in the log."
)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What the person is told at the end, in Markdown, and how the turn is remembered.

    `again` offers a button that asks for the answer once more.
    """

    outcome: Outcome
    text: str
    again: bool = False


def turn_result(outcome: Outcome, said: str, note: str = "") -> TurnResult:
    """An ending that keeps what was said and adds a note."""
    return TurnResult(outcome, "\n\n".join(part for part in (said, note) if part) or SILENT)


log = structlog.get_logger("turns")

OUTPUT = 1
"""Where the tokens that came out stand in the usage of an answer's record."""


class Responder:
    """Replies and questions; `shown` is the message that shows the growing answer, if one does."""

    def __init__(
        self, approvals: ApprovalStore, approvers: Approvers, clock: Clock, counters: Counters
    ) -> None:
        self._approvals = approvals
        self._approvers = approvers
        self._clock = clock
        self._counters = counters

    async def ask(
        self,
        job: TurnRequest,
        recorder: Recorder,
        render: RenderedPrompt,
        suspension: Suspension,
        shown: int | None,
    ) -> None:
        """Ask people: what was said so far, and the question, go out; nobody waits in memory."""
        approvers = self._approvers.of(job.plan, job.incoming.address.bot)
        now = self._clock.wall()
        sheet = new_request(suspension, recorder.turn, job.incoming, job.plan, approvers, now)
        parts = await self._asking(job, sheet, suspension.said, shown)
        calls = [one.call.id for one in suspension.asking]
        posted = await recorder.suspend(
            self._approvals,
            [recorder.asked(sheet.nonce, calls)],
            sheet,
            parts,
            [render.digest, render.tools_digest],
            job.plan.approval_seconds,
        )
        self._counters.add("turns:suspended")
        job.timers.set(sheet.nonce, sheet.due)
        await job.channel.deliver(posted)

    async def _asking(
        self, job: TurnRequest, sheet: ApprovalRequest, said: str, shown: int | None
    ) -> list[OutgoingPart]:
        told = await self._said(job, said, shown) if said else []
        reply_to = None if job.incoming.address.private else job.incoming.message or None
        return [*told, *question_parts(job.channel, sheet, reply_to)]

    async def _said(
        self, job: TurnRequest, text: str, shown: int | None, buttons: Buttons = ()
    ) -> list[OutgoingPart]:
        """What the agent says, as its filter lets it out, in parts."""
        address = job.incoming.address
        reply_to = None if address.private else job.incoming.message or None
        links = job.plan.link_previews

        def said() -> list[OutgoingPart]:
            out = job.plan.filter.redact_output(text)
            if not out:
                return []
            return job.channel.render(address, out, reply_to, shown, buttons, link_previews=links)

        return await offload_if_long(text, said)

    async def tell(
        self,
        job: TurnRequest,
        recorder: Recorder,
        end: TurnResult,
        records: list[Record],
        shown: int | None,
    ) -> None:
        """Record the reply with its rendered parts, and let them go."""
        buttons = retry.retry_button(job.entry) if end.again else ()
        parts = await self._said(job, end.text, shown, buttons)
        posted = await recorder.finish(records, [part.of(job.ref) for part in parts])
        self._counters.add(f"turns:{end.outcome}")
        self._note(job, recorder, end)
        await job.channel.deliver(posted)

    def _note(self, job: TurnRequest, recorder: Recorder, end: TurnResult) -> None:
        """A line for operators: whose turn it was and what it took, nothing of what was said."""
        records = recorder.recorded()
        used = [record.body["usage"] for record in records if record.kind == "model"]
        log.info(
            "turn.done",
            line=job.fence.line,
            conversation=job.incoming.address.conversation,
            agent=job.plan.agent,
            outcome=end.outcome,
            seconds=round(self._clock.wall() - _accepted_at(job.entry), 2),
            requests=len(used),
            calls=sum(record.kind == "result" for record in records),
            tokens_in=sum(sum(usage) - usage[OUTPUT] for usage in used),
            tokens_out=sum(usage[OUTPUT] for usage in used),
        )


def _accepted_at(entry: str) -> float:
    """When the store took an entry in (s): its id begins with the milliseconds."""
    return int(entry.partition("-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A turn to run: for whom, where, with which agent, under which fence.

    `again` is what it repeats, where a person asks for an answer once more; `alone` says that no
    other suspect of ending the host runs beside it.
    """

    fence: Fence
    entry: str
    incoming: IncomingMessage
    plan: RunnableAgent
    channel: Channel
    timers: Timers = field(default_factory=Timers)
    role: str = "everyone"
    again: Retry | None = None
    alone: bool = False

    @property
    def ref(self) -> TurnRef:
        """The turn's name in the store."""
        return TurnRef(self.entry, self.incoming.address.conversation, self.plan.agent)
