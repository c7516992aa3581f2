"""Bot tokens that people send: taken out of an update before it is stored anywhere.

Each is masked where it stands. The only token of a private message is also sealed beside it, so
that a bot can be added by it. A message with a token is read as the command `SEEN`, unless it is an
/addbot.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from bot.ops.lenient_json import dumps, loads_object

COMMAND: Final = "addbot"
SEEN: Final = "token:seen"
"""The command that any other message with a token stands for: nobody can type its name."""
HAD_TOKEN: Final = "had_token"  # noqa: S105 the name of a field
"""What is noted in a message whose token was taken out: true, or the sealed token."""
_ID, _SECRET = r"[0-9]{5,16}", r"[A-Za-z0-9_-]{30,100}"
_GAP = r"(?: |\\[tnr]|\\u00[aA]0|\xc2\xa0){0,3}"
"""Blanks, as JSON has them."""
_COLON = r"(?::|%3[aA]|\\u[fF]{2}1[aA]|\xef\xbc\x9a)"
"""A colon, also as addresses and wide keyboards have it, as JSON has it."""
_GAP_OF_TEXT, _COLON_OF_TEXT = r"[ \t\r\n\u00a0]{0,3}", r"(?::|%3[aA]|\uff1a)"
"""The same in a text."""
_IN_BYTES: Final = re.compile(
    rf"(?<![0-9])({_ID})({_COLON}|{_GAP}{_COLON}{_GAP}(?=AA))({_SECRET})".encode("latin-1")
)
_LIKELY: Final = re.compile(rf"{_COLON}{_GAP}[A-Za-z0-9_-]{{30}}".encode("latin-1"))
"""What every token has: a much quicker test."""
_ALONE: Final = re.compile(
    rf"[\s\"'`<«“„]*{_ID}{_GAP_OF_TEXT}{_COLON_OF_TEXT}{_GAP_OF_TEXT}{_SECRET}[\"'`>»”“]*"
    r"(?:\s+[a-z0-9][a-z0-9_/-]{0,128})?\s*"
)
_MASKED: Final = re.compile(rf"{_ID}{_GAP_OF_TEXT}{_COLON_OF_TEXT}{_GAP_OF_TEXT}\*{{30,100}}")
_SEALED: Final = re.compile(rf"({_ID})@(v1\.\S+)")
_OF_OTHERS: Final = frozenset({"reply_to_message", "external_reply", "quote", "pinned_message"})
"""Fields of a message that its sender did not write."""

Seal = Callable[[str, str], str]
"""Seals a token for the bot with this id."""


def without_tokens(raw: bytes, seal: Seal | None) -> bytes:
    """The JSON of an update without the tokens in it; most have none, and come back as they are."""
    if _LIKELY.search(raw) is None or _IN_BYTES.search(raw) is None:
        return raw
    update = loads_object(raw) or {}
    for kind in ("message", "edited_message"):
        if isinstance(message := update.get(kind), dict):
            _note(message, seal)
    return _IN_BYTES.sub(_masked, dumps(update))


def sealed_token(noted: Any) -> tuple[str, str] | None:
    """The bot's id and the sealed token, where a message has just one."""
    found = _SEALED.fullmatch(noted) if isinstance(noted, str) else None
    return (found[1], found[2]) if found else None


def around_token(text: str) -> tuple[str, list[str]]:
    """A text without its masked token, and the words beside that: the next one, and the one before.

    Only words in the same line are beside it.
    """
    found = _MASKED.search(text)
    if found is None:
        return text, []
    before, after = _outside(text, found)
    beside = [*after.partition("\n")[0].split()[:1], *before.rpartition("\n")[2].split()[-1:]]
    while (again := _MASKED.search(after)) is not None:
        between, after = _outside(after, again)
        before = f"{before} {between}"
    return f"{before} {after}", beside


def _outside(text: str, found: re.Match[str]) -> tuple[str, str]:
    """What stands before and after the word that a masked token is in."""
    before, after = text[: found.start()], text[found.end() :]
    if before and not before[-1].isspace():
        before = before[: len(before) - len(before.split()[-1])]
    if after and not after[0].isspace():
        after = after[len(after.split()[0]) :]
    return before, after


def _note(message: dict[str, Any], seal: Seal | None) -> None:
    """Note in a message that its sender wrote a token, and in private which one."""
    own = dumps({name: value for name, value in message.items() if name not in _OF_OTHERS})
    found = {(one[1].decode(), one[3].decode()) for one in _IN_BYTES.finditer(own)}
    if not found:
        return
    message[HAD_TOKEN] = True
    chat, text = message.get("chat"), message.get("text")
    if not (isinstance(chat, dict) and chat.get("type") == "private"):
        return
    if seal is not None and len(found) == 1:
        ((bot, secret),) = found
        message[HAD_TOKEN] = f"{bot}@{seal(f'{bot}:{secret}', bot)}"
    if isinstance(text, str) and _ALONE.fullmatch(text) and "forward_origin" not in message:
        message["text"] = f"/{COMMAND} {text.strip()}"
        message.pop("entities", None)  # their positions are of the text before


def _masked(token: re.Match[bytes]) -> bytes:
    """A token without its secret, and as long as before: positions in the text stay true."""
    return token[1] + token[2] + b"*" * len(token[3])
