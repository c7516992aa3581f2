"""A text as a bot gave it, with a parse mode or explicit entities, and as the service keeps it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulators.telegram import detect, formatting_html, formatting_legacy, formatting_v2, links
from simulators.telegram.entities import (
    BLOCKS,
    MOST,
    SPLITTABLE,
    Entity,
    normalized,
    ordered,
    units,
)
from simulators.telegram.params import Params
from simulators.telegram.refusals import bad_request

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
_BYTES = 1 << 15
_PARSERS = {
    "html": formatting_html.parse,
    "markdown": formatting_legacy.parse,
    "markdownv2": formatting_v2.parse,
}
_PLAIN = frozenset({*SPLITTABLE, *BLOCKS, "code"})
_FOUND = frozenset({"mention", "hashtag", "cashtag", "bot_command", "url", "email"}) | {
    "phone_number",
    "bank_card_number",
}
_DATE_FORMAT = frozenset("tTdDwW")


@dataclass(frozen=True, slots=True)
class Rich:
    """A text and its entities, ready to be shown."""

    text: str
    entities: list[Entity]


def message_text(params: Params, person: Callable[[int], dict[str, Any] | None]) -> Rich:
    """The text of sendMessage and editMessageText; 400 when empty, too long or unparsable.

    `person` gives the user object of an id for mentions, None for a stranger.
    """
    text = params.text("text")
    if not text:
        raise bad_request("message text is empty")
    rich = read(params, "text", "entities", person)
    if units(rich.text) > TEXT_LIMIT:
        raise bad_request("message is too long")
    return rich


def caption(params: Params, person: Callable[[int], dict[str, Any] | None]) -> Rich | None:
    """The caption of a file, None when there is none; 400 when too long or unparsable."""
    if not params.text("caption").strip(" \n"):
        return None
    rich = read(params, "caption", "caption_entities", person)
    if units(rich.text) > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
    return rich


def read(
    params: Params, field: str, entities: str, person: Callable[[int], dict[str, Any] | None]
) -> Rich:
    """The text in `field` by its parse mode, or by the explicit entities."""
    text = params.text(field)
    if len(text.encode("utf-8", "surrogatepass")) > _BYTES:
        raise bad_request("text is too long")
    mode = params.text("parse_mode").lower()
    if not mode or mode == "none":
        given = read_entities(params.json(entities, "entities"))
    else:
        parser = _PARSERS.get(mode)
        if parser is None:
            raise bad_request("unsupported parse_mode")
        text, given = parser(text)
    return finish(text, _with_users(given, person))


def finish(text: str, given: list[Entity]) -> Rich:
    """Text and entities normalized, completed with what the service finds, cut at 100 entities."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    text, entities = normalized(text, given)
    return Rich(text, ordered(detect.with_detected(text, entities))[:MOST])


def _with_users(
    given: list[Entity], person: Callable[[int], dict[str, Any] | None]
) -> list[Entity]:
    known = []
    for entity in given:
        if entity["type"] != "text_mention":
            known.append(entity)
            continue
        user = person(entity["user"]["id"])
        if user is not None:
            known.append(entity | {"user": user})
    return known


def read_entities(value: Any) -> list[Entity]:
    """Entities as a caller lists them, without those that the service finds itself."""
    if not isinstance(value, list):
        return []
    return [e for e in (_entity(raw) for raw in value) if e is not None]


def _entity(raw: Any) -> Entity | None:
    if not isinstance(raw, dict):
        raise _unreadable("expected an Object")
    offset, length = _integer(raw, "offset"), _integer(raw, "length")
    kind = raw.get("type")
    if not isinstance(kind, str):
        raise _unreadable(
            'Field "type" must be of type String' if kind else 'Can\'t find field "type"'
        )
    if kind in _FOUND:
        return None
    return {"type": kind, "offset": offset, "length": length} | _details(kind, raw)


def _details(kind: str, raw: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN:
        return {}
    if kind == "pre":
        language = raw.get("language")
        return {"language": str(language)} if language else {}
    if kind == "text_link":
        return _linked(raw)
    if kind == "text_mention":
        user = raw.get("user")
        if not isinstance(user, dict):
            raise _unreadable('Can\'t find field "user"')
        return {"user": {"id": _integer(user, "id")}}
    if kind == "custom_emoji":
        return {"custom_emoji_id": str(_integer(raw, "custom_emoji_id"))}
    if kind == "date_time":
        return _dated(raw)
    raise _unreadable("Unsupported type specified")


def _linked(raw: dict[str, Any]) -> dict[str, Any]:
    url = raw.get("url")
    if not isinstance(url, str):
        raise _unreadable('Can\'t find field "url"')
    person = links.mentioned_user(url)
    if person is not None:
        return {"type": "text_mention", "user": {"id": person}}
    try:
        return {"url": links.checked(url)}
    except links.WrongLinkError as wrong:
        raise bad_request(f"entity {wrong}") from None


def _dated(raw: dict[str, Any]) -> dict[str, Any]:
    form = raw.get("date_time_format") or ""
    if form not in {"r", "R"} and not set(form) <= _DATE_FORMAT:
        raise _unreadable("Invalid date-time format specified")
    moment = {"unix_time": _integer(raw, "unix_time")}
    return moment | {"date_time_format": form} if form else moment


def _integer(raw: dict[str, Any], name: str) -> int:
    value = raw.get(name)
    if value is None:
        raise _unreadable(f'Can\'t find field "{name}"')
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _unreadable(f'Field "{name}" must be of type Number')
    return value


def _unreadable(words: str) -> Exception:
    return bad_request(f"can't parse MessageEntity: {words}")
