"""Characters in the texts of an agent that people do not see, although a model reads them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from registry.definition import AgentDefinition
from registry.fields import ValidationIssue

MOST_NAMED = 3
_SUSPECT = re.compile(r"[^\n\r\t -~]")
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_JOINERS = frozenset("\u200c\u200d")
"""What words of some scripts, and emoji, are written with."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_SELECTOR = "[\ufe00-\ufe0f\U000e0100-\U000e01ef]"
_SELECTORS = re.compile(f"(?<![^A-Za-z \n]){_SELECTOR}+|(?<={_SELECTOR}){_SELECTOR}+")
"""Selectors of variants where there is nothing to select: behind a sign, one is usual."""
_FLAG = re.compile("\U0001f3f4[\U000e0061-\U000e007a]{5}\U000e007f")


def hidden_characters(text: str) -> list[str]:
    """The characters of a text that nobody sees, each once, in order."""
    if text.isascii() and text.isprintable():
        return []
    found = _SUSPECT.findall(_FLAG.sub("", text))
    hidden = {char for char in found if _is_hidden(char)}
    return sorted(hidden | {char for run in _SELECTORS.findall(text) for char in run})


def _is_hidden(char: str) -> bool:
    is_unseen = unicodedata.category(char) in _UNSEEN and char not in _JOINERS
    return is_unseen or char in _BLANK


def hidden_texts(agent: AgentDefinition) -> Iterator[ValidationIssue]:
    """A warning for each field of an agent with characters that nobody sees."""
    cure = "look at it with /edit, which writes them out, and take them out"
    return hidden_fields(agent.to_json(), cure)


def hidden_fields(document: Mapping[str, Any], cure: str) -> Iterator[ValidationIssue]:
    """The same of a document as JSON."""
    for name, value in document.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if found := hidden_characters(text):
            named = ", ".join(f"U+{ord(char):04X}" for char in found[:MOST_NAMED])
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            message = f"'{name}' has hidden characters, which the model reads: {named}{more}"
            yield ValidationIssue((name,), message, cure, level="warning")
