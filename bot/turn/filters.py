"""What may not go out: secrets, personal data, blocked topics; in answers and previews; pure.

What a model says passes here twice: whole, before anything of it is kept or done, where it loses
its secrets and what nobody sees; and on its way out, where topics and personal data are looked at.
A preview ends where nothing of that kind can be half written. Questions are another matter: who
approves has to see what is allowed, so they show the ends of what answers do not show at all.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bot.events import RichText
from bot.ports import Answer
from bot.redaction import SECRET, Growing, Secrets
from bot.tools.sight import readable
from bot.turn import history
from bot.turn.personal import Found, personal, settled
from registry.normalizing import normalized

Handling = Literal["off", "warn", "redact", "block"]
STRICTNESS: tuple[Handling, ...] = ("off", "warn", "redact", "block")

REDACTED = "[{} removed]"
SHORTENED: Mapping[str, Callable[[str], str]] = {
    "e-mail address": lambda text: f"{text[0]}…@{text.partition('@')[2]}",
    "identity number": lambda _text: "[identity number hidden]",
}
WARNING = "_(This answer contains personal data.)_"
WITHHELD = "I can't show this answer: it contains personal data."
BLOCKED = "I can't talk about that here."
PROMPT = "Do not help with or talk about these topics, and say so plainly: {}."

_LOOKS = 3
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(r"[^ \n\t]+")
_BRINGS_TOGETHER = re.compile(r"[\[<&$]|\\[(\[]")  # links, tags and formulas, which are not shown

_LONGEST_END = 200
_UNFINISHED = [re.compile(form) for form in (r"<[^<>\n]*\Z", r"!?\[[^\[\n]*\Z", r"\Z")]
"""What may vanish from the end of a text once it is whole: a tag, a link; or nothing."""

NO_TOOL = "no_such_tool"
"""Stands for a tool whose name, which the model made up, is a secret."""

Block = dict[str, Any]
Look = Callable[[str], RichText]
"""How people will see some Markdown."""


def stricter(*handlings: Handling) -> Handling:
    """The strictest of several ways to handle personal data."""
    return max(handlings, key=STRICTNESS.index, default="off")


@dataclass(frozen=True, slots=True)
class Filter:
    """The filter of one agent: its blocked topics, and how personal data is handled.

    `secrets` are the values that the host knows and that nobody may read; `look` shows Markdown as
    people will see it.
    """

    topics: tuple[str, ...] = ()
    personal: Handling = "off"
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)
    look: Look = field(default=RichText, repr=False, compare=False)

    def answer(self, answer: Answer) -> Answer:
        """A model's answer as it may be kept and done: also what it gives to tools has no secret.

        Thinking goes with what is taken out of the rest: it is signed for the very words.
        """
        content = [self._block(block) for block in answer.content]
        said = history.text_of(content)
        whole = self.words(said, cut=answer.stop == "max_tokens")
        if whole != said:  # a secret stood in several blocks, among links, or at a broken end
            content = [*_spoken(whole), *(one for one in content if one["type"] != "text")]
        elif all(one is other for one, other in zip(content, answer.content, strict=True)):
            return answer
        kept = [one for one in content if one["type"] not in history.THINKING]
        return replace(answer, content=kept)

    def words(self, text: str, *, cut: bool = False) -> str:
        """A model's words without secrets and without what nobody sees; perhaps they were `cut`."""
        text = self.secrets.hidden(readable(text), cut=cut)
        for _ in range(_LOOKS):
            if not _BRINGS_TOGETHER.search(text) or not self._shows_a_secret(text):
                return text
            text = self.secrets.hidden(self.look(text).text, cut=cut)
        return SECRET  # whatever comes out of it

    def out(self, text: str) -> str:
        """A model's words as they may go out."""
        text = self.words(text)
        if self._is_blocked(text):
            return BLOCKED
        found = personal(text) if self.personal != "off" else []
        if not found:
            return text
        if self.personal == "redact":
            return _replaced(text, found, _removed)
        return WITHHELD if self.personal == "block" else f"{text}\n\n{WARNING}"

    def preview(self, text: str, sieve: Growing | None = None) -> str:
        """As much of a growing text as surely may go out; it may be nothing yet.

        A `sieve` of the text's own spares it to be looked through from its beginning each time.
        """
        text = (sieve or self.secrets.growing()).shown(readable(text))
        end, found = self._before_topics(text), list[Found]()
        if self.personal != "off":
            found, end = personal(text), min(end, settled(text))
        end = min([end, *(one.start for one in found if one.start < end < one.end)])
        found = [one for one in found if one.end <= end]
        if self._is_blocked(text) or (found and self.personal == "block"):
            return ""
        return _replaced(text[:end], found if self.personal == "redact" else [], _removed)

    def question(self, text: str) -> str:
        """A text as whoever approves may read it: secrets hidden, personal data shortened."""
        text = self.secrets.hidden(text)
        if self.personal in ("off", "warn"):
            return text
        return _replaced(text, personal(text), _shortened)

    def prompt(self) -> str | None:
        """What the model is told of blocked topics."""
        return PROMPT.format(", ".join(self.topics)) if self.topics else None

    def _block(self, block: Block) -> Block:
        """A block of an answer as it may be kept; itself where nothing is to be taken out."""
        hide, kind = self.secrets.hidden, block["type"]
        if kind == "text":
            shown: Block = {"text": hide(readable(block["text"]))}
        elif kind == "thinking":
            shown = {"thinking": hide(block["thinking"])}
        elif kind == "tool_use":
            shown = {"input": self.secrets.hidden_in(block["input"])}
            if self.secrets.found(f"{block['id']} {block['name']}"):  # a server's, or made up
                shown |= {"id": "", "name": NO_TOOL}
        else:
            return block
        same = all(value is block[name] or value == block[name] for name, value in shown.items())
        return block if same else block | shown

    def _shows_a_secret(self, markdown: str) -> bool:
        return shows_a_secret(self.look(markdown), self.secrets)

    def _before_topics(self, text: str) -> int:
        """Where a topic may begin that is not written to its end."""
        spoken = [folded(topic) for topic in self.topics]
        if not spoken:
            return len(text)
        most = max(len(topic.split()) for topic in spoken)
        words = (at for at, word in _words_back(text) if folded(word))
        by_words = next(itertools.islice(words, most - 1, None), 0)
        wide = max((2 * len(topic) for topic in spoken if not topic.isascii()), default=0)
        return min(by_words, max(0, len(text) - wide))

    def _is_blocked(self, text: str) -> bool:
        if not self.topics:
            return False
        flat = f" {folded(text)}"
        return any(f" {t}" in flat if t.isascii() else t in flat for t in map(folded, self.topics))


