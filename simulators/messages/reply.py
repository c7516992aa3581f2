"""From a turn to the content of an answer: blocks, signatures, limits, tokens."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from simulators.messages.shape import Obj
from simulators.messages.turns import Call, Part, Text, Think, Turn
from simulators.messages.usage import Usage, fitting, tokens_of
from simulators.messages.validate import ModelRequest

CALL_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whole: its content blocks and everything that a message says about itself.

    `cut`: the last block is a tool call whose JSON stops half way.
    """

    id: str
    model: str
    blocks: Sequence[Obj]
    stop: str
    stop_sequence: str | None
    details: Mapping[str, Any] | None
    usage: Usage
    tokens: int
    thought: int
    cut: bool

    def head(self) -> Obj:
        """The message as message_start shows it."""
        usage = self.usage.described() | {"output_tokens": 1, "service_tier": "standard"}
        return self._message([], usage, None, None, None)

    def whole(self) -> Obj:
        """The message as one JSON."""
        blocks = [*self.blocks]
        if self.cut:
            blocks[-1] = blocks[-1] | {"input": {}}
        usage = self.usage.described() | self._output() | {"service_tier": "standard"}
        return self._message(blocks, usage, self.stop, self.stop_sequence, self.details)

    def tail(self) -> Obj:
        """The body of message_delta."""
        usage = self.usage.described() | self._output()
        usage.pop("cache_creation")
        delta = {
            "stop_reason": self.stop,
            "stop_sequence": self.stop_sequence,
            "stop_details": self.details,
        }
        return {"type": "message_delta", "delta": delta, "usage": usage}

    def _output(self) -> Obj:
        details = {"thinking_tokens": self.thought}
        return {"output_tokens": self.tokens, "output_tokens_details": details}

    def _message(
        self, blocks: Sequence[Obj], usage: Obj, stop: str | None, sequence: str | None, why: Any
    ) -> Obj:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": blocks,
            "stop_reason": stop,
            "stop_sequence": sequence,
            "stop_details": why,
            "usage": usage,
        }


def write(turn: Turn, request: ModelRequest, usage: Usage) -> Reply:
    """The reply that this turn is, within the request's limits."""
    parts, stop, sequence = _within(_thinking(turn, request), turn, request)
    blocks = [_block(part, request) for part in parts]
    thought = sum(tokens_of(part.text) for part in parts if isinstance(part, Think))
    return Reply(
        id=f"msg_{secrets.token_hex(12)}",
        model=request.model.id,
        blocks=blocks,
        stop=stop,
        stop_sequence=sequence,
        details=turn.refusal if stop == "refusal" else None,
        usage=usage,
        tokens=max(1, sum(map(_tokens, parts))),
        thought=thought,
        cut=any(isinstance(part, Call) and part.cut for part in parts),
    )


def _thinking(turn: Turn, request: ModelRequest) -> Sequence[Part]:
    """The parts as this request's thinking allows them; a budget always thinks first."""
    if not request.thinking.on:
        return [part for part in turn.parts if not isinstance(part, Think)]
    starts = turn.parts and isinstance(turn.parts[0], Think)
    if request.thinking.mode == "enabled" and not starts:
        return [Think("Reading the request."), *turn.parts]
    return turn.parts


def _within(
    parts: Iterable[Part], turn: Turn, request: ModelRequest
) -> tuple[list[Part], str, str | None]:
    """The parts up to a stop sequence or the output limit, the stop reason, the sequence."""
    left = request.max_tokens
    kept: list[Part] = []
    for part in parts:
        part, sequence = _up_to(part, request.stop_sequences)
        fitted = _fit(part, left)
        kept.append(fitted)
        if fitted is not part:
            return kept, "max_tokens", None
        if sequence is not None:
            return kept, "stop_sequence", sequence
        if isinstance(part, Call) and part.cut:
            break
        left -= _tokens(part)
    return kept, turn.ending, turn.stop_sequence


def _up_to(part: Part, sequences: Iterable[str]) -> tuple[Part, str | None]:
    if not isinstance(part, Text):
        return part, None
    found = [(part.text.find(one), one) for one in sequences if one in part.text]
    if not found:
        return part, None
    at, sequence = min(found)
    return Text(part.text[:at]), sequence


def _fit(part: Part, left: int) -> Part:
    """The part itself if `left` tokens hold it, else what fits of it."""
    if _tokens(part) <= left:
        return part
    if isinstance(part, Call):
        return replace(part, cut=True)
    return replace(part, text=fitting(part.text, left))


def _tokens(part: Part) -> int:
    if isinstance(part, Call):
        return CALL_TOKENS + tokens_of(part.name + orjson.dumps(dict(part.input)).decode())
    return tokens_of(part.text)


def _block(part: Part, request: ModelRequest) -> Obj:
    if isinstance(part, Think):
        shown = part.text if request.thinking.shown else ""
        return {"type": "thinking", "thinking": shown, "signature": request.thread.sign(shown)}
    block: Obj
    if isinstance(part, Text):
        block = {"type": "text", "text": part.text}
    else:
        tool_id = part.id or f"toolu_{secrets.token_hex(12)}"
        block = {"type": "tool_use", "id": tool_id, "name": part.name, "input": dict(part.input)}
    request.thread.add("assistant", block)
    return block
