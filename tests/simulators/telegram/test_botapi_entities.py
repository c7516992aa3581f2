from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.telegram import detect, entities
from simulators.telegram.params import Params
from simulators.telegram.refusals import RefusedError
from simulators.telegram.richtext import Rich, message_text


def read(text: str, mode: str = "", given: list[dict[str, Any]] | None = None) -> Rich:
    values: dict[str, Any] = {"text": text, "parse_mode": mode}
    if given is not None:
        values["entities"] = given
    return message_text(Params(values, {}), lambda who: {"id": who} if who < 100 else None)


def kinds(rich: Rich) -> list[tuple[str, int, int]]:
    return [(e["type"], e["offset"], e["length"]) for e in rich.entities]


def words(text: str, mode: str = "", given: list[dict[str, Any]] | None = None) -> str:
    with pytest.raises(RefusedError) as refusal:
        read(text, mode, given)
    assert refusal.value.code == 400
    return refusal.value.description.removeprefix("Bad Request: ")


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("<b>bold</b>", "bold", [("bold", 0, 4)]),
        ("<strong>a</strong><em>b</em>", "ab", [("bold", 0, 1), ("italic", 1, 1)]),
        ("<u>a</u> <s>b</s>", "a b", [("underline", 0, 1), ("strikethrough", 2, 1)]),
        ('<span class="tg-spoiler">x</span>', "x", [("spoiler", 0, 1)]),
        ("<tg-spoiler>x</tg-spoiler>", "x", [("spoiler", 0, 1)]),
        ("1 &lt; 2 &amp;&amp; 3 &gt; 2", "1 < 2 && 3 > 2", []),
        ("&#128512;<b>x</b>", "😀x", [("bold", 2, 1)]),
        ("&nbsp; stays", "&nbsp; stays", []),
        ("<blockquote expandable>q</blockquote>", "q", [("expandable_blockquote", 0, 1)]),
        ("<B>case</B>", "case", [("bold", 0, 4)]),
        ("<i></i>empty", "empty", []),
        ('<a href="wrong">link</a>', "link", []),
    ],
)
def test_html_becomes_text_and_entities(source: str, text: str, found: list[Any]) -> None:
    rich = read(source, "HTML")
    assert (rich.text, kinds(rich)) == (text, found)


def test_html_code_in_pre_keeps_its_language() -> None:
    rich = read('<pre><code class="language-python">x = 1</code></pre>', "html")
    assert rich.entities == [{"type": "pre", "offset": 0, "length": 5, "language": "python"}]


def test_html_links_are_completed_and_persons_become_mentions() -> None:
    rich = read('<a href="example.org">a</a> <a href="tg://user?id=7">b</a>', "HTML")
    assert rich.entities == [
        {"type": "text_link", "offset": 0, "length": 1, "url": "http://example.org/"},
        {"type": "text_mention", "offset": 2, "length": 1, "user": {"id": 7}},
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("é<T>", 'Unsupported start tag "t" at byte offset 2'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("a <b", "Unclosed start tag at byte offset 2"),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ('<a href="x', "Unclosed start tag at byte offset 0"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ("<a href=x/y>l</a>", "Unexpected end of name token at byte offset 8"),
        ('<tg-emoji emoji-id="x">a</tg-emoji>', "Invalid custom emoji identifier specified"),
    ],
)
def test_wrong_html_is_refused_with_its_place(source: str, said: str) -> None:
    assert words(source, "HTML") == f"can't parse entities: {said}"


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("*b* _i_ __u__ ~s~ ||x||", "b i u s x", [*entities.SPLITTABLE]),
        ("`a.b!`", "a.b!", ["code"]),
        ("```py\nx.y\n```", "x.y", ["pre"]),
        (r"1\.2\!", "1.2!", []),
        (r"`a\`b`", "a`b", ["code"]),
        ("[l](http://e.org/\\))", "l", ["text_link"]),
        (">q1\n>q2\nrest", "q1\nq2\nrest", ["blockquote"]),
        (">q\n>r||", "q\nr", ["expandable_blockquote"]),
        ("![👍](tg://emoji?id=53)", "👍", ["custom_emoji"]),
        ("![t](tg://time?unix=1700000000&format=r)", "t", ["date_time"]),
        ("___iu_\r__", "iu", ["italic", "underline"]),
    ],
)  # fmt: skip
def test_markdown_v2_becomes_text_and_entities(source: str, text: str, found: list[str]) -> None:
    rich = read(source, "MarkdownV2")
    assert (rich.text, sorted(e["type"] for e in rich.entities)) == (text, sorted(found))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("a.b", "Character '.' is reserved and must be escaped with the preceding '\\'"),
        ("1 > 2", "Character '>' is reserved and must be escaped with the preceding '\\'"),
        ("a|b", "Character '|' is reserved and must be escaped with the preceding '\\'"),
        ("*b", "Can't find end of Bold entity at byte offset 0"),
        ("é _i", "Can't find end of Italic entity at byte offset 3"),
        ("```py\nx", "Can't find end of PreCode entity at byte offset 0"),
        ("[a](b", "Can't find end of a URL at byte offset 4"),
        ("![x](http://e.org)", "Invalid tg://emoji or tg://time URL specified"),
        ("![x] y", "The entity must contain a tg://emoji or tg://time URL"),
    ],
)
def test_wrong_markdown_v2_is_refused_with_its_place(source: str, said: str) -> None:
    assert words(source, "MarkdownV2") == f"can't parse entities: {said}"


