"""What the Messages API answers: the events of a stream as pieces, errors as our exceptions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from bot.errors import BrokenStream, ModelBusy, ModelError, ModelRefused, StaleThinking
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
HALF_PAIR = "it holds half of a character"
LONG_NUMBER = "it holds a whole number of more than 64 bits"
ANSWER_LIMIT = 4_000_000
"""Characters of one answer; more than any model writes."""
MAX_TOKENS = 10**9
"""No real count comes near; the sum of several is still exact."""

BUSY_STATUSES = frozenset({408, 409, 425, 429})
LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")
REFUSED_KINDS = {
    *("invalid_request_error", "authentication_error", "billing_error"),
    *("permission_error", "not_found_error", "request_too_large"),
}
CURES: Mapping[int, str] = {
    401: "check ANTHROPIC_API_KEY",
    402: "check the account's credit",
    403: "check what ANTHROPIC_API_KEY may use",
    404: "check the model's name and ANTHROPIC_BASE_URL",
    413: "the conversation is too large",
}
STALE_THINKING = ("invalid `signature`", "`thinking` block")
MESSAGE_LIMIT = 500


def status_error(
    status: int, body: object, retry_after: float | None = None, secret: str = ""
) -> ModelError:
    """The error for an HTTP answer that is not a success; `body` is its JSON or its text."""
    kind, message, text = _described(f"the Messages API answered {status}", body, secret)
    if status in BUSY_STATUSES or status >= 500 or kind == "overloaded_error":
        return ModelBusy(text, retry_after)
    if status == 400 and _is_stale(message):
        return StaleThinking(text)
    cure = "check ANTHROPIC_BASE_URL" if status < 400 else CURES.get(status)
    return ModelRefused(f"{text}; {cure}" if cure else text)


def event_error(body: object, secret: str = "") -> ModelError:
    """The error for an `error` event inside a stream."""
    kind, message, text = _described("the Messages API ended the stream", body, secret)
    if kind not in REFUSED_KINDS:
        return ModelBusy(text)
    return StaleThinking(text) if _is_stale(message) else ModelRefused(text)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by the headers of an answer, or None; `now` is wall time."""
    if (precise := _seconds(headers.get("retry-after-ms"))) is not None:
        return precise / 1000
    value = headers.get("retry-after")
    if value is None:
        return _until_reset(headers, now)
    if (plain := _seconds(value)) is not None:
        return plain
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until every limit that is used up is reset, or None."""
    waits = []
    for name in LIMITS:
        used_up = headers.get(f"anthropic-ratelimit-{name}-remaining") == "0"
        with suppress(ValueError, OverflowError):
            reset = datetime.fromisoformat(headers.get(f"anthropic-ratelimit-{name}-reset", ""))
            waits += [max(0.0, reset.timestamp() - now)] if used_up else []
    return max(waits, default=None)


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _described(what: str, body: object, secret: str) -> tuple[str, str, str]:
    """An error's kind and message as the server gives them, and a text on `what` happened."""
    error: Any = body.get("error", body) if isinstance(body, Mapping) else body
    fields = error if isinstance(error, Mapping) else {"message": error}
    kind, message = str(fields.get("type") or ""), str(fields.get("message") or "")
    # A server may echo the key; cutting first could leave half of it.
    redacted = message.replace(secret, "***") if secret else message
    detail = " ".join(redacted.split())[:MESSAGE_LIMIT]
    return kind, message, ": ".join(filter(None, (what, kind[:50], detail)))


def _is_stale(message: str) -> bool:
    return all(words in message.lower() for words in STALE_THINKING)


