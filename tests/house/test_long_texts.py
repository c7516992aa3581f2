"""Whatever is done with a stranger's text is linear: twice the text takes twice the time."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from bot.approvals.view import describe_call
from bot.mcp.transports.shortening import shorten
from bot.ops import plain_json
from bot.ops.line_reader import LineSplitter
from bot.ops.redaction import Secrets
from bot.safety.output_filter import OutputFilter
from bot.safety.text_safety import visible
from bot.telegram.decode import BotUser, parse_text
from bot.telegram.markdown.graphemes import width
from bot.telegram.markdown.renderer import edge, pieces
from registry import conditions, json_text, tool_schema
from registry.secrets import detect_secret
from tests.house.doubling import MOST, growth

UNITS = {
    "words": "word ",
    "lines": "a\n",
    "nested lists": "- ",
    "lists": "- a\n",
    "deep lists": "  - a\n    - b\n",
    "stars": "**a",
    "tables": "|a|b|\n|-|-|\n",
    "quotations": ">",
    "fences": "```a\n",
    "formulas": "\\(",
    "spoilers": "||",
    "links": "[a](http://x",
    "tags": "<a href=",
    "flags": "\U0001f1e9\U0001f1ea",
    "marks": "a\u0301",
    "one that is eighteen": "\ufdfa",
    "lookalikes": "p\u0430y",
    "unseen": "\u200bto",
    "secrets": "sk-",
    "tokens": "-eyJaaaaaaaaaa",
    "numbers": "1-",
    "addresses": "a@b.",
    "quotes": '\\"',
    "brackets": "[",
    "pairs": '{"a":',
    "halves": "\\ud83d",
    "digits": "9",
}
BOT = BotUser(7, "abc_bot")
FILTER = OutputFilter(
    secrets=Secrets(["a secret of nine"]), personal="redact", topics=("arms", "чудо оружие")
)


def _mentioned(text: str) -> object:
    mentions = [{"type": "mention", "offset": n, "length": 9} for n in range(0, len(text), 9)]
    return parse_text({"text": text, "entities": mentions}, BOT, commands=True)


def _listed(text: str) -> object:
    part = {"type": "text", "text": text}
    return shorten(json.dumps({"result": {"content": [part], "structuredContent": text}}).encode())


def _split(text: str) -> object:
    splitter, raw = LineSplitter(), text.encode()
    return [splitter.feed(raw[at : at + 100]) for at in range(0, len(raw), 100)]


WORK: dict[str, Callable[[str], object]] = {
    "messages": pieces,
    "a preview": lambda text: edge(text, last=True),
    "width": width,
    "a question": lambda text: describe_call("server", "tool", {"a": text, text: [text]}),
    "what deceives": lambda text: visible(text, name=True),
    "an answer's filter": FILTER.out,
    "a preview's filter": FILTER.preview,
    "a question's filter": FILTER.question,
    "mentions": _mentioned,
    "JSON of services": lambda text: plain_json.read(text.encode()),
    "JSON text of services": lambda text: plain_json.read(f'{{"a":"{text}"}}'.encode()),
    "JSON of operators": json_text.parse,
    "secrets": detect_secret,
    "results": _listed,
    "streams": _split,
    "conditions": conditions.check,
    "schemas": lambda text: tool_schema.usable({"pattern": text, "enum": [text], text: text}),
}


@pytest.fixture(autouse=True)
def _without_garbage() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def _seconds(work: Callable[[str], object], text: Any) -> float:
    begun = time.thread_time()
    with contextlib.suppress(ValueError):
        work(text)
    return time.thread_time() - begun


def _repeated(unit: str, size: int) -> str:
    return unit * (size // len(unit))


@pytest.mark.parametrize("name", WORK)
def test_twice_the_text_takes_nothing_much_more_than_twice_the_time(name: str) -> None:
    work = WORK[name]
    spent = {key: _seconds(work, _repeated(unit, 1_000)) for key, unit in UNITS.items()}
    wrong = []
    for key in sorted(spent, key=spent.__getitem__, reverse=True)[:4]:
        ratio, size = growth(partial(_seconds, work), partial(_repeated, UNITS[key]), 16_000)
        if ratio > MOST:
            wrong.append(f"{key}: twice {size} characters take {ratio:.1f} times as long")
    assert wrong == []