def shows_a_secret(rich: RichText, secrets: Secrets, *, begun: bool = False) -> bool:
    """Whether a text as people see it has a secret, be it in the address of a link.

    A text that grows should not end in the beginning of one either, nor in one that has `begun`
    before a tag or a link that may vanish once it is whole.
    """
    told = (rich.text, *told_by_marks(rich))
    if any(map(secrets.found, told)):
        return True
    return begun and any(secrets.begun(_before(end, rich.text)) for end in _UNFINISHED)


def _before(end: re.Pattern[str], text: str) -> str:
    """The text before its end, where it has this one."""
    found = end.search(text, max(0, len(text) - _LONGEST_END))
    return text[: found.start()] if found else text


def told_by_marks(rich: RichText) -> list[str]:
    """What entities say beside the text: addresses of links, languages of code."""
    return [
        value
        for entity in rich.entities
        for name, value in entity.items()
        if name != "type" and isinstance(value, str)
    ]


def _spoken(text: str) -> list[Block]:
    return [{"type": "text", "text": text}] if text else []


def folded(text: str) -> str:
    """The words of a text alone, whatever stands between, before or inside of them unseen."""
    seen = _FOREIGN.sub(_if_seen, normalized("NFKC", text))
    return re.sub(r"[\W_]+", " ", seen.casefold()).strip()


def _if_seen(match: re.Match[str]) -> str:
    return "" if unicodedata.category(match[0]) == "Cf" else match[0]


def _words_back(text: str) -> Iterator[tuple[int, str]]:
    """The words of a text and where each begins, the last one first."""
    for found in _WORD.finditer(text[::-1]):
        yield len(text) - found.end(), found[0][::-1]


def _replaced(text: str, found: list[Found], put: Callable[[str, Found], str]) -> str:
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], put(text[one.start : one.end], one)]
        at = one.end
    return "".join([*parts, text[at:]])


def _removed(_text: str, one: Found) -> str:
    return REDACTED.format(one.kind)


def _shortened(text: str, one: Found) -> str:
    if one.kind in SHORTENED:
        return SHORTENED[one.kind](text)
    return f"[{one.kind} that ends in {text[-4:]}]"
