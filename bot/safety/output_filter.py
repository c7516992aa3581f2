"""What may not go out: secrets, personal data and blocked topics, in answers and previews; pure.

An answer passes twice: `redact_answer` takes secrets and invisible characters out before anything
of it is stored or done, `redact_output` handles topics and personal data on its way out. A preview
ends before anything that may be half written. Approvals are filtered differently: the person has to
see what is allowed, so they show the ends of what answers hide.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from bot import messages
from bot.messages import Answer, RichText
from bot.ops.redaction import Secrets, StreamRedactor
from bot.safety.pii import Found, find_pii, stable_prefix
from bot.safety.text_safety import strip_invisible
from registry.normalizing import normal_form
from registry.secrets import REDACTED

Handling = Literal["off", "warn", "redact", "block"]
STRICTNESS: tuple[Handling, ...] = ("off", "warn", "redact", "block")

REMOVED = "[{} removed]"
WARNING = "_(This answer contains personal data.)_"
WITHHELD = "I can't show this answer: it contains personal data."
BLOCKED = "I can't talk about that here."
PROMPT = "Do not help with or talk about these topics, and say so plainly: {}."

TOPICS = {
    "illegal_activity": "crimes: fraud, theft, breaking into systems or homes, dealing in drugs or "
    "weapons, forged documents",
    "harmful_content": "harm to people: violence, making weapons, self-harm, abuse, hatred of a "
    "group, sexual content with minors",
}
"""Topics that every agent keeps away from, with what is meant: the base prompt says it."""

NO_TOOL = "no_such_tool"
"""Replaces the name of a tool that the model made up, where that contains a secret."""

_MAX_PASSES = 3
_NON_ASCII = re.compile(r"[^\x00-\x7f]")
_WORD = re.compile(r"[^ \n\t]+")
_VANISHING = re.compile(r"[\[<&$]|\\[(\[]")  # links, tags, formulas: their marks are not shown
_LONGEST_ENDING = 200
_UNFINISHED = [re.compile(form) for form in (r"<[^<>\n]*\Z", r"!?\[[^\[\n]*\Z", r"\Z")]
"""What may vanish from the end of a text once it is complete: a tag, a link; or nothing."""

Block = dict[str, Any]
Renderer = Callable[[str], RichText]
"""How people will see some Markdown."""


def by_words(topics: Iterable[str]) -> tuple[str, ...]:
    """The topics that are looked for as words: each once, without those that have a meaning here.

    Their names are in no answer that talks of them, and in many that refuse to.
    """
    known = {plain_words(name) for name in TOPICS}
    return tuple(one for one in dict.fromkeys(topics) if plain_words(one) not in known)


def stricter(*handlings: Handling) -> Handling:
    """The strictest of several ways to handle personal data."""
    return max(handlings, key=STRICTNESS.index, default="off")


@dataclass(frozen=True, slots=True)
class OutputFilter:
    """The filter of one agent: blocked topics, handling of personal data, the host's secrets."""

    topics: tuple[str, ...] = ()
    personal: Handling = "off"
    secrets: Secrets = field(default_factory=Secrets, repr=False, compare=False)
    render: Renderer = field(default=RichText, repr=False, compare=False)

    def redact_answer(self, answer: Answer) -> Answer:
        """A model's answer as it may be stored and acted on, arguments of its calls included.

        Its thinking is dropped where anything is taken out: it is signed for the exact text.
        """
        content = [self._redact_block(block) for block in answer.content]
        text = messages.text_of(content)
        whole = self.redact_text(text, cut=answer.stop == "max_tokens")
        if whole != text:  # a secret across several blocks, among links, or at a cut end
            spoken: list[Block] = [{"type": "text", "text": whole}] if whole else []
            content = [*spoken, *(one for one in content if one["type"] != "text")]
        elif all(one is other for one, other in zip(content, answer.content, strict=True)):
            return answer
        spoken = [one for one in content if one["type"] not in messages.THINKING]
        return replace(answer, content=spoken)

    def redact_text(self, text: str, *, cut: bool = False) -> str:
        """A model's text, perhaps `cut` off, without secrets and invisible characters."""
        text = self.secrets.redact(strip_invisible(text), cut=cut)
        for _ in range(_MAX_PASSES):
            if not _VANISHING.search(text) or not shows_secret(self.render(text), self.secrets):
                return text
            text = self.secrets.redact(self.render(text).text, cut=cut)
        return REDACTED  # nothing of such a text is worth the risk

    def redact_output(self, text: str) -> str:
        """A model's text as it may go out."""
        text = self.redact_text(text)
        if self._is_blocked(text):
            return BLOCKED
        found = find_pii(text) if self.personal != "off" else []
        if not found:
            return text
        if self.personal == "redact":
            return _replaced(text, found, _removed)
        return WITHHELD if self.personal == "block" else f"{text}\n\n{WARNING}"

    def redact_preview(self, text: str, redactor: StreamRedactor | None = None) -> str:
        """As much of a growing text as is safe to send; it may be nothing yet.

        A `redactor` of this text's own saves searching it from its beginning each time.
        """
        text = (redactor or StreamRedactor(self.secrets)).redact(strip_invisible(text))
        end, found = self._before_topics(text), list[Found]()
        if self.personal != "off":
            found, end = find_pii(text), min(end, stable_prefix(text))
        end = min([end, *(one.start for one in found if one.start < end < one.end)])
        found = [one for one in found if one.end <= end]
        if self._is_blocked(text) or (found and self.personal == "block"):
            return ""
        return _replaced(text[:end], found if self.personal == "redact" else [], _removed)

    def redact_approval(self, text: str) -> str:
        """A text as the people who approve may read it: no secrets, personal data shortened."""
        text = self.secrets.redact(text)
        if self.personal in ("off", "warn"):
            return text
        return _replaced(text, find_pii(text), _shortened)

    def topics_prompt(self) -> str | None:
        """The instruction on blocked topics for the model; None where there are none."""
        return PROMPT.format(", ".join(self.topics)) if self.topics else None

    def _redact_block(self, block: Block) -> Block:
        """A content block without secrets; the block itself where it has none."""
        redact, kind = self.secrets.redact, block["type"]
        if kind == "text":
            shown: Block = {"text": redact(strip_invisible(block["text"]))}
        elif kind == "thinking":
            shown = {"thinking": redact(block["thinking"])}
        elif kind == "tool_use":
            shown = {"input": self.secrets.redact_json(block["input"])}
            if self.secrets.found_in(f"{block['id']} {block['name']}"):
                shown |= {"id": "", "name": NO_TOOL}
        else:
            return block
        same = all(value is block[name] or value == block[name] for name, value in shown.items())
        return block if same else block | shown

    def _before_topics(self, text: str) -> int:
        """Where a topic may begin that is not complete yet."""
        topics = [plain_words(topic) for topic in self.topics]
        if not topics:
            return len(text)
        most = max(len(topic.split()) for topic in topics)
        words = (at for at, word in _words_backwards(text) if plain_words(word))
        by_words = next(itertools.islice(words, most - 1, None), 0)
        wide = max((2 * len(topic) for topic in topics if not topic.isascii()), default=0)
        return min(by_words, max(0, len(text) - wide))

    def _is_blocked(self, text: str) -> bool:
        if not self.topics:
            return False
        flat = f" {plain_words(text)}"
        return any(
            f" {t}" in flat if t.isascii() else t in flat for t in map(plain_words, self.topics)
        )


