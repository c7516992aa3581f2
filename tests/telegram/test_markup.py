"""From Markdown to messages: nothing lost, nothing over the limit, nothing across a border."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.messages import RichText
from bot.telegram.markdown import renderer
from bot.telegram.markdown.entities import normalize_entities
from bot.telegram.markdown.renderer import MARK, PART_LIMIT, render, with_mark
from bot.telegram.markdown.split import ENTITY_LIMIT, TEXT_LIMIT, borders, split, utf16_units
from bot.telegram.markdown.tables import width

CODE = ("pre", "code")
FAMILY = "👩‍👩‍👧‍👦"


def shown(rich: RichText) -> list[tuple[str, str]]:
    """Each entity as its kind and the text it covers."""
    units = rich.text.encode("utf-16-le")
    return [
        (e["type"], units[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le"))
        for e in rich.entities
    ]


def kinds(rich: RichText) -> list[str]:
    return [entity["type"] for entity in rich.entities]


def entity(kind: str, start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"type": kind, "offset": start, "length": end - start, **more}


# --- render ---------------------------------------------------------------------------------------


def test_markdown_becomes_text_with_entities() -> None:
    rich = render("**Bold** 😀 `x<y>` and [site](https://e.test/a)")
    assert rich.text == "Bold 😀 x<y> and site"
    assert shown(rich) == [("bold", "Bold"), ("code", "x<y>"), ("text_link", "site")]
    assert rich.entities[2]["url"] == "https://e.test/a"


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("Vec<T> and HashMap<K, V>", "Vec<T> and HashMap<K, V>"),
        ("`Vec<T>`", "Vec<T>"),
        ("<T>\n\nhi", "<T>\n\nhi"),
        ("a\\<b", "a<b"),
        ("1 < 2 &lt; 3", "1 < 2 < 3"),
        ("<!-- note -->", "<!-- note -->"),
        ("> if <T>", "if <T>"),
        ("a<br>b<br/>\nc", "a\nb\nc"),
        ("<div>\nfoo `a<b` **é**\n</div>", "<div>\nfoo a<b é\n</div>"),
        ("<ul>\n<li>one</li>\n<li>two</li>\n</ul>", "<ul>\n<li>one</li>\n<li>two</li>\n</ul>"),
        ("- x\n\n      code<T>", "• x\ncode<T>"),
        ("<https://e.test>", "https://e.test"),
        ("||a <!--b\n||<!--c", "a <!--b\n<!--c"),
        ("\\( x<y \\alpha \\)", "x<y α"),
    ],
)
def test_what_looks_like_a_tag_is_shown_and_code_is_not_touched(markdown: str, text: str) -> None:
    assert render(markdown).text.rstrip() == text


def test_a_fence_under_an_open_tag_keeps_its_code_as_it_is() -> None:
    rich = render("<details>\n<summary>x</summary>\n```html\n<div>\n  <b>\n```\n</details>")
    assert rich.text == "<details>\n<summary>x</summary>\n<div>\n  <b>\n</details>"
    assert shown(rich) == [("pre", "<div>\n  <b>")]


def test_spoilers_are_spoilers() -> None:
    assert shown(render("it was ||the <b> butler||")) == [("spoiler", "the <b> butler")]


def test_task_boxes_look_like_their_state() -> None:
    assert render("- [ ] open\n- [x] done").text.split() == ["☐", "open", "☑", "done"]


def test_headings_have_no_emoji() -> None:
    for level in range(1, 7):
        assert render(f"{'#' * level} Title").text == "Title"


def test_a_table_is_as_wide_on_the_screen_as_its_cells() -> None:
    rich = render(f"| name | n |\n|---|--:|\n| 漢字 | 1 |\n| 🇩🇪{FAMILY} | 22 |\n| e\u0301 | 3 |")
    lines = rich.text.split("\n")
    assert kinds(rich) == ["pre"]
    assert lines[1] == "-----+---"
    assert {width(line) for line in lines} == {4 + 3 + 2}
    assert lines[0] == "name |  n"


def test_tables_keep_empty_cells_tags_and_pipes() -> None:
    text = render("| a || c |\n|-|-|-|\n| Vec<T> || `x\\|y` |").text
    assert text.split("\n")[2] == "Vec<T> |  | x|y"


def test_cells_beyond_the_last_column_are_kept() -> None:
    text = render("| code | n |\n|-|-|\n| 1 | a || b |\n| x | y |\n").text
    assert text == "code | n\n-----+------\n1    | a | b\nx    | y"


@pytest.mark.parametrize("margin", ["> ", "  "])
def test_a_table_inside_another_block_stays_there(margin: str) -> None:
    first = "- one\n\n" if margin == "  " else ""
    table = "\n".join(f"{margin}{row}" for row in ("| a | b |", "|---|---|", "| 1 | 2 |"))
    rich = render(f"{first}{table}\n\nafter")
    assert ("pre", "a | b\n--+--\n1 | 2") in shown(rich)
    assert rich.text.endswith("after")


def test_latex_becomes_characters_but_not_inside_of_code() -> None:
    assert render(r"\( \alpha \)").text == "α"
    assert render("```tex\n\\[ \\frac{a}{b} \\]\n```").text == "\\[ \\frac{a}{b} \\]"


def test_styles_leave_code_out_and_links_outweigh_code() -> None:
    rich = render("**bold `code` more** and [`f`](https://e.test)")
    assert shown(rich) == [
        ("bold", "bold "),
        ("code", "code"),
        ("bold", " more"),
        ("text_link", "f"),
    ]


def test_a_quotation_in_a_quotation_is_one() -> None:
    assert kinds(render("> > inner\n>\n> outer")) == ["blockquote"]


@pytest.mark.parametrize("markdown", ["", "  \n\t", "\u200b", "\x00"])
def test_nothing_becomes_nothing(markdown: str) -> None:
    assert split(render(markdown)) == []


def test_what_markdown_would_swallow_is_shown_as_written() -> None:
    assert render("[a]: https://e.test").text == "[a]: https://e.test"


def test_half_a_surrogate_pair_and_control_characters_do_not_get_through() -> None:
    assert render("a\ud83db\x00c\r\nd").text == "a\ufffdb c\nd"


def test_what_nobody_sees_does_not_get_through_by_its_name_either() -> None:
    rich = renderer.render(
        "a&zwj;b **b\u200bo&#8203;ld** 👩&zwj;💻 &#x202e;[x](http://a.example)&shy;"
    )
    assert rich.text == "ab bold 👩\u200d💻 x"
    assert [(one["type"], one["offset"], one["length"]) for one in rich.entities] == [
        ("bold", 3, 4),
        ("text_link", 14, 1),
    ]


def test_a_failing_converter_leaves_the_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicError(BaseException):
        pass

    def panic(_: str) -> None:
        raise PanicError

    monkeypatch.setattr(renderer, "preprocess_markdown", panic)
    assert render("**a** <T>") == RichText("**a** <T>")


def test_html_without_end_is_shown_as_written() -> None:
    block = "".join(f"<details>\n```\n<p>{n}\n```\n" for n in range(40))
    assert "<p>39" in render(block).text


def test_the_converter_is_loaded_with_the_first_answer_only() -> None:
    code = (
        "import sys, bot.telegram.markdown.renderer as m\n"
        "assert 'telegramify_markdown' not in sys.modules and 'pyromark' not in sys.modules\n"
        "m.render('x')\n"
        "assert 'telegramify_markdown' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


MARKS = (
    r"** * _ ` || ~~ | [ ]( [a](http://b) ![i](u) [^1] $x$ \( \alpha \) &lt; \ <T> <br> </p> <!--"
)
SNIPPETS = st.sampled_from(
    (
        *MARKS.split(),
        *("<div>\n", "---\n", "~~~\n", "```py\n", "```", "\r\n", "\n", "\n\n", "[^1]: n\n"),
        *("- ", "- [ ] ", "1. ", "# ", "> ", "    ", "|a|b|\n|-|-|\n|1|2|\n"),
        *("word ", "x", "😀", FAMILY, "漢", "é", "\ud83d", "\x00"),
    )
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SNIPPETS | st.text(max_size=5), max_size=30).map("".join))
def test_any_markdown_renders_to_valid_parts(markdown: str) -> None:
    rich = render(markdown)
    rich.text.encode()
    is_valid(rich)
    for part in split(rich, 64):
        is_valid(part)
        assert utf16_units(part.text) <= 64
        assert part.text.strip()


def is_valid(rich: RichText) -> None:
    """Entities inside the text, never in half a character, sorted, nested, no code in code."""
    units = utf16_units(rich.text)
    data = rich.text.encode("utf-16-le")
    open_: list[tuple[int, str]] = []
    for one in rich.entities:
        start, end = one["offset"], one["offset"] + one["length"]
        assert 0 <= start < end <= units
        data[2 * start : 2 * end].decode("utf-16-le")
        while open_ and open_[-1][0] <= start:
            open_.pop()
        assert all(end <= outer for outer, _ in open_)
        assert not any(kind in CODE for _, kind in open_)
        assert one["type"] not in CODE or all("quote" in kind for _, kind in open_)
        open_.append((end, one["type"]))
    keys = [(one["offset"], -one["length"]) for one in rich.entities]
    assert keys == sorted(keys)


# --- order of entities ----------------------------------------------------------------------------


def test_entities_that_cross_are_cut_into_nested_ones() -> None:
    ordered = normalize_entities([entity("bold", 0, 6), entity("spoiler", 4, 9)], 9)
    assert [tuple(e.values()) for e in ordered] == [
        ("bold", 0, 6),
        ("spoiler", 4, 2),
        ("spoiler", 6, 3),
    ]


def test_a_style_is_cut_at_the_border_of_a_link() -> None:
    ordered = normalize_entities([entity("bold", 0, 6), entity("text_link", 4, 9, url="u")], 9)
    assert [(e["type"], e["offset"], e["length"]) for e in ordered] == [
        ("bold", 0, 4),
        ("text_link", 4, 5),
        ("bold", 4, 2),
    ]


def test_entities_outside_of_the_text_are_clipped_or_dropped() -> None:
    ordered = normalize_entities(
        [entity("bold", 2, 99), entity("italic", 5, 6), entity("code", -3, 1)], 5
    )
    assert [(e["type"], e["offset"], e["length"]) for e in ordered] == [
        ("code", 0, 1),
        ("bold", 2, 3),
    ]


KINDS = ["bold", "italic", "spoiler", "code", "pre", "text_link", "blockquote", "custom_emoji"]
ENTITIES = st.lists(
    st.builds(
        lambda kind, start, length: entity(kind, start, start + length),
        st.sampled_from(KINDS),
        st.integers(-5, 400),
        st.integers(-2, 120),
    ),
    max_size=20,
)


@given(ENTITIES, st.integers(0, 400))
def test_any_entities_are_brought_into_a_valid_order(
    entities: list[dict[str, Any]], units: int
) -> None:
    is_valid(RichText("x" * units, normalize_entities(entities, units)))


# --- split ----------------------------------------------------------------------------------------


def texts(rich: RichText, limit: int) -> list[str]:
    return [part.text for part in split(rich, limit)]


def test_a_text_that_fits_is_one_part() -> None:
    rich = render("**a** b")
    assert split(rich) == [rich]


def test_the_limit_counts_utf16_units() -> None:
    assert TEXT_LIMIT == 4096
    assert [len(text) for text in texts(RichText("😀" * 4096), TEXT_LIMIT)] == [2048, 2048]
    assert len(split(RichText("a" * 4096))) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two three.\n\nfour\nfive. Six", ["one two three.", "four\nfive. Six"]),
        ("one two three\nfour five. Six", ["one two three", "four five. Six"]),
        ("one two three. Four five six", ["one two three.", "Four five six"]),
        ("one two three four five six", ["one two three four", "five six"]),
        ("你好世界你好世界你好。世界你好世界你好世界你好", None),
    ],
)
def test_a_cut_prefers_paragraphs_then_lines_then_sentences_then_words(
    text: str, parts: list[str] | None
) -> None:
    expected = parts or ["你好世界你好世界你好。", "世界你好世界你好世界你好"]
    assert texts(RichText(text), 20) == expected


def test_a_border_too_early_does_not_make_a_tiny_part() -> None:
    text = "Hi.\n\n" + "word " * 30
    assert len(texts(RichText(text), 60)[0]) > 30


def test_a_word_that_fits_is_never_cut() -> None:
    assert texts(RichText("ab " + "c" * 20), 20) == ["ab", "c" * 20]


def test_a_word_that_fits_nowhere_is_cut_and_fills_its_parts() -> None:
    assert [len(text) for text in texts(RichText("ab " + "c" * 45), 20)] == [20, 20, 8]


@pytest.mark.parametrize(
    "cluster",
    [
        *(FAMILY, "🇩🇪", "👍🏽", "e\u0301", "1\ufe0f\u20e3", "\u1100\u1161\u11a8"),
        *("क्षि", "स्ते", "ক্ষ", "ন্দ্র", "น้ำ", "กำ", "က္ခ"),
    ],
)
def test_a_visible_character_is_never_cut(cluster: str) -> None:
    units = max(2, utf16_units(cluster))
    for limit in range(units, 3 * units):
        assert set(texts(RichText(cluster * 9), limit)) <= {cluster, cluster * 2}


@pytest.mark.parametrize(
    "case",
    [
        "000D × 000A ÷ 0061 ÷ 000A ÷ 0308",
        "0061 × 0308 ÷ 0062",
        "0061 ÷ 0600 × 0062",
        "1100 × 1100",
        "1100 × 1160 × 11A8 ÷ 1100",
        "AC00 × 11A8 ÷ 1100",
        "AC01 × 11A8 ÷ 1100",
        "0061 ÷ 1F1E6 × 1F1E7 ÷ 1F1E8 ÷ 0062",
        "0061 ÷ 1F1E6 × 1F1E7 × 200D ÷ 1F1E8 ÷ 0062",
        "0061 ÷ 1F1E6 × 200D ÷ 1F1E7 × 1F1E8 ÷ 0062",
        "0061 ÷ 1F1E6 × 1F1E7 ÷ 1F1E8 × 1F1E9 ÷ 0062",
        "1F476 × 1F3FF × 0308 × 200D × 1F476 × 1F3FF",
        "0061 × 200D ÷ 1F6D1",
        "1F6D1 × 200D × 1F6D1",
        "0915 ÷ 0924",
        "0915 × 094D × 0924",
        "0915 × 093C × 200D × 094D × 0924",
        "0915 × 094D × 0924 × 094D × 092F",
        "0995 × 09CD × 09B7 ÷ 09AC × 09BE",
        "0E01 × 0E33 ÷ 0E19 × 0E49 × 0E33",
    ],
)
def test_a_text_may_be_cut_where_unicode_annex_29_says(case: str) -> None:
    characters = [
        "".join(chr(int(code, 16)) for code in character.split("×"))
        for character in case.split("÷")
    ]
    text = "".join(characters)
    assert [text[start:end] for start, end in pairwise(borders(text))] == characters


def test_code_is_split_at_lines_and_goes_on_in_its_language() -> None:
    code = "\n".join(f"    line({n})" for n in range(20))
    parts = split(render(f"Look:\n\n```py\n{code}\n```\n\ndone"), 100)
    assert len(parts) > 2
    for part in parts[1:-1]:
        assert shown(part) == [("pre", part.text)]
        assert part.entities[0]["language"] == "py"
        assert all(line.startswith("    line(") for line in part.text.split("\n"))
    assert "\n".join(t for part in parts for kind, t in shown(part) if kind == "pre") == code


def test_code_that_fits_into_the_next_part_is_not_torn() -> None:
    prose, code = "word " * 12, "\n".join(["x = 1", "", "y = 2"] * 4)
    parts = split(render(f"{prose}\n\n```\n{code}\n```"), 100)
    assert [kinds(part) for part in parts] == [[], ["pre"]]


def test_other_entities_are_cut_and_go_on() -> None:
    parts = split(render(f"**{'word ' * 20}end** [{'link ' * 20}end](https://e.test)"), 60)
    for part in parts:
        assert sum(len(text) for _, text in shown(part)) >= len(part.text) - 1
    assert {e["url"] for part in parts for e in part.entities if "url" in e} == {"https://e.test"}


def test_a_part_has_at_most_a_hundred_links_and_none_is_lost() -> None:
    parts = split(render(" ".join(f"[w{n}](https://e.test/{n})" for n in range(250))))
    assert [len(part.entities) for part in parts] == [100, 100, 50]
    assert ENTITY_LIMIT == 100
    assert [t for part in parts for _, t in shown(part)] == [f"w{n}" for n in range(250)]


def test_more_entities_than_a_hundred_in_one_place_lose_the_last_ones() -> None:
    heap = tuple(entity("text_link", 0, 1, url=str(n)) for n in range(150))
    (part,) = split(RichText("x", heap))
    assert len(part.entities) == 100


def test_a_limit_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="limit 1"):
        split(RichText("x"), 1)


def test_a_very_long_answer_is_split_in_little_time() -> None:
    text = ("Some **bold** text with `code` and a [link](https://e.test). 漢字 😀\n\n" * 3000)[
        :200_000
    ]
    parts = split(render(text))
    assert all(utf16_units(part.text) <= TEXT_LIMIT for part in parts)
    assert all(len(part.entities) <= 100 for part in parts)


def visible(text: str) -> str:
    return "".join(
        char
        for char in text
        if not char.isspace()
        and unicodedata.category(char) not in ("Cc", "Cf", "Zs", "Zl", "Zp")
        and char not in "\u2800\u3164\u115f\u1160\uffa0\ufffc"
        and not "\ufe00" <= char <= "\ufe0f"
    )


TEXTS = st.text(
    st.sampled_from("ab.! \n\n\t漢。é😀\u0301\u200d🇩🇪👍\U0001f3fd각\u200b")
    | st.characters(codec="utf-8"),
    max_size=300,
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, ENTITIES, st.integers(2, 80))
def test_parts_keep_all_that_is_visible_and_stay_within_all_bounds(
    text: str, entities: list[dict[str, Any]], limit: int
) -> None:
    rich = RichText(text, normalize_entities(entities, utf16_units(text)))
    parts = split(rich, limit)
    assert visible("".join(part.text for part in parts)) == visible(text)
    for part in parts:
        assert 0 < utf16_units(part.text) <= limit
        assert part.text.rstrip() == part.text
        assert all(
            0 <= e["offset"] < e["offset"] + e["length"] <= utf16_units(part.text)
            for e in part.entities
        )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text("abc.", min_size=1, max_size=20), max_size=60),
    st.randoms(use_true_random=False),
    st.integers(20, 90),
)
def test_words_that_fit_come_through_whole(words: list[str], random: Any, limit: int) -> None:
    text = "".join(word + random.choice([" ", " ", "\n", "\n\n", "  "]) for word in words)
    parts = split(RichText(text), limit)
    assert [word for part in parts for word in part.text.split()] == words


@given(TEXTS, st.integers(20, 80))
def test_no_part_ends_inside_a_visible_character_that_fits(text: str, limit: int) -> None:
    position = 0
    for part in split(RichText(text), limit):
        start = text.index(part.text, position)
        position = start + len(part.text)
        longest = max(utf16_units(text[start:end]) for start, end in pairwise(borders(text)))
        assert position in borders(text) or longest * 2 > limit


# --- marked ---------------------------------------------------------------------------------------


def test_a_mark_stands_in_front_and_moves_the_entities() -> None:
    rich = with_mark(render("a **b**"))
    assert rich.text == "↻ a b"
    assert shown(rich) == [("bold", "b")]
    assert shown(with_mark(render("**b**"), "😀 ")) == [("bold", "b")]


def test_a_part_leaves_room_for_the_mark() -> None:
    (part, *_) = split(RichText("a" * 9000), PART_LIMIT)
    assert utf16_units(with_mark(part, MARK).text) == TEXT_LIMIT
