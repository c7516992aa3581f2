"""Secrets that the host knows, taken out of texts: found by their origin, not by their looks.

Code that reads a secret from the environment adds it here; one matcher finds all of them in time
linear in the text. It matches what people would see: in other widths, among invisible characters,
between marks of Markdown and tags of HTML, in escapes of URLs, JSON and HTML.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote

from registry.normalizing import normal_form
from registry.secrets import REDACTED

MIN_LENGTH: Final = 6
"""Characters that a secret needs, marks not counted: a shorter one is found in any text."""
MIN_PREFIX: Final = 4
"""Characters of a secret's beginning that are taken out at the end of a text that was cut off."""

INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Characters that nobody sees, as a character class of a pattern."""
_COMBINING: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_TWINS: Final = (
    "АВЕЅІЈКМНОРСТУҮХԌԜаеорсуүхѕіјһԁԛԝѵӏьгзбΑΒΕΖΗΙΚΜΝΟΡΤΥΧαορινυϲϳıɑɡ",
    "ABESIJKMHOPCTYYXGWaeopcyyxsijhdqwvlbr36ABEZHIKMNOPTYXaopivucjiag",
)
_MARKS: Final = "\\*_~`|"  # of Markdown; they count neither in secrets nor in texts
_FOREIGN = re.compile(f"[{INVISIBLE}{_COMBINING}{_TWINS[0]}]")
_BESIDE_ASCII = re.compile(
    r"[A-Za-z0-9](?:(?=[^\x00-\x7f])|(?<=[^\x00-\x7f][A-Za-z0-9]))"  # quick for foreign texts
)
_INSIDE: Final = r"[ -;=?-~\n]{0,200}"  # of a tag or a comment
_TAGS: Final = (
    r"(?i:a|b|i|p|q|s|u|br|dd|dl|dt|em|h[1-6]|hr|li|ol|td|th|tr|tt|ul|big|del|div|ins|kbd|pre|sub"
    r"|sup|var|wbr|abbr|body|cite|code|font|html|mark|samp|span|small|table|strike|strong|center"
    r"|details|summary|tg-emoji|tg-spoiler|blockquote)"
)
_TAG: Final = rf"<(?:!--{_INSIDE}-->|/?{_TAGS}(?:[ \n/]{_INSIDE})?>)"
_ESCAPE = re.compile(
    rf"{_TAG}|"
    r"%[c-fC-F][0-9A-Fa-f](?:%[89abAB][0-9A-Fa-f]){1,3}"
    r"|%[0-7][0-9A-Fa-f]"
    r"|\\u[0-9A-Fa-f]{4}"
    r"|\\[!-/:-@\[-`{-~]"
    r"|&(?:#[xX][0-9A-Fa-f]{1,6}|#[0-9]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});"
)
_PARTIAL_ESCAPE = re.compile(
    r"%(?:[c-fC-F][0-9A-Fa-f](?:%[89abAB][0-9A-Fa-f]){0,2}(?:%[89abAB]?)?|[0-9A-Fa-f]?)\Z"
    r"|\\(?:u[0-9A-Fa-f]{0,3})?\Z"
    r"|&(?:#[xX]?[0-9A-Fa-f]{0,7}|[A-Za-z][A-Za-z0-9]{0,31})?\Z"
    rf"|<(?:!(?:-(?:-{_INSIDE})?)?|/?(?:{_TAGS}[ \n/]{_INSIDE}|[A-Za-z][A-Za-z0-9-]{{0,11}})?)?\Z"
)
_ESCAPE_LENGTH: Final = 220
_RUNS: Final = "|".join(f"[{re.escape(mark)}]{{1,40}}" for mark in _MARKS)
_CHANGED = re.compile(f"{_ESCAPE.pattern}|{_RUNS}|[^\\x00-\\x7f]+")
_ESCAPED_WIDTH: Final = 8
"""Characters, about, that an escape takes for one of a secret."""
_SHORT: Final = 1_000
_REMEMBERED: Final = 256
_LONG: Final = 100_000
"""Characters beyond which a text comes back folded: mapping positions back would take too long."""

_SCHEME = re.compile(r"(?i)\A(?:[\w-]{1,64}:)?\s*(?:bearer|basic|token|apikey|digest)\s+(\S+)\Z")
_USERINFO = re.compile(r"://([^\s/?#]*)@")
_NAMED = re.compile(
    r"(?i)(?:password|passwd|pwd|secret|token|key|signature|sig)[\"']?\s*[=:]\s*"
    r"(?:\"([^\"]*)\"|'([^']*)'|([^\s;&,\"'{}]+))"
)
_BOT_TOKEN = re.compile(r"[0-9]{6,12}:([A-Za-z0-9_-]{8,})\Z")


class _Folding(dict[int, str | None]):
    """What each character counts as: its Latin twin, itself, or nothing where nobody sees it."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        self[code] = found = None if _FOREIGN.match(char) else char
        return found


