"""A secret is found wherever people would read it, in time that grows with the text alone."""

from __future__ import annotations

import base64
import json
import random
import time
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.messages import Answer
from bot.ops.redaction import Secrets, StreamRedactor, credentials_in, fold, too_short
from bot.safety.output_filter import OutputFilter, shows_secret
from bot.telegram.markdown import renderer
from registry.secrets import REDACTED

KEY = "hunter2-plain"
AWKWARD = 'pa"ss w\\ör_d/1'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is hunter2-plain, really.", f"It is {REDACTED}, really."),
        ("hun**ter2**-plain and `hunter2`-plain", f"{REDACTED} and `{REDACTED}"),
        ("h\u200bu\u200bnter2-plain", REDACTED),
        ("ｈｕｎｔｅｒ２-plain", REDACTED),
        ("hunt\u0435r2-pl\u0430in", REDACTED),
        ("\u0336".join(KEY), REDACTED),
        ("?a=%68unter2%2Dplain&b=1", f"?a={REDACTED}&b=1"),
        ("hun&#116;er2&#x2d;plain", REDACTED),
        (r"hunter2\-plain", REDACTED),
        (r'{"a": "\u0068unter2-plain"}', f'{{"a": "{REDACTED}"}}'),
        ("Привет, hunter2-plain мир", f"Привет, {REDACTED} мир"),
        ("\ud800hunter2-plain", f"\ud800{REDACTED}"),
        (base64.b64encode(KEY.encode()).decode(), f"{REDACTED}=="),
        ("hun<b>ter2-</b >plain, <i>so</i>", f"{REDACTED}, <i>so</i>"),
        ("é <u>hun<!-- x -->ter2-<br/>pla<a href='y'>in</a></u>", f"é <u>{REDACTED}</a></u>"),
        ("hun<1>ter2-plain < hunter2-plain", f"hun<1>ter2-plain < {REDACTED}"),
        ("Hunter2-plain", "Hunter2-plain"),
        ("hunter2 plain, hunter2-plai", "hunter2 plain, hunter2-plai"),
        ("", ""),
    ],
)
def test_a_secret_is_found_as_people_would_read_it(text: str, expected: str) -> None:
    assert Secrets([KEY]).redact(text) == expected


@pytest.mark.parametrize(
    "form",
    [
        *(AWKWARD, quote(AWKWARD), quote(AWKWARD, safe=""), AWKWARD.replace(" ", "+")),
        *(json.dumps(AWKWARD)[1:-1], json.dumps(AWKWARD, ensure_ascii=False)[1:-1]),
    ],
)
def test_a_secret_is_found_in_what_addresses_and_json_make_of_it(form: str) -> None:
    assert Secrets([AWKWARD]).redact(f'"a": "{form}"') == f'"a": "{REDACTED}"'


@pytest.mark.parametrize(
    ("value", "inside"),
    [
        ("Bearer abcdef-1", ["abcdef-1"]),
        ("Authorization: Bearer abcdef-1", ["abcdef-1"]),
        ("Basic dXM6cGFzcy13b3Jk", ["dXM6cGFzcy13b3Jk", "us:pass-word", "pass-word"]),
        ("redis://:p%40ss-w@h:6379/0", ["p%40ss-w", "p@ss-w"]),
        ("postgres://app:p@ss-w@h/db", ["p@ss-w"]),
        ("host=h user=u password=pass-word dbname=d", ["pass-word"]),
        ("Server=h;Pwd='pass;word';Id=1", ["pass;word"]),
        ("https://h/mcp?token=to-ken-1&x=1", ["to-ken-1"]),
        ('{"type": "a", "private_key": "-----BEGIN"}', ["-----BEGIN"]),
        ("1234567:AAabcdefgh_-", ["AAabcdefgh_-"]),
        ("bearer of news", []),
        ("plain-value", []),
    ],
)
def test_credentials_inside_of_a_value_are_secrets_as_well(value: str, inside: list[str]) -> None:
    assert set(credentials_in(value)) >= set(inside)
    if not inside:
        assert list(credentials_in(value)) == []
    assert Secrets([value]).redact(" ".join(inside)) == " ".join(REDACTED for _ in inside)


