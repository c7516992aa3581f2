"""One turn: from the person's message to the recorded reply."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bot.events import Incoming, TurnRef
from bot.ops.counters import Counters
from bot.ports import Channel, Clock, Fence, Journal, Model, Opened, Record
from bot.tools.mcp.pool import Pool
from bot.tools.toolbox import Toolbox
from bot.turn import prompt
from bot.turn.budget import Budget, Limits
from bot.turn.calls import Calls
from bot.turn.ending import Ending
from bot.turn.plan import Plan
from bot.turn.progress import Progress
from bot.turn.prompt import Render
from bot.turn.recorder import Recorder
from bot.turn.transcripts import Transcript, Transcripts
from bot.turn.walk import Walk

CACHE_SECONDS = 300.0
KEEP_RENDER_AGAIN = 1800.0


@dataclass(frozen=True, slots=True)
class Job:
    """A turn to run: for whom, where, with which agent, under which fence."""

    fence: Fence
    entry: str
    incoming: Incoming
    plan: Plan
    channel: Channel

    @property
    def ref(self) -> TurnRef:
        """The turn's name in the store."""
        return TurnRef(self.entry, self.incoming.address.conversation, self.plan.agent)


class Runner:
    """Runs turns; holds nothing of a turn that the store does not have."""

    def __init__(
        self,
        model: Model,
        pool: Pool,
        journal: Journal,
        transcripts: Transcripts,
        clock: Clock,
        counters: Counters,
        limits: Limits,
    ) -> None:
        self._model = model
        self._pool = pool
        self._journal = journal
        self._transcripts = transcripts
        self._clock = clock
        self._counters = counters
        self._limits = limits
        self._kept: dict[tuple[str, str], float] = {}

    async def run(self, job: Job, stop: asyncio.Event) -> None:
        """Run a turn until its reply is sent; `stop` ends it early."""
        toolbox = Toolbox(self._pool, job.plan.servers, job.plan.whitelist)
        await toolbox.ready()
        transcript = self._transcripts.get(job.fence.line, job.ref)
        try:
            opened, render = await self._open(job, toolbox, transcript)
            if opened.turn.state == "running":
                await self._walk(job, toolbox, transcript, opened, render, stop)
            await job.channel.sent(job.entry)
        except BaseException:
            self._transcripts.forget(job.fence.line, job.ref)
            self._kept.clear()
            raise

    async def _walk(
        self,
        job: Job,
        toolbox: Toolbox,
        transcript: Transcript,
        opened: Opened,
        render: Render,
        stop: asyncio.Event,
    ) -> None:
        recorder = self._recorder(job, transcript, opened, render)
        address, clock = job.incoming.address, self._clock
        progress = Progress(job.channel, address, job.entry, clock, recorder.preview)
        progress.message = opened.turn.preview
        budget = Budget(self._limits, clock)
        calls = Calls(toolbox, render, recorder, budget, progress)
        walk = Walk(self._model, job.plan, render, recorder, calls, budget, progress, clock)
        async with progress.showing():
            end, records = await walk.to_an_ending(stop)
        await self._reply(job, recorder, end, records, progress.message)

    async def _reply(
        self, job: Job, recorder: Recorder, end: Ending, records: list[Record], shown: int | None
    ) -> None:
        """Record the reply with its rendered parts, and let them go."""
        address = job.incoming.address
        reply_to = None if address.private else job.incoming.message
        parts = job.channel.render(address, end.text, reply_to, shown)
        posted = await recorder.finish(records, [part.of(job.ref) for part in parts])
        self._counters.add(f"turns:{end.outcome}")
        await job.channel.deliver(posted)

    def _recorder(
        self, job: Job, transcript: Transcript, opened: Opened, render: Render
    ) -> Recorder:
        recorder = Recorder(self._journal, job.fence, opened.turn, transcript, self._clock)
        limits = self._limits
        recorder.start = transcript.trim(limits.history_turns, limits.history_chars)
        recorder.prefix = prompt.digest([render.digest, recorder.start, job.plan.model])
        return recorder

    async def _open(
        self, job: Job, toolbox: Toolbox, transcript: Transcript
    ) -> tuple[Opened, Render]:
        render = self._render(job.plan, toolbox, transcript)
        opened = await self._journal.begin(
            job.fence,
            job.ref,
            render.digest,
            _person_record(job),
            self._to_keep(job.fence.line, render),
            known=transcript.known,
            turns=self._limits.history_turns,
        )
        transcript.extend(opened.records)
        if opened.resumed:
            self._counters.add("turns:resumed")
            self._kept.clear()
            render = await self._stored_render(job.fence.line, opened.turn.render) or render
        transcript.render = render
        return opened, render

    def _render(self, plan: Plan, toolbox: Toolbox, transcript: Transcript) -> Render:
        """The conversation's render while the provider's cache is warm, else a new one."""
        now = self._clock.wall()
        tools, names = toolbox.offer()
        fresh = prompt.render(now, plan.instructions, toolbox.prompts(), tools, names)
        held = transcript.render
        warm = now - transcript.used_at < CACHE_SECONDS
        return held if held and warm and held.material == fresh.material else fresh

    def _to_keep(self, line: str, render: Render) -> dict[str, bytes]:
        """What the store does not surely hold for long enough yet."""
        now = self._clock.monotonic()
        if len(self._kept) > 10_000:
            self._kept = {k: at for k, at in self._kept.items() if now - at < KEEP_RENDER_AGAIN}
        wanted = {
            digest: body
            for digest, body in render.stored().items()
            if now - self._kept.get((line, digest), -KEEP_RENDER_AGAIN) >= KEEP_RENDER_AGAIN
        }
        self._kept |= {(line, digest): now for digest in wanted}
        return wanted

    async def _stored_render(self, line: str, digest: str) -> Render | None:
        body = await self._journal.render(line, digest)
        if body is None:
            return None
        tools = await self._journal.render(line, prompt.tools_of(body))
        return prompt.restore(digest, body, tools) if tools else None


def _person_record(job: Job) -> Record:
    incoming = job.incoming
    body = {
        "turn": job.entry,
        "at": incoming.sent_at,
        "message": incoming.message,
        "content": prompt.person_content(incoming),
    }
    return Record("person", body)