_FOLDING = _Folding({ord(twin): latin for twin, latin in zip(*_TWINS, strict=True)})


class Secrets:
    """The secrets of one host; more may be added at any time."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._renewed: dict[str, tuple[str, ...]] = {}
        self._made: _Matcher | None = None
        self.add(*values)

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)})"

    def add(self, *values: str) -> None:
        """Add values, and the credentials inside them."""
        new = [value.strip() for value in values if value.strip() not in self._known]
        found = {one for value in new for one in (value, *credentials_in(value))}
        if fresh := found - self._known - {""}:
            self._known |= fresh
            self._made = None

    def add_credentials_in(self, *texts: str) -> None:
        """Add the credentials inside texts that are not secret themselves: headers, addresses."""
        self.add(*(one for text in texts for one in credentials_in(text)))

    def renew(self, name: str, value: str) -> None:
        """Add a secret that changes with time; of each `name` the last two values count."""
        self._renewed[name] = (*self._renewed.get(name, ())[-1:], value)
        self._made = None

    def redact(self, text: str, *, cut: bool = False) -> str:
        """The text without secrets; where it was `cut` off, without the beginning of one either."""
        if len(text) < MIN_PREFIX or not (matcher := self._matcher()):
            return text
        if not cut:
            return _replaced(text, matcher.spans_in(text))
        flat = fold(text)
        spans = matcher.spans(flat)
        if (prefix := _prefix_at_end(matcher, text, spans, flat)) is not None:
            return _replaced(text[:prefix], spans) + REDACTED
        return _replaced(text, spans)

    def redact_json(self, value: Any) -> Any:
        """A JSON value of any depth without secrets in texts and names; itself if it has none."""
        if not self._matcher():
            return value
        result, changed = [None], False
        pending: list[tuple[Any, Any, Any]] = [(value, result, 0)]
        while pending:
            one, parent, key = pending.pop()
            if isinstance(one, Mapping):
                inner: dict[str, Any] = {}
                parent[key] = inner
                for name, item in one.items():
                    changed |= (shown := self.redact(str(name))) != name
                    inner[shown] = None
                    pending.append((item, inner, shown))
            elif isinstance(one, list | tuple):
                parent[key] = items = [None] * len(one)
                pending += [(item, items, at) for at, item in enumerate(one)]
            else:
                plain = one if isinstance(one, str) else str(one)
                is_text = one is not None and not isinstance(one, bool)
                shown = self.redact(plain) if is_text else plain
                changed |= shown != plain
                parent[key] = shown if shown != plain else one
        return result[0] if changed else value

    def found_in(self, text: str) -> bool:
        """Whether the text has a secret."""
        return bool((matcher := self._matcher()) and matcher.spans_in(text))

    def begun_at_end_of(self, text: str) -> bool:
        """Whether the text ends in the beginning of a secret."""
        if not (matcher := self._matcher()):
            return False
        end = fold(text[-_ESCAPED_WIDTH * matcher.longest :])
        return matcher.prefix_at(end, 0, MIN_PREFIX) < len(end)

    def redact_settled(self, text: str) -> tuple[int, str]:
        """How much of a growing text no further text can change, and that much redacted."""
        if not (matcher := self._matcher()):
            return len(text), text
        whole = text[: _before_partial_escape(text)]
        flat = fold(whole)
        spans, end = matcher.settled(flat)
        if end == len(flat):
            return len(whole), _replaced(whole, spans)
        stop = _Positions(whole).of(end)[0]
        return stop, _replaced(whole[:stop], spans)

    def _matcher(self) -> _Matcher | None:
        """The matcher, made again where something was added; None where nothing is known."""
        if self._made is None:
            values = [*self._known, *(v for pair in self._renewed.values() for v in pair)]
            self._made = _Matcher({form for value in values for form in _forms(value)})
        return self._made if self._made.longest else None


class StreamRedactor:
    """Redacts a growing text as far as it is settled; looks at each piece once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._done = self._shown = ""

    def redact(self, text: str) -> str:
        """What may be shown of the text; starts again where its beginning has changed."""
        if not text.startswith(self._done):
            self._done = self._shown = ""
        end, shown = self._secrets.redact_settled(text[len(self._done) :])
        self._done += text[len(self._done) :][:end]
        self._shown += shown
        return self._shown


