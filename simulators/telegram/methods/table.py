"""Every method that the simulator knows, by its name in lower case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from simulators.telegram.methods import (
    about,
    albums,
    changing,
    intake,
    profile,
    rich,
    sending,
    topics,
)
from simulators.telegram.methods.call import Call

Function = Callable[[Call], Any | Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """A method's own spelling, what it does, and whether it spends a chat's flood budget."""

    name: str
    run: Function
    spends: bool = False


_READING: dict[str, Function] = {
    "getMe": about.get_me,
    "getChat": about.get_chat,
    "getChatMember": about.get_chat_member,
    "getChatAdministrators": about.get_chat_administrators,
    "getChatMemberCount": about.get_chat_member_count,
    "getFile": about.get_file,
    "setMyCommands": about.set_my_commands,
    "getMyCommands": about.get_my_commands,
    "deleteMyCommands": about.delete_my_commands,
    "setMyName": profile.set_my_name,
    "getMyName": profile.get_my_name,
    "setMyDescription": profile.set_my_description,
    "getMyDescription": profile.get_my_description,
    "setMyShortDescription": profile.set_my_short_description,
    "getMyShortDescription": profile.get_my_short_description,
    "setMyProfilePhoto": profile.set_my_profile_photo,
    "getManagedBotToken": profile.get_managed_bot_token,
    "replaceManagedBotToken": profile.replace_managed_bot_token,
    "getUpdates": intake.get_updates,
    "setWebhook": intake.set_webhook,
    "deleteWebhook": intake.delete_webhook,
    "getWebhookInfo": intake.get_webhook_info,
    "answerCallbackQuery": changing.answer_callback_query,
}
_WRITING: dict[str, Function] = {
    "sendMessage": sending.send_message,
    "sendDocument": sending.send_file("document"),
    "sendPhoto": sending.send_file("photo"),
    "sendAudio": sending.send_file("audio"),
    "sendVoice": sending.send_file("voice"),
    "sendVideo": sending.send_file("video"),
    "sendVideoNote": sending.send_file("video_note"),
    "sendAnimation": sending.send_file("animation"),
    "sendSticker": sending.send_file("sticker"),
    "sendMediaGroup": albums.send_media_group,
    "sendRichMessage": rich.send_rich_message,
    "sendRichMessageDraft": rich.send_rich_message_draft,
    "copyMessage": sending.copy_message,
    "forwardMessage": sending.forward_message,
    "sendChatAction": sending.send_chat_action,
    "sendMessageDraft": sending.send_message_draft,
    "editMessageText": changing.edit_message_text,
    "editMessageCaption": changing.edit_message_caption,
    "editMessageReplyMarkup": changing.edit_message_reply_markup,
    "deleteMessage": changing.delete_message,
    "deleteMessages": changing.delete_messages,
    "setMessageReaction": changing.set_message_reaction,
    "pinChatMessage": topics.pin_chat_message,
    "unpinChatMessage": topics.unpin_chat_message,
    "unpinAllChatMessages": topics.unpin_all_chat_messages,
    "createForumTopic": topics.create_forum_topic,
    "editForumTopic": topics.edit_forum_topic,
    "closeForumTopic": topics.close_forum_topic,
    "reopenForumTopic": topics.reopen_forum_topic,
    "deleteForumTopic": topics.delete_forum_topic,
}
METHODS: dict[str, Method] = {
    name.lower(): Method(name, run, spends=name in _WRITING)
    for name, run in (_READING | _WRITING).items()
}
