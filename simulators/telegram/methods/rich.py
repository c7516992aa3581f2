"""Methods that send rich messages: blocks, or HTML or Markdown that becomes blocks.

The service's own words are not known for every refusal here; those follow its other parsers'.
"""

from __future__ import annotations

from typing import Any

from simulators.telegram import richblocks
from simulators.telegram.entities import units
from simulators.telegram.methods import sending
from simulators.telegram.methods.call import Call
from simulators.telegram.refusals import RefusedError, bad_request

Json = dict[str, Any]

LIMIT = 32_768
_FORMS = ("html", "markdown", "blocks")
_NEEDS: dict[str, tuple[str, ...]] = {
    "paragraph": ("text",), "heading": ("text", "size"), "pre": ("text",), "footer": ("text",),
    "divider": (), "mathematical_expression": ("expression",), "anchor": ("name",),
    "list": ("items",), "blockquote": ("blocks",), "expandable_blockquote": ("text",),
    "pullquote": ("text",), "table": ("cells",), "details": ("summary", "blocks"),
    "thinking": ("text",),
}  # fmt: skip


def send_rich_message(call: Call) -> Json:
    """sendRichMessage: up to 32,768 characters in blocks."""
    return sending.post(call, {"rich_message": read(call)}).body


def send_rich_message_draft(call: Call) -> bool:
    """sendRichMessageDraft: the same, while it is being written, in a private chat."""
    return sending.show_draft(call, rich=read(call, draft=True))


def read(call: Call, *, draft: bool = False) -> Json:
    """The `rich_message` of a call as a RichMessage; 400 for one that cannot be shown."""
    given = call.params.json("rich_message", "rich message")
    if not isinstance(given, dict):
        raise bad_request("rich message must be an Object" if given else "rich message is empty")
    forms = [name for name in _FORMS if given.get(name)]
    if len(forms) > 1:
        raise _unreadable("exactly one of html, markdown and blocks must be specified")
    blocks = _read_form(given, forms[0]) if forms else []
    words = richblocks.plain(blocks)
    if not blocks or not (words.strip() or draft or _has_form(blocks)):
        raise bad_request("message text is empty")
    if units(words) > LIMIT:
        raise bad_request("message is too long")
    return {"blocks": blocks} | ({"is_rtl": True} if given.get("is_rtl") else {})


def _read_form(given: Json, form: str) -> list[Json]:
    value = given[form]
    if form == "blocks":
        return _checked(value)
    if not isinstance(value, str):
        raise _unreadable(f'Field "{form}" must be of type String')
    if units(value) > LIMIT:
        raise bad_request("message is too long")
    return richblocks.from_html(value) if form == "html" else richblocks.from_markdown(value)


def _checked(blocks: Any) -> list[Json]:
    if not isinstance(blocks, list):
        raise _unreadable('Field "blocks" must be of type Array')
    for block in blocks:
        if not isinstance(block, dict):
            raise _unreadable("expected an Object")
        if block.get("type") not in _NEEDS:
            raise _unreadable(f'block type "{block.get("type")}" is unsupported')
        for name in _NEEDS[block["type"]]:
            if name not in block:
                raise _unreadable(f'Can\'t find field "{name}"')
        _checked(block.get("blocks", []))
    return list(blocks)


def _has_form(blocks: list[Json]) -> bool:
    return any(block["type"] in {"divider", "table"} for block in blocks)


def _unreadable(words: str) -> RefusedError:
    return bad_request(f"can't parse InputRichMessage: {words}")
