"""What the Messages API answers: its stream's events, as the API or another server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from bot.errors import BrokenStream
from bot.messages import (
    INVALID_INPUT,
    Answer,
    Json,
    Meter,
    Piece,
    TextDelta,
    ThinkingDelta,
    ToolChosen,
    Usage,
)
from bot.ops import lenient_json

Block = dict[str, Any]

USAGE_FIELDS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write": "cache_creation_input_tokens",
}

INPUT_LIMIT = 500_000
VALUES_LIMIT = 20_000
"""Values in the inputs of one answer's calls: very many small ones take long to walk over."""
TOO_MANY_VALUES: Block = {
    "input": {},
    INVALID_INPUT: f"the calls of one answer hold more than {VALUES_LIMIT} values together",
}
HALF_PAIR = "it holds half of a surrogate pair"
NO_OBJECT = "it is not a JSON object"
LONG_NUMBER = "it holds a whole number of more than 64 bits"
ANSWER_LIMIT = 4_000_000
"""Characters of one answer; more than any model writes."""
MAX_TOKENS = 10**9
"""No real count comes near; the sum of several is still exact."""

STOPS: Mapping[str, str] = {
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
}
"""Stop reasons of servers that translate another API, as this one has them."""


class StreamAccumulator:
    """One answer so far; `started` and `complete` tell whether anything, and all of it, came.

    `meter` is updated with the cost so far; no error shows the `secret`.
    """

    def __init__(self, meter: Meter, secret: str = "") -> None:
        self._meter = meter
        self._secret = secret
        self.started = False
        self.complete = False
        self._blocks: list[Block] = []
        self._deltas: list[dict[str, list[str]]] = []
        self._at: dict[object, int] = {}
        self._open: set[int] = set()
        self._usage: dict[str, int] = {}
        self._stop: str | None = None
        self._model = self._half_pair = ""
        self._size = self._values = 0

    def add(self, event: Json) -> list[Piece]:
        """Add an event; returns its pieces. Raises `ModelError` kinds for errors and bad events."""
        self.started = True
        try:
            return list(self._add(event))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BrokenStream(f"an event of the stream is malformed: {error!r}") from None

    def answer(self) -> Answer:
        """The whole answer; raises `BrokenStream` if its end is missing.

        With a stop reason it is whole, also where the stream ends without message_stop.
        """
        if self._stop is None:
            end = "a stop reason" if self.complete else "message_stop"
            raise BrokenStream(f"the stream ended without {end}")
        stop = STOPS.get(self._stop, self._stop)
        if stop == "end_turn" and any(block["type"] == "tool_use" for block in self._blocks):
            stop = "tool_use"
        content = [self._finished(at, stop) for at in range(len(self._blocks))]
        usage = Usage(**self._usage)
        # The API sends blank texts, but refuses requests that contain them.
        content = [one for one in content if one["type"] != "text" or one["text"].strip()]
        try:  # what cannot be stored would break the turn at each attempt, not just once
            orjson.dumps([content, stop, self._model])
        except TypeError:
            content, stop, self._model = _without_halves([content, stop, self._model])
        return Answer(content, stop, usage, self._model)

    def _add(self, event: Json) -> Iterator[Piece]:
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._model = _joined_pairs(str(message.get("model") or ""))
                self._count(message.get("usage"))
                self._meter.model = self._model
                self._meter.message = _joined_pairs(str(message.get("id") or ""))
                self._meter.started = True
            case "content_block_start":
                yield from self._on_block(event.get("index"), event["content_block"])
            case "content_block_delta":
                yield from self._on_delta(self._place(event), event["delta"])
            case "content_block_stop":
                self._open.discard(self._at.get(event.get("index"), -1))
            case "message_delta":
                stop = event["delta"].get("stop_reason")
                self._stop = self._stop if stop is None else _checked_text(stop)
                self._count(event.get("usage"))
                self._meter.ended = "output_tokens" in (event.get("usage") or {})
            case "message_stop":
                self.complete = True
            case "[DONE]":
                self.complete = self._stop is not None
            case "error":
                from bot.model.refusals import event_error

                raise event_error(event, self._secret)
            case _:  # ping, and kinds of later versions
                pass

    def _count(self, usage: Json | None) -> None:
        for name, field in USAGE_FIELDS.items():
            tokens = (usage or {}).get(field)
            if tokens is not None:
                self._usage[name] = min(max(0, int(tokens)), MAX_TOKENS)
        self._meter.usage = Usage(**self._usage)

    def _place(self, event: Json) -> int:
        """Where a delta's block is: that of its index, or the newest one."""
        return self._at[event["index"]] if "index" in event else len(self._blocks) - 1

    def _on_block(self, index: object, start: Json) -> Iterator[Piece]:
        place = len(self._blocks)
        if self._at.get(index) in self._open:
            raise ValueError(f"block {index} begins twice")
        block = {key: value for key, value in start.items() if value is not None}
        if start["type"] not in ("text", "tool_use"):
            block = dict(start)
        self._half_pair = ""
        match block["type"]:
            case "tool_use":
                block = {"id": "", "name": "", "input": {}} | block
                block["id"] = str(block["id"])
                yield ToolChosen(_checked_text(block["name"]))
            case "text":
                block["text"] = text = _joined_pairs(_checked_text(block["text"]))
                if text:
                    yield TextDelta(text)
        self._blocks.append(block)
        self._deltas.append({})
        self._at[index] = place
        if index is not None:
            self._open.add(place)

    def _on_delta(self, place: int, delta: Json) -> Iterator[Piece]:
        match delta["type"]:
            case "text_delta":
                # Half of a surrogate pair waits for the other.
                text = self._half_pair + self._append(place, "text", delta["text"])
                self._half_pair = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
                if said := _joined_pairs(text[: len(text) - len(self._half_pair)]):
                    yield TextDelta(said)
            case "thinking_delta":
                if thought := self._append(place, "thinking", delta["thinking"]):
                    yield ThinkingDelta(thought)
            case "input_json_delta":
                self._append(place, "input", delta["partial_json"])
            case "citations_delta":
                block = self._blocks[place]
                block["citations"] = [*block.get("citations", ()), delta["citation"]]
            case _:  # a signature, or a kind of a later version
                fields = {key: value for key, value in delta.items() if key != "type"}
                self._blocks[place].update(fields)

    def _append(self, place: int, field: str, value: object) -> str:
        if place < 0:
            raise KeyError("index")
        text = _checked_text(value)
        self._size += len(text)
        if self._size > ANSWER_LIMIT:
            raise ValueError(f"more than {ANSWER_LIMIT} characters")
        self._meter.streamed += len(text.encode(errors="replace"))
        self._deltas[place].setdefault(field, []).append(text)
        return text

    def _finished(self, place: int, stop: str) -> Block:
        block, written = dict(self._blocks[place]), dict[str, str]()
        for field, texts in self._deltas[place].items():
            written[field] = _joined_pairs("".join(texts))
            if field != "input":
                block[field] = block.get(field, "") + written[field]
        if "input" in block or "input" in written:
            block |= self._input(block.get("input", {}), written.get("input", ""), stop)
        return block

    def _has_too_many_values(self, raw: bytes) -> bool:
        """Whether an input has too many values, with those of the calls before it."""
        self._values += lenient_json.count_values(raw, VALUES_LIMIT)
        return self._values > VALUES_LIMIT

    def _input(self, given: Any, written: str, stop: str) -> Block:
        """A call's input, and under `unfit` why it cannot be passed on as it is, if so.

        `given` is what the block began with; what was `written` since takes its place.
        """
        if isinstance(given, str):
            given, written = {}, written or given
        if not written:
            if self._has_too_many_values(json.dumps(given).encode()):
                return TOO_MANY_VALUES
            return _checked_input(given)
        if len(written) > INPUT_LIMIT:
            return {"input": {}, INVALID_INPUT: f"it has more than {INPUT_LIMIT} characters"}
        raw = written.encode()
        if self._has_too_many_values(raw):
            return TOO_MANY_VALUES
        try:
            value = lenient_json.loads(raw)
        except lenient_json.UnsupportedJson as error:
            return {"input": {}, INVALID_INPUT: f"it holds {error}"}
        except ValueError:
            value = None
        if not isinstance(value, dict) and stop == "max_tokens":  # cut off, and told as such
            return {"input": {}}
        checked = _checked_input(value)
        if lenient_json.replace_half_surrogates(raw) != raw:
            return {INVALID_INPUT: HALF_PAIR} | checked
        return checked


def _checked_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    return value


def _checked_input(value: object) -> Block:
    """An input as it can be stored, and under `unfit` why it cannot be passed on, if so."""
    if not isinstance(value, dict):
        return {"input": {}, INVALID_INPUT: NO_OBJECT}
    if lenient_json.is_too_deep(value):
        return {"input": {}, INVALID_INPUT: "it is nested too deep"}
    if lenient_json.has_long_integer(value):
        return {"input": lenient_json.long_integers_as_text(value), INVALID_INPUT: LONG_NUMBER}
    return {"input": value}


def _without_halves(value: Any) -> Any:
    """A value with U+FFFD for each half of a surrogate pair; raises BrokenStream if too deep."""
    try:
        whole = lenient_json.loads(json.dumps(value).encode())
        orjson.dumps(whole)
    except (TypeError, ValueError, RecursionError) as error:
        raise BrokenStream(f"an answer that cannot be stored: {error}") from None
    return whole


def _joined_pairs(text: str) -> str:
    """A text whose surrogate pairs, cut in two between events, are joined again."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
