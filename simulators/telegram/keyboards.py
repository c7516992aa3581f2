"""Keyboards under a message and instead of the phone's own: checked, and as messages show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulators.telegram import links
from simulators.telegram.params import Params
from simulators.telegram.refusals import RefusedError, bad_request

Json = dict[str, Any]

DATA_LIMIT = 64
MOST_BUTTONS = 100
_EXTRA = ("icon_custom_emoji_id", "style")
_QUERIES = (
    "switch_inline_query",
    "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat",
)
_STYLES = {"danger", "success", "primary"}


@dataclass(frozen=True, slots=True)
class Markup:
    """`inline` hangs under the message; `screen` replaces, removes or asks for a reply."""

    inline: Json | None = None
    screen: Json | None = None


def markup(params: Params, *, private: bool = True, manages: bool = False) -> Markup:
    """The `reply_markup` of a call; 400 for anything that the service would not take.

    A bot that `manages` others may ask in private for a new one.
    """
    value = params.json("reply_markup", "reply keyboard markup")
    if value is None:
        return Markup()
    if not isinstance(value, dict):
        raise bad_request("object expected as reply markup")
    if rows := _rows(value, "keyboard"):
        asks = private and manages
        keys = [[_key(b, may_ask_for_bots=asks) for b in row] for row in rows]
        return Markup(screen=value | {"keyboard": keys})
    if rows := _rows(value, "inline_keyboard"):
        return Markup(inline=_inline(rows, private=private))
    if value.get("remove_keyboard") or value.get("force_reply"):
        return Markup(screen=value)
    return Markup()


def _rows(value: Json, field: str) -> list[list[Any]]:
    rows = value.get(field)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise bad_request(f'field "{field}" must be of type Array')
    of = " of the InlineKeyboardMarkup" if field == "inline_keyboard" else ""
    if not all(isinstance(row, list) for row in rows):
        raise bad_request(f'field "{field}"{of} must be an Array of Arrays')
    return [row for row in rows if row]


def _key(button: Any, *, may_ask_for_bots: bool) -> Json:
    if isinstance(button, str):
        button = {"text": button}
    if not isinstance(button, dict):
        raise bad_request(
            "can't parse keyboard button: KeyboardButton must be a String or an Object"
        )
    if not str(button.get("text") or "").strip():
        raise bad_request("keyboard button text must be non-empty")
    if "request_managed_bot" in button:
        _check_request(button["request_managed_bot"], allowed=may_ask_for_bots)
    return button


def _check_request(wanted: Any, *, allowed: bool) -> None:
    """Refuse a button for a new bot that the service would not show."""
    number = wanted.get("request_id") if isinstance(wanted, dict) else None
    if type(number) is not int or not -(2**31) <= number < 2**31:
        raise bad_request("can't parse keyboard button: invalid request_id specified")
    for name in ("suggested_name", "suggested_username"):
        if not isinstance(wanted.get(name, ""), str):
            raise bad_request(f'field "{name}" must be of type String')
    if not allowed:
        raise RefusedError(400, "Bad Request: BUTTON_TYPE_INVALID")


def _inline(rows: list[list[Any]], *, private: bool) -> Json:
    if sum(map(len, rows)) > MOST_BUTTONS:
        raise RefusedError(400, "Bad Request: reply markup is too long")
    return {"inline_keyboard": [[_button(b, private=private) for b in row] for row in rows]}


def _button(raw: Any, *, private: bool) -> Json:
    if not isinstance(raw, dict):
        raise _unreadable("InlineKeyboardButton must be an Object")
    text = raw.get("text")
    if not isinstance(text, str):
        raise _unreadable('Can\'t find field "text"')
    if not text.strip():
        raise bad_request("inline keyboard button text must be non-empty")
    if raw.get("style") and raw["style"] not in _STYLES:
        raise _unreadable("invalid button style specified")
    extra = {name: raw[name] for name in _EXTRA if raw.get(name)}
    return {"text": text} | extra | _action(raw, private=private)


def _action(raw: Json, *, private: bool) -> Json:
    if raw.get("url"):
        return {"url": _url(str(raw["url"]))}
    if raw.get("callback_data"):
        return {"callback_data": _data(raw["callback_data"])}
    for name in _QUERIES:
        if name in raw:
            return {name: raw[name]}
    if "web_app" in raw:
        if not private:
            raise RefusedError(400, "Bad Request: BUTTON_TYPE_INVALID")
        return {"web_app": raw["web_app"]}
    for name in ("copy_text", "login_url", "pay", "callback_game", "disabled"):
        if name in raw:
            return {name: raw[name]}
    raise _unreadable("Text buttons are unallowed in the inline keyboard")


def _url(url: str) -> str:
    if links.mentioned_user(url) is not None:
        return url
    try:
        return links.checked(url)
    except links.WrongLinkError as wrong:
        raise bad_request(f"inline keyboard button URL '{url}' is invalid: {wrong}") from None


def _data(value: Any) -> str:
    if not isinstance(value, str):
        raise _unreadable('Field "callback_data" must be of type String')
    if len(value.encode()) > DATA_LIMIT:
        raise RefusedError(400, "Bad Request: BUTTON_DATA_INVALID")
    return value


def _unreadable(words: str) -> RefusedError:
    return bad_request(f"can't parse inline keyboard button: {words}")
