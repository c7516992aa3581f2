"""What a turn says at its end, a reply or a question: recorded as rendered parts, then let go."""

from __future__ import annotations

import structlog

from bot.events import Outgoing
from bot.ops.aside import over
from bot.ops.counters import Counters
from bot.ports import Buttons, Clock, Record
from bot.tools.approvals import Sheet
from bot.turn import again
from bot.turn.approvers import Approvers
from bot.turn.ending import Ending
from bot.turn.job import Job
from bot.turn.prompt import Render
from bot.turn.recorder import Recorder
from bot.turn.suspension import Approvals, Suspension, asking, sheet_of

log = structlog.get_logger("turns")

OUTPUT = 1
"""Where the tokens that came out stand in the usage of an answer's record."""


class Replies:
    """Replies and questions; `shown` is the message that shows the growing answer, if one does."""

    def __init__(
        self, approvals: Approvals, approvers: Approvers, clock: Clock, counters: Counters
    ) -> None:
        self._approvals = approvals
        self._approvers = approvers
        self._clock = clock
        self._counters = counters

    async def ask(
        self,
        job: Job,
        recorder: Recorder,
        render: Render,
        suspension: Suspension,
        shown: int | None,
    ) -> None:
        """Ask people: what was said so far, and the question, go out; nobody waits in memory."""
        approvers = self._approvers.of(job.plan, job.incoming.address.bot)
        now = self._clock.wall()
        sheet = sheet_of(suspension, recorder.turn, job.incoming, job.plan, approvers, now)
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

    async def _asking(self, job: Job, sheet: Sheet, said: str, shown: int | None) -> list[Outgoing]:
        told = await self._said(job, said, shown) if said else []
        reply_to = None if job.incoming.address.private else job.incoming.message or None
        return [*told, *asking(job.channel, sheet, reply_to)]

    async def _said(
        self, job: Job, text: str, shown: int | None, buttons: Buttons = ()
    ) -> list[Outgoing]:
        """What the agent says, as its filter lets it out, in parts."""
        address = job.incoming.address
        reply_to = None if address.private else job.incoming.message or None
        links = job.plan.link_previews

        def said() -> list[Outgoing]:
            out = job.plan.filter.out(text)
            if not out:
                return []
            return job.channel.render(address, out, reply_to, shown, buttons, link_previews=links)

        return await over(len(text), said)

    async def tell(
        self, job: Job, recorder: Recorder, end: Ending, records: list[Record], shown: int | None
    ) -> None:
        """Record the reply with its rendered parts, and let them go."""
        buttons = again.button(job.entry) if end.again else ()
        parts = await self._said(job, end.text, shown, buttons)
        posted = await recorder.finish(records, [part.of(job.ref) for part in parts])
        self._counters.add(f"turns:{end.outcome}")
        self._note(job, recorder, end)
        await job.channel.deliver(posted)

    def _note(self, job: Job, recorder: Recorder, end: Ending) -> None:
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
