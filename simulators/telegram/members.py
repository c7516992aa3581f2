"""Memberships as the Bot API shows them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_RIGHTS = (
    "can_manage_chat", "can_delete_messages", "can_manage_video_chats", "can_restrict_members",
    "can_promote_members", "can_change_info", "can_invite_users", "can_post_stories",
    "can_edit_stories", "can_delete_stories", "can_send_welcome_messages",
)  # fmt: skip
_GROUP_RIGHTS = ("can_pin_messages", "can_manage_topics", "can_manage_tags")
_CHANNEL_RIGHTS = ("can_post_messages", "can_edit_messages", "can_manage_direct_messages")


def member(user: Json, status: str, *, channel: bool = False) -> Json:
    """A ChatMember object for one of creator, administrator, member, left and kicked."""
    shown: Json = {"user": user, "status": status}
    if status == "creator":
        return shown | {"is_anonymous": False}
    if status == "kicked":
        return shown | {"until_date": 0}
    if status != "administrator":
        return shown
    rights = _RIGHTS + (_CHANNEL_RIGHTS if channel else _GROUP_RIGHTS)
    return shown | {"can_be_edited": False, "is_anonymous": False} | dict.fromkeys(rights, True)


def changed(chat: Json, by: Json, at: int, old: Json, new: Json) -> Json:
    """A ChatMemberUpdated object."""
    return {"chat": chat, "from": by, "date": at, "old_chat_member": old, "new_chat_member": new}
