"""The events of one streamed answer, gathered into pieces and the whole answer. Does no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from bot import plain_json
from bot.errors import BrokenStream, ModelError
from bot.events import Json
from bot.model.errors import event_error
from bot.ports import UNFIT, Answer, Meter, Piece, TextDelta, ThinkingDelta, ToolChosen, Usage

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
CROWDED: Block = {
    "input": {},
    UNFIT: f"the calls of one answer hold more than {VALUES_LIMIT} values together",
}
HALF = "it holds half of a character"
LONG_NUMBER = "it holds a whole number of more than 64 bits"
ANSWER_LIMIT = 4_000_000
"""Characters of one answer; more than any model writes."""
MOST_TOKENS = 10**9
"""No true count comes near; a sum of such ones is still exact."""


class Gathered:
    """What has come of one answer so far; `refusal` makes the error of an `error` event.

    `meter` is told what the answer has cost until now.
    """

    def __init__(
        self, refusal: Callable[[Json], ModelError] = event_error, meter: Meter | None = None
    ) -> None:
        self._meter = meter or Meter()
        self.started = False
        self.complete = False
        self._refusal = refusal
        self._blocks: dict[int, Block] = {}
        self._grown: dict[int, dict[str, list[str]]] = {}
        self._usage: dict[str, int] = {}
        self._stop: str | None = None
        self._model = self._half = ""
        self._size = self._values = 0

    def feed(self, event: Json) -> list[Piece]:
        """The pieces in one event; raises `ModelError` kinds for errors and nonsense."""
        self.started = True
        try:
            return list(self._feed(event))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BrokenStream(f"an event of the stream is malformed: {error!r}") from None

    def answer(self) -> Answer:
        """The whole answer; raises `BrokenStream` if its end is missing."""
        if not self.complete:
            raise BrokenStream("the stream ended without message_stop")
        if self._stop is None:
            raise BrokenStream("the stream ended without a stop reason")
        content = [self._finished(index) for index in sorted(self._blocks)]
        usage = Usage(**self._usage)
        said = [block for block in content if _sayable(block)]
        _check_recordable(said)
        return Answer(said, self._stop, usage, self._model)

    def _feed(self, event: Json) -> Iterator[Piece]:
        match event["type"]:
            case "message_start":
                self._begin(event["message"])
            case "content_block_start":
                yield from self._open(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._grow(event["index"], event["delta"])
            case "message_delta":
                self._end(event)
            case "message_stop":
                self.complete = True
            case "error":
                raise self._refusal(event)
            case _:  # ping, content_block_stop, and whatever comes to be
                pass

    def _begin(self, message: Json) -> None:
        self._model = str(message.get("model") or "")
        self._count(message.get("usage"))
        self._meter.message, self._meter.model = str(message.get("id") or ""), self._model
        self._meter.started = True

    def _end(self, event: Json) -> None:
        stop = event["delta"].get("stop_reason")
        self._stop = self._stop if stop is None else _word(stop)
        self._count(event.get("usage"))
        self._meter.ended = "output_tokens" in (event.get("usage") or {})

    def _count(self, usage: Json | None) -> None:
        for name, field in USAGE_FIELDS.items():
            tokens = (usage or {}).get(field)
            if tokens is not None:
                self._usage[name] = min(max(0, int(tokens)), MOST_TOKENS)
        self._meter.usage = Usage(**self._usage)

    def _open(self, index: int, start: Json) -> Iterator[Piece]:
        block = dict(start)
        self._blocks[index] = block
        self._half = ""
        match block["type"]:
            case "tool_use":
                yield ToolChosen(_word(block["name"]))
            case "text":
                self._blocks[index] = {
                    key: value for key, value in start.items() if value is not None
                }
                self._blocks[index]["text"] = text = _whole(_word(block["text"]))
                yield from _spoken(text)

    def _grow(self, index: int, delta: Json) -> Iterator[Piece]:
        match delta["type"]:
            case "text_delta":
                yield from _spoken(self._joined(self._extend(index, "text", delta["text"])))
            case "thinking_delta":
                yield from _thought(self._extend(index, "thinking", delta["thinking"]))
            case "input_json_delta":
                self._extend(index, "input", delta["partial_json"])
            case "citations_delta":
                block = self._blocks[index]
                block["citations"] = [*block.get("citations", ()), delta["citation"]]
            case _:  # a signature, or a kind that comes to be
                fields = {key: value for key, value in delta.items() if key != "type"}
                self._blocks[index].update(fields)

    def _joined(self, word: str) -> str:
        """A piece of text that can be shown: half of a pair waits for its other half."""
        text = self._half + word
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _whole(text[: len(text) - len(self._half)])

    def _extend(self, index: int, field: str, value: object) -> str:
        if index not in self._blocks:
            raise KeyError(index)
        word = _word(value)
        self._size += len(word)
        if self._size > ANSWER_LIMIT:
            raise ValueError(f"more than {ANSWER_LIMIT} characters")
        self._meter.streamed += len(word.encode(errors="replace"))
        self._grown.setdefault(index, {}).setdefault(field, []).append(word)
        return word

    def _finished(self, index: int) -> Block:
        block = dict(self._blocks[index])
        for field, words in self._grown.get(index, {}).items():
            written = _whole("".join(words))
            if field == "input":
                block |= self._input(block, written)
            else:
                block[field] = block.get(field, "") + written
        if "input" not in block:
            return block
        is_whole = "input" not in self._grown.get(index, ())  # it came with the block's beginning
        if is_whole and self._crowds(json.dumps(block["input"]).encode()):
            return block | CROWDED
        return block | _checked(block["input"])

    def _crowds(self, raw: bytes) -> bool:
        """Whether an input is one value too many, with those of the calls before it."""
        self._values += plain_json.values_in(raw, VALUES_LIMIT)
        return self._values > VALUES_LIMIT

    def _input(self, block: Block, written: str) -> Block:
        """A call's input, and under `unfit` why it cannot be passed on as it is, if so."""
        if not written:
            return {"input": block.get("input", {})}
        if len(written) > INPUT_LIMIT:
            return {"input": {}, UNFIT: f"it has more than {INPUT_LIMIT} characters"}
        raw = written.encode()
        if self._crowds(raw):
            return CROWDED
        try:
            value = plain_json.read(raw)
        except plain_json.NotPlain as beyond:
            return {"input": {}, UNFIT: f"it holds {beyond}"}
        except ValueError:
            value = None
        if isinstance(value, dict):
            half = plain_json.mended(raw) != raw
            return {"input": value} | ({UNFIT: HALF} if half else {})
        if self._stop == "tool_use":
            raise BrokenStream(f"the input of {block.get('name', 'a tool')} is not a JSON object")
        return {"input": {}}


def _spoken(text: str) -> Iterator[Piece]:
    if text:
        yield TextDelta(text)


def _thought(text: str) -> Iterator[Piece]:
    if text:
        yield ThinkingDelta(text)


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text belongs")
    return value


def _checked(value: object) -> Block:
    """An input as it can be recorded, and why it cannot be passed on, where that is so."""
    if plain_json.is_deep(value):
        return {"input": {}, UNFIT: "it is nested too deep"}
    if plain_json.has_long_number(value):
        return {"input": plain_json.with_long_numbers_as_texts(value), UNFIT: LONG_NUMBER}
    return {"input": value}


def _whole(text: str) -> str:
    """A text whose halves of surrogate pairs have met, where a piece ended between them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _check_recordable(content: list[Block]) -> None:
    """What cannot be written down would break the turn again and again, not just this answer."""
    try:
        orjson.dumps(content)
    except TypeError as error:
        raise BrokenStream(f"an answer that cannot be recorded: {error}") from None


def _sayable(block: Block) -> bool:
    # The API sends blank texts, and refuses to take them back.
    return block["type"] != "text" or bool(block["text"].strip())
