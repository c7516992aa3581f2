"""Link previews: which address the service would fetch for a message, and a record of them.

Nothing is fetched here: the record shows what would have left this machine.
Drafts have none: the service takes a draft as text and entities alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from simulators.telegram import links
from simulators.telegram.entities import Entity, end
from simulators.telegram.params import Params
from simulators.telegram.refusals import bad_request
from simulators.telegram.rooms import Message, Room

Json = dict[str, Any]

_KEPT = 10_000
_FLAGS = ("is_disabled", "prefer_small_media", "prefer_large_media", "show_above_text")


@dataclass(frozen=True, slots=True)
class PreviewFetch:
    """One address that the service fetched, for a message of a bot in a room, by the room's key."""

    bot: int
    room: str
    message: int
    url: str

    def show(self) -> Json:
        """The record as JSON."""
        return asdict(self)


class PreviewFetches:
    """The newest fetches, oldest first."""

    def __init__(self) -> None:
        self._records: deque[PreviewFetch] = deque(maxlen=_KEPT)

    def record(self, room: Room, message: Message) -> None:
        """PreviewRecords the address that the service fetches for a message, if there is one."""
        if url := first_url(message.body):
            self._records.append(PreviewFetch(message.author, room.key, message.id, url))

    def of(self, *, bot: int | None = None) -> list[PreviewFetch]:
        """The records of one bot, or of all."""
        return [record for record in self._records if bot in (None, record.bot)]

    def __iter__(self) -> Iterator[PreviewFetch]:
        return iter(self._records)


def options(params: Params) -> Json:
    """The link_preview_options of a call, or what disable_web_page_preview of old means."""
    given = params.json("link_preview_options", "link preview options")
    if given is None:
        return {"is_disabled": True} if params.flag("disable_web_page_preview") else {}
    if not isinstance(given, dict):
        raise bad_request("can't parse LinkPreviewOptions: expected an Object")
    for name in _FLAGS:
        if not isinstance(given.get(name, False), bool):
            raise bad_request(
                f'can\'t parse LinkPreviewOptions: Field "{name}" must be of type Bool'
            )
    url = given.get("url", "")
    if not isinstance(url, str):
        raise bad_request('can\'t parse LinkPreviewOptions: Field "url" must be of type String')
    found: Json = {name: True for name in _FLAGS if given.get(name)}
    return found | ({"url": url} if url else {})


def first_url(body: Json) -> str | None:
    """The address that the service fetches for a message: the one the bot names, or the first."""
    options = body.get("link_preview_options", {})
    if options.get("is_disabled"):
        return None
    named = [options["url"]] if options.get("url") else _urls(body)
    return next((url for url in map(_web_address, named) if url), None)


def _urls(body: Json) -> Iterator[str]:
    """The links of a text in their order, bare domains among them."""
    for entity in body.get("entities", ()):
        if entity["type"] == "text_link":
            yield entity["url"]
        elif entity["type"] == "url":
            yield _covered(body["text"], entity)


def _covered(text: str, entity: Entity) -> str:
    units = text.encode("utf-16-le")
    return units[2 * entity["offset"] : 2 * end(entity)].decode("utf-16-le")


def _web_address(url: str) -> str | None:
    """The address with its scheme; None for one that leads nowhere in the web."""
    try:
        found = links.checked(url)
    except links.WrongLinkError:
        return None
    return found if found.startswith(("http://", "https://")) else None
