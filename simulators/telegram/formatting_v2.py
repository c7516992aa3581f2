"""The MarkdownV2 parse mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Never

from simulators.telegram import links
from simulators.telegram.entities import Entity
from simulators.telegram.formatting import Source, cannot_parse

_RUN = re.compile(rb"[^\\_*\[\]()~`>#+\-=|{}.!\n\r]+")
_CODE_RUN = re.compile(rb"[^\\`]+")
_URL = re.compile(rb"((?:\\[\x01-\x7e]|[^)\\]|\\(?![\x01-\x7e]))*)\)", re.DOTALL)
_ESCAPE = re.compile(rb"\\([\x01-\x7e])")
_MARKS = (
    (b"```", "Pre"), (b"`", "Code"), (b"__", "Underline"), (b"_", "Italic"), (b"*", "Bold"),
    (b"~", "Strikethrough"), (b"||", "Spoiler"), (b"![", "CustomEmoji"), (b"[", "TextUrl"),
)  # fmt: skip
_ENDS = {
    "Bold": b"*", "Italic": b"_", "Underline": b"__", "Strikethrough": b"~", "Spoiler": b"||",
    "Code": b"`", "Pre": b"```", "PreCode": b"```", "TextUrl": b"]", "CustomEmoji": b"]",
}  # fmt: skip
_KINDS = {
    "Bold": "bold", "Italic": "italic", "Underline": "underline",
    "Strikethrough": "strikethrough", "Spoiler": "spoiler", "Code": "code",
}  # fmt: skip
_VERBATIM = {"Code", "Pre", "PreCode"}


@dataclass(slots=True)
class _Open:
    kind: str
    begin: int
    start: int
    byte: int
    language: str = ""


def parse(text: str) -> tuple[str, list[Entity]]:
    """Text and entities of a MarkdownV2 text; 400 "can't parse entities" with a byte offset."""
    reader = _Reader(text)
    while reader.source.at < reader.source.size:
        reader.step()
    reader.finish()
    return reader.source.result()


class _Reader:
    def __init__(self, text: str) -> None:
        self.source = Source(text)
        self.open: list[_Open] = []
        self.fresh = True  # a quotation may begin here

    def step(self) -> None:
        source = self.source
        verbatim = bool(self.open) and self.open[-1].kind in _VERBATIM
        run = (_CODE_RUN if verbatim else _RUN).match(source.data, source.at, source.size)
        if run is not None:
            source.emit(run.group())
            source.at = run.end()
            self.fresh = False
        elif source.ahead(b"\\"):
            self._escape()
        elif source.ahead(b"\r"):
            source.emit(b"\r")
            source.at += 1
        elif source.ahead(b"\n") and not verbatim:
            self._line_break()
        elif self._ends():
            self._close(self.open.pop())
        else:
            self._begin()

    def _escape(self) -> None:
        source = self.source
        following = source.data[source.at + 1 : source.at + 2]
        escaped = b"\x01" <= following <= b"\x7e"
        source.emit(following if escaped else b"\\")
        source.at += 2 if escaped else 1
        if following != b"\r":
            self.fresh = escaped and following == b"\n"

    def _line_break(self) -> None:
        source, quoted = self.source, any(o.kind == "BlockQuote" for o in self.open)
        if quoted and source.data[source.at + 1 : source.at + 2] != b">":
            kind = self._close_quote_marks(source.at)
            block = self.open.pop()
            source.emit(b"\n")
            source.add(kind, block.start)
        else:
            source.emit(b"\n")
        source.at += 1
        self.fresh = True

    def _close_quote_marks(self, here: int) -> str:
        last = self.open[-1]
        if last.kind == "BlockQuote":
            return "blockquote"
        bare = last.begin in (here - 2, here - 3 if self.source.out.endswith(b"\r") else here - 2)
        if last.kind != "Spoiler" or not bare:
            self._no_end(last)
        self.open.pop()
        if self.open[-1].kind != "BlockQuote":
            self._no_end(self.open[-1])
        return "expandable_blockquote"

    def _ends(self) -> bool:
        if not self.open or self.open[-1].kind == "BlockQuote":
            return False
        if self.open[-1].kind == "Italic" and self.source.ahead(b"__"):
            return False
        return self.source.ahead(_ENDS[self.open[-1].kind])

    def _begin(self) -> None:
        source, begin = self.source, self.source.at
        if source.ahead(b">") and self.fresh:
            source.at += 1
            if not any(o.kind == "BlockQuote" for o in self.open):
                self.open.append(_Open("BlockQuote", begin, source.units, len(source.out)))
            return
        for mark, kind in _MARKS:
            if source.ahead(mark):
                source.at += len(mark)
                language = source.language() if kind == "Pre" else ""
                name = "PreCode" if language else kind
                self.open.append(_Open(name, begin, source.units, len(source.out), language))
                return
        raise cannot_parse(
            f"Character '{chr(source.data[begin])}' is reserved "
            "and must be escaped with the preceding '\\'"
        )

    def _close(self, entity: _Open) -> None:
        source = self.source
        source.at += len(_ENDS[entity.kind])
        if entity.kind == "TextUrl":
            inner = bytes(source.out[entity.byte :]).decode()
            source.add_link(entity.start, self._url() if source.ahead(b"(") else inner)
        elif entity.kind == "CustomEmoji":
            self._emoji(entity)
        elif entity.kind in {"Pre", "PreCode"}:
            source.add_pre(entity.start, entity.language)
        else:
            source.add(_KINDS[entity.kind], entity.start)

    def _url(self) -> str:
        source = self.source
        source.at += 1
        match = _URL.match(source.data, source.at, source.size)
        if match is None:
            raise cannot_parse(f"Can't find end of a URL at byte offset {source.at}")
        source.at = match.end()
        return _ESCAPE.sub(rb"\1", match.group(1)).decode()

    def _emoji(self, entity: _Open) -> None:
        if not self.source.ahead(b"("):
            raise cannot_parse("The entity must contain a tg://emoji or tg://time URL")
        url = self._url()
        emoji, moment = links.emoji(url), links.moment(url)
        if emoji is not None:
            self.source.add("custom_emoji", entity.start, custom_emoji_id=emoji)
        elif moment is not None:
            self.source.add_moment(entity.start, *moment)
        else:
            raise cannot_parse("Invalid tg://emoji or tg://time URL specified")

    def finish(self) -> None:
        """Closes a quotation that the end of the text ends; anything else open is an error."""
        if any(o.kind == "BlockQuote" for o in self.open):
            kind, last = "blockquote", self.open[-1]
            if last.kind == "Spoiler" and last.begin == self.source.size - 2:
                self.open.pop()
                kind = "expandable_blockquote"
            if self.open[-1].kind == "BlockQuote":
                self.source.add(kind, self.open.pop().start)
        if self.open:
            self._no_end(self.open[-1])

    def _no_end(self, entity: _Open) -> Never:
        raise cannot_parse(f"Can't find end of {entity.kind} entity at byte offset {entity.begin}")
