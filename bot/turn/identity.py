"""Calls are told apart by their ids: an approval, a record and a result belong to one of them.

The Messages API gives each call an id of its own; other servers of it may not, and whatever a model
says could have chosen one.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from bot.ports.journal import Record
from bot.ports.model import Answer
from bot.turn.history import calls_of

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


def ids_in(records: Sequence[Record]) -> set[str]:
    """The ids of all calls in these records."""
    answers = (record for record in records if record.kind == "model")
    return {block["id"] for record in answers for block in calls_of(record.body["content"])}


def told_apart(answer: Answer, taken: Collection[str]) -> Answer:
    """The answer, with a new id for each call whose own is `taken`, there twice, or no id."""
    seen, content = set(taken), []
    for block in answer.content:
        if block["type"] == "tool_use":
            if not _is_free(block.get("id"), seen):
                block = {**block, "id": f"toolu_{secrets.token_hex(12)}"}
            seen.add(block["id"])
        content.append(block)
    return replace(answer, content=content)


def _is_free(given: Any, seen: Collection[str]) -> bool:
    return isinstance(given, str) and _ID.match(given) is not None and given not in seen
