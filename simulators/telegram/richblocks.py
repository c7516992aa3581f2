"""Rich messages: HTML or Markdown into blocks, as messages show them.

Markdown becomes HTML first, so both have one reading. Where the service's own words for a refusal
are not known, they follow its other parsers'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pyromark

from simulators.telegram import links
from simulators.telegram.formatting import cannot_parse

Json = dict[str, Any]
RichText = Any  # a string, a list of rich texts, or an object with a type

_OPTIONS = (
    pyromark.Options.ENABLE_TABLES
    | pyromark.Options.ENABLE_TASKLISTS
    | pyromark.Options.ENABLE_STRIKETHROUGH
)
_STYLES = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline",
    "ins": "underline", "s": "strikethrough", "del": "strikethrough", "strike": "strikethrough",
    "tg-spoiler": "spoiler", "code": "code", "mark": "marked", "sub": "subscript",
    "sup": "superscript",
}  # fmt: skip
_INLINE = frozenset({*_STYLES, "a", "span", "br", "tg-math", "input"})
_VOID = frozenset({"br", "hr", "input"})
_LANGUAGE = re.compile(r"^language-(\S+)$")
_ALIGN = re.compile(r"text-align:\s*(left|center|right)")


@dataclass(slots=True)
class _Node:
    tag: str
    given: dict[str, str] = field(default_factory=dict)
    inside: list[_Node | str] = field(default_factory=list)


def from_markdown(text: str) -> list[Json]:
    """The blocks of a Markdown text; 400 for HTML in it that cannot be read."""
    return from_html(pyromark.html(text, options=_OPTIONS))


def from_html(text: str) -> list[Json]:
    """The blocks of an HTML text; 400 "can't parse entities" for unknown or unclosed tags."""
    reader = _Tree()
    reader.feed(text)
    reader.close()
    if len(reader.open) > 1:
        raise cannot_parse(
            f'Can\'t find end tag corresponding to start tag "{reader.open[-1].tag}"'
        )
    return list(_blocks(reader.open[0].inside))


def plain(value: Any) -> str:
    """The words of a rich text, of a block, or of a list of either."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(plain(one) for one in value)
    if not isinstance(value, dict):
        return ""
    parts = ("summary", "text", "expression", "blocks", "items", "cells")
    end = "\n" if value.get("type") in {"paragraph", "heading", "pre"} else ""
    return "".join(plain(value[name]) for name in parts if name in value) + end


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [_Node("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _INLINE and tag not in _BLOCKS and tag not in _PARTS:
            raise cannot_parse(f'Unsupported start tag "{tag}" at byte offset {self._byte()}')
        node = _Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inside.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        if len(self.open) == 1:
            raise cannot_parse(f"Unexpected end tag at byte offset {self._byte()}")
        expected = self.open.pop().tag
        if tag != expected:
            raise cannot_parse(
                f"Unmatched end tag at byte offset {self._byte()}, "
                f'expected "</{expected}>", found "</{tag}>"'
            )

    def handle_data(self, data: str) -> None:
        self.open[-1].inside.append(data)

    def _byte(self) -> int:
        line, column = self.getpos()
        before = self.rawdata.split("\n", line)[: line - 1]
        head = self.rawdata.split("\n")[line - 1][:column] if line else ""
        return sum(len(one.encode()) + 1 for one in before) + len(head.encode())


def _inline(nodes: list[_Node | str], *, verbatim: bool = False) -> RichText:
    parts: list[RichText] = []
    for node in nodes:
        part = node if isinstance(node, str) else _styled(node)
        if isinstance(part, str) and not verbatim:
            part = re.sub(r"[ \t\r\n]+", " ", part) if part != "\n" else part
        if part != "":
            parts.append(part)
    return parts[0] if len(parts) == 1 else parts or ""


def _styled(node: _Node) -> RichText:
    if node.tag == "br":
        return "\n"
    if node.tag == "input":
        return ""
    if node.tag == "tg-math":
        return {"type": "mathematical_expression", "expression": plain(_inline(node.inside))}
    inner = _inline(node.inside, verbatim=node.tag == "code")
    if node.tag == "a":
        return _link(node, inner)
    kind = "spoiler" if node.given.get("class") == "tg-spoiler" else _STYLES.get(node.tag)
    return {"type": kind, "text": inner} if kind else inner


def _link(node: _Node, inner: RichText) -> RichText:
    try:
        url = links.checked(node.given.get("href", ""))
    except links.WrongLinkError:
        return inner
    return {"type": "url", "text": inner, "url": url}


def _blocks(nodes: list[_Node | str]) -> Iterator[Json]:
    """The blocks of a container; loose words between them become paragraphs."""
    loose: list[_Node | str] = []
    for node in [*nodes, _Node("")]:
        if isinstance(node, str) or node.tag in _INLINE:
            loose.append(node)
            continue
        text = _trimmed(_inline(loose))
        if text:
            yield {"type": "paragraph", "text": text}
        loose = []
        make = _BLOCKS.get(node.tag)
        if make is not None:
            yield from make(node)


def _trimmed(text: RichText) -> RichText:
    if isinstance(text, str):
        return text.strip()
    if isinstance(text, list) and not plain(text).strip():
        return ""
    return text


def _paragraph(node: _Node) -> Iterator[Json]:
    yield from _blocks(node.inside)


def _heading(node: _Node) -> Iterator[Json]:
    yield {"type": "heading", "text": _inline(node.inside), "size": int(node.tag[1])}


def _pre(node: _Node) -> Iterator[Json]:
    inside, language = node.inside, None
    if len(inside) == 1 and isinstance(inside[0], _Node) and inside[0].tag == "code":
        language = _LANGUAGE.match(inside[0].given.get("class", ""))
        inside = inside[0].inside
    text = plain(_inline(inside, verbatim=True)).removesuffix("\n")
    yield {"type": "pre", "text": text} | ({"language": language[1]} if language else {})


def _quotation(node: _Node) -> Iterator[Json]:
    if "expandable" in node.given:
        yield {"type": "expandable_blockquote", "text": _inline(node.inside)}
    else:
        yield {"type": "blockquote", "blocks": list(_blocks(node.inside))}


def _list(node: _Node) -> Iterator[Json]:
    first = int(node.given["start"]) if node.given.get("start", "").isdecimal() else 1
    items = [one for one in node.inside if isinstance(one, _Node) and one.tag == "li"]
    numbered = node.tag == "ol"
    shown = [_item(one, first + at if numbered else None) for at, one in enumerate(items)]
    yield {"type": "list", "items": shown}


def _item(node: _Node, number: int | None) -> Json:
    label = f"{number}." if number is not None else "•"
    item: Json = {"label": label, "blocks": list(_blocks(node.inside))}
    box = next((n for n in _inner(node) if n.tag == "input"), None)
    if box is not None:
        item |= {"has_checkbox": True, "is_checked": "checked" in box.given}
    return item | ({"value": number, "type": "1"} if number is not None else {})


def _inner(node: _Node) -> Iterator[_Node]:
    for one in node.inside:
        if isinstance(one, _Node):
            yield one
            if one.tag == "p":
                yield from _inner(one)


def _table(node: _Node) -> Iterator[Json]:
    rows = [one for one in _within(node, {"thead", "tbody"}) if one.tag == "tr"]
    yield {"type": "table", "cells": [[_cell(c) for c in _within(row, set())] for row in rows]}


def _within(node: _Node, through: set[str]) -> Iterator[_Node]:
    for one in node.inside:
        if isinstance(one, _Node):
            yield from _within(one, through) if one.tag in through else (one,)


def _cell(node: _Node) -> Json:
    found = _ALIGN.search(node.given.get("style", ""))
    align = node.given.get("align") or (found[1] if found else "left")
    cell: Json = {"align": align, "valign": "top", "text": _inline(node.inside)}
    return cell | {"is_header": True} if node.tag == "th" else cell


def _details(node: _Node) -> Iterator[Json]:
    summary = next((n for n in _within(node, set()) if n.tag == "summary"), _Node("summary"))
    rest = [one for one in node.inside if one is not summary]
    block = {"type": "details", "summary": _inline(summary.inside), "blocks": list(_blocks(rest))}
    yield block | {"is_open": True} if "open" in node.given else block


def _said(kind: str) -> Callable[[_Node], Iterator[Json]]:
    def make(node: _Node) -> Iterator[Json]:
        yield {"type": kind, "text": _inline(node.inside)}

    return make


def _divider(_node: _Node) -> Iterator[Json]:
    yield {"type": "divider"}


_BLOCKS: dict[str, Callable[[_Node], Iterator[Json]]] = {
    "p": _paragraph, "div": _paragraph, "pre": _pre, "blockquote": _quotation, "ul": _list,
    "ol": _list, "hr": _divider, "table": _table, "details": _details, "footer": _said("footer"),
    "aside": _said("pullquote"), **{f"h{size}": _heading for size in range(1, 7)},
}  # fmt: skip
_PARTS = frozenset({"li", "thead", "tbody", "tr", "th", "td", "summary"})
