"""The old Markdown parse mode: no nesting, four marks, hardly any escapes."""

from __future__ import annotations

import re

from simulators.telegram.entities import Entity
from simulators.telegram.formatting import Source, cannot_parse

_RUN = re.compile(rb"[^\\_*`\[]+")
_KINDS = {b"_": "italic", b"*": "bold"}


def parse(text: str) -> tuple[str, list[Entity]]:
    """Text and entities of a legacy Markdown text; 400 "can't parse entities"."""
    source = Source(text)
    while source.at < source.size:
        run = _RUN.match(source.data, source.at, source.size)
        if run is not None:
            source.emit(run.group())
            source.at = run.end()
        elif source.ahead(b"\\"):
            _escape(source)
        elif source.ahead(b"```"):
            _fence(source)
        else:
            _span(source)
    return source.result()


def _escape(source: Source) -> None:
    following = source.data[source.at + 1 : source.at + 2]
    escaped = following in (b"_", b"*", b"`", b"[")
    source.emit(following if escaped else b"\\")
    source.at += 2 if escaped else 1


def _fence(source: Source) -> None:
    begin = source.at
    source.at += 3
    language = source.language()
    stop = source.data.find(b"```", source.at, source.size)
    if stop < 0:
        raise _no_end(begin)
    start = source.units
    source.emit(source.data[source.at : stop])
    source.at = stop + 3
    source.add_pre(start, language)


def _span(source: Source) -> None:
    begin = source.at
    mark = source.data[begin : begin + 1]
    stop = source.data.find(b"]" if mark == b"[" else mark, begin + 1, source.size)
    if stop < 0:
        raise _no_end(begin)
    start = source.units
    inner = source.data[begin + 1 : stop]
    source.emit(inner)
    source.at = stop + 1
    if mark == b"[":
        source.add_link(start, _target(source, inner))
    else:
        source.add(_KINDS.get(mark, "code"), start)


def _target(source: Source, inner: bytes) -> str:
    if not source.ahead(b"("):
        return inner.decode()
    stop = source.data.find(b")", source.at, source.size)
    stop = source.size if stop < 0 else stop
    url = source.data[source.at + 1 : stop].decode()
    source.at = stop + 1
    return url


def _no_end(begin: int) -> Exception:
    return cannot_parse(f"Can't find end of the entity starting at byte offset {begin}")
