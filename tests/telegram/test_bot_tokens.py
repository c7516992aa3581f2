"""Tokens in updates: sealed in place for /addbot, masked elsewhere, before anything is stored."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messages import IncomingMessage
from bot.ops.bot_tokens import around_token, sealed_token, without_tokens
from bot.telegram.decode import BotUser, decode

SECRET = "AA" + "k" * 33
TOKEN = f"7100001:{SECRET}"
BOT = BotUser(7, "echo_bot")


def seal(token: str, bot: str) -> str:
    assert token == f"{bot}:{SECRET}"
    return f"v1.{'0' * 12}.{'s' * 60}"


def update(text: str, kind: str = "private", **more: Any) -> bytes:
    chat = {"id": 5, "type": kind, "first_name": "Ann"}
    sender = {"id": 5, "is_bot": False, "first_name": "Ann"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": sender, "text": text}
    return orjson.dumps({"update_id": 1, "message": {**message, **more}})


def read(raw: bytes) -> IncomingMessage:
    found = decode(orjson.loads(raw), BOT)
    assert isinstance(found, IncomingMessage)
    return found


@pytest.mark.parametrize(
    "text",
    [
        f"/addbot {TOKEN} poet because we try it",
        f"/addbot@echo_bot\n{TOKEN} poet because we try it",
        f'/addbot "{TOKEN}" poet',
        f"/addbot <{TOKEN}>",
        f"/addbot 7100001 : {SECRET}",
        f"/addbot 7100001:\n{SECRET}",
        f"/addbot 7100001\uff1a{SECRET}",
        f"/addbot https://api.telegram.org/bot7100001%3A{SECRET}/getMe",
        f"/addbot https://api.telegram.org/bot{TOKEN}/getMe",
        f"  {TOKEN}\n",
        f"`{TOKEN}`",
        f"{TOKEN} poet",
        f"7100001 :\u00a0{SECRET}",
    ],
)
def test_the_token_of_a_command_is_masked_and_sealed_beside_it(text: str) -> None:
    entities = [{"type": "bot_command", "offset": 0, "length": 7}]
    found = read(without_tokens(update(text, entities=entities), seal))
    assert found.command is not None
    assert found.command.name == "addbot"
    assert sealed_token(found.token) == ("7100001", seal(TOKEN, "7100001"))
    rest, _ = around_token(found.command.arguments)
    assert rest.split() in ([], ["poet"], ["poet", "because", "we", "try", "it"])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"/addbot {TOKEN}", "group"),
        (f"@echo_bot here is {TOKEN}", "group"),
        (f"is this right?\n{TOKEN}", "private"),
        (f"https://api.telegram.org/bot{TOKEN}/getMe", "private"),
        (f"here: 7100001 : {SECRET} ok?", "private"),
        (f"/bind {TOKEN}", "private"),
        (f"https://api.telegram.org/bot7100001%3a{SECRET}/getMe", "private"),
    ],
)
def test_any_other_token_is_masked_with_as_many_characters(text: str, kind: str) -> None:
    entities = [{"type": "mention", "offset": 0, "length": 9}]
    found = without_tokens(update(text, kind, entities=entities), seal)
    assert SECRET.encode() not in found
    said = orjson.loads(found)["message"]["text"]
    assert said == text.replace(SECRET, "*" * len(SECRET))
    event = read(found)
    assert event.had_token
    assert bool(event.token) is (kind == "private")
    assert event.command is not None
    assert event.command.name == ("addbot" if text.startswith("/addbot") else "token:seen")


def test_without_a_key_a_token_that_stands_alone_is_a_command_that_can_be_refused() -> None:
    found = read(without_tokens(update(TOKEN), None))
    assert found.command is not None
    assert found.command.arguments == f"7100001:{'*' * len(SECRET)}"
    assert (found.had_token, found.token) == (True, "")


def test_of_two_tokens_none_is_taken_and_what_others_wrote_is_not_the_senders() -> None:
    two = read(without_tokens(update(f"/addbot {TOKEN} 7100002:{SECRET}"), seal))
    assert (two.had_token, two.token) == (True, "")
    quoted = {"message_id": 2, "text": TOKEN, "chat": {"id": 5, "type": "private"}}
    answer = read(without_tokens(update("what is this?", reply_to_message=quoted), seal))
    assert not answer.had_token


def test_an_edit_counts_where_it_brings_a_token() -> None:
    for text, wanted in ((f"see {TOKEN}", True), ("see", False)):
        edited = orjson.loads(update(text))
        edited["edited_message"] = edited.pop("message")
        found = decode(orjson.loads(without_tokens(orjson.dumps(edited), seal)), BOT)
        assert isinstance(found, IncomingMessage) is wanted


def test_a_token_is_found_wherever_it_stands_in_an_update() -> None:
    quoted = {"message_id": 2, "text": f"x\u00fc\n{TOKEN}", "chat": {"id": 5, "type": "private"}}
    for more in ({"reply_to_message": quoted}, {"caption": TOKEN}, {TOKEN: 1}):
        assert SECRET.encode() not in without_tokens(update("look", **more), seal)
    press = orjson.dumps({"update_id": 1, "callback_query": {"id": "1", "data": TOKEN}})
    assert SECRET.encode() not in without_tokens(press, seal)


@given(st.text(max_size=200))
def test_an_update_without_a_token_comes_back_as_it_is(text: str) -> None:
    raw = update(text.encode("utf-8", "replace").decode())
    if b":" + b"A" * 30 not in raw:
        assert without_tokens(raw, seal) is raw
