"""What may not go out does not, not even while it is being written."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.ops.redaction import Secrets
from bot.safety.output_filter import BLOCKED, WARNING, WITHHELD, OutputFilter, stricter
from bot.safety.pii import find_pii
from bot.safety.text_safety import strip_invisible
from registry.secrets import REDACTED

PERSONAL = {
    "ann.smith+x@mail.example.org": "e-mail address",
    "ann@müller.example": "e-mail address",
    "ann\\_smith@example.org": "e-mail address",
    "4111 1111 1111 1111": "card number",
    "5500-0000-0000-0004": "card number",
    "４１１１\u202f1111\u20111111\u00a01111": "card number",
    "DE89 3704 0044 0532 0130 00": "bank account",
    "GB82WEST12345698765432": "bank account",
    "GB82 WEST 1234 5698 7654 32": "bank account",
    "+49 (0)170 123-4567": "telephone number",
    "0049 170 1234567": "telephone number",
    "+44 20 7946 0958": "telephone number",
    "(415) 555-2671": "telephone number",
    "415-555-2671": "telephone number",
    "536-90-4399": "identity number",
    "123.456.789-09": "identity number",
    "12345678Z": "identity number",
    "RCCMNL83S18D969H": "identity number",
    "2 95 10 99 126 111 93": "identity number",
}
REDACT, TOPICS = OutputFilter(personal="redact"), OutputFilter(topics=("secret sauce", "weapons"))
ROOT = Path(__file__).parents[2]
KEY = "sk-host-4f9a8b7c6d5e"


@pytest.mark.parametrize("secret", PERSONAL)
def test_personal_data_is_taken_out_of_a_text(secret: str) -> None:
    found = REDACT.redact_output(f"Write to {secret}, please.")
    assert found == f"Write to [{PERSONAL[secret]} removed], please."


@pytest.mark.parametrize(
    "text",
    [
        "Version 1.2.3.4 of 2026-11-21, 10:00:00",
        "4111 1111 1111 1112 has a wrong check digit",
        "order 1234567890123456 and 0000 0000 0000 0000",
        "https://example.org/a?b=1 and me@localhost",
        "DE00 3704 1144 0532 0130 00",
        "3 + 4 = 7 and 1,000,000.00, a plus of +1 000 000 000",
        "550e8400-e29b-41d4-a716-446655440000 and 978-3-16-148410-0",
        "at 1732156800 and 1732156800123",
        "12345678A has a wrong letter",
        "",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert REDACT.redact_output(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AB12 DE89370400440532013000", "AB12 [bank account removed]"),
        ("1 4111 1111 1111 1111 2", "1 [card number removed] 2"),
        ("+49 170 1234567 2024 was", "[telephone number removed] 2024 was"),
        ("请联系ann@x.org吧", "请联系[e-mail address removed]吧"),
        ("an\u200bn@ex\u2060ample.org", "[e-mail address removed]"),
        ("a@b.org,c@d.org", "[e-mail address removed],[e-mail address removed]"),
    ],
)
def test_what_stands_beside_it_neither_hides_it_nor_goes_with_it(text: str, expected: str) -> None:
    assert REDACT.redact_output(text) == expected


def test_each_handling_does_what_it_says() -> None:
    text = "It is a@b.org"
    assert OutputFilter(personal="redact").redact_output(text) == "It is [e-mail address removed]"
    assert OutputFilter(personal="warn").redact_output(text) == f"{text}\n\n{WARNING}"
    assert OutputFilter(personal="block").redact_output(text) == WITHHELD
    assert OutputFilter().redact_output(text) == text
    assert OutputFilter(personal="block").redact_output("nothing") == "nothing"


def test_of_several_handlings_the_strictest_counts() -> None:
    assert stricter("warn", "off", "redact") == "redact"
    assert stricter("block", "warn") == "block"
    assert stricter() == "off"


@pytest.mark.parametrize(
    "text",
    ["Some Illegal  Activity.", "illegal-activity", "il\u200blegal_activity", "ｉllegal activity"],
)
def test_a_blocked_topic_is_not_talked_about(text: str) -> None:
    guard = OutputFilter(topics=("illegal_activity", "武器"))
    assert guard.redact_output(text) == BLOCKED
    assert guard.redact_preview(f"{text} here ") == ""
    assert guard.redact_output("legal activity, paraillegal activity") != BLOCKED
    assert guard.redact_output("这些武器很危险") == BLOCKED
    assert "illegal_activity" in str(guard.topics_prompt())


def test_a_secret_that_the_host_knows_never_goes_out() -> None:
    guard = OutputFilter(secrets=Secrets([KEY, f"{KEY}-longer", "short"]))
    assert (
        guard.redact_output(f"It is {KEY}-longer or {KEY}.") == f"It is {REDACTED} or {REDACTED}."
    )
    assert guard.redact_output("short is no secret") == "short is no secret"
    assert KEY not in repr(guard)


def test_a_question_shows_the_ends_of_personal_data_and_nothing_of_a_secret() -> None:
    guard = OutputFilter(personal="block", secrets=Secrets([KEY]))
    text = f"ann@x.org pays 4111 1111 1111 1111 with {KEY}, 12345678Z"
    assert guard.redact_approval(text) == (
        f"a…@x.org pays [card number that ends in 1111] with {REDACTED}, [identity number hidden]"
    )
    assert OutputFilter().redact_approval("ann@x.org") == "ann@x.org"


def test_detectors_are_loaded_only_where_somebody_asks_for_them() -> None:
    code = (
        "import sys; from bot.safety.output_filter import OutputFilter as Filter\n"
        "from bot.safety.text_safety import reveal\n"
        "loaded = lambda: [n for n in ('stdnum', 'phonenumbers', 'confusable_homoglyphs') "
        "if n in sys.modules]\n"
        "Filter(topics=('x',)).redact_output('call +49 170 1234567')\n"
        "reveal('Füße'); print(loaded())\n"
        "Filter(personal='warn').redact_output('call +49 170 1234567')\n"
        "reveal('\u0430a'); print(loaded())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ran.stdout.split("\n")[:2] == ["[]", "['phonenumbers', 'confusable_homoglyphs']"]


# --- properties: previews at every split of a text ------------------------------------------------

words = st.one_of(
    st.sampled_from(
        [*PERSONAL, KEY, KEY[:9], "secret", "sauce", "Weapons", "AB12", "00", "+", "("]
    ),
    st.sampled_from(
        ["a b", "12", "4", "1111", "the", "GB82", "WEST", "@", "x.org", "**", "\n", "é"]
    ),
    st.text("01234567894 -+()/.,@AZabz\u200b\u00a0\n", max_size=8),
)
glue = st.sampled_from(["", " ", "  ", "\n", ", ", ".", "-", ": "])
texts = st.lists(st.tuples(words, glue), max_size=8).map(
    lambda pairs: "".join(word + after for word, after in pairs)
)


@given(texts)
@settings(deadline=None)  # the first text loads the libraries that judge it
@example("GB82 WEST 1234 5698 7654 32")
@example("call +49 170 1234567 2024 1 2 3 4 5")
@example("4111 1111 1111 1111 1111 1")
def test_no_preview_shows_what_the_final_text_does_not(text: str) -> None:
    guard = OutputFilter(personal="redact", secrets=Secrets([KEY]))
    final = guard.redact_output(text)
    for end in range(len(text) + 1):
        assert final.startswith(guard.redact_preview(text[:end]))


@given(texts)
@settings(deadline=None)  # the first text loads the libraries that judge it
@example("the secret \n sauce")
@example("the secret - sauce")
def test_no_preview_shows_a_piece_of_a_blocked_topic(text: str) -> None:
    text = strip_invisible(text)
    ends = range(len(text) + 1)
    shown = [TOPICS.redact_preview(text[:end]) for end in ends]
    told = next((end for end in ends if TOPICS.redact_output(text[:end]) == BLOCKED), None)
    if told is None:
        assert all(text.startswith(one) for one in shown)
    else:
        begins = max(at for at in range(told) if TOPICS.redact_output(text[at:told]) == BLOCKED)
        assert all(len(one) <= begins for one in shown)


@given(texts)
@settings(deadline=None)  # the first text loads the libraries that judge it
def test_a_preview_never_takes_back_what_it_showed_unless_all_of_it(text: str) -> None:
    guard = OutputFilter(personal="block", topics=("weapons",), secrets=Secrets([KEY]))
    before = ""
    for end in range(len(text) + 1):
        shown = guard.redact_preview(text[:end])
        assert shown.startswith(before) or shown == ""
        before = shown


@given(texts, st.sampled_from(["redact", "warn", "block"]))
@settings(deadline=None)  # the first text loads the libraries that judge it
def test_what_went_through_once_has_nothing_left_to_take_out(text: str, how: str) -> None:
    guard = OutputFilter(personal="redact", secrets=Secrets([KEY]))
    out = guard.redact_output(text)
    assert KEY not in out
    assert guard.redact_output(out) == out or find_pii(out)
    assert OutputFilter(personal=how).redact_output("") == ""  # type: ignore[arg-type]


@given(st.text(max_size=40), st.integers(0, 40))
def test_without_a_filter_all_passes_and_with_one_a_preview_is_a_beginning(
    text: str, end: int
) -> None:
    assert OutputFilter().redact_preview(text[:end]) == strip_invisible(text[:end])
    assert strip_invisible(text).startswith(
        OutputFilter(personal="warn").redact_preview(text[:end])
    )


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1",
        "AA11 ",
        "4 1 2 3 ",
        "+1 2 3 4 5 ",
        "a.a@",
        "(415) 555-",
        "123-45-6789 ",
        "a@b.",
        "é ",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (16_000 // len(piece))
    began = time.thread_time()
    OutputFilter(personal="redact", topics=("abc",), secrets=Secrets([KEY])).redact_preview(text)
    assert time.thread_time() - began < 3
