"""Bot tokens that people send: taken out of an update before it is stored anywhere.

A token in a private /addbot, or one that is sent alone in private, is sealed in its place, so that
the command can use it. Any other one is masked; nobody can use it any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from bot.ops.lenient_json import dumps, loads_object

COMMAND: Final = "addbot"
HAD_TOKEN: Final = "had_token"  # noqa: S105 the name of a field
"""What is noted in a message whose token was taken out."""
_ID, _SECRET = r"[0-9]{5,16}", r"[A-Za-z0-9_-]{30,100}"
_TOKEN: Final = re.compile(rf"(?<![A-Za-z0-9_-])({_ID}):({_SECRET})")
_IN_BYTES: Final = re.compile(rf"({_ID}):({_SECRET})".encode())
_LIKELY: Final = re.compile(rb":[A-Za-z0-9_-]{30}")
"""What every token has: a much quicker test."""
_ALONE: Final = re.compile(rf"\s*{_ID}:{_SECRET}\s*\Z")
_COMMAND: Final = re.compile(rf"\s*/{COMMAND}(?:@\w+)?\s", re.IGNORECASE)
_IN_PLACE: Final = re.compile(rf"({_ID})@(v1\.\S+)\Z")

Seal = Callable[[str, str], str]
"""Seals a token for the bot with this id."""


def without_tokens(raw: bytes, seal: Seal | None) -> bytes:
    """The JSON of an update without the tokens in it; most have none, and come back as they are."""
    if _LIKELY.search(raw) is None or _IN_BYTES.search(raw) is None:
        return raw
    update = loads_object(raw) or {}
    message = update.get("message")
    if isinstance(message, dict):
        message[HAD_TOKEN] = True
        if _is_private(message):
            _put_in_place(message, seal)
    return _IN_BYTES.sub(_masked, dumps(update))


def sealed_token(word: str) -> tuple[str, str] | None:
    """The bot's id and the sealed token that a word of a command stands for."""
    found = _IN_PLACE.match(word)
    return (found[1], found[2]) if found else None


def _is_private(message: dict[str, Any]) -> bool:
    chat = message.get("chat")
    return isinstance(chat, dict) and chat.get("type") == "private"


def _put_in_place(message: dict[str, Any], seal: Seal | None) -> None:
    """Seal the first token of a command, or one that stands alone, which is taken for a command."""
    text = message.get("text")
    if not isinstance(text, str):
        return
    if _ALONE.match(text):
        text = message["text"] = f"/{COMMAND} {text.strip()}"
        message.pop("entities", None)
    elif not _COMMAND.match(text):
        return
    token = _TOKEN.search(text)
    if token is None or seal is None:
        return
    place = f"{token[1]}@{seal(token[0], token[1])}"
    message["text"] = text[: token.start()] + place + text[token.end() :]
    message.pop("entities", None)  # their positions are of the text before


def _masked(token: re.Match[bytes]) -> bytes:
    """A token without its secret, and as long as before: positions in the text stay true."""
    return token[1] + b":" + b"*" * len(token[2])
