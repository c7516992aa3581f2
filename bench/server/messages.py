"""An instant Messages API: one streamed answer of 21 events, at once or at a given pace."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson

from bench.server.http import Request

WORDS = (
    "The **library** is open today from nine to six; the reading room on the second floor stays "
    "open until eight. Bring your card with you, and ask at the desk if you need anything else."
)
EVENTS = 21
FRAME = 6  # of these events begin and end an answer, and carry no text
MARK = re.compile(rb"chat:(\d+):")

Ended = Callable[[int, float], None]


class Messages:
    """The model. `pace` is the seconds between two pieces; 0 sends the whole answer at once.

    With `stamps` each piece is the time at which it is written, and answers go on until this ends;
    `written` counts the pieces of each.
    """

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self.pace = 0.0
        self.pieces = EVENTS - FRAME
        self.stamps = False
        self.written: Counter[int] = Counter()
        self.requests = 0
        self.open = 0
        self.largest = 0
        self.newest = 0
        self._whole = b"".join(_events(self.pieces))

    def handle(self, request: Request) -> None:
        """`POST /v1/messages`."""
        self.requests += 1
        self.newest = len(request.body)
        self.largest = max(self.largest, self.newest)
        if self.pace <= 0:
            request.stream(self._whole, first=True, last=True)
            return
        marks = MARK.findall(request.body)
        self.open += 1
        events = _events(self.pieces)
        request.stream(b"".join(events[:3]), first=True)
        due = asyncio.get_running_loop().time()
        self._next(request, events, 3, (int(marks[-1]) if marks else 0, due))

    def _next(self, request: Request, events: list[bytes], at: int, of: tuple[int, float]) -> None:
        """Write the next piece a pace after the last one was due: answers stay out of step."""
        chat, due = of
        if self.stamps or at < len(events) - 3:
            due += self.pace
            asyncio.get_running_loop().call_at(due, self._step, request, events, at, (chat, due))
            return
        request.stream(b"".join(events[-3:]), last=True)
        self.open -= 1
        self._ended(chat, time.perf_counter())

    def _step(self, request: Request, events: list[bytes], at: int, of: tuple[int, float]) -> None:
        if request.gone:
            self.open -= 1
            return
        if self.stamps:
            self.written[of[0]] += 1
            request.stream(_event(_delta(f" @{time.perf_counter():.6f};")))
            self._next(request, events, at, of)
            return
        request.stream(events[at])
        self._next(request, events, at + 1, of)


def _events(pieces: int) -> list[bytes]:
    usage = {"input_tokens": 210, "output_tokens": 1}
    message: dict[str, Any] = {
        "id": "msg_bench",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    text = {"type": "text", "text": ""}
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        _event({"type": "message_start", "message": message}),
        _event({"type": "content_block_start", "index": 0, "content_block": text}),
        _event({"type": "ping"}),
        *(_event(_delta(piece)) for piece in _cut(pieces)),
        _event({"type": "content_block_stop", "index": 0}),
        _event({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 40}}),
        _event({"type": "message_stop"}),
    ]


def _cut(pieces: int) -> list[str]:
    size = max(1, -(-len(WORDS) // pieces))
    cut = [WORDS[at : at + size] for at in range(0, len(WORDS), size)]
    return cut + [" and so on"] * (pieces - len(cut))


def _delta(text: str) -> dict[str, Any]:
    return {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": text},
    }


def _event(body: dict[str, Any]) -> bytes:
    return f"event: {body['type']}\ndata: ".encode() + orjson.dumps(body) + b"\n\n"
