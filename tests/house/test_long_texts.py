"""Whatever is done with a stranger's text is linear: twice the text takes twice the time."""

from __future__ import annotations

import contextlib
import gc
import json
import time
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.approvals.view import describe_call
from bot.mcp.transports.messages import shorten
from bot.ops import lenient_json
from bot.ops.line_reader import LineSplitter
from bot.ops.redaction import Secrets
from bot.safety.output_filter import OutputFilter
from bot.safety.text_safety import reveal
from bot.telegram.decode import BotUser, parse_text
from bot.telegram.markdown.renderer import preview_piece, render_pieces
from bot.telegram.markdown.tables import width
from registry import conditions, normalizing, tool_schema
from registry.secrets import detect_secret
from registry.sources import json_yaml
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
    "comments": "<!-- ",
    "flags": "\U0001f1e9\U0001f1ea",
    "conjuncts": "क्षि",
    "marks": "a\u0301",
    "mixed marks": "\u0301\u0316",
    "wide marks": "\u0301\uff9e",
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
    "messages": render_pieces,
    "a preview": lambda text: preview_piece(text, last=True),
    "width": width,
    "a normal form": partial(normalizing.normal_form, "NFKC"),
    "a question": lambda text: describe_call("server", "tool", {"a": text, text: [text]}),
    "what deceives": lambda text: reveal(text, name=True),
    "an answer's filter": FILTER.redact_output,
    "a preview's filter": FILTER.redact_preview,
    "a question's filter": FILTER.redact_approval,
    "mentions": _mentioned,
    "JSON of services": lambda text: lenient_json.loads(text.encode()),
    "JSON text of services": lambda text: lenient_json.loads(f'{{"a":"{text}"}}'.encode()),
    "JSON of operators": json_yaml.parse_json,
    "lines of JSON": lambda text: json_yaml.lines_of(json.dumps([text, {text: text}])),
    "YAML of operators": json_yaml.parse_yaml,
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


def test_texts_are_normalised_in_one_place_alone() -> None:
    root = Path(__file__).parents[2]
    modules = [path for package in ("bot", "registry") for path in (root / package).rglob("*.py")]
    wild = ("unicodedata.normalize", "from unicodedata")
    users = [path.name for path in modules if any(one in path.read_text() for one in wild)]
    assert users == ["normalizing.py"]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_a_text_with_no_more_marks_than_any_language_has_is_normalised_as_ever(
    form: normalizing.Form,
) -> None:
    text = "a\u0301\u0316\u1e69 \ufdfa\u304b\uff9e, «\u1100\u1161\u11a8» " * 900
    assert normalizing.normal_form(form, text) == unicodedata.normalize(form, text)
    bare = "\u00e9\u0327" * 9_000
    assert normalizing.normal_form(form, bare) == unicodedata.normalize(form, bare)


@pytest.mark.parametrize("marks", [29, 30, 31, 4_000, 9_001])
def test_a_secret_among_very_many_marks_is_found_in_its_place(marks: int) -> None:
    many = "a" + ("\u0301\u0316" * marks)[:marks]
    shown = Secrets(["a secret of nine"]).redact(f"{many} a secret of nine {many}")
    assert shown == f"{many} [secret] {many}"
