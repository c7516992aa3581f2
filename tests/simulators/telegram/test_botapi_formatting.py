"""The simulator's parsers against our own reading of the rules: what passes, what it becomes."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulators.telegram.params import Params
from simulators.telegram.refusals import RefusedError
from simulators.telegram.richtext import Rich, message_text
from tests.simulators.telegram import formatting_model
from tests.simulators.telegram.formatting_model import CODE, MarkdownV2, Shown

STYLES = {"bold", "italic", "underline", "strikethrough", "spoiler", "code", "pre"}
KINDS = STYLES | {"blockquote", "expandable_blockquote"}
ENOUGH = settings(max_examples=250, deadline=None, derandomize=True)


def read(text: str, mode: str, listed: list[dict[str, Any]] | None = None) -> Rich | None:
    values = {"text": text, "parse_mode": mode, "entities": listed}
    try:
        return message_text(Params(values, {}), lambda _: None)
    except RefusedError:
        return None


def covered(rich: Rich) -> list[frozenset[str]]:
    """The styles of each UTF-16 unit, as the entities tell them."""
    over: list[set[str]] = [set() for _ in range(len(rich.text.encode("utf-16-le")) // 2)]
    for entity in rich.entities:
        kind = CODE if entity["type"] == "pre" else entity["type"]
        for unit in range(entity["offset"], entity["offset"] + entity["length"]):
            if kind in KINDS:
                over[unit].add(kind)
    return [frozenset(styles) for styles in over]


def compare(found: Rich | None, wanted: Shown | None) -> None:
    shown = formatting_model.visible(wanted) if wanted else None
    if found is None or shown is None:
        assert (found is None) == (shown is None), (found, shown)
        return
    assert found.text == "".join(character for character, _ in shown)
    assert covered(found) == formatting_model.units(shown)


V2 = [*"xé😀 \n\\*_~`>.!", "||", "__", "```", "py\n", "\\*", "\n>"]
_PAIRED = ["*x*", "_x_", "__x__", "~x~", "||x||", "`x`", "```x```", ">x\n", ">x||\n"]


@ENOUGH
@given(st.lists(st.sampled_from([*V2, *_PAIRED]), max_size=12).map("".join))
@example("___x_\\___")
@example("*x\n>y*")
@example(">x||")
@example(">x\\\ny")
@example("```py\nx```")
@example("```py```")
@example("`>x\n`>")
@example("````x```")
@example(">x\nx")
def test_markdown_v2_is_taken_and_refused_by_its_rules(text: str) -> None:
    compare(read(text, "MarkdownV2"), MarkdownV2(text).read())


HTML = [
    *"xé😀 \n<>&", "</", "&lt;", "&amp;", "&nbsp;", "</>",
    *(f"<{name}>" for name in ("b", "strong", "i", "u", "s", "code", "pre", "q", "tg-spoiler")),
    *(f"</{name}>" for name in ("b", "strong", "i", "u", "s", "code", "pre", "q", "tg-spoiler")),
    *(f"<{name}>x</{name}>" for name in ("b", "em", "u", "s", "code", "pre", "blockquote")),
    "<b><i>x</i>y</b>", "<b >x</b >",
]  # fmt: skip


@ENOUGH
@given(st.lists(st.sampled_from(HTML), max_size=10).map("".join))
@example("<b x>y</b>")
@example("<b>x<code>y</code>z</b>")
@example("<b>😀</>")
def test_html_is_taken_and_refused_by_its_rules(text: str) -> None:
    compare(read(text, "HTML"), formatting_model.html(text))


PLACES = st.integers(-1, 9)


@ENOUGH
@given(
    st.text("xé😀 \n", min_size=1, max_size=8),
    st.dictionaries(
        st.sampled_from(["bold", "italic", "code"]), st.tuples(PLACES, PLACES), max_size=3
    ),
)
@example("😀", {"bold": (1, 1)})
@example("x😀", {"code": (0, 3), "bold": (2, 1)})
@example("  x", {"bold": (1, 2)})
def test_listed_entities_are_taken_and_refused_by_their_places(
    text: str, places: dict[str, tuple[int, int]]
) -> None:
    entities = [(kind, offset, length) for kind, (offset, length) in places.items()]
    listed = [{"type": k, "offset": o, "length": n} for k, o, n in entities]
    compare(read(text, "", listed), formatting_model.listed(text, entities))


def test_the_examples_meet_both_answers() -> None:
    assert MarkdownV2("*x").read() is None
    assert MarkdownV2("*x*").read() == [("x", frozenset({"bold"}))]
    assert formatting_model.html("<b>x") is None
    assert formatting_model.listed("😀", [("bold", 1, 1)]) is None
