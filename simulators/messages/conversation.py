"""The messages of a request: their shape, their order, and every tool call answered."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import orjson

from simulators.messages import shape
from simulators.messages.blocks import check_block, check_text, check_words
from simulators.messages.models import Model
from simulators.messages.refusals import invalid
from simulators.messages.shape import Obj

MOST_MESSAGES = 100_000
SORT = orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block and where the request had it."""

    block: Obj
    message: int
    content: int

    @property
    def place(self) -> str:
        """The block's name in the API's errors."""
        return f"messages.{self.message}.content.{self.content}"

    @property
    def kind(self) -> str:
        """The block's type."""
        return str(self.block["type"])


@dataclass(slots=True)
class Message:
    """One speaker's blocks: neighbouring messages of one role are one."""

    role: str
    blocks: list[PlacedBlock] = field(default_factory=list)

    def of(self, kind: str) -> list[PlacedBlock]:
        """The blocks of this type."""
        return [placed for placed in self.blocks if placed.kind == kind]


def read(value: object, model: Model) -> list[Message]:
    """The conversation of a request's `messages`, in order; a Refusal where it is wrong."""
    messages = shape.array(value, "messages")
    if not messages:
        raise invalid("messages: at least one message is required")
    if len(messages) > MOST_MESSAGES:
        raise invalid(f"messages: at most {MOST_MESSAGES} messages are allowed")
    conversation: list[Message] = []
    for at, message in enumerate(messages):
        role, blocks = _message(message, at, at == len(messages) - 1, model)
        if not conversation or conversation[-1].role != role:
            conversation.append(Message(role))
        conversation[-1].blocks.extend(PlacedBlock(block, at, n) for n, block in enumerate(blocks))
    if conversation[0].role != "user":
        raise invalid('messages: first message must use the "user" role')
    return conversation


def _message(value: object, at: int, last: bool, model: Model) -> tuple[str, list[Obj]]:
    place = f"messages.{at}"
    message = shape.mapping(value, place)
    shape.only(message, ("role", "content"), place)
    role = shape.text(shape.present(message, "role", place), f"{place}.role")
    shape.one_of(role, ("user", "assistant", "system"), f"{place}.role")
    if role == "system" and not model.system_messages:
        raise invalid(f"{place}: role 'system' is not supported on this model")
    content = shape.present(message, "content", place)
    _check_filled(content, role, last, place)
    if isinstance(content, str):
        return role, _from_words(content)
    for n, block in enumerate(shape.array(content, f"{place}.content")):
        _check_block(block, role, f"{place}.content.{n}")
    return role, content


def _from_words(content: str) -> list[Obj]:
    if not content:
        return []
    check_words(content, "messages")
    return [{"type": "text", "text": content}]


def _check_block(block: object, role: str, place: str) -> None:
    if role == "system":
        check_text(block, place)
    else:
        check_block(block, role, place)


def _check_filled(content: object, role: str, last: bool, place: str) -> None:
    if content not in ("", []):
        return
    if role == "user":
        raise invalid(f"{place}: user messages must have non-empty content")
    if not last:
        raise invalid(
            f"{place}: all messages must have non-empty content "
            "except for the optional final assistant message"
        )


def check_tool_calls(conversation: Sequence[Message]) -> None:
    """Refuse tool calls without results, results without calls, and ids used twice."""
    _check_unique(placed for message in conversation for placed in message.of("tool_use"))
    for before, message in pairwise([Message("user"), *conversation]):
        _check_expected(before, message)
    for message, after in zip(conversation, [*conversation[1:], Message("user")], strict=True):
        _check_answered(message, after)


def _check_unique(calls: Iterable[PlacedBlock]) -> None:
    seen: set[str] = set()
    for placed in calls:
        if placed.block["id"] in seen:
            raise invalid(f"{placed.place}: `tool_use` ids must be unique")
        seen.add(placed.block["id"])


def _check_expected(before: Message, message: Message) -> None:
    expected = {placed.block["id"] for placed in before.of("tool_use")}
    answered: set[str] = set()
    for placed in message.of("tool_result"):
        found = placed.block["tool_use_id"]
        if found not in expected:
            raise invalid(
                f"{placed.place}: unexpected `tool_use_id` found in `tool_result` blocks: {found}. "
                "Each `tool_result` block must have a corresponding `tool_use` block "
                "in the previous message."
            )
        if found in answered:
            raise invalid(
                f"{placed.place}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {found}"
            )
        answered.add(found)


def _check_answered(message: Message, after: Message) -> None:
    calls = message.of("tool_use")
    answered = {placed.block["tool_use_id"] for placed in _leading_results(after)}
    missing = [placed for placed in calls if placed.block["id"] not in answered]
    if missing:
        ids = ", ".join(placed.block["id"] for placed in missing)
        raise invalid(
            f"messages.{missing[0].message}: `tool_use` ids were found without `tool_result` "
            f"blocks immediately after: {ids}. Each `tool_use` block must have a corresponding "
            "`tool_result` block in the next message."
        )


def _leading_results(message: Message) -> list[PlacedBlock]:
    results: list[PlacedBlock] = []
    for placed in message.blocks:
        if placed.kind != "tool_result":
            break
        results.append(placed)
    return results


def check_ending(
    conversation: Sequence[Message], model: Model, thinks: bool, paused: Container[str]
) -> None:
    """Refuse a conversation that ends with the model's own words where that is not taken.

    `paused` holds the fingerprints of turns that were paused: these come back as they were.
    """
    last = conversation[-1]
    if last.role != "assistant" or fingerprint(last) in paused:
        return
    if not model.prefill or thinks:
        raise invalid(
            "This model does not support assistant message prefill"
            f"{' while thinking is enabled' if model.prefill else ''}. "
            "The conversation must end with a user message."
        )
    words = last.blocks[-1].block.get("text", "") if last.blocks else ""
    if words != words.rstrip():
        raise invalid("messages: final assistant content cannot end with trailing whitespace")


def fingerprint(message: Message) -> str:
    """A name for exactly these blocks, cache marks aside."""
    return hashlib.sha256(
        orjson.dumps([plain(p.block) for p in message.blocks], option=SORT)
    ).hexdigest()


SORT = orjson.OPT_SORT_KEYS


def plain(value: object) -> object:
    """A JSON value without cache marks and nulls, a tool result's text as a block."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {k: plain(v) for k, v in value.items() if k != "cache_control" and v is not None}
    if kept.get("type") == "tool_result" and isinstance(kept.get("content"), str):
        kept["content"] = [{"type": "text", "text": kept["content"]}]
    return kept
