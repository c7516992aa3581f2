"""Tokens: a deterministic estimate, and what of a prompt the cache already holds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from simulators.messages.conversation import Message
from simulators.messages.models import Model
from simulators.messages.refusals import invalid
from simulators.messages.shape import Obj

CHARS_PER_TOKEN = 4
PER_RARE = 4
_WIDE = re.compile("[\u2e80-\ud7ff\uf900-\ufaff\uff00-\uffef]+")
PER_BLOCK = 3
PER_IMAGE = 1500
LOOK_BACK = 20
MOST_BREAKPOINTS = 4
LIFETIMES = {"5m": 300.0, "1h": 3600.0}


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the prompt: the hash of everything up to its end, its tokens, its cache mark."""

    key: str
    tokens: int
    ttl: str | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of a request in the order in which it is cached: tools, system, messages."""

    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """All input tokens."""
        return sum(segment.tokens for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Usage:
    """Input tokens of one request; `fresh` excludes what the cache read or wrote."""

    fresh: int
    read: int = 0
    written: tuple[tuple[str, int], ...] = ()

    def described(self) -> dict[str, Any]:
        """The input half of the API's `usage`."""
        written = dict(self.written)
        return {
            "input_tokens": self.fresh,
            "cache_creation_input_tokens": sum(written.values()),
            "cache_read_input_tokens": self.read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": written.get("5m", 0),
                "ephemeral_1h_input_tokens": written.get("1h", 0),
            },
        }


def tokens_of(text: str) -> int:
    """The estimate for a text: one token for four characters, rounded up.

    A Chinese, Japanese or Korean character is a token. Emoji and rare scripts, four bytes a
    character, are counted as the worst that a tokenizer does: a token for each byte.
    """
    if text.isascii():
        return -(-len(text) // CHARS_PER_TOKEN)
    rare = len(text.encode("utf-16-le", "surrogatepass")) // 2 - len(text)
    wide = sum(map(len, _WIDE.findall(text)))
    return -(-(len(text) - rare - wide) // CHARS_PER_TOKEN) + wide + rare * PER_RARE


def fitting(text: str, tokens: int) -> str:
    """The beginning of a text, as far as so many tokens hold it."""
    kept = text[: tokens * CHARS_PER_TOKEN]
    while (over := tokens_of(kept) - tokens) > 0:
        kept = kept[: -max(1, over // PER_RARE)]
    return kept


def lay_out(
    model: Model,
    tools: Sequence[Obj],
    system: Sequence[Obj],
    messages: Sequence[Message],
    auto: object,
) -> Prompt:
    """The prompt as segments; a Refusal for too many or misplaced cache marks.

    `auto` is the request's own `cache_control`, which marks the last cacheable block.
    """
    parts = list(_parts(tools, system, messages))
    marks = [_ttl(block) for _, block in parts]
    _check_marks([*_all_marks(parts), _ttl({"cache_control": auto})])
    if auto:
        last = max(n for n, (_, block) in enumerate(parts) if block.get("type") != "thinking")
        marks[last] = marks[last] or _ttl({"cache_control": auto})
    hashed = hashlib.sha256(model.id.encode())
    segments = []
    for (role, block), ttl in zip(parts, marks, strict=True):
        raw = orjson.dumps({key: block[key] for key in block if key != "cache_control"})
        hashed.update(role.encode() + raw)
        segments.append(Segment(hashed.hexdigest(), _tokens(block, raw), ttl))
    return Prompt(tuple(segments))


def _parts(
    tools: Sequence[Obj], system: Sequence[Obj], messages: Sequence[Message]
) -> Iterator[tuple[str, Obj]]:
    yield from (("tools", tool) for tool in tools)
    yield from (("system", block) for block in system)
    for one in messages:
        yield from ((one.role, placed.block) for placed in one.blocks)


def _ttl(block: Obj) -> str | None:
    control = block.get("cache_control")
    return str(control.get("ttl", "5m")) if control else None


def _all_marks(parts: Sequence[tuple[str, Obj]]) -> Iterator[str | None]:
    for _, block in parts:
        content = block.get("content")
        if block.get("type") == "tool_result" and isinstance(content, list):
            yield from (_ttl(inner) for inner in content)
        yield _ttl(block)


def _check_marks(marks: Sequence[str | None]) -> None:
    found = [mark for mark in marks if mark]
    if len(found) > MOST_BREAKPOINTS:
        raise invalid(
            f"A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. "
            f"Found {len(found)}."
        )
    if "5m" in found and "1h" in found[found.index("5m") :]:
        raise invalid(
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
            "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
        )


def _tokens(block: Obj, raw: bytes) -> int:
    if block.get("type") == "image":
        return PER_IMAGE
    if block.get("type") == "text":
        return tokens_of(block["text"]) + PER_BLOCK
    return tokens_of(raw.decode()) + PER_BLOCK


class Cache:
    """Prefixes that were sent with a cache mark, until they expire; `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, str]] = {}

    def account(self, prompt: Prompt, model: Model) -> Usage:
        """What this request reads and writes; the marked prefixes are kept from now on."""
        self._forget()
        marked = [n for n, segment in enumerate(prompt.segments) if segment.ttl]
        hit = max((self._found(prompt, n) for n in marked), default=-1)
        if hit >= 0:
            self._keep(prompt.segments[hit].key, self._kept[prompt.segments[hit].key][1])
        ends = _running(prompt)
        read = ends[hit] if hit >= 0 else 0
        written: dict[str, int] = {}
        done = read
        for n in marked:
            if n <= hit or ends[n] < model.cache_min:
                continue
            ttl = prompt.segments[n].ttl or "5m"
            written[ttl] = written.get(ttl, 0) + ends[n] - done
            done = ends[n]
            self._keep(prompt.segments[n].key, ttl)
        return Usage(prompt.tokens - done, read, tuple(written.items()))

    def _found(self, prompt: Prompt, mark: int) -> int:
        for n in range(mark, max(-1, mark - LOOK_BACK - 1), -1):
            if prompt.segments[n].key in self._kept:
                return n
        return -1

    def _keep(self, key: str, ttl: str) -> None:
        self._kept[key] = (self._clock() + LIFETIMES[ttl], ttl)

    def _forget(self) -> None:
        now = self._clock()
        self._kept = {key: kept for key, kept in self._kept.items() if kept[0] > now}

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()


def _running(prompt: Prompt) -> list[int]:
    total = 0
    ends = []
    for segment in prompt.segments:
        total += segment.tokens
        ends.append(total)
    return ends