@pytest.mark.parametrize("value", ["12345", "a_b_c_d", "Bearer abc", "redis://:pass@h/0", "secret"])
def test_a_value_that_cannot_be_told_from_words_is_named_and_not_looked_for(value: str) -> None:
    assert too_short(value)
    assert not too_short(KEY)
    assert not too_short("")
    secrets = Secrets(["12345", "a_b_c_d", "abc", "secret"])
    text = "12345 a_b_c_d abc, a secret"
    assert secrets.redact(text) == text


def test_what_is_added_later_is_found_from_then_on_and_a_renewed_token_twice() -> None:
    secrets = Secrets()
    assert secrets.redact(KEY) == KEY
    secrets.add(KEY)
    secrets.add_credentials_in("Bearer a-bearer-token")
    assert secrets.redact(f"{KEY}, Bearer a-bearer-token") == f"{REDACTED}, Bearer {REDACTED}"
    for token in ("first-token", "second-token", "third-token"):
        secrets.renew("server", token)
    assert (
        secrets.redact("first-token second-token third-token")
        == f"first-token {REDACTED} {REDACTED}"
    )
    assert KEY not in repr(secrets)


def test_a_json_value_of_any_depth_has_none_and_keeps_its_shape() -> None:
    secrets = Secrets([KEY, "12345678"])
    value = {"a": [KEY, 1, 12345678, None, True], KEY: {"b": f"x {KEY}"}}
    shown = {"a": [REDACTED, 1, REDACTED, None, True], REDACTED: {"b": f"x {REDACTED}"}}
    assert secrets.redact_json(value) == shown
    same = {"a": [1, 2.5, "x"]}
    assert secrets.redact_json(same) is same
    deep: list[object] = [KEY]
    for _ in range(5_000):
        deep = [deep]
    found: object = secrets.redact_json(deep)
    while isinstance(found, list):
        (found,) = found
    assert found == REDACTED


def test_where_secrets_overlap_the_longest_is_taken() -> None:
    secrets = Secrets(["hunter2", KEY, "plain-old"])
    assert secrets.redact("hunter2-plain-old hunter2") == f"{REDACTED}-old {REDACTED}"


@pytest.mark.parametrize("end", range(4, len(KEY)))
def test_a_text_that_was_cut_does_not_end_in_the_beginning_of_one(end: int) -> None:
    secrets = Secrets([KEY])
    assert secrets.redact(f"It is {KEY[:end]}", cut=True) == f"It is {REDACTED}"
    assert secrets.redact(f"It is {KEY[:end]}%2", cut=True) == f"It is {REDACTED}"
    assert secrets.redact(f"It is {KEY[:end]}") == f"It is {KEY[:end]}"


def test_an_answer_loses_its_secrets_wherever_they_stand_and_then_its_thinking() -> None:
    guard = OutputFilter(secrets=Secrets([KEY]), render=renderer.render_cached)
    call = {"type": "tool_use", "id": "a", "name": "t", "input": {"x": [f"{KEY}!"]}}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    clean = Answer([thinking, {"type": "text", "text": "Hello"}, call | {"input": {}}], "tool_use")
    assert guard.redact_answer(clean) is clean
    said = [{"type": "text", "text": "It is hunter2"}, {"type": "text", "text": "-plain."}]
    found = guard.redact_answer(Answer([thinking, *said, call], "tool_use"))
    told = {"type": "text", "text": f"It is {REDACTED}."}
    assert found.content == [told, call | {"input": {"x": [f"{REDACTED}!"]}}]
    thought = guard.redact_answer(Answer([thinking | {"thinking": KEY}, told], "end_turn"))
    assert thought.content == [told]
    named = guard.redact_answer(Answer([call | {"name": KEY, "input": {}}], "tool_use"))
    assert KEY not in str(named)


# --- properties -----------------------------------------------------------------------------------