def test_old_markdown_does_not_nest_and_names_the_byte() -> None:
    rich = read("*a* [t](http://e.org) `c` \\_", "Markdown")
    assert kinds(rich) == [("bold", 0, 1), ("text_link", 2, 1), ("code", 4, 1)]
    assert rich.text == "a t c _"
    assert words("snake_case", "markdown") == (
        "can't parse entities: Can't find end of the entity starting at byte offset 5"
    )


def test_an_unknown_parse_mode_is_refused() -> None:
    assert words("x", "Wiki") == "unsupported parse_mode"


def test_explicit_entities_move_with_trimmed_space() -> None:
    rich = read("  hi there \n", given=[{"type": "bold", "offset": 5, "length": 6}])
    assert (rich.text, kinds(rich)) == ("hi there", [("bold", 3, 5)])


def test_leading_space_inside_an_entity_stays() -> None:
    rich = read("  hi", given=[{"type": "code", "offset": 1, "length": 3}])
    assert (rich.text, kinds(rich)) == (" hi", [("code", 0, 3)])


def test_offsets_count_utf16_units() -> None:
    rich = read("😀😀b", given=[{"type": "bold", "offset": 4, "length": 1}])
    assert kinds(rich) == [("bold", 4, 1)]


@pytest.mark.parametrize(
    ("text", "entity", "said"),
    [
        (
            "hi",
            {"type": "bold", "offset": 3, "length": 1},
            "entity begins after the end of the text at UTF-16 offset 3",
        ),
        (
            "hi",
            {"type": "bold", "offset": 1, "length": 5},
            "entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 6",
        ),
        (
            "😀x",
            {"type": "bold", "offset": 1, "length": 2},
            "entity begins in a middle of a UTF-16 symbol at byte offset 4",
        ),
        (
            "hi",
            {"type": "bold", "offset": -1, "length": 1},
            "receive an entity with incorrect offset -1",
        ),
        (
            "hi",
            {"type": "shout", "offset": 0, "length": 1},
            "can't parse MessageEntity: Unsupported type specified",
        ),
        (
            "hi",
            {"type": "bold", "offset": 0},
            "can't parse MessageEntity: Can't find field \"length\"",
        ),
        (
            "hi",
            {"type": "text_link", "offset": 0, "length": 1, "url": "x"},
            "entity Wrong HTTP URL",
        ),
    ],
)
def test_wrong_explicit_entities_are_refused(text: str, entity: dict[str, Any], said: str) -> None:
    assert words(text, given=[entity]) == said


def test_styles_are_cut_where_another_begins_and_vanish_in_code() -> None:
    both = [
        {"type": "bold", "offset": 0, "length": 6},
        {"type": "italic", "offset": 3, "length": 6},
    ]
    assert kinds(read("abcdefghi", given=both)) == [
        ("bold", 0, 3),
        ("italic", 3, 6),
        ("bold", 3, 3),
    ]
    coded = [
        {"type": "code", "offset": 2, "length": 2},
        {"type": "bold", "offset": 0, "length": 6},
    ]
    assert kinds(read("abcdef", given=coded)) == [("bold", 0, 2), ("code", 2, 2), ("bold", 4, 2)]


def test_crossing_links_keep_the_first() -> None:
    crossing = [
        {"type": "code", "offset": 0, "length": 4},
        {"type": "pre", "offset": 2, "length": 4},
    ]
    assert kinds(read("abcdef", given=crossing)) == [("code", 0, 4)]


def test_a_hundred_entities_are_kept_and_the_rest_dropped_silently() -> None:
    text = "a " * 150
    given = [{"type": "code", "offset": n * 2, "length": 1} for n in range(150)]
    assert len(read(text, given=given).entities) == 100


def test_4096_units_pass_and_one_more_is_too_long() -> None:
    assert len(read("x" * 4096).text) == 4096
    assert words("x" * 4097) == "message is too long"
    assert words("😀" * 2049) == "message is too long"
    assert len(read("<b>" + "x" * 4096 + "</b>", "HTML").text) == 4096


def test_empty_and_blank_texts_are_refused_in_different_words() -> None:
    assert words("") == "message text is empty"
    assert words(" \n ") == "text must be non-empty"
    assert words("<b></b>", "HTML") == "text must be non-empty"


def test_commands_mentions_and_links_are_found_unmarked() -> None:
    text = "/start@first_bot @ann #tag $USD a@b.de see https://e.org/x?y=(z), e.com."
    assert [e["type"] for e in detect.detected(text)] == [
        "bot_command", "mention", "hashtag", "cashtag", "email", "url", "url",
    ]  # fmt: skip


def test_nothing_is_found_inside_code() -> None:
    assert kinds(read("`/start`", "MarkdownV2")) == [("code", 0, 6)]


_ENTITY = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            [*entities.SPLITTABLE, "code", "pre", "blockquote", "expandable_blockquote"]
        ),
        "offset": st.integers(0, 12),
        "length": st.integers(0, 12),
    }
)


@given(st.lists(_ENTITY, max_size=8))
def test_settled_entities_nest_and_stay_inside(given: list[dict[str, Any]]) -> None:
    text = "a  b\rc 😀 d\n  "
    pair = entities.units("a  b\rc ") + 1
    inside = [
        e
        for e in given
        if pair not in (e["offset"], entities.end(e)) and entities.end(e) <= entities.units(text)
    ]
    text, found = entities.normalized(text, inside)
    assert text == "a  bc 😀 d"
    assert all(0 < entities.end(e) <= entities.units(text) for e in found)
    for one in found:
        for other in found:
            crossing = one["offset"] < other["offset"] < entities.end(one) < entities.end(other)
            assert not crossing
