"""The judge: what people saw and what the store holds, against what was said."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from bench.proof.crowd import Crowd, Sent, texts
from bench.proof.ground import AGENT, Ground
from bench.proof.tally import Tally
from bench.proof.voice import ASK, TAG
from bot.store import keys

MARK = "↻ "
ASKS = re.compile(r"^(↻ )?May I do th")


async def judge(place: Ground, crowd: Crowd, left: Sequence[Sent]) -> Tally:
    """The tally of a trial that is over; `left` was never answered."""
    tally = Tally(messages=len(crowd.sent), lost=len(left))
    if left:
        tally.notes.append("never answered: " + ", ".join(f"{s.nonce} {s.kind}" for s in left[:5]))
    by_room: dict[int, list[Sent]] = defaultdict(list)
    for sent in crowd.sent:
        by_room[id(sent.room)].append(sent)
    for sent_there in by_room.values():
        judge_room(sent_there, tally)
    _judge_tools(place, tally)
    await _judge_store(place, crowd, {sent.nonce for sent in left}, tally)
    return tally


def judge_room(sent: Sequence[Sent], tally: Tally) -> None:
    """Each line once and in order; of two the one that was sent again has the mark.

    The mark can come first: a request that was given up may still arrive, after its repetition.
    """
    place_of = {one.nonce: number for number, one in enumerate(sent)}
    seen: set[tuple[int, int]] = set()
    again: set[tuple[int, int]] = set()
    last = (-1, -1)
    for text in texts(sent[0].room):
        tags = [(place_of.get(nonce, -1), int(line)) for nonce, line in TAG.findall(text)]
        if ASKS.match(text):
            continue
        if not tags:
            tally.problem(f"an answer without a tag: {text[:80]!r}")
            continue
        marked = text.startswith(MARK)
        if any(tag in seen for tag in tags):
            late = not marked and again.issuperset(tags)
            tally.marked += marked or late
            tally.unmarked += not (marked or late)
            tally.needless -= late
            tally.disorder += not late and max(tags) < last
        else:
            tally.needless += marked
            tally.disorder += tags[0] < last or tags != sorted(tags)
        seen |= set(tags)
        again |= set(tags) if marked else set()
        last = max(last, *tags)


def _judge_tools(place: Ground, tally: Tally) -> None:
    for line, count in place.counted().items():
        if not line.startswith("look "):
            tally.tools += count - 1


async def _judge_store(place: Ground, crowd: Crowd, left: set[str], tally: Tally) -> None:
    """Each message has one recorded outcome, and nothing waits any more."""
    async with place.valkey.client() as store:
        by_room: dict[int, list[Sent]] = defaultdict(list)
        for sent in crowd.sent:
            by_room[id(sent.room)].append(sent)
        for sent_there in by_room.values():
            said = [one for one in sent_there if one.nonce not in left]
            log = keys.transcript(sent_there[0].line, str(sent_there[0].room.id), AGENT)
            records: Any = await store.xrange(log)
            bodies = [(fields[b"k"].decode(), json.loads(fields[b"b"])) for _, fields in records]
            recorded = _outcomes(bodies)
            twice = [call for call, count in _calls(bodies).items() if count > 1]
            tally.check(not twice, f"recorded twice: {twice}")
            for one in said:
                count = recorded.get(one.nonce, 0)
                tally.check(count == 1, f"{one.nonce} has {count} recorded outcomes")
        for bot in place.bots:
            line = f"bot:{bot.id}"
            waiting = await store.xlen(keys.inbox(line))
            unsent = await store.xlen(keys.outbox(line))
            if not left:
                tally.check(not waiting, f"{line}: {waiting} entries still in the inbox")
                tally.check(not unsent, f"{line}: {unsent} parts still in the outbox")


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
