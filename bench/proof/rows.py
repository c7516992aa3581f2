"""The rows of the table of faults, and the trial of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.proof import (
    kill_rows,
    leaving_rows,
    load_rows,
    neighbour_rows,
    other_rows,
    refusal_rows,
    replica_rows,
    rules_rows,
    store_rows,
    stream_rows,
)
from bench.proof.result import Result
from bench.proof.trial import Run


@dataclass(frozen=True, slots=True)
class Row:
    """One fault: its name and words, what must never happen, and the trial."""

    name: str
    fault: str
    never: str
    trial: Callable[[Run], Awaitable[Result]]
    alone: bool = False


ROWS = (
    Row(
        "F1",
        "kill -9 of the host at each of these points: received not stored; stored not confirmed; "
        "delivered not started; model answered not recorded; tool called, result not recorded; "
        "reply recorded not sent; sent not recorded; recorded not acknowledged; between the parts "
        "of a split answer",
        "lost update; disorder; a second run of an unrepeatable tool; a second answer outside the "
        "send window",
        kill_rows.named_points,
    ),
    Row("F2", "kill -9 at random moments, hundreds of seeds", "same", kill_rows.random_moments),
    Row(
        "F3",
        "the Redis process killed -9 again and again under load",
        "lost acknowledged write",
        store_rows.store_killed,
    ),
    Row(
        "F4",
        "Redis without an append-only file, or with eviction",
        "silent start",
        store_rows.unfit_store,
    ),
    Row(
        "F5",
        "Redis unreachable for a minute",
        "confirming what was not stored; exit loop",
        store_rows.store_away,
    ),
    Row("F6", "disk full, memory full", "dropped update", store_rows.store_full),
    Row("F7", "100,000 updates", "growth without end", load_rows.much_work, alone=True),
    Row(
        "F8",
        "MCP server killed in a call / hangs / slow / garbage (bad JSON, 50 MB result, 10,000 "
        "tools, duplicate names) / down at startup and up later",
        "hung turn; other bots or servers affected; leaked task or process",
        neighbour_rows.bad_tools,
    ),
    Row(
        "F9",
        "model 429 with retry-after, 529, 500, connection refused, silent for minutes",
        "retry storm; endless typing",
        neighbour_rows.busy_model,
    ),
    Row(
        "F10",
        "model stream cut at any byte, ended without message_stop, error event, max_tokens inside "
        "tool JSON",
        "executing half a tool call; silence; an endless loop",
        neighbour_rows.broken_streams,
    ),
    Row(
        "F11",
        "Telegram 429 on send, 5xx, network cut for minutes, send accepted but the answer lost",
        "dropped reply; blind re-sends",
        neighbour_rows.telegram_fails,
    ),
    Row(
        "F12",
        "401 revoked token, 403 blocked by user, chat not found",
        "endless retry; other bots affected",
        neighbour_rows.closed_to_us,
    ),
    Row(
        "F13",
        "409: two replicas, or a stranger polling our token",
        "crash; both stop",
        replica_rows.two_pollers,
    ),
    Row(
        "F14",
        "owner frozen past its lease, then woken",
        "an old owner's write accepted",
        replica_rows.frozen_owner,
    ),
    Row(
        "F15",
        "replica killed with 50 bots on two and on three",
        "a bot owned twice, or by nobody for 30 s",
        replica_rows.replica_killed,
        alone=True,
    ),
    Row("F16", "SIGTERM during 20 turns", "lost turn", replica_rows.peaceful_end),
    Row(
        "F17",
        "poison update: handler always raises, huge text, unknown type",
        "blocked conversation",
        other_rows.poison,
    ),
    Row(
        "F18",
        "agents.json broken on reload: half-written, bad JSON, unknown field, duplicate id, wrong "
        "type, deleted",
        "bots down; half-applied",
        other_rows.broken_configuration,
    ),
    Row(
        "F19",
        "backlog of 10,000; one hot chat among 200",
        "starvation; memory growth",
        load_rows.backlog,
        alone=True,
    ),
    Row(
        "F20", "clock jumps an hour either way", "duplicates after the jump", other_rows.odd_clocks
    ),
    Row(
        "F21",
        "update ids fall after a quiet week; the same button press arrives twice under two ids",
        "treated as a duplicate; executed twice",
        other_rows.odd_ids,
    ),
    Row(
        "F22",
        "poller connected but deaf (no getUpdates finished in 90 s)",
        '"healthy" and silent',
        other_rows.stalled_poller,
    ),
    Row(
        "F23",
        "a 429 of one hour from Telegram in some chats, through stops and kills",
        "a call into the ban; other chats or a stop held up",
        refusal_rows.long_flood,
    ),
    Row(
        "F24",
        "five kills within seconds while messages are open, then a message that really crashes "
        "the host",
        "a message set aside that others would keep",
        refusal_rows.quick_kills,
    ),
    Row(
        "F25",
        "the model API and Telegram refuse as in the table of refusals, and hosts are killed",
        "a message without an answer, and without a letter",
        refusal_rows.refused_and_killed,
    ),
    Row(
        "F26",
        "kill -9 at random moments while answers stream over HTTP: the replica that runs the turn, "
        "that is read from, or both; the model tells the same again",
        "a byte missing, a byte twice, a second turn",
        stream_rows.same_again,
    ),
    Row(
        "F27",
        "the same, and the model tells another text",
        "texts of two attempts in one message; a partial answer without its mark",
        stream_rows.another_text,
    ),
    Row(
        "F28",
        "kill -9 at each of these points of an HTTP answer: message not stored; stored not "
        "confirmed; line not acquired; turn begun; first piece; last piece; answer recorded; end "
        "not stored; end stored not shown; line not given back",
        "same as F26",
        stream_rows.named_moments,
    ),
    Row(
        "F29",
        "500 clients that go away before the first event and in mid-stream",
        "a task, a descriptor or a model stream left over",
        leaving_rows.clients_leave,
        alone=True,
    ),
    Row(
        "F30",
        "kill -9 of a host whose agent has rules: observer fired, model not answered; rules not "
        "recorded; item recorded, not read; item read, not answered; flow decided, end not "
        "recorded; answer not sent; also with calls of tools, and where an item is left for the "
        "next turn",
        "an item lost or read twice; a rule that acts twice; a draft that a person sees",
        rules_rows.named_moments,
    ),
)
