"""Compares what people saw, and what the store holds, with what people wrote."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from bench.proof.crowd import Sent, texts
from bench.proof.echo_model import AGENT, ASK, TAG
from bench.proof.result import Result
from bot.store import keys
from simulators.telegram.people import Bot

MARK = "↻ "
ASKS = re.compile(r"^(↻ )?May I do th")


async def judge(
    sent: Sequence[Sent],
    left: Sequence[Sent],
    tool_runs: Mapping[str, int],
    bots: Sequence[Bot],
    store: Redis,
) -> Result:
    """The result of a trial that is over; `left` was never answered."""
    result = Result(messages=len(sent), lost=len(left))
    if left:
        result.notes.append("never answered: " + ", ".join(f"{s.nonce} {s.kind}" for s in left[:5]))
    by_room: dict[int, list[Sent]] = defaultdict(list)
    for one in sent:
        by_room[id(one.room)].append(one)
    for there in by_room.values():
        judge_room(there, result)
        answered = [one for one in there if one not in left]
        await _judge_records(there[0], answered, store, result)
    unrepeatable = (n for run, n in tool_runs.items() if not run.startswith("look "))
    result.repeated_tools += sum(count - 1 for count in unrepeatable)
    if not left:
        await _judge_boxes(bots, store, result)
    return result


def judge_room(sent: Sequence[Sent], result: Result) -> None:
    """Each line once and in order; of two the one that was sent again has the mark.

    The mark can come first: a request that was given up may still arrive, after its repetition.
    """
    number_of = {one.nonce: number for number, one in enumerate(sent)}
    seen: set[tuple[int, int]] = set()
    again: set[tuple[int, int]] = set()
    last = (-1, -1)
    for text in texts(sent[0].room):
        tags = [(number_of.get(nonce, -1), int(line)) for nonce, line in TAG.findall(text)]
        if ASKS.match(text):
            continue
        if not tags:
            result.problem(f"an answer without a tag: {text[:80]!r}")
            continue
        marked = text.startswith(MARK)
        if any(tag in seen for tag in tags):
            late = not marked and again.issuperset(tags)
            result.marked += marked or late
            result.unmarked += not (marked or late)
            result.needless_marks -= late
            result.disorder += not late and max(tags) < last
        else:
            result.needless_marks += marked
            result.disorder += tags[0] < last or tags != sorted(tags)
        seen |= set(tags)
        again |= set(tags) if marked else set()
        last = max(last, *tags)


async def _judge_records(one: Sent, answered: Sequence[Sent], store: Redis, result: Result) -> None:
    """Each message of a conversation has one recorded outcome."""
    log = keys.transcript(one.line, str(one.room.id), AGENT)
    records: Any = await store.xrange(log)
    bodies = [(fields[b"k"].decode(), json.loads(fields[b"b"])) for _, fields in records]
    recorded = _outcomes(bodies)
    twice = [call for call, count in _calls(bodies).items() if count > 1]
    result.check(not twice, f"recorded twice: {twice}")
    for message in answered:
        count = recorded.get(message.nonce, 0)
        result.check(count == 1, f"{message.nonce} has {count} recorded outcomes")


async def _judge_boxes(bots: Sequence[Bot], store: Redis, result: Result) -> None:
    """Nothing waits any more."""
    for bot in bots:
        line = f"bot:{bot.id}"
        waiting = await store.xlen(keys.inbox(line))
        unsent = await store.xlen(keys.outbox(line))
        result.check(not waiting, f"{line}: {waiting} entries still in the inbox")
        result.check(not unsent, f"{line}: {unsent} parts still in the outbox")


def _outcomes(bodies: Sequence[tuple[str, Any]]) -> Counter[str]:
    """How many endings are recorded for each nonce of a conversation."""
    nonces: dict[str, str] = {}
    ends: Counter[str] = Counter()
    for kind, body in bodies:
        if kind == "person":
            nonces[body["turn"]] = _nonce(body)
        elif kind == "end":
            ends[nonces.get(body["turn"], "?")] += 1
    return ends


def _calls(bodies: Sequence[tuple[str, Any]]) -> Counter[str]:
    """How often each call, and each result, is recorded."""
    found: Counter[str] = Counter()
    for kind, body in bodies:
        if kind == "model":
            found.update(f"call {b['id']}" for b in body["content"] if b["type"] == "tool_use")
        elif kind == "result":
            found[f"result {body['call']}"] += 1
    return found


def _nonce(body: dict[str, Any]) -> str:
    text = "\n".join(block.get("text", "") for block in body["content"])
    found = ASK.search(text)
    return found[1] if found else "?"
