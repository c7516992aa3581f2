"""One turn: its records in the journal and in memory, and what goes out at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog

from bot.agents.resolver import RunnableAgent
from bot.approvals.request import ApprovalRequest, Suspension
from bot.approvals.service import TurnServices, new_request
from bot.approvals.view import question_parts
from bot.errors import RequestRefused
from bot.messages import (
    WAITING,
    Answer,
    Block,
    IncomingMessage,
    Json,
    LineEntry,
    OutgoingPart,
    TurnRef,
    TurnSummary,
    Usage,
    is_whole,
    text_of,
)
from bot.ops.tasks import offload_if_long
from bot.store.journal import OpenTurn, Record, end_record
from bot.tools.calls import Call, Result, read_call, result_record
from bot.turn.artifacts import TurnArtifacts, artifacts_in
from bot.turn.prompt import RenderedPrompt, content_hash, person_content
from bot.turn.results import (
    ANSWERED_ANEW,
    LEFT_OUT,
    UNREAD,
    Retry,
    TurnResult,
    over_http,
    partial_facts,
    retry_button,
)
from bot.turn.transcript import THOUGHTS, TURN, Transcript, View, calls_of, said_in
from bot.usage.budgets import TurnUsage
from bot.usage.pricing import KnownPrompt, known_prompt, most_tokens
from bot.usage.reservation import TurnBudget
from registry.models import known

T = TypeVar("T")

log = structlog.get_logger("turn")


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A turn to run: for which inbox entry, whose message, with which agent.

    `retry` is what it repeats where a person asks for an answer again, `approval` is given where it
    has waited for people. `isolated`: no other suspect of crashing the host runs beside it.
    """

    entry: LineEntry
    incoming: IncomingMessage
    agent: RunnableAgent
    role: str = "everyone"
    retry: Retry | None = None
    approval: ApprovalRequest | None = None
    isolated: bool = False

    @property
    def ref(self) -> TurnRef:
        """The turn's name in the store."""
        return TurnRef(self.entry.id, self.incoming.address.conversation, self.agent.id)

    def person_record(self) -> Record:
        """The turn's first record: the message that it answers."""
        incoming, retry = self.incoming, self.retry
        body = {
            "turn": self.entry.id,
            "at": incoming.sent_at,
            "message": incoming.message,
            "by": incoming.person.id,
        }
        if incoming.address.stream:
            body["stream"] = incoming.address.stream
        if retry:
            content, more = retry.content_for(incoming.person), {"again": retry.turn}
        else:
            content = person_content(incoming, self.agent.filter.secrets.redact)
            more = {"unread": incoming.unsupported} if incoming.unsupported else {}
        body |= {"content": content, **more}
        return Record("person", body | {"given": self._given()} if self.agent.has_rules else body)

    def _given(self) -> Json:
        """What rules read of the message, also once the turn has waited for people."""
        from bot.profiles.state import given_in

        text = self.incoming.text
        if self.retry and self.retry.given:
            return self.retry.given
        if self.retry:  # the host's line stands above what the person wrote
            text = text_of(map(dict, self.retry.content)).partition("\n")[2]
        return given_in(self.incoming, text, self.agent.filter.secrets.redact)


