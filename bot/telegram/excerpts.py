"""Words of others in a message: what it forwards, replies to or quotes; addresses behind links.

What is malformed in them counts as absent: a message is answered anyway.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bot.messages import Excerpt

Object = dict[str, Any]

LONGEST_ADDRESS: Final = 500
ADDRESSES_LENGTH: Final = 4_000
"""Characters that the addresses behind the links of one text may add to it."""

FILE: Final = "a file"

# In this order: an animation is also sent as a document, a venue also as a location.
_MEDIA: Final = {
    "animation": "an animation",
    "audio": "an audio file",
    "live_photo": "a live photo",
    "photo": "a photo",
    "video": "a video",
    "video_note": "a video message",
    "voice": "a voice message",
    "sticker": "a sticker",
    "document": FILE,
    "contact": "a contact",
    "venue": "a venue",
    "location": "a location",
    "poll": "a poll",
    "dice": "a dice throw",
    "game": "a game",
    "story": "a story",
    "checklist": "a checklist",
    "paid_media": "paid media",
    "rich_message": "a rich message",
    "invoice": "an invoice",
    "giveaway": "a giveaway",
}


_HAS_OTHERS: Final = frozenset(
    {
        *("forward_origin", "forward_date", "via_bot"),
        *("reply_to_message", "external_reply", "reply_to_story"),
    }
)
"""A message with none of these has no words of others."""


def media_noun(message: Object) -> str | None:
    """What a message shows other than text, in words; None for nothing."""
    return next((noun for kind, noun in _MEDIA.items() if kind in message), None)


def is_forwarded(message: Object) -> bool:
    """Whether a message is a forward, whose words are not its sender's."""
    return "forward_origin" in message or "forward_date" in message


def is_anothers(message: Object) -> bool:
    """Whether its sender did not write it: a forward, or what an inline bot wrote for them."""
    return is_forwarded(message) or "via_bot" in message


def excerpts_of(message: Object, bot: int) -> tuple[Excerpt, ...]:
    """What a message for the bot with this id brings along of others' words."""
    return () if _HAS_OTHERS.isdisjoint(message) else tuple(_excerpts(message, bot))


def _excerpts(message: Object, bot: int) -> Iterator[Excerpt]:
    if is_forwarded(message):
        author, own = _origin(message.get("forward_origin"), bot)
        yield Excerpt("forward", author, *_shown(message), own)
    elif "via_bot" in message:
        author, own = _user(message["via_bot"], bot)
        yield Excerpt("via", author, *_shown(message), own)
    first, elsewhere = message.get("reply_to_message"), message.get("external_reply")
    quote = _text(message.get("quote"), "text", "entities")
    if isinstance(first, dict):
        author, own = _sender(first, bot)
        text, media = _shown(first)
        if text or media:  # the first message of a topic has neither, and nobody chose it
            yield Excerpt("reply", author, text, media, own)
        if quote and quote != text:
            yield Excerpt("quote", author, quote, None, own)
    elif isinstance(elsewhere, dict):
        author, own = _origin(elsewhere.get("origin"), bot)
        yield Excerpt("reply elsewhere", author, quote, media_noun(elsewhere), own)
    elif isinstance(story := message.get("reply_to_story"), dict):
        yield Excerpt("reply", _chat(story.get("chat")), "", "a story")


def _shown(message: Object) -> tuple[str, str | None]:
    """A message's text or caption, and what else it shows."""
    if isinstance(message.get("text"), str):
        return _text(message, "text", "entities"), None
    return _text(message, "caption", "caption_entities"), media_noun(message)


def _text(source: Any, text: str, entities: str) -> str:
    if not isinstance(source, dict):
        return ""
    found = source.get(entities)
    return with_links(as_text(source.get(text)), found if isinstance(found, list) else [])


# --- who wrote it ---


def _sender(message: Object, bot: int) -> tuple[str, bool]:
    """Who wrote a message, or whose words it forwards, and whether that is the bot itself."""
    if is_forwarded(message):
        return _origin(message.get("forward_origin"), bot)
    if isinstance(chat := message.get("sender_chat"), dict):
        return _chat(chat), False
    return _user(message.get("from"), bot)


def _origin(origin: Any, bot: int) -> tuple[str, bool]:
    if not isinstance(origin, dict):
        return "", False
    if "sender_user" in origin:
        return _user(origin["sender_user"], bot)
    title = _chat(origin.get("chat", origin.get("sender_chat")))
    return title or as_text(origin.get("sender_user_name")), False


def _chat(chat: Any) -> str:
    """The title of a chat, or in private the person's name."""
    return as_text(chat.get("title")) or full_name(chat) if isinstance(chat, dict) else ""


def _user(user: Any, bot: int) -> tuple[str, bool]:
    return (full_name(user), user.get("id") == bot) if isinstance(user, dict) else ("", False)


def full_name(user: Object) -> str:
    """A person's first and last name; empty where neither is there."""
    return " ".join(filter(None, (as_text(user.get(key)) for key in ("first_name", "last_name"))))


# --- links ---


def with_links(text: str, entities: list[Any]) -> str:
    """The text with the address behind each of its links in brackets after it."""
    links = sorted(_links(text, entities)) if entities else []
    if not links:
        return text
    units, parts, at, left = (
        text.encode("utf-16-le", "surrogatepass"),
        list[str](),
        0,
        ADDRESSES_LENGTH,
    )
    for end, address in links:
        left -= len(address)
        if left >= 0:
            parts.append(f"{units[2 * at : 2 * end].decode('utf-16-le', 'replace')} ({address})")
            at = end
    return "".join([*parts, units[2 * at :].decode("utf-16-le", "replace")])


def _links(text: str, entities: list[Any]) -> Iterator[tuple[int, str]]:
    """Where each link ends, in UTF-16 units, and its address, if the text does not show that."""
    units = text.encode("utf-16-le", "surrogatepass")
    for entity in entities:
        if not isinstance(entity, dict) or entity.get("type") != "text_link":
            continue
        start, length, address = (entity.get(key) for key in ("offset", "length", "url"))
        if type(start) is not int or type(length) is not int or start < 0 or length <= 0:
            continue
        end = start + length
        if 2 * end > len(units) or not isinstance(address, str):
            continue
        address = "".join(address[: 2 * LONGEST_ADDRESS].split())
        address = address if len(address) <= LONGEST_ADDRESS else f"{address[:LONGEST_ADDRESS]}…"
        shown = units[2 * start : 2 * end].decode("utf-16-le", "replace")
        if address and _bare(shown) != _bare(address):
            yield end, address


def _bare(address: str) -> str:
    return address.strip().removeprefix("https://").removeprefix("http://").rstrip("/")


def as_text(value: Any) -> str:
    """A text, or an empty one for anything else."""
    return value if isinstance(value, str) else ""