class _Matcher:
    """One automaton for all secrets, folded; positions are those of a folded text."""

    def __init__(self, forms: Iterable[str]) -> None:
        both = (_encodable(one) for form in forms for one in (fold(form), _light(form)))
        flat = {one for one in both if _is_findable(one)}
        self.longest = max(map(len, flat), default=0)
        self._heads: dict[str, list[str]] = {}
        for one in flat:
            self._heads.setdefault(one[:MIN_LENGTH], []).append(one)
        self._starts = {head[:n] for head in self._heads for n in range(1, MIN_LENGTH)}
        self._clean: set[str] = set()
        self._automaton: Any = None
        if flat:
            from ahocorasick_rs import AhoCorasick, MatchKind

            kind = MatchKind.LeftmostLongest
            self._automaton = AhoCorasick(sorted(flat), matchkind=kind, store_patterns=False)

    def spans_in(self, text: str) -> list[tuple[int, int]]:
        """`spans` of a text that is not folded yet; a short one without any is remembered.

        An answer is filtered several times, and the log repeats its words.
        """
        if text in self._clean:
            return []
        found = self.spans(fold(text))
        if not found and len(text) <= _SHORT:
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean.add(text)
        return found

    def spans(self, flat: str) -> list[tuple[int, int]]:
        """Where secrets are, from left to right, the longest where several begin."""
        if self._automaton is None:
            return []
        try:
            found = self._automaton.find_matches_as_indexes(flat)
        except UnicodeEncodeError:
            found = self._automaton.find_matches_as_indexes(_encodable(flat))
        return [(start, end) for _, start, end in found]

    def prefix_at(self, flat: str, after: int, least: int = 1) -> int:
        """The first position from which all the rest may be the beginning of a secret."""
        last = len(flat) - least + 1
        first = max(after, len(flat) - self.longest)
        return next((at for at in range(first, last) if self._is_prefix(flat, at)), len(flat))

    def settled(self, flat: str) -> tuple[list[tuple[int, int]], int]:
        """The secrets that no further text can change, and up to where nothing is open."""
        spans, done = self.spans(flat), list[tuple[int, int]]()
        end = self.prefix_at(flat, 0)
        for start, stop in spans:
            if start >= end:
                break
            done.append((start, stop))
            if stop > end:
                end = self.prefix_at(flat, stop)
        return done, end

    def _is_prefix(self, flat: str, at: int) -> bool:
        head = flat[at : at + MIN_LENGTH]
        if len(head) < MIN_LENGTH:
            return head in self._starts
        rest = flat[at:]
        return any(one.startswith(rest) for one in self._heads.get(head, ()))


def fold(text: str) -> str:
    """The text as it is matched: plain characters alone, letter case as written.

    Letters of other alphabets count as their Latin twins only where some are beside Latin ones:
    else a foreign text would cost four times as much.
    """
    text = _light(text)
    return text.translate(_FOLDING) if _is_mixed(text) else text


def _is_mixed(light: str) -> bool:
    return not light.isascii() and bool(_BESIDE_ASCII.search(light) and _FOREIGN.search(light))


@lru_cache(maxsize=8192)
def _plain(piece: str, mixed: bool) -> str:
    """A character or an escape, folded as its whole text is."""
    light = _light(piece)
    return light.translate(_FOLDING) if mixed else light


def too_short(value: str) -> bool:
    """Whether a value, or a credential inside it, is too short to be found in texts."""
    values = (value.strip(), *credentials_in(value))
    return any(one and not _is_findable(fold(one)) for one in values)


def _is_findable(flat: str) -> bool:
    """Whether it can be told from ordinary words, and is not a part of `REDACTED`."""
    return len(flat) >= MIN_LENGTH and flat not in REDACTED


def credentials_in(text: str) -> Iterator[str]:
    """Secrets inside a text: behind "Bearer", in a URL's userinfo, a DSN, a JSON document."""
    if shown := _SCHEME.match(text.strip()):
        yield shown[1]
        yield from _pair_in(shown[1])
    for match in _USERINFO.finditer(text):
        password = match[1].partition(":")[2]
        yield from {password, unquote(password)}
    for match in _NAMED.finditer(text):
        yield next(filter(None, match.groups()), "")
    if token := _BOT_TOKEN.match(text.strip()):
        yield token[1]