@dataclass(repr=False, eq=False)
class Turn:
    """An open turn: what is recorded of it, what it has used, and how it ends.

    Each step is recorded before the next one is made: after a crash the turn continues from its
    records. `prefix` names what the model has read before its next answer, `head` the model, its
    system prompt (without the time) and its tools, `view` what of the transcript is sent. `note` is
    for the person, about what had to be left out of that. `stream` takes the answer over HTTP.
    `passing` stands at the end of the next request alone; `reading` names what that is.
    """

    services: TurnServices
    request: TurnRequest
    opened: OpenTurn
    transcript: Transcript
    prompt: RenderedPrompt
    budget: TurnBudget

    def __post_init__(self) -> None:
        self.incoming, self.agent = self.request.incoming, self.request.agent
        entry = self.request.entry
        self.id, self.line, self.stop = entry.id, entry.line, entry.stop
        limits, model = self.agent.limits, self.agent.model
        self.usage = TurnUsage(limits, self.services.clock)
        sizes = (limits.history_turns, limits.history_chars, self._room())
        self.view = self.transcript.trim(*sizes, most=self.agent.most_turns)
        self.note, self._fallback = "", ""
        turn = self.incoming.address.stream
        self.stream = self.services.events.stream(self.line.fence, turn) if turn else None
        self.artifacts = self._kept_artifacts() if self.stream else None
        self._partials = 0
        self.head = content_hash([self.prompt.content, model])
        self._renew_prefix()
        self.answers: list[Record] = []
        self._answers_shown = 0
        self._unwritten: list[Record] = []
        self.passing: Sequence[Block] = ()
        self.reading: Sequence[str] = ()
        self._note_next_request = False
        self._resume()

    def _kept_artifacts(self) -> TurnArtifacts:
        """Where the files of tools go: a client over HTTP may fetch them."""
        services, line = self.services, self.line.fence.line
        redact, stream = self.agent.filter.secrets.redact, self.incoming.address.stream or ""
        store = services.events.artifacts
        found = TurnArtifacts(store, line, stream, redact, services.clock.wall)
        found.resume(self.recorded())
        return found

    def _resume(self) -> None:
        """Take over what was recorded of this turn before a crash or an approval."""
        for record in self.recorded():
            if record.kind == "model":
                self.answers.append(record)
                self.prefix = record.body["prefix"]
            elif record.kind == "asked" and self.stream is None:
                self._answers_shown = len(self.answers)
            elif record.kind == "partial":
                self._partials += 1
            elif record.kind == "started":
                self.usage.calls += 1
            elif record.kind == "person" and "unread" in record.body:
                self.note = UNREAD.format(record.body["unread"])
        self.usage.requests = len(self.answers)
        attempts = 0 if self.open_calls() else self.opened.unrecorded_attempts
        self.budget.unrecorded_attempts = attempts

    def _room(self) -> int | None:
        """The tokens that the model has for the conversation; None where nothing is known.

        A resumed turn keeps the history that it began with.
        """
        info = known(self.agent.model)
        if info is None or any(record.kind == "model" for record in self.recorded()):
            return None
        return max(info.context // 4, info.context - self.agent.max_tokens)

    def _renew_prefix(self) -> None:
        view, model = self.view, self.agent.model
        prefix = content_hash([self.prompt.digest, view.start, model, *sorted(view.omitted)])
        self.prefix = content_hash([prefix, self._fallback]) if self._fallback else prefix

    def fall_back(self, model: str) -> None:
        """Another model answers from now on."""
        self._fallback = model
        self.prefix = content_hash([self.prefix, model])
        self.head = content_hash([self.head, model])

    def drop_thinking(self, attempt: int) -> None:
        """Drop all thinking so far, for this and later turns."""
        self.view = replace(self.view, omitted=self.view.omitted | {THOUGHTS + self.id})
        self.prefix = content_hash([self.prefix, attempt])

    def leave_out(self, view: View, error: RequestRefused) -> None:
        """Send what this view shows, as more was refused; the next answer records that."""
        words, cause = str(error), error.cause
        log.warning("model.narrowed", agent=self.agent.id, error=words, cause=cause)
        self.services.counters.add("turns:narrowed")
        omitted = view.omitted - self.view.omitted
        if view.start != self.view.start or any(name.startswith(TURN) for name in omitted):
            others = self.note.replace(LEFT_OUT, "").strip()
            self.note = "\n\n".join(filter(None, (others, LEFT_OUT)))
        self.view = view
        self._renew_prefix()

    @property
    def began_with(self) -> tuple[str, str]:
        """The agent and the preset with which it began, also where others answer here by now."""
        return self.opened.ref.agent, self.opened.preset

    def recorded(self) -> Sequence[Record]:
        """All records of this turn that are in the journal."""
        return self.transcript.of_turn(self.id)

    def made(self) -> list[Record]:
        """All records of this turn, also those that are not written yet."""
        return [*self.recorded(), *self._unwritten]

    def said(self, *, goes_on: bool = False) -> str:
        """The text of this turn's answers that was not sent before the turn last waited.

        Where the turn `goes_on`, what may be a draft is none of it.
        """
        return said_in(self.answers[self._answers_shown :], goes_on=goes_on)

    @property
    def has_draft(self) -> bool:
        """Whether the newest answer is whole.

        Before a request that means that a rule asked for another step.
        """
        newest = self.answers[-1].body if self.answers else None
        return newest is not None and is_whole(newest["content"], newest["stop"])

    def calls(self, answer: Record) -> list[Call]:
        """The calls of an answer."""
        blocks = calls_of(answer.body["content"])
        return [read_call(block, self.prompt.names) for block in blocks]

    def open_calls(self) -> list[Call]:
        """The newest answer's calls that have no result: they waited, or the host ended."""
        results = {r.body["call"] for r in self.recorded() if r.kind == "result"}
        newest = self.calls(self.answers[-1]) if self.answers else []
        return [call for call in newest if call.id not in results]

    def known_prompt(self) -> KnownPrompt:
        """What the newest answer in this conversation tells about the size of its next request."""
        found = known_prompt(self.transcript.newest_first(), self.head)
        if self.passing:
            return replace(found, added=found.added + most_tokens(self.passing))
        return found

    async def grants(self) -> Collection[str]:
        """What people allowed for good in this conversation, and is valid for this person today."""
        services, incoming = self.services, self.incoming
        found = await services.approvals.grants(self.line.name, self.opened.ref.conversation)
        agent = services.current_agent(*self.agent.names) or self.agent
        bot, person = incoming.address.bot, incoming.person.id
        return services.approvers.valid_grants(found, agent, bot, person)

    # --- recording ---

    def add_answer(self, answer: Answer, *, partial: Json | None = None) -> Record:
        """Make the record of an answer, or of a `partial` one with what is known of that.

        `record` and `finish` write it.
        """
        usage = answer.usage
        body = {
            "turn": self.id,
            "content": answer.content,
            "stop": answer.stop,
            "model": answer.model,
            "usage": [usage.input, usage.output, usage.cache_read, usage.cache_write],
            "prefix": self.prefix,
            "start": self.view.start,
            "head": self.head,
            "at": int(self.services.clock.wall()),
        }
        if self.view.omitted:
            body["omitted"] = sorted(self.transcript.kept_in(self.view).omitted)
        if self.reading:
            body["read"] = [*self.reading]
            self.passing = self.reading = ()
        record = Record("model", {**body, **partial} if partial else body)
        self.answers.append(record)
        self._unwritten.append(record)
        return record

    def add(self, *records: Record) -> None:
        """Add records that are written together with the next ones."""
        self._unwritten += records

    def add_interrupted(self, call: Call, result: Result) -> None:
        """Make the record of a call that was stopped; `finish` writes it."""
        self._unwritten.append(self.result_record(call, result))

    def result_record(self, call: Call, result: Result, artifacts: Sequence[Json] = ()) -> Record:
        """The record of a call's result."""
        return result_record(self.id, call.id, result, artifacts)

    async def record(self, *records: Record) -> None:
        """Write what is not written yet, then these records; a cancellation waits for it."""
        if written := self._with_unwritten(*records):
            await shielded(self._append(written))

    async def _append(self, records: Sequence[Record]) -> None:
        stored = [*self._attributed(records), *self.budget.usage_records(records)]
        self.transcript.append(records, await self._journal_append(stored))

    def _attributed(self, records: Sequence[Record]) -> list[Record]:
        return [record.attributed(self.agent.attribution) for record in records]

    async def _journal_append(self, records: Sequence[Record]) -> str:
        return await self.services.journal.append(self.line.fence, self.opened, records)

    def _with_unwritten(self, *records: Record) -> list[Record]:
        written, self._unwritten = [*self._unwritten, *records], []
        return written

    async def before_request(self) -> None:
        """Note that the model is asked, where the record does not say so yet."""
        if self._note_next_request:
            self._note_next_request = False
            await shielded(self._journal_append([]))

    async def request_failed(self) -> None:
        """A request was cut off: write what it cost into the ledger at once."""
        before, lines = self.budget.unrecorded_attempts, self.budget.interrupted()
        self._note_next_request = bool(lines) or self.budget.unrecorded_attempts > before
        if lines:
            await shielded(self._journal_append(lines))

    async def note_preview(self, message: int) -> None:
        """Record which message shows the growing answer."""
        journal = self.services.journal
        await shielded(journal.note_preview(self.line.fence, self.opened, message))

    # --- ending ---

    async def finish(self, result: TurnResult, shown: int | None) -> None:
        """Record the reply with its rendered parts, and send them.

        `shown` is the message that shows the growing answer, if one does.
        """
        services = self.services
        rendered = await self._rendered(result, shown)
        parts = [replace(part, turn=self.request.ref) for part in rendered]
        summary = _summary_of(rendered, result.text) if self.stream else None
        text, refused = result.text, result.is_refused
        end = end_record(self.id, result.outcome, text, refused=refused, summary=summary)
        records = self._with_unwritten(end)
        lines = self.budget.usage_records(records, self.transcript.size)
        stored = [*self._attributed(records), *lines]
        newest, posted = await services.journal.finish(self.line.fence, self.opened, stored, parts)
        self.transcript.append(records, newest)
        await self.budget.release()
        services.counters.add(f"turns:{result.outcome}")
        self._log_result(result)
        await self.line.channel.deliver(posted)

    async def suspend(self, suspension: Suspension, shown: int | None) -> None:
        """Send what was said so far, and ask people; the turn waits in the store alone."""
        services, line, incoming, agent = self.services, self.line, self.incoming, self.agent
        approvers = services.approvers.for_agent(agent, incoming.address.bot)
        now = services.clock.wall()
        approval = new_request(suspension, self.opened, incoming, agent, approvers, now)
        said: list[OutgoingPart] = []
        if suspension.unsent_text:
            said = await self._rendered(TurnResult("done", suspension.unsent_text), shown, WAITING)
        parts = [*said, *question_parts(line.channel, approval, self._reply_to)]
        calls = [call.id for call, _ in suspension.calls]
        body = {"turn": self.id, "nonce": approval.nonce, "calls": calls}
        records = self._with_unwritten(Record("asked", body))
        stored, seconds = self._attributed(records), agent.approval_seconds
        renders = [self.prompt.digest, self.prompt.tools_digest]
        newest, posted = await services.approvals.suspend(
            line.fence, self.opened, stored, approval, parts, renders, seconds
        )
        self.transcript.append(records, newest)
        services.counters.add("turns:suspended")
        line.timers.set(approval.nonce, approval.due)
        await line.channel.deliver(posted)

    @property
    def _reply_to(self) -> int | None:
        return None if self.incoming.address.private else self.incoming.message or None

    async def _rendered(
        self, result: TurnResult, shown: int | None, state: str = ""
    ) -> list[OutgoingPart]:
        """The parts of what the person reads; for an event stream with a summary of the turn."""
        channel, address = self.line.channel, self.incoming.address
        links = self.agent.effective.definition.link_previews
        buttons = retry_button(self.id) if result.can_retry else ()
        text, redact = self._answer(result), self.agent.filter.redact_output
        if text and self.agent.mark:
            text = f"{text}\n\n{self.agent.mark}"
        if self.stream is None:

            def rendered() -> list[OutgoingPart]:
                if not (out := redact(text)):
                    return []
                to = (self._reply_to, shown, buttons)
                return channel.render(address, out, *to, link_previews=links)

            return await offload_if_long(len(text), rendered)
        out = await offload_if_long(len(text), partial(redact, text))
        await self.stream.load()
        if result.outcome != "failed" and not out.startswith(self.stream.text):
            await self.close_partial()
        return channel.render(address, out, summary=self._summary(result, state))

    def _answer(self, result: TurnResult) -> str:
        """What of a result is the answer: over HTTP the host's own words on its end are none."""
        is_said_apart = result.is_failure or result.outcome == "stopped"
        return result.said if self.stream is not None and is_said_apart else result.text

    def _summary(self, result: TurnResult, state: str) -> TurnSummary:
        records = self.made()
        usages = [Usage(*one.body["usage"]) for one in records if one.kind == "model"]
        known, began = self.prompt.names, {r.body["call"] for r in records if r.kind == "started"}
        used = (block["name"] for block in self._used() if block["id"] in began)
        names = (known[name][-1] for name in used if name in known)
        failure = over_http(result.note or result.text) if result.is_failure else ""
        return TurnSummary(
            state or result.outcome,
            failure,
            prompt_tokens=sum(one.input + one.cache_read + one.cache_write for one in usages),
            completion_tokens=sum(one.output for one in usages),
            tools=tuple(dict.fromkeys(names)),
            model=next(
                (m for one in reversed(self.answers) if (m := one.body["model"])), self.agent.model
            ),
            partial=result.partial,
            error=result.error,
            stop=self.answers[-1].body["stop"] if self.answers else "",
            artifacts=tuple(artifacts_in(records)),
        )

    def _used(self) -> Iterator[Block]:
        """The calls of this turn, made or not."""
        for answer in self.answers:
            yield from calls_of(answer.body["content"])

    async def close_partial(self) -> None:
        """What was shown does not begin the answer: it stays, as an incomplete message of its own.

        It is recorded first, and once.
        """
        assert self.stream is not None
        if self._partials == self.stream.partials:
            facts = partial_facts(ANSWERED_ANEW, self.stream.chunks)
            body = {"turn": self.id, "text": self.stream.text, **facts}
            await shielded(self._append([Record("partial", body)]))
            self._partials += 1
        await self.stream.close_partial(ANSWERED_ANEW)

    def _log_result(self, result: TurnResult) -> None:
        """A line for operators: whose turn it was and what it took, but nothing that was said."""
        records = self.recorded()
        used = [record.body["usage"] for record in records if record.kind == "model"]
        accepted_at = int(self.id.partition("-")[0]) / 1000  # an entry's id is its time
        tokens_out = sum(usage[1] for usage in used)
        log.info(
            "turn.done",
            turn=self.id,
            line=self.line.name,
            conversation=self.opened.ref.conversation,
            agent=self.agent.id,
            outcome=result.outcome,
            seconds=round(self.services.clock.wall() - accepted_at, 2),
            requests=len(used),
            calls=sum(record.kind == "result" for record in records),
            tokens_in=sum(map(sum, used)) - tokens_out,
            tokens_out=tokens_out,
        )


def _summary_of(parts: Sequence[OutgoingPart], text: str) -> Json:
    """The summary for the journal, with the text that goes out where that is another one."""
    payload = parts[0].payload
    summary: Json = payload["summary"]
    return summary if payload["text"] == text else {**summary, "text": payload["text"]}


async def shielded(write: Awaitable[T]) -> T:
    """Shield a write from cancellation: it is made whole, and the cancellation raised after it."""
    task = asyncio.ensure_future(write)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
