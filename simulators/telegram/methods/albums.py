"""sendMediaGroup: several files that are shown as one."""

from __future__ import annotations

import secrets
from typing import Any

from simulators.telegram import richtext
from simulators.telegram.methods import sending
from simulators.telegram.methods.call import Call
from simulators.telegram.params import Params
from simulators.telegram.refusals import RefusedError, bad_request

Json = dict[str, Any]

MOST = 10
_KINDS = frozenset({"photo", "video", "audio", "document"})
_ALONE = ("audio", "document")


def send_media_group(call: Call) -> list[Json]:
    """sendMediaGroup: up to ten photos and videos, or only documents, or only audio files."""
    call.params.required("media")
    items = call.params.json("media", "media")
    if not isinstance(items, list):
        raise bad_request("expected an Array of InputMedia")
    room = call.room(write=True)
    contents = [_content(call, item) for item in items]
    if not contents:
        raise bad_request("there are no messages to send")
    if len(contents) > MOST:
        raise bad_request("too many messages to send as an album")
    _check_mix({kind for content in contents for kind in _KINDS & content.keys()})
    group = {"media_group_id": str(secrets.randbelow(9 * 10**16) + 10**16)}
    return [sending.post(call, content | group, room).body for content in contents]


def _check_mix(kinds: set[str]) -> None:
    for kind in _ALONE:
        if kind in kinds and len(kinds) > 1:
            raise bad_request(f"{kind} can't be mixed with other media types")


def _content(call: Call, item: Any) -> Json:
    if not isinstance(item, dict):
        raise _unreadable("expected an Object")
    rich = richtext.caption(Params(item, {}), call.world.members.user)
    kind = item.get("type")
    if not isinstance(kind, str):
        raise _unreadable('Can\'t find field "type"')
    if not item.get("media"):
        raise _unreadable("media not found")
    if kind == "animation":
        raise _unreadable('type "animation" can\'t be used in sendMediaGroup')
    if kind not in _KINDS:
        raise _unreadable(f'type "{kind}" is unsupported')
    stored = sending.file(call, kind, str(item["media"]))
    content: Json = {stored.kind: stored.content()}
    if rich is not None:
        content["caption"] = rich.text
        content |= {"caption_entities": rich.entities} if rich.entities else {}
    return content


def _unreadable(words: str) -> RefusedError:
    return bad_request(f"can't parse InputMedia: {words}")
