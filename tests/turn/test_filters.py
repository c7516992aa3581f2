"""What may not go out does not, not even while it is being written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.turn.filters import BLOCKED, WARNING, WITHHELD, Filter, redact

PERSONAL = [
    "ann.smith+x@mail.example.org",
    "4111 1111 1111 1111",
    "5500-0000-0000-0004",
    "DE89 3704 0044 0532 0130 00",
    "GB82WEST12345698765432",
    "+49 (0)170 123-4567",
    "0049 170 1234567",
]


@pytest.mark.parametrize("secret", PERSONAL)
def test_personal_data_is_taken_out_of_a_text(secret: str) -> None:
    found = redact(f"Write to {secret}, please.")
    assert secret not in found
    assert found.startswith("Write to [")
    assert found.endswith(" removed], please.")


@pytest.mark.parametrize(
    "text",
    [
        "Version 1.2.3.4 of 2026-11-21, 10:00:00",
        "4111 1111 1111 1112 has a wrong check digit",
        "order 1234567890123456 and 0000 0000 0000 0000",
        "https://example.org/a?b=1 and me@localhost",
        "DE00 3704 1144 0532 0130 00",
        "3 + 4 = 7 and 1,000,000.00",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redact(text) == text


def test_each_handling_does_what_it_says() -> None:
    text = "It is a@b.org"
    assert Filter(personal="redact").out(text) == "It is [e-mail address removed]"
    assert Filter(personal="warn").out(text) == f"{text}\n\n{WARNING}"
    assert Filter(personal="block").out(text) == WITHHELD
    assert Filter().out(text) == text
    assert Filter(personal="block").out("nothing") == "nothing"


def test_a_blocked_topic_is_not_talked_about() -> None:
    guard = Filter(topics=("illegal_activity",))
    assert guard.out("Some Illegal  Activity.") == BLOCKED
    assert guard.preview("Some illegal activity here ") == ""
    assert guard.out("legal activity") == "legal activity"
    assert "illegal_activity" in str(guard.prompt())


@pytest.mark.parametrize("secret", PERSONAL)
@settings(deadline=None)
@given(
    before=st.sampled_from(["", "Write to ", "a b 12 ", "x\n", "AB 1-2 "]),
    after=st.text(max_size=5),
)
def test_no_preview_shows_a_piece_of_what_is_taken_out(
    secret: str, before: str, after: str
) -> None:
    guard = Filter(personal="redact")
    text = f"{before}{secret} then {after}"
    pieces = {secret[i : i + 6] for i in range(len(secret) - 5)}
    for end in range(len(text) + 1):
        shown = guard.preview(text[:end])
        assert not [piece for piece in pieces if piece in shown]


@given(st.text(max_size=40), st.integers(0, 40))
def test_without_a_filter_all_passes_and_with_one_a_preview_is_a_beginning(
    text: str, end: int
) -> None:
    assert Filter().preview(text[:end]) == text[:end]
    warned = Filter(personal="warn").preview(text[:end])
    assert text.startswith(warned)


@given(st.text("0123456789 -+()ADE@.ab", max_size=300))
def test_no_text_takes_long(text: str) -> None:
    Filter(personal="redact", topics=("abc",)).preview(text)
