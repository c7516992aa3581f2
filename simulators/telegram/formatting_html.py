"""The HTML parse mode."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulators.telegram.entities import Entity
from simulators.telegram.formatting import Source, cannot_parse

_TAGS = {
    "b": "bold", "strong": "bold", "i": "italic", "em": "italic", "u": "underline",
    "ins": "underline", "s": "strikethrough", "strike": "strikethrough", "del": "strikethrough",
    "tg-spoiler": "spoiler", "span": "spoiler", "code": "code", "pre": "pre", "a": "text_link",
    "blockquote": "blockquote", "tg-emoji": "custom_emoji", "tg-time": "date_time",
}  # fmt: skip
_RUN = re.compile(rb"[^<&\0]+")
_NAME = re.compile(rb"[^ \t\r\n\v\0>]*")
_SPACE = re.compile(rb"[ \t\r\n\v]*")
_KEY = re.compile(rb"[^ \t\r\n\v\0=>/\"']*")
_TOKEN = re.compile(rb"[A-Za-z0-9.-]*")
_REFERENCE = re.compile(rb"&(?:#x([0-9a-fA-F]*)|#([0-9]*)|([A-Za-z]*))(;?)")
_NAMED = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"'}


@dataclass(slots=True)
class _Open:
    name: str
    argument: str
    unix: int
    start: int
    byte: int


def parse(text: str) -> tuple[str, list[Entity]]:
    """Text and entities of an HTML text; 400 "can't parse entities" with a byte offset."""
    reader = _Reader(text)
    source = reader.source
    while source.at < source.size:
        reader.step()
    if reader.open:
        raise cannot_parse(
            f'Can\'t find end tag corresponding to start tag "{reader.open[-1].name}"'
        )
    for entity in source.found:
        if entity["type"] == "code":
            entity.pop("language", None)
    try:
        return source.result()
    except UnicodeDecodeError:
        raise cannot_parse(
            "Text contains invalid Unicode characters after decoding HTML entities, "
            "check for unmatched surrogate code units"
        ) from None


class _Reader:
    def __init__(self, text: str) -> None:
        self.source = Source(text)
        self.open: list[_Open] = []

    def step(self) -> None:
        source = self.source
        run = _RUN.match(source.data, source.at, source.size)
        if run is not None:
            source.emit(run.group())
            source.at = run.end()
        elif source.ahead(b"&"):
            source.emit(self._reference() or b"&")
        elif source.ahead(b"</"):
            self._end_tag()
        elif source.ahead(b"<"):
            self._start_tag()
        else:
            source.emit(b"\0")
            source.at += 1

    def _reference(self) -> bytes | None:
        source = self.source
        match = _REFERENCE.match(source.data, source.at)
        decoded = _decoded(match) if match else None
        source.at = match.end() if match and decoded else source.at + 1
        return decoded

    def _start_tag(self) -> None:
        source, begin = self.source, self.source.at
        name_match = _NAME.match(source.data, begin + 1)
        source.at = name_match.end() if name_match else begin + 1
        if source.at >= source.size:
            raise cannot_parse(f"Unclosed start tag at byte offset {begin}")
        name = source.data[begin + 1 : source.at].decode("utf-8", "replace").lower()
        if name not in _TAGS:
            raise cannot_parse(f'Unsupported start tag "{name}" at byte offset {begin}')
        tag = _Open(name, "", 0, source.units, len(source.out))
        while not source.ahead(b">"):
            self._attribute(tag, begin)
        source.at += 1
        if name == "span" and tag.argument != "spoiler":
            raise cannot_parse(f'Tag "span" must have class "tg-spoiler" at byte offset {begin}')
        self.open.append(tag)

    def _attribute(self, tag: _Open, begin: int) -> None:
        source = self.source
        self._skip(_SPACE)
        if source.ahead(b">"):
            return
        key = self._skip(_KEY).decode("utf-8", "replace")
        if not key:
            if source.at >= source.size:
                raise cannot_parse(f"Unclosed start tag at byte offset {begin}")
            raise cannot_parse(
                f'Empty attribute name in the tag "{tag.name}" at byte offset {begin}'
            )
        self._skip(_SPACE)
        value = None
        if source.ahead(b"="):
            source.at += 1
            self._skip(_SPACE)
            value = self._value(tag, begin)
        if source.at >= source.size:
            raise cannot_parse(f'Unclosed start tag "{tag.name}" at byte offset {begin}')
        _apply(tag, key, value)

    def _value(self, tag: _Open, begin: int) -> str:
        source, start = self.source, self.source.at
        if start >= source.size:
            raise cannot_parse(f'Unclosed start tag "{tag.name}" at byte offset {begin}')
        quote = source.data[start : start + 1]
        if quote not in (b"'", b'"'):
            token = self._skip(_TOKEN).decode().lower()
            if source.data[source.at : source.at + 1] not in b" \t\r\n\v\0>":
                raise cannot_parse(f"Unexpected end of name token at byte offset {start}")
            return token
        stop = source.data.find(quote, start + 1, source.size)
        if stop < 0:
            raise cannot_parse(f"Unclosed start tag at byte offset {begin}")
        source.at = stop + 1
        raw = source.data[start + 1 : stop]
        return _REFERENCE.sub(lambda m: _decoded(m) or m.group(), raw).decode("utf-8", "replace")

    def _skip(self, pattern: re.Pattern[bytes]) -> bytes:
        match = pattern.match(self.source.data, self.source.at, self.source.size)
        if match is None:
            return b""
        self.source.at = match.end()
        return match.group()

    def _end_tag(self) -> None:
        source, begin = self.source, self.source.at
        if not self.open:
            raise cannot_parse(f"Unexpected end tag at byte offset {begin}")
        source.at += 2
        name = self._skip(_NAME).decode("utf-8", "replace").lower()
        self._skip(_SPACE)
        if not source.ahead(b">"):
            raise cannot_parse(f"Unclosed end tag at byte offset {begin}")
        source.at += 1
        tag = self.open.pop()
        if name and name != tag.name:
            raise cannot_parse(
                f'Unmatched end tag at byte offset {begin}, expected "</{tag.name}>", '
                f'found "</{name}>"'
            )
        self._close(tag)

    def _close(self, tag: _Open) -> None:
        source = self.source
        if source.units == tag.start:
            return
        if tag.name == "a":
            inner = bytes(source.out[tag.byte :]).decode("utf-8", "replace")
            source.add_link(tag.start, tag.argument or inner)
        elif tag.name in {"pre", "code"}:
            self._close_code(tag)
        elif tag.name == "tg-emoji":
            if not tag.argument.isdecimal() or not int(tag.argument):
                raise cannot_parse("Invalid custom emoji identifier specified")
            source.add("custom_emoji", tag.start, custom_emoji_id=tag.argument)
        elif tag.name == "tg-time":
            source.add_moment(tag.start, tag.unix, tag.argument)
        elif tag.name == "blockquote" and tag.argument:
            source.add("expandable_blockquote", tag.start)
        else:
            source.add(_TAGS[tag.name], tag.start)

    def _close_code(self, tag: _Open) -> None:
        source = self.source
        last = source.found[-1] if source.found else {}
        same = (last.get("offset"), last.get("length")) == (tag.start, source.units - tag.start)
        inner = last.get("type") if same else None
        if tag.name == "pre" and inner == "code" and last.get("language"):
            last["type"] = "pre"
        elif tag.name == "code" and inner == "pre" and tag.argument:
            last["language"] = tag.argument
        else:
            more = {"language": tag.argument} if tag.argument else {}
            source.add(tag.name, tag.start, **more)


def _decoded(match: re.Match[bytes]) -> bytes | None:
    hexadecimal, decimal, name, _ = match.groups()
    if name is not None:
        character = _NAMED.get(name)
    else:
        digits = hexadecimal if hexadecimal is not None else decimal
        code = int(digits, 16 if hexadecimal is not None else 10) if digits else 0
        fits = 0 < code < 0x10FFFF and match.end() - match.start() <= 10
        character = chr(code) if fits else None
    return character.encode("utf-8", "surrogatepass") if character is not None else None


def _apply(tag: _Open, key: str, value: str | None) -> None:
    if tag.name == "blockquote" and key == "expandable":
        tag.argument = "1"
    if value is None:
        return
    if (tag.name, key) in {("a", "href"), ("tg-emoji", "emoji-id"), ("tg-time", "format")}:
        tag.argument = value
    elif (tag.name, key) == ("tg-time", "unix"):
        tag.unix = int(value) if value.isdecimal() else 0
    elif (tag.name, key) == ("code", "class") and value.startswith("language-"):
        tag.argument = value[9:]
    elif (tag.name, key) == ("span", "class") and value.startswith("tg-"):
        tag.argument = value[3:]
