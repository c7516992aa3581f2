"""What the three parsers share: a text read byte by byte, and the errors of the service.

Parsers work on UTF-8 because the service names byte offsets in its errors.
"""

from __future__ import annotations

import re
from typing import Any

from simulators.telegram import links
from simulators.telegram.entities import Entity, units
from simulators.telegram.refusals import RefusedError, bad_request

_WORD = re.compile(rb"[^ \t\r\n\0\v`]*")
_DATE_FORMAT = re.compile(r"^(?:[rR]|[tTdDwW]*)$")


def cannot_parse(words: str) -> RefusedError:
    """400 "can't parse entities: …"."""
    return bad_request(f"can't parse entities: {words}")


class Source:
    """A text being read: `data` ends with zero bytes, so that looking ahead never fails."""

    def __init__(self, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        self.data = raw + b"\0\0\0\0"
        self.size = len(raw)
        self.at = 0
        self.out = bytearray()
        self.units = 0
        self.found: list[Entity] = []

    def emit(self, raw: bytes) -> None:
        """Appends to the resulting text."""
        self.out += raw
        self.units += len(raw) if raw.isascii() else units(raw.decode("utf-8", "surrogatepass"))

    def ahead(self, what: bytes) -> bool:
        """Whether `what` comes next."""
        return self.data.startswith(what, self.at)

    def language(self) -> str:
        """The language after an opening fence; moves behind it and one line break."""
        word = _WORD.match(self.data, self.at)
        name = word.group() if word else b""
        stop = self.at + len(name)
        if name and stop < self.size and self.data[stop : stop + 1] != b"`":
            self.at = stop
        else:
            name = b""
        self._skip_break()
        return name.decode()

    def _skip_break(self) -> None:
        first, second = self.data[self.at : self.at + 1], self.data[self.at + 1 : self.at + 2]
        if first in b"\r\n" and first:
            self.at += 2 if second and second in b"\r\n" and second != first else 1

    def add(self, kind: str, start: int, **more: Any) -> None:
        """An entity from unit `start` to here, unless it is empty."""
        if self.units > start:
            self.found.append({"type": kind, "offset": start, "length": self.units - start} | more)

    def add_pre(self, start: int, language: str) -> None:
        """A code block from unit `start` to here."""
        self.add("pre", start, **({"language": language} if language else {}))

    def add_link(self, start: int, url: str) -> None:
        """A link or a mention from unit `start` to here; a wrong link is left out silently."""
        person = links.mentioned_user(url)
        if person is not None:
            self.add("text_mention", start, user={"id": person})
            return
        try:
            self.add("text_link", start, url=links.checked(url))
        except links.WrongLinkError:
            return

    def add_moment(self, start: int, unix: int, form: str) -> None:
        """A date from unit `start` to here; 400 for an unknown format."""
        if not _DATE_FORMAT.match(form):
            raise cannot_parse("Invalid date-time format specified")
        if unix > 0:
            more = {"date_time_format": form} if form else {}
            self.add("date_time", start, unix_time=unix, **more)

    def result(self) -> tuple[str, list[Entity]]:
        """The text without its marks, and the entities."""
        return bytes(self.out).decode("utf-8", "surrogatepass"), self.found
