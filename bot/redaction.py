"""Values that nobody may read, and how they are found in a text: by their origin, not their looks.

Whoever reads a secret from the environment adds it here; one matcher finds all of them in time that
grows with the text alone. It looks at what people would see: in other widths, among characters that
nobody sees, between marks of Markdown and tags of HTML, in escapes of URLs, JSON and HTML.
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

from registry.normalizing import normalized

SECRET: Final = "[secret]"  # noqa: S105 - what stands in the place of one
LEAST: Final = 6
"""Characters that a secret has at least, marks not counted: a shorter one is found in any text."""
LEAST_BEGINNING: Final = 4
"""Characters of a secret's beginning that are taken out at the end of a text that was cut off."""

HIDDEN: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Characters that nobody sees, for a class of a pattern."""
_COMBINING: Final = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_TWINS: Final = (
    "АВЕЅІЈКМНОРСТУҮХԌԜаеорсуүхѕіјһԁԛԝѵӏьгзбΑΒΕΖΗΙΚΜΝΟΡΤΥΧαορινυϲϳıɑɡ",
    "ABESIJKMHOPCTYYXGWaeopcyyxsijhdqwvlbr36ABEZHIKMNOPTYXaopivucjiag",
)
_MARKS: Final = "\\*_~`|"  # of Markdown; a secret may have them, so they count on neither side
_FOREIGN = re.compile(f"[{HIDDEN}{_COMBINING}{_TWINS[0]}]")
_AMONG_OURS = re.compile(
    r"[A-Za-z0-9](?:(?=[^\x00-\x7f])|(?<=[^\x00-\x7f][A-Za-z0-9]))"  # quick for texts of theirs
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
_HALF_AN_ESCAPE = re.compile(
    r"%(?:[c-fC-F][0-9A-Fa-f](?:%[89abAB][0-9A-Fa-f]){0,2}(?:%[89abAB]?)?|[0-9A-Fa-f]?)\Z"
    r"|\\(?:u[0-9A-Fa-f]{0,3})?\Z"
    r"|&(?:#[xX]?[0-9A-Fa-f]{0,7}|[A-Za-z][A-Za-z0-9]{0,31})?\Z"
    rf"|<(?:!(?:-(?:-{_INSIDE})?)?|/?(?:{_TAGS}[ \n/]{_INSIDE}|[A-Za-z][A-Za-z0-9-]{{0,11}})?)?\Z"
)
_LONGEST_ESCAPE: Final = 220
_RUNS: Final = "|".join(f"[{re.escape(mark)}]{{1,40}}" for mark in _MARKS)
_CHANGED = re.compile(f"{_ESCAPE.pattern}|{_RUNS}|[^\\x00-\\x7f]+")
_WIDEST: Final = 8
"""Characters, about, in which an escape writes one of a secret."""
_SHORT: Final = 1_000
_REMEMBERED: Final = 256
_LONG: Final = 100_000
"""Characters of a text in which the places of secrets are not looked up: it comes back folded."""

_SCHEME = re.compile(r"(?i)\A(?:[\w-]{1,64}:)?\s*(?:bearer|basic|token|apikey|digest)\s+(\S+)\Z")
_USERINFO = re.compile(r"://([^\s/?#]*)@")
_NAMED = re.compile(
    r"(?i)(?:password|passwd|pwd|secret|token|key|signature|sig)[\"']?\s*[=:]\s*"
    r"(?:\"([^\"]*)\"|'([^']*)'|([^\s;&,\"'{}]+))"
)
_BOT_TOKEN = re.compile(r"[0-9]{6,12}:([A-Za-z0-9_-]{8,})\Z")


class _Even(dict[int, str | None]):
    """For each character the one that it counts as: none for one that nobody sees."""

    def __missing__(self, code: int) -> str | None:
        char = chr(code)
        self[code] = found = None if _FOREIGN.match(char) else char
        return found


_EVEN = _Even({ord(twin): ours for twin, ours in zip(*_TWINS, strict=True)})


class Secrets:
    """All that one host knows and nobody may read; it may learn more at any time."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._known: set[str] = set()
        self._passing: dict[str, tuple[str, ...]] = {}
        self._finder: _Finder | None = None
        self.add(*values)

    def __repr__(self) -> str:
        return f"Secrets({len(self._known)})"

    def add(self, *values: str) -> None:
        """Values that nobody may read, nor the credentials that are inside of them."""
        new = [value.strip() for value in values if value.strip() not in self._known]
        found = {one for value in new for one in (value, *credentials_in(value))}
        if fresh := found - self._known - {""}:
            self._known |= fresh
            self._finder = None

    def add_within(self, *texts: str) -> None:
        """The credentials inside of texts that are no secrets themselves: headers, addresses."""
        self.add(*(one for text in texts for one in credentials_in(text)))

    def renew(self, name: str, value: str) -> None:
        """A secret that changes with time, by a name of its own: the last two values count."""
        self._passing[name] = (*self._passing.get(name, ())[-1:], value)
        self._finder = None

    def hidden(self, text: str, *, cut: bool = False) -> str:
        """The text without secrets; where it was `cut` off, without the beginning of one either."""
        if len(text) < LEAST_BEGINNING or not (finder := self._found()):
            return text
        if not cut:
            return _replaced(text, spans) if (spans := finder.spans_in(text)) else text
        folded = fold(text)
        spans = finder.spans(folded)
        if (begins := _begins(finder, text, spans, folded)) is not None:
            return _replaced(text[:begins], spans) + SECRET
        return _replaced(text, spans) if spans else text

    def hidden_in(self, value: Any) -> Any:
        """A JSON value of any depth without secrets in texts and names; itself if it has none."""
        if not self._found():
            return value
        made, changed = [None], False
        waiting: list[tuple[Any, Any, Any]] = [(value, made, 0)]
        while waiting:
            one, holder, place = waiting.pop()
            if isinstance(one, Mapping):
                inner: dict[str, Any] = {}
                holder[place] = inner
                for name, item in one.items():
                    changed |= (shown := self.hidden(str(name))) != name
                    inner[shown] = None
                    waiting.append((item, inner, shown))
            elif isinstance(one, list | tuple):
                holder[place] = listed = [None] * len(one)
                waiting += [(item, listed, at) for at, item in enumerate(one)]
            else:
                plain = one if isinstance(one, str) else str(one)
                known = one is not None and not isinstance(one, bool)
                shown = self.hidden(plain) if known else plain
                changed |= shown != plain
                holder[place] = shown if shown != plain else one
        return made[0] if changed else value

    def found(self, text: str) -> bool:
        """Whether a secret is in the text."""
        return bool((finder := self._found()) and finder.spans_in(text))

    def begun(self, text: str) -> bool:
        """Whether a secret begins at the end of the text."""
        if not (finder := self._found()):
            return False
        end = fold(text[-_WIDEST * finder.longest :])
        return finder.begins(end, 0, LEAST_BEGINNING) < len(end)

    def growing(self) -> Growing:
        """What may be shown of a text while it grows."""
        return Growing(self)

    def settled(self, text: str) -> tuple[int, str]:
        """How much of a growing text is decided, and that much of it without secrets."""
        if not (finder := self._found()):
            return len(text), text
        whole = text[: _before_half_an_escape(text)]
        folded = fold(whole)
        spans, end = finder.decided(folded)
        if end == len(folded):
            return len(whole), _replaced(whole, spans) if spans else whole
        stop = _Places(whole).of(end)[0]
        return stop, _replaced(whole[:stop], spans)

    def _found(self) -> _Finder | None:
        """The matcher, made anew where something was added; None where nothing is known."""
        if self._finder is None:
            values = [*self._known, *(v for pair in self._passing.values() for v in pair)]
            self._finder = _Finder({form for value in values for form in _forms(value)})
        return self._finder if self._finder.longest else None


