"""One request to a model, and its answer as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bot.events import Json

UNFIT = "unfit"
"""Where a call's block notes why its input cannot be passed on; no server is sent this note."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request, by kind; `input` excludes both cache kinds."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(slots=True)
class Meter:
    """What is known of a request so far, for one that is cut off too.

    `sent`: it may have come to the server, which did not refuse it. `started`: the server told what
    went in (`usage`), its name of the answer and its model. `ended`: it told what came out as well.
    `streamed`: bytes of the answer so far.
    """

    sent: bool = False
    started: bool = False
    ended: bool = False
    message: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    streamed: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One request to a model: settings by the spec's names, and the rendered prompt.

    `system` are text blocks, `tools` and `messages` as the Messages API takes them, without cache
    marks: where those go is the model adapter's knowledge. `no_tools` keeps the tools in the prefix
    but forbids a call: the request that ends a turn which came to its limits. `meter` is filled
    while the request runs.
    """

    model: str
    max_tokens: int
    system: Sequence[Json]
    tools: Sequence[Json]
    messages: Sequence[Json]
    temperature: float | None = None
    reasoning_effort: str | None = None
    no_tools: bool = False
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """A piece of the summarised thinking."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolChosen:
    """The model began to write a call of this tool (by its wire name)."""

    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer of one request; always the last thing that a stream yields.

    `content` holds the blocks ready to be sent back; `stop` is the API's stop reason.
    """

    content: list[dict[str, Any]]
    stop: str
    usage: Usage = field(default_factory=Usage)
    model: str = ""


Piece = TextDelta | ThinkingDelta | ToolChosen | Answer


class Model(Protocol):
    """A way to the Messages API."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[Piece, None]:
        """The pieces of one answer, then the `Answer`; raises `ModelError` kinds."""
        ...
