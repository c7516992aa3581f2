"""Where a request's cache marks go: after the tools, the system prompt and the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bot.events import Json

# The cache looks back 20 blocks from a mark; a step with many parallel calls adds more than that.
BLOCKS_BETWEEN_MARKS = 15

UNMARKABLE = frozenset({"thinking", "redacted_thinking"})

Block = dict[str, Any]
Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The three parts of a prompt as the Messages API takes them."""

    system: list[Block]
    tools: list[Block]
    messages: list[Block]


def marked(system: Sequence[Json], tools: Sequence[Json], messages: Sequence[Json]) -> Prompt:
    """The prompt with at most four cache marks; what is given is left as it is."""
    prompt = unmarked(system, tools, messages)
    _mark_last(prompt.tools)
    _mark_last(prompt.system)
    _mark_conversation(prompt.messages)
    return prompt


def unmarked(system: Sequence[Json], tools: Sequence[Json], messages: Sequence[Json]) -> Prompt:
    """A copy of the prompt, down to its blocks, without any cache marks."""
    return Prompt(
        [_bare(block) for block in system],
        [_bare(tool) for tool in tools],
        [_copied(message) for message in messages],
    )


def _bare(block: Json) -> Block:
    return {key: value for key, value in block.items() if key != "cache_control"}


def _copied(message: Json) -> Block:
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    return {**message, "content": [_bare(block) for block in content]}


def _mark_last(blocks: list[Block]) -> None:
    for block in reversed(blocks):
        if _markable(block):
            _mark(block)
            return


def _mark_conversation(messages: list[Block]) -> None:
    """Mark the last block that may be, and the first one at least 15 blocks before it."""
    due = 0
    marks = 0
    for distance, position in enumerate(_backwards(messages)):
        if distance < due or not _markable(_block(messages, position)):
            continue
        _mark_at(messages, position)
        due, marks = distance + BLOCKS_BETWEEN_MARKS, marks + 1
        if marks == 2:
            return


def _backwards(messages: list[Block]) -> Iterator[Position]:
    for index in range(len(messages) - 1, -1, -1):
        content = messages[index]["content"]
        size = 1 if isinstance(content, str) else len(content)
        for place in range(size - 1, -1, -1):
            yield index, place


def _block(messages: list[Block], position: Position) -> Block:
    index, place = position
    content = messages[index]["content"]
    if isinstance(content, str):
        return {"type": "text", "text": content}
    block: Block = content[place]
    return block


def _mark_at(messages: list[Block], position: Position) -> None:
    block = _block(messages, position)
    _mark(block)
    message = messages[position[0]]
    if isinstance(message["content"], str):
        message["content"] = [block]


def _markable(block: Block) -> bool:
    kind = block.get("type")
    return kind not in UNMARKABLE and not (kind == "text" and not block.get("text", "").strip())


def _mark(block: Block) -> None:
    block["cache_control"] = {"type": "ephemeral"}
