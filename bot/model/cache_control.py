"""Where a request's cache marks go: after the tools, the system prompt and the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.messages import Json

# The cache looks back 20 blocks from a mark; a step with many parallel calls adds more than that.
BLOCKS_BETWEEN_MARKS = 15

UNMARKED_KINDS = frozenset({"thinking", "redacted_thinking"})

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The three parts of a prompt as the Messages API takes them."""

    system: list[Json]
    tools: list[Json]
    messages: list[Json]


def with_cache_marks(
    system: Sequence[Json], tools: Sequence[Json], messages: Sequence[Json]
) -> Prompt:
    """The prompt with at most four cache marks; changes nothing that it is given."""
    prompt = without_cache_marks(system, tools, messages)
    _mark_last(prompt.tools)
    _mark_last(prompt.system)
    _mark_conversation(prompt.messages)
    return prompt


def without_cache_marks(
    system: Sequence[Json], tools: Sequence[Json], messages: Sequence[Json]
) -> Prompt:
    """The prompt without any cache marks; blocks that have none are shared, not copied."""
    return Prompt(
        [_without_mark(block) for block in system],
        [_without_mark(tool) for tool in tools],
        [_without_marks(message) for message in messages],
    )


def _without_mark(block: Json) -> Json:
    if "cache_control" not in block:
        return block
    return {key: value for key, value in block.items() if key != "cache_control"}


def _without_marks(message: Json) -> Json:
    content = message["content"]
    if isinstance(content, str):
        return message
    for block in content:
        if "cache_control" in block:
            return {**message, "content": [_without_mark(block) for block in content]}
    return message


def _mark_last(blocks: list[Json]) -> None:
    for place in range(len(blocks) - 1, -1, -1):
        if _can_be_marked(blocks[place]):
            blocks[place] = _mark(blocks[place])
            return


def _mark_conversation(messages: list[Json]) -> None:
    """Mark the last block that can be marked, and the next one at least 15 blocks before it."""
    due = 0
    marks = 0
    for distance, position in enumerate(_backwards(messages)):
        if distance < due or not _can_be_marked(_block(messages, position)):
            continue
        index, place = position
        message = messages[index]
        content = [] if isinstance(message["content"], str) else list(message["content"])
        content[place : place + 1] = [_mark(_block(messages, position))]
        messages[index] = {**message, "content": content}
        due, marks = distance + BLOCKS_BETWEEN_MARKS, marks + 1
        if marks == 2:
            return


def _backwards(messages: list[Json]) -> Iterator[Position]:
    for index in range(len(messages) - 1, -1, -1):
        content = messages[index]["content"]
        size = 1 if isinstance(content, str) else len(content)
        for place in range(size - 1, -1, -1):
            yield index, place


def _block(messages: list[Json], position: Position) -> Json:
    index, place = position
    content = messages[index]["content"]
    if isinstance(content, str):
        return {"type": "text", "text": content}
    block: Json = content[place]
    return block


def _can_be_marked(block: Json) -> bool:
    kind = block.get("type")
    return kind not in UNMARKED_KINDS and not (kind == "text" and not block.get("text", "").strip())


def _mark(block: Json) -> Json:
    return {**block, "cache_control": {"type": "ephemeral"}}