marks = st.sampled_from(
    [
        *("*", "**", "_", "~~", "`", "||", "\\", "\u200b", "", "", "", "$", "\\("),
        *("[x](http://a)", "[](http://a)", "![](http://a)", "&zwj;"),
        *("<b>", "</b>", "<!-- -->", "<tg-spoiler>", "</tg-spoiler>"),
    ]
)
pieces = st.lists(st.tuples(st.integers(1, len(KEY) - 1), marks), min_size=1, max_size=4)


def written(cuts: list[tuple[int, str]]) -> str:
    """The secret with marks at these places."""
    text = KEY
    for at, mark in sorted(cuts, reverse=True):
        text = text[:at] + mark + text[at:]
    return text


@given(marks, pieces, marks)
@settings(max_examples=150, deadline=None)
@example("", [(3, "[](http://a)")], "")
@example("", [(3, "&amp;#116;")], "")
def test_whatever_stands_between_its_pieces_nobody_reads_it(
    before: str, cuts: list[tuple[int, str]], after: str
) -> None:
    secrets = Secrets([KEY])
    guard = OutputFilter(secrets=secrets, render=renderer.render_cached)
    shown = guard.redact_text(f"{before}{written(cuts)}{after} and on")
    assert not shows_secret(renderer.render(shown), secrets)
    assert KEY not in fold(shown)
    assert guard.redact_text(shown) == shown


texts = st.lists(
    st.one_of(
        st.sampled_from([KEY, KEY[:5], KEY[5:], "**", "_", "%2D", "%", "&#45;", "&", "\\", " "]),
        st.sampled_from([KEY[:3], KEY[3:], "<b>", "<!-- x -->", "<a href=y>", "<", "</"]),
        st.sampled_from(
            ["aaabbb", "aaabbbb", "bbbccc", "aaa", "bbb", "h", "\u200b", "\u0435", "\n"]
        ),
        st.text("hunter2-pl ai%&;#\\x", max_size=6),
    ),
    max_size=8,
).map("".join)


@given(texts)
@settings(deadline=None)
@example("aaabbbccc aaabbbb")
@example("hunter2%2Dplain")
@example("<hunte\n")
@example("<p ")
def test_a_growing_text_shows_only_what_its_end_shows_and_looks_at_each_piece_once(
    text: str,
) -> None:
    secrets = Secrets([KEY, "aaabbb", "aaabbbb", "bbbccc"])
    sieve, final, before = StreamRedactor(secrets), secrets.redact(text), ""
    for end in range(len(text) + 1):
        shown = sieve.redact(text[:end])
        assert shown.startswith(before)
        before = shown
    assert final.startswith(before)
    ended = f"{text}>. "  # a tag that may be open as well
    assert sieve.redact(ended) == secrets.redact(ended)
    assert sieve.redact("another") == StreamRedactor(secrets).redact("another")


def tokens(count: int) -> list[str]:
    chance = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
    return [
        f"{chance.randrange(10**9, 10**10)}:AA{''.join(chance.choices(letters, k=33))}"
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    "piece",
    ["a", "1234567890:AA", "%", "%d0", "&#", "&amp;", "\\", "**", "é", "aй", "\u200b", "<", "["],
)
def test_no_text_takes_long_beside_the_secrets_of_a_thousand_bots(piece: str) -> None:
    secrets = Secrets(tokens(1_000))
    secrets.redact("the matcher is made once")
    text = piece * (100_000 // len(piece))
    began = time.thread_time()
    secrets.redact(f"{text} {tokens(1)[0]}")
    secrets.redact(text, cut=True)
    secrets.redact_settled(text)
    assert time.thread_time() - began < 2


def test_a_growing_text_is_not_looked_through_from_its_beginning_each_time() -> None:
    secrets, text = Secrets(tokens(1_000)), "it goes on, and on, and on. " * 8_000
    sieve, began = StreamRedactor(secrets), time.thread_time()
    for end in range(0, len(text), 100):
        sieve.redact(text[:end])
    assert time.thread_time() - began < 3