class Growing:
    """A growing text without secrets, as far as it is decided; each piece is looked at once."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._done = self._shown = ""

    def shown(self, text: str) -> str:
        """What may be shown of the text; where it has another beginning by now, all anew."""
        if not text.startswith(self._done):
            self._done = self._shown = ""
        end, shown = self._secrets.settled(text[len(self._done) :])
        self._done += text[len(self._done) :][:end]
        self._shown += shown
        return self._shown


class _Finder:
    """One automaton for all secrets, folded; positions are those of a folded text."""

    def __init__(self, forms: Iterable[str]) -> None:
        both = (_encodable(one) for form in forms for one in (fold(form), _light(form)))
        folded = {one for one in both if _is_findable(one)}
        self.longest = max(map(len, folded), default=0)
        self._heads: dict[str, list[str]] = {}
        for one in folded:
            self._heads.setdefault(one[:LEAST], []).append(one)
        self._starts = {head[:n] for head in self._heads for n in range(1, LEAST)}
        self._automaton = _automaton(sorted(folded)) if folded else None
        self._clean: set[str] = set()

    def spans_in(self, text: str) -> list[tuple[int, int]]:
        """The same for a text that is not folded yet; one that has none is known for a while.

        An answer passes several doors, and the log says the same words again and again.
        """
        if text in self._clean:
            return []
        found = self.spans(fold(text))
        if not found and len(text) <= _SHORT:
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean.add(text)
        return found

    def spans(self, folded: str) -> list[tuple[int, int]]:
        """Where secrets stand, from left to right, the longest where several begin."""
        if self._automaton is None:
            return []
        try:
            found = self._automaton.find_matches_as_indexes(folded)
        except UnicodeEncodeError:
            found = self._automaton.find_matches_as_indexes(_encodable(folded))
        return [(start, end) for _, start, end in found]

    def begins(self, folded: str, after: int, least: int = 1) -> int:
        """The first place from which on all the rest may be the beginning of a secret."""
        last = len(folded) - least + 1
        first = max(after, len(folded) - self.longest)
        return next((at for at in range(first, last) if self._may_begin(folded, at)), len(folded))

    def decided(self, folded: str) -> tuple[list[tuple[int, int]], int]:
        """The secrets that no further text can change, and up to where nothing is open."""
        spans, done = self.spans(folded), list[tuple[int, int]]()
        end = self.begins(folded, 0)
        for start, stop in spans:
            if start >= end:
                break
            done.append((start, stop))
            if stop > end:
                end = self.begins(folded, stop)
        return done, end

    def _may_begin(self, folded: str, at: int) -> bool:
        head = folded[at : at + LEAST]
        if len(head) < LEAST:
            return head in self._starts
        rest = folded[at:]
        return any(one.startswith(rest) for one in self._heads.get(head, ()))


def fold(text: str) -> str:
    """The text as it is looked through: plain characters alone, letter case as written.

    Letters of other alphabets count as those of ours that they look like where some stand beside
    ours: else a text of theirs would be looked through at four times the cost.
    """
    text = _light(text)
    return text.translate(_EVEN) if _is_mixed(text) else text


def _is_mixed(light: str) -> bool:
    return not light.isascii() and bool(_AMONG_OURS.search(light) and _FOREIGN.search(light))


@lru_cache(maxsize=8192)
def _plain(piece: str, mixed: bool) -> str:
    """A character or an escape of a text, folded as the whole is."""
    light = _light(piece)
    return light.translate(_EVEN) if mixed else light


def too_short(value: str) -> bool:
    """Whether a value, or a credential inside of it, is too short to be found in a text."""
    values = (value.strip(), *credentials_in(value))
    return any(one and not _is_findable(fold(one)) for one in values)


def _is_findable(folded: str) -> bool:
    """Whether it can be told from words; never a piece of the word that stands for a secret."""
    return len(folded) >= LEAST and folded not in SECRET


def credentials_in(text: str) -> Iterator[str]:
    """Secrets inside of a text: behind "Bearer", in a URL's userinfo, a DSN, a JSON document."""
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
    """The user and password of basic authentication, and the password alone."""
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return
    if ":" in pair:
        yield from (pair, pair.partition(":")[2])