def _pair_in(encoded: str) -> Iterator[str]:
    """User and password of basic authentication, and the password alone."""
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    if ":" in pair:
        yield from (pair, pair.partition(":")[2])


def _forms(value: str) -> Iterator[str]:
    """The ways to write a secret that folding does not undo."""
    yield value
    if " " in value:
        yield value.replace(" ", "+")
    if len(value) >= MIN_LENGTH:
        encoded = base64.b64encode(value.encode("utf-8", "surrogatepass")).decode().rstrip("=")
        yield from (encoded, encoded.translate({43: "-", 47: "_"}))


def _light(text: str) -> str:
    """Escapes undone, compatible characters made plain, marks taken out."""
    if "%" in text or "\\" in text or "&" in text or "<" in text:
        text = _ESCAPE.sub(lambda escape: _character(escape[0]), text)
    if not text.isascii():
        text = normal_form("NFKD", text)
    for mark in _MARKS:
        if mark in text:
            text = text.replace(mark, "")
    return text


@lru_cache(maxsize=4096)
def _character(escape: str) -> str:
    """What an escape of a URL, of JSON or Markdown, or of HTML stands for; a tag, for nothing."""
    if escape[0] == "<":
        return ""
    if escape[0] == "%":
        return bytes.fromhex(escape.replace("%", "")).decode(errors="ignore")
    if escape[0] == "&":
        from html import unescape

        return unescape(escape)
    return chr(int(escape[-4:], 16)) if len(escape) > 2 else escape[1]


def _encodable(text: str) -> str:
    """The text with a "?" for each half of a surrogate pair, which the matcher does not take."""
    return text.encode("utf-8", "replace").decode()


def _before_partial_escape(text: str) -> int:
    partial = _PARTIAL_ESCAPE.search(text, max(0, len(text) - _ESCAPE_LENGTH))
    return partial.start() if partial else len(text)


def _prefix_at_end(
    matcher: _Matcher, text: str, spans: list[tuple[int, int]], flat: str
) -> int | None:
    """Where a text ends in the beginning of a secret, past those that are whole."""
    whole = text[: _before_partial_escape(text)]
    seen = flat if whole == text else fold(whole)
    prefix = matcher.prefix_at(seen, spans[-1][1] if spans else 0, MIN_PREFIX)
    return None if prefix == len(seen) else _Positions(whole).of(prefix)[0]


def _replaced(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with `REDACTED` at these positions of its folded self."""
    if not spans:
        return text
    parts, at = list[str](), 0
    positions = _Positions(text) if len(text) <= _LONG else None
    if positions is None:
        text = fold(text)
    for start, end in spans:
        if positions is not None:
            start, end = positions.of(start)[0], positions.of(end - 1)[1]
        parts += [text[at:start], REDACTED]
        at = end
    return "".join([*parts, text[at:]])


class _Positions:
    """Where each character of a folded text is in the text itself.

    Kept as stretches by their first folded character: unchanged ones, or several of one piece.
    """

    def __init__(self, text: str) -> None:
        self._firsts, self._stretches = [0], [(0, 0)]
        if (light := _light(text)) == text and text.isascii():
            return
        mixed = _is_mixed(light)
        for run in _CHANGED.finditer(text):
            piece = run[0]
            if piece.isascii():
                plain = _plain(piece, mixed)
                if plain != piece:
                    self._note(run.start(), run.end(), len(plain))
            elif mixed or _light(piece) != piece:
                for at, char in enumerate(piece, run.start()):
                    if (plain := _plain(char, mixed)) != char:
                        self._note(at, at + 1, len(plain))

    def of(self, flat: int) -> tuple[int, int]:
        """The start and end in the text of one folded character."""
        which = bisect.bisect_right(self._firsts, flat) - 1
        start, end = self._stretches[which]
        if end:
            return start, end
        at = start + flat - self._firsts[which]
        return at, at + 1

    def _note(self, start: int, end: int, count: int) -> None:
        """Record that `start` to `end` of the text fold to `count` characters."""
        at = self._firsts[-1] + start - self._stretches[-1][0]
        if count:
            self._firsts.append(at)
            self._stretches.append((start, end))
        self._firsts.append(at + count)
        self._stretches.append((end, 0))
