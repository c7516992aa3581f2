"""More entities than a message takes: the least important go, and no flood of messages comes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from bot.messages import RichText
from bot.ops.redaction import Secrets
from bot.telegram.markdown.split import ENTITY_LIMIT, split, utf16_units
from bot.telegram.sender import messages

WORDS = 3000


@pytest.mark.parametrize(
    ("markdown", "kinds"),
    [
        ("**{}**", {"bold"}),
        ("*{}*", {"italic"}),
        ("`{}`", {"code"}),
        ("~~{}~~", {"strikethrough"}),
        ("***{}***", {"bold", "italic"}),
    ],
)
def test_thousands_of_words_in_one_style_are_as_few_messages_as_their_text(
    markdown: str, kinds: set[str]
) -> None:
    text = " ".join(markdown.format(f"w{n}") for n in range(WORDS))
    parts = messages(text, Secrets())
    plain = " ".join(f"w{n}" for n in range(WORDS))
    assert " ".join(part.text for part in parts) == plain
    assert len(parts) <= utf16_units(plain) // 4096 + 2
    for part in parts:
        assert len(part.entities) <= ENTITY_LIMIT
        assert {one["type"] for one in part.entities} <= kinds


def _entity(kind: str, start: int, length: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "offset": start, "length": length, **more}


def test_what_would_lose_more_than_its_look_stays_and_what_is_only_looks_goes() -> None:
    entities = []
    for n in range(150):
        start = n * 10
        kind = "text_link" if n % 3 == 0 else "spoiler" if n % 30 == 1 else "bold"
        more = {"url": f"https://e.test/{n}"} if kind == "text_link" else {}
        entities.append(_entity(kind, start, 4, **more))
    (part,) = split(RichText("word word " * 150, tuple(entities)))
    counted = Counter(one["type"] for one in part.entities)
    assert counted == {"text_link": 50, "spoiler": 5, "bold": 45}
    assert [one["offset"] for one in part.entities] == sorted(o["offset"] for o in part.entities)


def test_links_are_never_left_out() -> None:
    links = tuple(_entity("text_link", n * 10, 4, url=f"https://e.test/{n}") for n in range(250))
    parts = split(RichText("word word " * 250, links))
    assert len(parts) == 3
    assert sum(len(part.entities) for part in parts) == 250


def test_a_text_with_as_many_as_fit_keeps_them_all() -> None:
    bold = tuple(_entity("bold", n * 10, 4) for n in range(ENTITY_LIMIT))
    (part,) = split(RichText("word word " * ENTITY_LIMIT, bold))
    assert len(part.entities) == ENTITY_LIMIT