def _forms(value: str) -> Iterator[str]:
    """A secret as it may stand in a text, beside what folding undoes."""
    yield value
    if " " in value:
        yield value.replace(" ", "+")
    if len(value) >= LEAST:
        encoded = base64.b64encode(value.encode("utf-8", "surrogatepass")).decode().rstrip("=")
        yield from (encoded, encoded.translate({43: "-", 47: "_"}))


def _light(text: str) -> str:
    """Escapes undone, widths and compatible characters evened, marks taken out."""
    if "%" in text or "\\" in text or "&" in text or "<" in text:
        text = _ESCAPE.sub(_unescaped, text)
    if not text.isascii():
        text = normalized("NFKD", text)
    for mark in _MARKS:
        if mark in text:
            text = text.replace(mark, "")
    return text


def _unescaped(escape: re.Match[str]) -> str:
    return _character(escape[0])


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
    """The text with a sign for each half of a surrogate pair, which is no text to the matcher."""
    return text.encode("utf-8", "replace").decode()


def _before_half_an_escape(text: str) -> int:
    half = _HALF_AN_ESCAPE.search(text, max(0, len(text) - _LONGEST_ESCAPE))
    return half.start() if half else len(text)


def _begins(finder: _Finder, text: str, spans: list[tuple[int, int]], folded: str) -> int | None:
    """Where the beginning of a secret stands at the end of a text, past those that are whole."""
    whole = text[: _before_half_an_escape(text)]
    seen = folded if whole == text else fold(whole)
    begins = finder.begins(seen, spans[-1][1] if spans else 0, LEAST_BEGINNING)
    return None if begins == len(seen) else _Places(whole).of(begins)[0]


def _replaced(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with the word for a secret in these places of its folded self."""
    parts, at = list[str](), 0
    if len(text) > _LONG:
        text, places = fold(text), None
    else:
        places = _Places(text)
    for start, end in spans:
        if places is not None:
            start, end = places.of(start)[0], places.of(end - 1)[1]
        parts += [text[at:start], SECRET]
        at = end
    return "".join([*parts, text[at:]])


class _Places:
    """Where each character of a folded text stands in the text itself.

    Kept as stretches by their first folded character: either as it was, or several in one place.
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

    def of(self, folded: int) -> tuple[int, int]:
        """From where to where in the text."""
        which = bisect.bisect_right(self._firsts, folded) - 1
        start, end = self._stretches[which]
        if end:
            return start, end
        at = start + folded - self._firsts[which]
        return at, at + 1

    def _note(self, start: int, end: int, count: int) -> None:
        """From `start` to `end` the text has so many characters when it is folded."""
        at = self._firsts[-1] + start - self._stretches[-1][0]
        if count:
            self._firsts.append(at)
            self._stretches.append((start, end))
        self._firsts.append(at + count)
        self._stretches.append((end, 0))


def _automaton(patterns: list[str]) -> Any:
    from ahocorasick_rs import AhoCorasick, MatchKind

    kind = MatchKind.LeftmostLongest
    return AhoCorasick(patterns, matchkind=kind, store_patterns=False)
