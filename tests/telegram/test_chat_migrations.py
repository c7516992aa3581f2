"""A group that becomes a supergroup: what the update means, and where its parts go then."""

from __future__ import annotations

from typing import Any

import pytest

from bot.conversations.turns import apply_migrations
from bot.messages import Address, ChatMigration, Ignored, IncomingMessage, OutgoingPart, PartKind
from bot.telegram.decode import BotUser, decode
from bot.telegram.errors import ChatMigrated
from bot.telegram.sender import fallback_part

BOT = BotUser(100, "our_bot")
OLD, NEW = -42, -100200
ANN = {"id": 7, "is_bot": False, "first_name": "Ann"}
GONE = ChatMigrated("any", "group chat was upgraded to a supergroup chat", NEW)


def said(chat: int, kind: str, **fields: Any) -> dict[str, Any]:
    body = {"message_id": 1, "date": 1, "from": ANN, "chat": {"id": chat, "type": kind}}
    return {"update_id": 1, "message": body | fields}


@pytest.mark.parametrize(
    "update",
    [
        said(OLD, "group", migrate_to_chat_id=NEW),
        said(NEW, "supergroup", migrate_from_chat_id=OLD),
        said(NEW, "supergroup", migrate_from_chat_id=OLD, sender_chat={"id": NEW}),
    ],
)
def test_the_old_and_the_new_group_tell_the_same_move(update: dict[str, Any]) -> None:
    assert decode(update, BOT) == ChatMigration(Address(100, OLD, private=False), NEW)


def test_what_is_said_after_the_move_is_said_in_the_old_conversation() -> None:
    original: dict[int, int] = {}
    before = apply_migrations(original, decode(said(OLD, "group", text="@our_bot hi"), BOT))
    apply_migrations(original, decode(said(OLD, "group", migrate_to_chat_id=NEW), BOT))
    after = apply_migrations(original, decode(said(NEW, "supergroup", text="@our_bot hi"), BOT))
    assert isinstance(before, IncomingMessage)
    assert isinstance(after, IncomingMessage)
    assert (after.address.chat, after.address.migrated_from) == (NEW, OLD)
    assert after.address.conversation == before.address.conversation == str(OLD)
    assert apply_migrations(original, Ignored("service")) == Ignored("service")


def part(kind: PartKind, *, best_effort: bool = False, **payload: Any) -> OutgoingPart:
    return OutgoingPart(OLD, kind, {"text": "x", **payload}, best_effort=best_effort)


def test_no_number_of_a_message_is_taken_along_since_it_means_another_one_there() -> None:
    reply = fallback_part(part("message", reply_parameters={"message_id": 5}), GONE)
    assert reply == OutgoingPart(NEW, "message", {"text": "x"})
    answer = fallback_part(part("edit", message_id=5), GONE)
    assert answer == OutgoingPart(NEW, "message", {"text": "x"})
    assert fallback_part(part("edit", message_id=5, best_effort=True), GONE) is None
    assert fallback_part(part("clear_keyboard", message_id=5), GONE) is None
