"""Characters that a model reads and people do not see."""

from __future__ import annotations

import pytest

from registry.hidden_text import hidden_characters


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Be nice.\U000e0073\U000e0065", ["\U000e0065", "\U000e0073"]),
        ("a\u202eb", ["\u202e"]),
        ("X\ufe00Y", ["\ufe00"]),
        ("\ufe01at the start", ["\ufe01"]),
        ("abc\U000e0100\U000e0101d", ["\U000e0100", "\U000e0101"]),
        ("\u2764\ufe0f\ufe01", ["\ufe01"]),
        ("a\u3164b", ["\u3164"]),
    ],
)
def test_what_nobody_sees_is_found(text: str, hidden: list[str]) -> None:
    assert hidden_characters(text) == hidden


@pytest.mark.parametrize(
    "text",
    [
        "plain, with a\ttab\n",
        "\u2764\ufe0f and 5\ufe0f\u20e3",
        "\u845b\U000e0100",
        "\u0645\u06cc\u200c\u062e\u0648",
    ],
    ids=["ascii", "emoji", "a form of a sign", "a joiner"],
)
def test_what_words_and_signs_are_written_with_is_not(text: str) -> None:
    assert hidden_characters(text) == []
