"""A reply as server-sent events in the API's order, and the steps in which they are played."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import orjson

from simulators.messages.reply import Reply
from simulators.messages.shape import Obj
from simulators.messages.turns import Cut, EndEarly, ErrorEvent, EventOrName, Fault, Stall
from simulators.messages.usage import tokens_of

CHUNK = 16
MOST_CHUNKS = 120
_WORDS = re.compile(r"\s*\S{1,64}|\s+")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its bytes on the wire, and the output tokens it brings."""

    data: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait at a gate before going on."""

    gate: EventOrName | None


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection without ending the answer."""


Step = Event | Hold | HangUp


def events(reply: Reply) -> list[Event]:
    """Every event of a reply, message_start to message_stop."""
    return [
        _event({"type": "message_start", "message": reply.head()}),
        *chain.from_iterable(_block(reply, at) for at in range(len(reply.blocks))),
        _event(reply.tail()),
        _event({"type": "message_stop"}),
    ]


def _event(data: Obj, tokens: int = 0) -> Event:
    return Event(b"event: %s\ndata: %s\n\n" % (data["type"].encode(), orjson.dumps(data)), tokens)


def _block(reply: Reply, at: int) -> Iterator[Event]:
    block = reply.blocks[at]
    start = {"type": "content_block_start", "index": at, "content_block": _empty(block)}
    yield _event(start)
    if at == 0:
        yield _event({"type": "ping"})
    cut = reply.cut and at == len(reply.blocks) - 1
    for delta, tokens in _deltas(block, cut):
        yield _event({"type": "content_block_delta", "index": at, "delta": delta}, tokens)
    yield _event({"type": "content_block_stop", "index": at})


def _empty(block: Obj) -> Obj:
    blank = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}}
    return block | blank.get(block["type"], {"input": {}})


def _deltas(block: Obj, cut: bool) -> Iterator[tuple[Obj, int]]:
    if block["type"] == "text":
        for piece in pieces(block["text"]):
            yield {"type": "text_delta", "text": piece}, tokens_of(piece)
    elif block["type"] == "thinking":
        for piece in pieces(block["thinking"]):
            yield {"type": "thinking_delta", "thinking": piece}, tokens_of(piece)
        yield {"type": "signature_delta", "signature": block["signature"]}, 0
    else:
        yield {"type": "input_json_delta", "partial_json": ""}, 0
        for piece in _json(block["input"], cut):
            yield {"type": "input_json_delta", "partial_json": piece}, tokens_of(piece)


def _json(value: Obj, cut: bool) -> list[str]:
    whole = orjson.dumps(value).decode()
    if cut:
        whole = whole[: max(1, len(whole) // 2)]
    return [whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK)]


def pieces(text: str) -> list[str]:
    """A text in pieces of about `CHUNK` characters, larger ones when there would be too many."""
    least = max(CHUNK, len(text) // MOST_CHUNKS)
    found: list[str] = []
    piece = ""
    for word in _WORDS.findall(text):
        piece += word
        if len(piece) >= least:
            found.append(piece)
            piece = ""
    return [*found, piece] if piece else found


def steps(played: Sequence[Event], fault: Fault | None) -> list[Step]:
    """What is done with these events under a fault (of the ones that strike inside a stream)."""
    if isinstance(fault, Cut):
        return [*_first(played, fault), HangUp()]
    if isinstance(fault, Stall):
        return [*played[: fault.events], Hold(fault.gate), *played[fault.events :]]
    if isinstance(fault, EndEarly):
        return [*played[: -2 if fault.events is None else fault.events]]
    if isinstance(fault, ErrorEvent):
        error = {"type": fault.kind, "message": fault.message}
        return [*played[: fault.events], _event({"type": "error", "error": error})]
    return [*played]


def _first(played: Sequence[Event], cut: Cut) -> list[Event]:
    if cut.bytes is None:
        return [*played[: cut.events]]
    left = cut.bytes
    kept: list[Event] = []
    for event in played:
        if left <= 0:
            break
        kept.append(Event(event.data[:left], event.tokens))
        left -= len(event.data)
    return kept
