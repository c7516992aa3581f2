"""Content blocks: which fields each type has, and who may send it."""

from __future__ import annotations

import re
from collections.abc import Callable

from simulators.messages import shape
from simulators.messages.pictures import check_picture
from simulators.messages.refusals import invalid
from simulators.messages.shape import Obj

TOOL_USE_ID = re.compile(r"^[a-zA-Z0-9_-]+$")
TOOL_USE_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,200}$")
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_IN_RESULT = ("text", "image", "search_result", "document", "tool_reference")
_BY_USER = ("text", "image", "document", "search_result", "tool_result")
_BY_MODEL = ("text", "thinking", "redacted_thinking", "tool_use")
_ALL = (*dict.fromkeys((*_BY_USER, *_BY_MODEL)),)


def check_block(block: object, role: str, place: str) -> None:
    """Refuse a block of a message of this role that the API would not take."""
    found = shape.mapping(block, place)
    kind = _kind(found, _ALL, place)
    if kind not in (_BY_MODEL if role == "assistant" else _BY_USER):
        other = "user" if kind in _BY_USER else "assistant"
        message = place.split(".content.", maxsplit=1)[0]
        raise invalid(f"{message}: `{kind}` blocks can only be in `{other}` messages")
    _check(found, kind, place)


def check_text(block: object, place: str) -> None:
    """Refuse what is not a well-formed text block (as in `system`)."""
    found = shape.mapping(block, place)
    _check(found, _kind(found, ("text",), place), place)


def check_words(value: str, place: str) -> None:
    """Refuse an empty or blank text; `place` is "messages" or "system"."""
    if not value:
        raise invalid(f"{place}: text content blocks must be non-empty")
    if not value.strip():
        raise invalid(f"{place}: text content blocks must contain non-whitespace text")


def check_cache_control(value: object, place: str) -> None:
    """Refuse a wrong `cache_control`; null is none."""
    if value is None:
        return
    control = shape.mapping(value, place)
    shape.only(control, ("type", "ttl"), f"{place}.ephemeral")
    shape.one_of(shape.present(control, "type", place), ("ephemeral",), f"{place}.type")
    if "ttl" in control:
        shape.one_of(control["ttl"], ("5m", "1h"), f"{place}.ephemeral.ttl")


def _kind(block: Obj, known: tuple[str, ...], place: str) -> str:
    kind = shape.present(block, "type", place)
    if kind not in known:
        expected = ", ".join(f"'{name}'" for name in known)
        raise invalid(
            f"{place}: Input tag '{kind}' found using 'type' "
            f"does not match any of the expected tags: {expected}"
        )
    return str(kind)


def _check(block: Obj, kind: str, place: str) -> None:
    fields, check = _RULES[kind]
    inside = f"{place}.{kind}"
    shape.only(block, ("type", *fields), inside)
    if "cache_control" in block:
        check_cache_control(block["cache_control"], f"{inside}.cache_control")
    check(block, inside)


def _text(block: Obj, place: str) -> None:
    words = shape.text(shape.present(block, "text", place), f"{place}.text")
    check_words(words, place.split(".", maxsplit=1)[0])


def _image(block: Obj, place: str) -> None:
    source = shape.mapping(shape.present(block, "source", place), f"{place}.source")
    kind = shape.one_of(source.get("type"), ("base64", "url", "file"), f"{place}.source.type")
    if kind == "base64":
        shape.one_of(source.get("media_type"), IMAGES, f"{place}.source.base64.media_type")
    field = {"base64": "data", "url": "url", "file": "file_id"}[kind]
    inside = f"{place}.source.{kind}"
    value = shape.text(shape.present(source, field, inside), f"{inside}.{field}")
    if kind == "base64":
        check_picture(value, f"{inside}.data")


def _document(block: Obj, place: str) -> None:
    source = shape.mapping(shape.present(block, "source", place), f"{place}.source")
    kinds = ("base64", "text", "content", "url", "file")
    shape.one_of(source.get("type"), kinds, f"{place}.source.type")


def _search_result(block: Obj, place: str) -> None:
    for field in ("source", "title"):
        shape.text(shape.present(block, field, place), f"{place}.{field}")
    for at, part in enumerate(shape.array(shape.present(block, "content", place), place)):
        check_text(part, f"{place}.content.{at}")


def _thinking(block: Obj, place: str) -> None:
    for field in ("signature", "thinking"):
        shape.text(shape.present(block, field, place), f"{place}.{field}")


def _redacted(block: Obj, place: str) -> None:
    shape.text(shape.present(block, "data", place), f"{place}.data")


def _tool_use(block: Obj, place: str) -> None:
    _tool_id(shape.present(block, "id", place), f"{place}.id")
    name = shape.text(shape.present(block, "name", place), f"{place}.name")
    if not TOOL_USE_NAME.match(name):
        raise invalid(f"{place}.name: String should match pattern '{TOOL_USE_NAME.pattern}'")
    shape.mapping(shape.present(block, "input", place), f"{place}.input")


def _tool_result(block: Obj, place: str) -> None:
    _tool_id(shape.present(block, "tool_use_id", place), f"{place}.tool_use_id")
    if "is_error" in block:
        shape.boolean(block["is_error"], f"{place}.is_error")
    content = block.get("content", "")
    if isinstance(content, str):
        return
    for at, part in enumerate(shape.array(content, f"{place}.content")):
        inside = f"{place}.content.{at}"
        found = shape.mapping(part, inside)
        _check(found, _kind(found, _IN_RESULT, inside), inside)


def _tool_id(value: object, place: str) -> None:
    if not TOOL_USE_ID.match(shape.text(value, place)):
        raise invalid(f"{place}: String should match pattern '{TOOL_USE_ID.pattern}'")


def _tool_reference(block: Obj, place: str) -> None:
    shape.text(shape.present(block, "tool_name", place), f"{place}.tool_name")


_RULES: dict[str, tuple[tuple[str, ...], Callable[[Obj, str], None]]] = {
    "text": (("text", "cache_control", "citations"), _text),
    "image": (("source", "cache_control", "transformations"), _image),
    "document": (("source", "cache_control", "citations", "context", "title"), _document),
    "search_result": (("source", "title", "content", "cache_control", "citations"), _search_result),
    "thinking": (("thinking", "signature"), _thinking),
    "redacted_thinking": (("data",), _redacted),
    "tool_use": (("id", "name", "input", "cache_control", "caller", "toolset_name"), _tool_use),
    "tool_result": (
        ("tool_use_id", "content", "is_error", "cache_control", "toolset_name"),
        _tool_result,
    ),
    "tool_reference": (("tool_name", "cache_control"), _tool_reference),
}