class StreamAccumulator:
    """One answer so far; `started` and `complete` tell whether anything, and all of it, came.

    `meter` is updated with the cost so far; no error shows the `secret`.
    """

    def __init__(self, meter: Meter, secret: str = "") -> None:
        self._meter = meter
        self._secret = secret
        self.started = False
        self.complete = False
        self._blocks: dict[int, Block] = {}
        self._deltas: dict[int, dict[str, list[str]]] = {}
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
        """The whole answer; raises `BrokenStream` if its end is missing."""
        if not self.complete:
            raise BrokenStream("the stream ended without message_stop")
        if self._stop is None:
            raise BrokenStream("the stream ended without a stop reason")
        content = [self._finished(index) for index in sorted(self._blocks)]
        usage = Usage(**self._usage)
        # The API sends blank texts, but refuses requests that contain them.
        content = [one for one in content if one["type"] != "text" or one["text"].strip()]
        try:  # what cannot be stored would break the turn at each attempt, not just once
            orjson.dumps(content)
        except TypeError as error:
            raise BrokenStream(f"an answer that cannot be stored: {error}") from None
        return Answer(content, self._stop, usage, self._model)

    def _add(self, event: Json) -> Iterator[Piece]:
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._model = str(message.get("model") or "")
                self._count(message.get("usage"))
                self._meter.message, self._meter.model = str(message.get("id") or ""), self._model
                self._meter.started = True
            case "content_block_start":
                yield from self._on_block(event["index"], event["content_block"])
            case "content_block_delta":
                yield from self._on_delta(event["index"], event["delta"])
            case "message_delta":
                stop = event["delta"].get("stop_reason")
                self._stop = self._stop if stop is None else _checked_text(stop)
                self._count(event.get("usage"))
                self._meter.ended = "output_tokens" in (event.get("usage") or {})
            case "message_stop":
                self.complete = True
            case "error":
                raise event_error(event, self._secret)
            case _:  # ping, content_block_stop, and kinds of later versions
                pass

    def _count(self, usage: Json | None) -> None:
        for name, field in USAGE_FIELDS.items():
            tokens = (usage or {}).get(field)
            if tokens is not None:
                self._usage[name] = min(max(0, int(tokens)), MAX_TOKENS)
        self._meter.usage = Usage(**self._usage)

    def _on_block(self, index: int, start: Json) -> Iterator[Piece]:
        block = self._blocks[index] = dict(start)
        self._half_pair = ""
        match block["type"]:
            case "tool_use":
                yield ToolChosen(_checked_text(block["name"]))
            case "text":
                text = _joined_pairs(_checked_text(block["text"]))
                given = {key: value for key, value in start.items() if value is not None}
                self._blocks[index] = given | {"text": text}
                if text:
                    yield TextDelta(text)

    def _on_delta(self, index: int, delta: Json) -> Iterator[Piece]:
        match delta["type"]:
            case "text_delta":
                # Half of a surrogate pair waits for the other.
                text = self._half_pair + self._append(index, "text", delta["text"])
                self._half_pair = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
                if said := _joined_pairs(text[: len(text) - len(self._half_pair)]):
                    yield TextDelta(said)
            case "thinking_delta":
                if thought := self._append(index, "thinking", delta["thinking"]):
                    yield ThinkingDelta(thought)
            case "input_json_delta":
                self._append(index, "input", delta["partial_json"])
            case "citations_delta":
                block = self._blocks[index]
                block["citations"] = [*block.get("citations", ()), delta["citation"]]
            case _:  # a signature, or a kind of a later version
                fields = {key: value for key, value in delta.items() if key != "type"}
                self._blocks[index].update(fields)

    def _append(self, index: int, field: str, value: object) -> str:
        if index not in self._blocks:
            raise KeyError(index)
        text = _checked_text(value)
        self._size += len(text)
        if self._size > ANSWER_LIMIT:
            raise ValueError(f"more than {ANSWER_LIMIT} characters")
        self._meter.streamed += len(text.encode(errors="replace"))
        self._deltas.setdefault(index, {}).setdefault(field, []).append(text)
        return text

    def _finished(self, index: int) -> Block:
        block = dict(self._blocks[index])
        for field, texts in self._deltas.get(index, {}).items():
            written = _joined_pairs("".join(texts))
            if field == "input":
                block |= self._input(block, written)
            else:
                block[field] = block.get(field, "") + written
        if "input" not in block:
            return block
        is_whole = "input" not in self._deltas.get(index, ())  # it came with the block's start
        if is_whole and self._has_too_many_values(json.dumps(block["input"]).encode()):
            return block | TOO_MANY_VALUES
        return block | _checked_input(block["input"])

    def _has_too_many_values(self, raw: bytes) -> bool:
        """Whether an input has too many values, with those of the calls before it."""
        self._values += lenient_json.count_values(raw, VALUES_LIMIT)
        return self._values > VALUES_LIMIT

    def _input(self, block: Block, written: str) -> Block:
        """A call's input, and under `unfit` why it cannot be passed on as it is, if so."""
        if not written:
            return {"input": block.get("input", {})}
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
        if isinstance(value, dict):
            is_whole = lenient_json.replace_half_surrogates(raw) == raw
            return {"input": value} | ({} if is_whole else {INVALID_INPUT: HALF_PAIR})
        if self._stop == "tool_use":
            raise BrokenStream(f"the input of {block.get('name', 'a tool')} is not a JSON object")
        return {"input": {}}


def _checked_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    return value


def _checked_input(value: object) -> Block:
    """An input as it can be stored, and under `unfit` why it cannot be passed on, if so."""
    if lenient_json.is_too_deep(value):
        return {"input": {}, INVALID_INPUT: "it is nested too deep"}
    if lenient_json.has_long_integer(value):
        return {"input": lenient_json.long_integers_as_text(value), INVALID_INPUT: LONG_NUMBER}
    return {"input": value}


def _joined_pairs(text: str) -> str:
    """A text whose surrogate pairs, cut in two between events, are joined again."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
