"""Our own reading of the rules of formatting, apart from the simulator: one character at a time.

Each reader gives the characters that are shown, each with the styles over it, or None where the
service refuses. Text in code has no other style.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

Styles = frozenset[str]
Shown = list[tuple[str, Styles]]

CODE = "code"
_V2 = {"*": "bold", "_": "italic", "__": "underline", "~": "strikethrough", "||": "spoiler"}
_V2_RESERVED = set("_*[]()~`>#+-=|{}.!")
_TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline",
    "s": "strikethrough", "tg-spoiler": "spoiler", "code": CODE, "pre": CODE,
    "blockquote": "blockquote",
}  # fmt: skip
_START = re.compile(r"<([^\s>]*)((?:\s+[^\s=>/\"']+)*)\s*>")
_END = re.compile(r"</([^\s>]*)\s*>")
_NAMED = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"'}


def visible(shown: Shown) -> Shown | None:
    """Without the space around, None for nothing: leading space stays where a style begins."""
    if not "".join(character for character, _ in shown).strip():
        return None
    while shown[-1][0] in " \n":
        shown = shown[:-1]
    while shown[0][0] in " \n" and not shown[0][1]:
        shown = shown[1:]
    return shown


def units(shown: Shown) -> list[Styles]:
    """The styles of each UTF-16 unit."""
    return [styles for character, styles in shown for _ in range(1 + (character > "\uffff"))]


def _over(styles: Iterable[str]) -> Styles:
    found = frozenset(styles)
    blocks = found & {"blockquote", "expandable_blockquote"}
    return frozenset({CODE}) | blocks if CODE in found else found


@dataclass
class _Mark:
    name: str
    at: int
    first: int


@dataclass
class MarkdownV2:
    """A reader of MarkdownV2 without links and custom emoji."""

    text: str
    at: int = 0
    shown: list[tuple[str, set[str]]] = field(default_factory=list)
    marks: list[_Mark] = field(default_factory=list)
    line_begins: bool = True

    def read(self) -> Shown | None:
        """The whole text."""
        while self.at < len(self.text):
            if not self._step():
                return None
        if any(mark.name == ">" for mark in self.marks) and not self._quote_ends(""):
            return None
        return None if self.marks else [(c, _over(styles)) for c, styles in self.shown]

    def _step(self) -> bool:
        here, following = self.text[self.at], self.text[self.at + 1 : self.at + 2]
        top = self.marks[-1].name if self.marks else ""
        if here == "\\" and following and 1 <= ord(following) <= 126:
            return self._show(following, 2)
        if top in {"`", "```"}:
            if self.text.startswith(top, self.at):
                return self._close(top)
            return self._open("`") if here == "`" else self._verbatim(here)
        if here == "\n":
            quoted = any(mark.name == ">" for mark in self.marks)
            return self._quote_ends("\n") if quoted and following != ">" else self._show("\n")
        return self._mark(top) if here in _V2_RESERVED else self._show(here)

    def _show(self, character: str, width: int = 1) -> bool:
        self.shown.append((character, set()))
        self.at += width
        self.line_begins = character == "\n"
        return True

    def _verbatim(self, character: str) -> bool:
        """A line break in code begins no line that could be a quotation."""
        self._show(character)
        self.line_begins = False
        return True

    def _mark(self, top: str) -> bool:
        underline = top == "_" and self.text.startswith("__", self.at)
        if top and top != ">" and not underline and self.text.startswith(top, self.at):
            return self._close(top)
        if self.text[self.at] == ">":
            return self._quote_begins()
        for name in ("```", "`", "__", "_", "*", "~", "||"):
            if self.text.startswith(name, self.at):
                return self._open(name)
        return False

    def _open(self, name: str) -> bool:
        self.marks.append(_Mark(name, self.at, len(self.shown)))
        self.at += len(name)
        if name == "```":
            self._language()
        return True

    def _language(self) -> None:
        word = re.compile(r"[^ \n`]+(?=[ \n])").match(self.text, self.at)
        rest = re.compile(r"[^ \n`]+(?=[^`])").match(self.text, self.at)
        if word and rest:
            self.at = word.end()
        if self.text.startswith("\n", self.at):
            self.at += 1

    def _close(self, name: str) -> bool:
        self.at += len(name)
        self._cover(self.marks.pop(), CODE if name in {"`", "```"} else _V2[name])
        return True

    def _cover(self, mark: _Mark, style: str) -> None:
        for _, styles in self.shown[mark.first :]:
            styles.add(style)

    def _quote_begins(self) -> bool:
        if not self.line_begins:
            return False
        if not any(mark.name == ">" for mark in self.marks):
            self.marks.append(_Mark(">", self.at, len(self.shown)))
        self.at += 1
        return True

    def _quote_ends(self, line_break: str) -> bool:
        """The break that ends a quotation is the last of its characters."""
        style = "blockquote"
        last = self.marks[-1]
        if last.name == "||" and last.at == self.at - 2:
            self.marks.pop()
            style = "expandable_blockquote"
        if self.marks[-1].name != ">":
            return False
        if line_break:
            self._show(line_break)
        self._cover(self.marks.pop(), style)
        return True


def html(text: str) -> Shown | None:
    """What HTML shows; None where it is refused."""
    shown: list[tuple[str, set[str]]] = []
    marks: list[tuple[str, int]] = []
    at = 0
    while at < len(text):
        end, start = _END.match(text, at), _START.match(text, at)
        if end is not None:
            if not marks or end[1] not in {"", marks[-1][0]}:
                return None
            name, first = marks.pop()
            for _, styles in shown[first:]:
                styles.add(_TAGS[name])
            at = end.end()
        elif start is not None:
            if start[1] not in _TAGS:
                return None
            marks.append((start[1], len(shown)))
            at = start.end()
        elif text[at] == "<":
            return None
        else:
            named = next((n for n in _NAMED if text.startswith(n, at)), text[at])
            shown.append((_NAMED.get(named, named), set()))
            at += len(named)
    return None if marks else [(c, _over(styles)) for c, styles in shown]


def listed(text: str, entities: list[tuple[str, int, int]]) -> Shown | None:
    """What a text with at most one entity of a kind shows; None where that is refused."""
    edges, at = [0], 0
    for character in text:
        at += 1 + (character > "\uffff")
        edges.append(at)
    if any(offset < 0 or length < 0 for _, offset, length in entities):
        return None
    spans = {kind: (offset, offset + length) for kind, offset, length in entities if length}
    code = spans.get(CODE, (0, 0))
    for kind, span in spans.items():
        for first, last in [span] if kind == CODE else _outside(span, code):
            if first not in edges or last not in edges or first >= at:
                return None
    styles = [
        _over(kind for kind, (first, last) in spans.items() if first <= edge < last)
        for edge in edges
    ]
    return list(zip(text, styles, strict=False))


def _outside(span: tuple[int, int], hole: tuple[int, int]) -> list[tuple[int, int]]:
    left, right = (span[0], min(span[1], hole[0])), (max(span[0], hole[1]), span[1])
    return [span] if hole == (0, 0) else [part for part in (left, right) if part[0] < part[1]]
