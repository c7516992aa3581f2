"""What a message replies to, as far as a command may want it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot.events import Attachment, Quoted


def quoted(message: Mapping[str, Any]) -> Quoted | None:
    """The text and the file of the message replied to; what is odd in it counts as absent."""
    first = message.get("reply_to_message")
    if not isinstance(first, dict):
        return None
    text = first.get("text", first.get("caption"))
    return Quoted(text if isinstance(text, str) else "", _file(first.get("document")))


def _file(document: Any) -> Attachment | None:
    if not isinstance(document, dict) or not isinstance(document.get("file_id"), str):
        return None
    name, size = document.get("file_name"), document.get("file_size")
    return Attachment(
        document["file_id"],
        name if isinstance(name, str) else "",
        size if type(size) is int else 0,
    )