def shows_secret(rich: RichText, secrets: Secrets, *, growing: bool = False) -> bool:
    """Whether a text as people see it has a secret, be it in the address of a link.

    A `growing` text should not end in the beginning of one either, nor have it before an
    unfinished tag or link, which vanishes once it is complete.
    """
    if any(map(secrets.found_in, (rich.text, *entity_values(rich)))):
        return True
    return growing and any(secrets.begun_at_end_of(_before(end, rich.text)) for end in _UNFINISHED)


def _before(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text, max(0, len(text) - _LONGEST_ENDING))
    return text[: found.start()] if found else text


def entity_values(rich: RichText) -> list[str]:
    """What entities hold beside the text: addresses of links, languages of code."""
    return [
        value
        for entity in rich.entities
        for name, value in entity.items()
        if name != "type" and isinstance(value, str)
    ]


def plain_words(text: str) -> str:
    """The words of a text alone, in lower case, without what is between them or invisible."""
    plain = _NON_ASCII.sub(_unless_invisible, normal_form("NFKC", text))
    return re.sub(r"[\W_]+", " ", plain.casefold()).strip()


def _unless_invisible(match: re.Match[str]) -> str:
    return "" if unicodedata.category(match[0]) == "Cf" else match[0]


def _words_backwards(text: str) -> Iterator[tuple[int, str]]:
    """The words of a text and where each begins, the last one first."""
    for found in _WORD.finditer(text[::-1]):
        yield len(text) - found.end(), found[0][::-1]


def _replaced(text: str, found: list[Found], replacement: Callable[[str, str], str]) -> str:
    """The text with a replacement, made from the text and its kind, for each thing found."""
    parts, at = [], 0
    for one in found:
        parts += [text[at : one.start], replacement(text[one.start : one.end], one.kind)]
        at = one.end
    return "".join([*parts, text[at:]])


def _removed(_text: str, kind: str) -> str:
    return REMOVED.format(kind)


def _shortened(text: str, kind: str) -> str:
    if kind == "e-mail address":
        return f"{text[0]}…@{text.partition('@')[2]}"
    if kind == "identity number":
        return "[identity number hidden]"
    return f"[{kind} that ends in {text[-4:]}]"
