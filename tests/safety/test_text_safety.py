"""A question shows what a call really is: nothing unseen, nothing that pretends, no secret."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.approvals.view import SHOWN_LIMIT, describe_call
from bot.safety.text_safety import redact_values, reveal, strip_invisible
from registry.secrets import redact


def asked(arguments: Any, server: str = "mail", tool: str = "send") -> str:
    return describe_call(server, tool, arguments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u0430nn@example.org", "⟨U+0430⟩nn@example.org"),
        (
            "https://\u0440\u0430\u0443\u0440\u0430l.com",
            "https://⟨U+0440⟩⟨U+0430⟩⟨U+0443⟩⟨U+0440⟩⟨U+0430⟩l.com",
        ),
        ("\u0441\u043e\u0441\u043e.example", "⟨U+0441⟩⟨U+043E⟩⟨U+0441⟩⟨U+043E⟩.example"),
        ("a p\u0430yment", "a p⟨U+0430⟩yment"),
        ("\uff41dmin", "⟨U+FF41⟩dmin"),
        ("invoice\u202egnp.exe", "invoice⟨U+202E⟩gnp.exe"),
        ("a\u200bb\u2060c\ufeffd\u00ade", "a⟨U+200B⟩b⟨U+2060⟩c⟨U+FEFF⟩d⟨U+00AD⟩e"),
        ("a\u3164b\u115fc", "a⟨U+3164⟩b⟨U+115F⟩c"),
        ("a\x1b[2Kb\rc", "a⟨U+001B⟩[2Kb⟨U+000D⟩c"),
        ("\u200dx", "⟨U+200D⟩x"),
        ("X\ufe00Y\ufe0f\ufe01", "X⟨U+FE00⟩Y⟨U+FE0F⟩⟨U+FE01⟩"),
    ],
)
def test_what_deceives_is_written_out(text: str, expected: str) -> None:
    shown, told = reveal(text)
    assert shown == expected
    assert told


WITH_JOINERS = [
    "👩‍💻 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️‍🔥 👁️‍🗨️ 👍🏽 👩🏽‍🚒 ☺︎ 1️⃣ #️⃣",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
    "می‌خواهم نمی‌شود",
    "क्‍ष र्‍य ක්‍ර",
    "Füße, Привет, 日本, a\tb\nc",
]


@pytest.mark.parametrize("text", WITH_JOINERS)
def test_characters_that_emoji_flags_and_words_need_stay(text: str) -> None:
    assert strip_invisible(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\u202egnp.exe\u2066 a\u200eb\u061c", "gnp.exe ab"),
        ("a\u200bb\u2060c\ufeffd\u00ade\u034ff", "abcdef"),
        ("a\u200db\u200c c", "ab c"),
        ("می\u200c\u200cخ می\u200c.", "میخ می."),
        ("😀\ufe0f\ufe0f\U000e0100\u200d", "😀\ufe0f"),
        ("x\ufe0f 1\ufe0f \ufe0f\u20e3", "x 1 \u20e3"),
        ("🏴\U000e0068\U000e0069\U000e007f hi", "🏴 hi"),
        ("a\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "a"),
        (
            "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f\U000e0061",
            WITH_JOINERS[1],
        ),
        ("葛\U000e0100", "葛"),
    ],
)
def test_what_nobody_sees_is_left_out_where_people_only_read(text: str, expected: str) -> None:
    assert strip_invisible(text) == expected


@given(
    st.text(st.sampled_from("a1#می😀🏴👩क्\u200b\u200c\u200d\ufe0f\u20e3\u202e\U000e0067\U000e007f"))
)
def test_what_is_readable_stays_so_and_grows_as_its_text_does(text: str) -> None:
    whole = strip_invisible(text)
    assert strip_invisible(whole) == whole
    assert all(whole.startswith(strip_invisible(text[:end])) for end in range(len(text)))


@pytest.mark.parametrize(
    "text",
    [
        "Привет, а это не адрес: все хорошо",
        "müller@example.org, Füße, naïve, İstanbul",
        "почта@пример.рф",
        "二つの Tシャツ",
        "kΩ and Δt",
        "می‌خواهم and 👨‍👩‍👧 and ❤️ and 5️⃣",
        "two\nlines\tand a tab",
    ],
)
def test_what_people_write_in_their_languages_stays_as_it_is(text: str) -> None:
    assert reveal(text) == (text, [])


def test_names_of_tools_servers_and_arguments_are_looked_at_the_hardest() -> None:
    shown = asked({"\u0442o": 1}, server="\u0435\u043e", tool="s\u0435nd")
    assert "`s⟨U+0435⟩nd` of `⟨U+0435⟩⟨U+043E⟩`" in shown
    assert "⚠️ Not what it looks like: ⟨U+0435⟩ is cyrillic small letter ie" in shown


def test_two_names_that_look_the_same_are_both_shown() -> None:
    shown = asked({"to": "ann", "t\u200bo": "eve"})
    assert "to: ann" in shown
    assert "t⟨U+200B⟩o: eve" in shown


def test_secrets_are_hidden_by_their_shape_and_by_their_names() -> None:
    token = "7000001:AA" + "f3" * 16
    sha = "3f786850e387550fdab836ed7e6dc881de23001b"
    arguments = {
        "text": f"use {token} or Bearer abcdefgh12345678",
        "commit": sha,
        "nested": [{"apiKey": "short", "password": "hunter2", "token": ""}],
        "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
        "keyboard": "qwertz",
    }
    shown = asked(arguments)
    assert token not in shown
    assert "use [a bot token] or [a credential]" in shown
    assert "commit: [looks like a key: 3f78…001b, 40 characters]" in shown
    assert '{"apiKey": "[secret]", "password": "[secret]", "token": ""}' in shown
    assert "pem: [secret]" in shown
    assert "keyboard: qwertz" in shown


def test_what_is_screened_is_screened_before_it_is_cut() -> None:
    key = "sk-ant-" + "a1B2c3D4" * 6
    for before in range(560, 620, 7):
        assert key[:12] not in asked({"text": "x" * before + " " + key})


def test_ordinary_values_are_shown_as_they_are() -> None:
    arguments = {"n": 3, "x": 1.5, "on": True, "none": None, "list": ["a", {"b": 2}]}
    assert redact_values(arguments, str) == arguments
    uuid = "550e8400-e29b-41d4-a716-446655440000"
    assert redact("id", uuid) == uuid


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=12), json_values, max_size=4), st.text(max_size=20))
def test_no_question_has_a_character_that_nobody_sees(arguments: Any, tool: str) -> None:
    shown = asked(arguments, tool=tool)
    hidden = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert hidden <= {"\n", "\t", "\u200c", "\u200d"}
    assert len(shown) < SHOWN_LIMIT + 1500
