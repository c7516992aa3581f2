"""The cases that every client of the Bot API runs: what is refused, in which words, and what works.

A parameter may be a function of the stage; what works is compared with the part of the result that
is named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulators.telegram.clients import Upload

if TYPE_CHECKING:
    from tests.simulators.telegram.test_botapi_clients import Stage

Json = dict[str, Any]
Case = tuple[str, Json, Any]


def c(s: Stage) -> int:
    return s.ann.id


def group(s: Stage) -> int:
    return s.group.id


def club(s: Stage) -> int:
    return s.club.id


def forum(s: Stage) -> int:
    return s.forum.id


def news(s: Stage) -> int:
    return s.news.id


def mine(s: Stage) -> int:
    return s.mine


def hers(s: Stage) -> int:
    return s.hers


def photo(s: Stage) -> int:
    return s.photo


def topic(s: Stage) -> int:
    return s.topic


def shut(s: Stage) -> int:
    return s.shut


def served(s: Stage) -> int:
    return s.service


def secret(s: Stage) -> int:
    return s.secret


def file(s: Stage) -> str:
    return s.file


def keys(**button: Any) -> Json:
    return {"inline_keyboard": [[{"text": "Go"} | button]]}


def entity(kind: str, offset: int, length: int, **more: Any) -> list[Json]:
    return [{"type": kind, "offset": offset, "length": length} | more]


def say(text: str, **more: Any) -> tuple[str, Json]:
    return "sendMessage", {"chat_id": c, "text": text} | more


CANNOT = "can't parse entities: "
BIG = "x" * 4097
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same "
    "as a current content and reply markup of the message"
)

REFUSED: dict[str, tuple[str, Json, int, str]] = {
    # texts and their marks
    "an unknown chat": (*say("x", chat_id=1), 400, "chat not found"),
    "an empty text": (*say(""), 400, "message text is empty"),
    "a blank text": (*say(" \n "), 400, "text must be non-empty"),
    "a long text": (*say(BIG), 400, "message is too long"),
    "a text long by its emoji": (*say("😀" * 2049), 400, "message is too long"),
    "an open html tag": (
        *say("<b>x", parse_mode="HTML"), 400,
        CANNOT + 'Can\'t find end tag corresponding to start tag "b"',
    ),
    "an unknown html tag": (
        *say("é<p>x</p>", parse_mode="HTML"), 400,
        CANNOT + 'Unsupported start tag "p" at byte offset 2',
    ),
    "a crossed html tag": (
        *say("<b>x</i>", parse_mode="HTML"), 400,
        CANNOT + 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"',
    ),
    "a stray html end tag": (
        *say("x</b>", parse_mode="HTML"), 400, CANNOT + "Unexpected end tag at byte offset 1",
    ),
    "a bare full stop in markdown": (
        *say("a.b", parse_mode="MarkdownV2"), 400,
        CANNOT + "Character '.' is reserved and must be escaped with the preceding '\\'",
    ),
    "open bold in markdown": (
        *say("*b", parse_mode="MarkdownV2"), 400,
        CANNOT + "Can't find end of Bold entity at byte offset 0",
    ),
    "an open code block in markdown": (
        *say("```py\nx", parse_mode="MarkdownV2"), 400,
        CANNOT + "Can't find end of PreCode entity at byte offset 0",
    ),
    "an open link in markdown": (
        *say("[a](b", parse_mode="MarkdownV2"), 400,
        CANNOT + "Can't find end of a URL at byte offset 4",
    ),
    "an underscore in old markdown": (
        *say("snake_case", parse_mode="Markdown"), 400,
        CANNOT + "Can't find end of the entity starting at byte offset 5",
    ),
    "an unknown parse mode": (*say("x", parse_mode="Wiki"), 400, "unsupported parse_mode"),
    "an entity after the text": (
        *say("abc", entities=entity("bold", 9, 1)), 400,
        "entity begins after the end of the text at UTF-16 offset 9",
    ),
    "an entity over the end": (
        *say("abc", entities=entity("bold", 1, 9)), 400,
        "entity beginning at UTF-16 offset 1 ends after the end of the text at UTF-16 offset 10",
    ),
    "an entity inside a character": (
        *say("😀", entities=entity("bold", 1, 1)), 400,
        "entity begins in a middle of a UTF-16 symbol at byte offset 4",
    ),
    "an entity with a wrong link": (
        *say("abc", entities=entity("text_link", 0, 1, url="nonsense")), 400,
        "entity Wrong HTTP URL",
    ),
    # keyboards
    "long callback data": (
        *say("x", reply_markup=keys(callback_data="é" * 33)), 400, "BUTTON_DATA_INVALID",
    ),
    "a wrong button link": (
        *say("x", reply_markup=keys(url="nonsense")), 400,
        "inline keyboard button URL 'nonsense' is invalid: Wrong HTTP URL",
    ),
    "a hundred and one buttons": (
        *say("x", reply_markup={
            "inline_keyboard": [[{"text": "x", "callback_data": "y"}] for _ in range(101)]
        }),
        400, "reply markup is too long",
    ),
    "a blank button": (
        *say("x", reply_markup={"inline_keyboard": [[{"text": " ", "callback_data": "y"}]]}), 400,
        "inline keyboard button text must be non-empty",
    ),
    # replies
    "a reply to nothing": (
        *say("x", reply_parameters={"message_id": 999}), 400, "message to be replied not found",
    ),
    "a quote that is not there": (
        *say("x", reply_parameters={"message_id": mine, "quote": "absent"}), 400,
        "QUOTE_TEXT_INVALID",
    ),
    # changes
    "a missing message to edit": (
        "editMessageText", {"chat_id": c, "message_id": 999, "text": "x"}, 400,
        "message to edit not found",
    ),
    "another's message to edit": (
        "editMessageText", {"chat_id": c, "message_id": hers, "text": "x"}, 400,
        "message can't be edited",
    ),
    "an unchanged text": (
        "editMessageText", {"chat_id": c, "message_id": mine, "text": "fixed"}, 400,
        NOT_MODIFIED,
    ),
    "an edit that is too long": (
        "editMessageText", {"chat_id": c, "message_id": mine, "text": BIG}, 400,
        "message is too long",
    ),
    "the text of a photo": (
        "editMessageText", {"chat_id": c, "message_id": photo, "text": "x"}, 400,
        "there is no text in the message to edit",
    ),
    "the caption of a text": (
        "editMessageCaption", {"chat_id": c, "message_id": mine, "caption": "x"}, 400,
        "there is no caption in the message to edit",
    ),
    "an unchanged keyboard": (
        "editMessageReplyMarkup", {"chat_id": c, "message_id": mine}, 400,
        "message is not modified: specified new message content",
    ),
    "a missing message to delete": (
        "deleteMessage", {"chat_id": c, "message_id": 999}, 400, "message to delete not found",
    ),
    "another's message in a group to delete": (
        "deleteMessage", {"chat_id": club, "message_id": 1}, 400, "message can't be deleted",
    ),
    "too many messages to delete": (
        "deleteMessages", {"chat_id": c, "message_ids": list(range(1, 102))}, 400,
        "too many message identifiers specified",
    ),
    # copies
    "a missing message to copy": (
        "copyMessage", {"chat_id": c, "from_chat_id": c, "message_id": 999}, 400,
        "message to copy not found",
    ),
    "a service message to copy": (
        "copyMessage", {"chat_id": c, "from_chat_id": forum, "message_id": served}, 400,
        "message can't be copied",
    ),
    "a protected message to copy": (
        "copyMessage", {"chat_id": c, "from_chat_id": c, "message_id": secret}, 400,
        "message can't be copied",
    ),
    "a missing message to forward": (
        "forwardMessage", {"chat_id": c, "from_chat_id": c, "message_id": 999}, 400,
        "message to forward not found",
    ),
    "a service message to forward": (
        "forwardMessage", {"chat_id": c, "from_chat_id": forum, "message_id": served}, 400,
        "message can't be forwarded",
    ),
    "a protected message to forward": (
        "forwardMessage", {"chat_id": c, "from_chat_id": c, "message_id": secret}, 400,
        "message can't be forwarded",
    ),
    # files
    "an unknown file": ("getFile", {"file_id": "nope"}, 400, "invalid file_id"),
    "an unknown file to send": (
        "sendPhoto", {"chat_id": c, "photo": "nope"}, 400,
        "wrong file identifier/HTTP URL specified",
    ),
    "an empty file": (
        "sendDocument", {"chat_id": c, "document": Upload("a.txt", b"")}, 400,
        "file must be non-empty",
    ),
    "a long caption": (
        "sendPhoto", {"chat_id": c, "photo": Upload("a.jpg", b"1"), "caption": "x" * 1025}, 400,
        "message caption is too long",
    ),
    "an album of eleven": (
        "sendMediaGroup",
        {"chat_id": c, "media": [{"type": "photo", "media": file} for _ in range(11)]}, 400,
        "too many messages to send as an album",
    ),
    "a photo as a document": (
        "sendDocument", {"chat_id": c, "document": file}, 400,
        "can't use file of type Photo as Document",
    ),
    "an album of a photo and a document": (
        "sendMediaGroup",
        {
            "chat_id": c,
            "media": [
                {"type": "photo", "media": file},
                {"type": "document", "media": Upload("a.txt", b"1")},
            ],
        },
        400,
        "document can't be mixed with other media types",
    ),
    # doings
    "an unknown action": (
        "sendChatAction", {"chat_id": c, "action": "juggling"}, 400,
        "wrong parameter action in request",
    ),
    "an unknown query": (
        "answerCallbackQuery", {"callback_query_id": "12345"}, 400,
        "query is too old and response timeout expired or query ID is invalid",
    ),
    "a draft without an id": (
        "sendMessageDraft", {"chat_id": c, "draft_id": 0, "text": "x"}, 400, "RANDOM_ID_INVALID",
    ),
    "a draft in a group": (
        "sendMessageDraft", {"chat_id": group, "draft_id": 1, "text": "x"}, 400,
        "TEXTDRAFT_PEER_INVALID",
    ),
    "a reaction that is none": (
        "setMessageReaction",
        {"chat_id": c, "message_id": mine, "reaction": [{"type": "emoji", "emoji": "🧅"}]}, 400,
        "REACTION_INVALID",
    ),
    "two reactions": (
        "setMessageReaction",
        {
            "chat_id": c, "message_id": mine,
            "reaction": [{"type": "emoji", "emoji": "👍"}, {"type": "emoji", "emoji": "👎"}],
        },
        400, "REACTIONS_TOO_MANY",
    ),
    "a reaction to nothing": (
        "setMessageReaction",
        {"chat_id": c, "message_id": 999, "reaction": [{"type": "emoji", "emoji": "👍"}]}, 400,
        "message to react not found",
    ),
    # commands
    "a command with a capital": (
        "setMyCommands", {"commands": [{"command": "Big", "description": "x"}]}, 400,
        "BOT_COMMAND_INVALID",
    ),
    "a long command": (
        "setMyCommands", {"commands": [{"command": "x" * 33, "description": "x"}]}, 400,
        "command length must not exceed 32",
    ),
    "a command that says nothing": (
        "setMyCommands", {"commands": [{"command": "x", "description": " "}]}, 400,
        "command description must be non-empty",
    ),
    "too many commands": (
        "setMyCommands",
        {"commands": [{"command": f"x{n}", "description": "x"} for n in range(101)]}, 400,
        "BOT_COMMANDS_TOO_MUCH",
    ),
    # where a bot may go
    "a person who blocked the bot": (
        *say("x", chat_id=lambda s: s.blocker.id), 403, "bot was blocked by the user",
    ),
    "a person who never started the bot": (
        *say("x", chat_id=lambda s: s.stranger.id), 403,
        "bot can't initiate conversation with a user",
    ),
    "another bot": (
        *say("x", chat_id=lambda s: s.rival.id), 403, "bots can't send messages to bots",
    ),
    "a group that threw the bot out": (
        *say("x", chat_id=lambda s: s.lost.id), 403, "bot was kicked from the group chat",
    ),
    "a supergroup that the bot left": (
        *say("x", chat_id=lambda s: s.left.id), 403, "bot is not a member of the supergroup chat",
    ),
    "a channel without rights": (
        *say("x", chat_id=lambda s: s.other_news.id), 400,
        "need administrator rights in the channel chat",
    ),
    "a member who is nobody": (
        "getChatMember", {"chat_id": group, "user_id": 31337}, 400, "user not found",
    ),
    "the administrators of a private chat": (
        "getChatAdministrators", {"chat_id": c}, 400,
        "there are no administrators in the private chat",
    ),
    # topics
    "an unknown topic": (
        *say("x", chat_id=forum, message_thread_id=999), 400, "message thread not found",
    ),
    "a closed topic": (
        *say("x", chat_id=lambda s: s.ruled.id, message_thread_id=shut), 400, "TOPIC_CLOSED",
    ),
    "a topic without rights": (
        "createForumTopic", {"chat_id": lambda s: s.ruled.id, "name": "x"}, 400,
        "not enough rights to create a topic",
    ),
    "a topic where there are none": (
        "createForumTopic", {"chat_id": group, "name": "x"}, 400, "the chat is not a forum",
    ),
    "a topic without a name": (
        "createForumTopic", {"chat_id": forum, "name": " "}, 400, "title must be non-empty",
    ),
    "a topic of a wrong colour": (
        "createForumTopic", {"chat_id": forum, "name": "x", "icon_color": 1}, 400,
        "invalid icon color specified",
    ),
    "an unknown topic to rename": (
        "editForumTopic", {"chat_id": forum, "message_thread_id": 999, "name": "x"}, 400,
        "TOPIC_ID_INVALID",
    ),
    "a topic's own name": (
        "editForumTopic", {"chat_id": forum, "message_thread_id": topic, "name": "Plans"}, 400,
        "TOPIC_NOT_MODIFIED",
    ),
    "an open topic to reopen": (
        "reopenForumTopic", {"chat_id": forum, "message_thread_id": topic}, 400,
        "TOPIC_NOT_MODIFIED",
    ),
    # pins
    "a pin without rights": (
        "pinChatMessage", {"chat_id": club, "message_id": 1}, 400,
        "not enough rights to manage pinned messages in the chat",
    ),
    "a missing message to pin": (
        "pinChatMessage", {"chat_id": c, "message_id": 999}, 400, "message to pin not found",
    ),
    "nothing to unpin": ("unpinChatMessage", {"chat_id": c}, 400, "message to unpin not found"),
    # webhooks
    "a webhook without encryption's scheme": (
        "setWebhook", {"url": "ftp://127.0.0.1/x"}, 400,
        "bad webhook: An HTTPS URL must be provided for webhook",
    ),
    "a webhook with a wrong secret": (
        "setWebhook", {"url": "http://127.0.0.1:9/x", "secret_token": "a b"}, 400,
        "secret token contains unallowed characters",
    ),
    # rich messages
    "an empty rich message": (
        "sendRichMessage", {"chat_id": c, "rich_message": {"markdown": " "}}, 400,
        "message text is empty",
    ),
    "a rich message in two forms": (
        "sendRichMessage", {"chat_id": c, "rich_message": {"markdown": "x", "html": "x"}}, 400,
        "can't parse InputRichMessage: exactly one of html, markdown and blocks must be specified",
    ),
    "a long rich message": (
        "sendRichMessage", {"chat_id": c, "rich_message": {"markdown": "x" * 32_769}}, 400,
        "message is too long",
    ),
    "an unknown tag in a rich message": (
        "sendRichMessage", {"chat_id": c, "rich_message": {"html": "<marquee>x</marquee>"}}, 400,
        CANNOT + 'Unsupported start tag "marquee" at byte offset 0',
    ),
    "a rich draft in a group": (
        "sendRichMessageDraft",
        {"chat_id": group, "draft_id": 1, "rich_message": {"markdown": "x"}}, 400,
        "TEXTDRAFT_PEER_INVALID",
    ),
}  # fmt: skip


def shown(*kinds: tuple[str, int, int]) -> list[Json]:
    return [{"type": k, "offset": o, "length": n} for k, o, n in kinds]


def upload(kind: str, name: str) -> Case:
    method = "send" + "".join(part.title() for part in kind.split("_"))
    return method, {"chat_id": c, kind: Upload(name, b"bytes")}, {kind: {"file_size": 5}}


BUTTON = keys(callback_data="go")
LINK = keys(url="https://e.org/")

WORKS: dict[str, Case] = {
    "who the bot is": ("getMe", {}, {"is_bot": True, "can_read_all_group_messages": False}),
    "a text": (*say("hello"), {"text": "hello", "chat": {"type": "private"}}),
    "a text of full length": (*say("x" * 4096), {"text": "x" * 4096}),
    "html": (
        *say("<b>a<i>b</i></b> &lt;", parse_mode="HTML"),
        {"text": "ab <", "entities": shown(("bold", 0, 1), ("bold", 1, 1), ("italic", 1, 1))},
    ),
    "markdown": (
        *say("*a* ||b|| `c`", parse_mode="MarkdownV2"),
        {"text": "a b c", "entities": shown(("bold", 0, 1), ("spoiler", 2, 1), ("code", 4, 1))},
    ),
    "a code block with its language": (
        *say("```py\nx = 1\n```", parse_mode="MarkdownV2"),
        {"text": "x = 1", "entities": entity("pre", 0, 5, language="py")},
    ),
    "an expandable quotation": (
        *say(">q\n>r||", parse_mode="MarkdownV2"),
        {"text": "q\nr", "entities": shown(("expandable_blockquote", 0, 3))},
    ),
    "old markdown": (
        *say("*a* _b_", parse_mode="Markdown"),
        {"text": "a b", "entities": shown(("bold", 0, 1), ("italic", 2, 1))},
    ),
    "entities by UTF-16 units": (
        *say("😀 b", entities=entity("bold", 3, 1)), {"entities": shown(("bold", 3, 1))},
    ),
    "a link as an entity": (
        *say("a", entities=entity("text_link", 0, 1, url="https://e.org")),
        {"entities": entity("text_link", 0, 1, url="https://e.org/")},
    ),
    "what the service finds by itself": (
        *say("/go @ann #x http://e.org a@e.org"),
        {"entities": shown(
            ("bot_command", 0, 3), ("mention", 4, 4), ("hashtag", 9, 2), ("url", 12, 12),
            ("email", 25, 7),
        )},
    ),
    "space cut off around": (*say("  a \n"), {"text": "a"}),
    "a keyboard": (*say("x", reply_markup=BUTTON), {"reply_markup": BUTTON}),
    "a keyboard with a link": (*say("x", reply_markup=LINK), {"reply_markup": LINK}),
    "a keyboard of the phone": (
        *say("x", reply_markup={"keyboard": [[{"text": "Yes"}]], "resize_keyboard": True}),
        {"text": "x"},
    ),
    "a reply with a quote": (
        *say("x", reply_parameters={"message_id": mine, "quote": "fix"}),
        {"reply_to_message": {"text": "fixed"}, "quote": {"text": "fix", "position": 0}},
    ),
    "a reply to nothing where that is allowed": (
        *say("x", reply_parameters={"message_id": 999, "allow_sending_without_reply": True}),
        {"text": "x"},
    ),
    "a protected text": (*say("x", protect_content=True), {"has_protected_content": True}),
    "a text to a group": (*say("x", chat_id=group), {"chat": {"type": "supergroup"}}),
    "a text to a channel": (
        *say("x", chat_id=news), {"chat": {"type": "channel"}, "sender_chat": {"title": "News"}},
    ),
    "a text to a topic": (
        *say("x", chat_id=forum, message_thread_id=topic), {"is_topic_message": True},
    ),
    "a text edited": (
        "editMessageText", {"chat_id": c, "message_id": mine, "text": "new"}, {"text": "new"},
    ),
    "a keyboard added": (
        "editMessageReplyMarkup", {"chat_id": c, "message_id": mine, "reply_markup": BUTTON},
        {"text": "fixed", "reply_markup": BUTTON},
    ),
    "a caption edited": (
        "editMessageCaption", {"chat_id": c, "message_id": photo, "caption": "new"},
        {"caption": "new"},
    ),
    "a message deleted": ("deleteMessage", {"chat_id": c, "message_id": mine}, True),
    "a person's message deleted in private": (
        "deleteMessage", {"chat_id": c, "message_id": hers}, True,
    ),
    "messages deleted, absent ones too": (
        "deleteMessages", {"chat_id": c, "message_ids": [mine, 999]}, True,
    ),
    "a copy": ("copyMessage", {"chat_id": c, "from_chat_id": c, "message_id": hers}, {}),
    "a person's message forwarded": (
        "forwardMessage", {"chat_id": c, "from_chat_id": c, "message_id": hers},
        {"text": "by a person", "forward_origin": {"type": "user"}},
    ),
    "a channel's message forwarded": (
        "forwardMessage", {"chat_id": c, "from_chat_id": news, "message_id": 1},
        {"text": "breaking", "forward_origin": {"type": "channel", "message_id": 1}},
    ),
    "a photo": (
        "sendPhoto", {"chat_id": c, "photo": Upload("a.jpg", b"12345"), "caption": "look"},
        {"photo": [{"file_size": 5}], "caption": "look"},
    ),
    "a document with a marked caption": (
        "sendDocument",
        {
            "chat_id": c, "document": Upload("t.csv", b"1,2"), "caption": "*b*",
            "parse_mode": "MarkdownV2",
        },
        {
            "document": {"file_name": "t.csv", "mime_type": "text/csv"}, "caption": "b",
            "caption_entities": shown(("bold", 0, 1)),
        },
    ),
    "an audio file": upload("audio", "a.mp3"),
    "a voice message": upload("voice", "a.ogg"),
    "a video": upload("video", "a.mp4"),
    "a round video": upload("video_note", "a.mp4"),
    "an animation": upload("animation", "a.mp4"),
    "a sticker": upload("sticker", "a.webp"),
    "a file that is there already": (
        "sendPhoto", {"chat_id": c, "photo": file}, {"photo": [{"file_size": 5}]},
    ),
    "an album": (
        "sendMediaGroup",
        {
            "chat_id": c,
            "media": [
                {"type": "photo", "media": Upload("a.jpg", b"1"), "caption": "<i>one</i>",
                 "parse_mode": "HTML"},
                {"type": "video", "media": Upload("b.mp4", b"22")},
            ],
        },
        [
            {"photo": [{"file_size": 1}], "caption_entities": shown(("italic", 0, 3))},
            {"video": {"file_size": 2}},
        ],
    ),
    "typing": ("sendChatAction", {"chat_id": c, "action": "typing"}, True),
    "a draft": ("sendMessageDraft", {"chat_id": c, "draft_id": 7, "text": "thin"}, True),
    "a reaction": (
        "setMessageReaction",
        {"chat_id": c, "message_id": hers, "reaction": [{"type": "emoji", "emoji": "👍"}]}, True,
    ),
    "commands of one chat": (
        "setMyCommands",
        {
            "commands": [{"command": "new", "description": "Start over"}],
            "scope": {"type": "chat", "chat_id": c},
        },
        True,
    ),
    "no commands yet": ("getMyCommands", {}, []),
    "a private chat in full": ("getChat", {"chat_id": c}, {"first_name": "Ann"}),
    "a group in full": ("getChat", {"chat_id": group}, {"title": "Team", "type": "supergroup"}),
    "a member": (
        "getChatMember", {"chat_id": group, "user_id": c}, {"status": "creator"},
    ),
    "how many members": ("getChatMemberCount", {"chat_id": group}, 2),
    "a message pinned": ("pinChatMessage", {"chat_id": c, "message_id": hers}, True),
    "all pins taken away": ("unpinAllChatMessages", {"chat_id": c}, True),
    "a topic made": (
        "createForumTopic", {"chat_id": forum, "name": "Trips", "icon_color": 9367192},
        {"name": "Trips", "icon_color": 9367192},
    ),
    "a topic renamed": (
        "editForumTopic", {"chat_id": forum, "message_thread_id": topic, "name": "Old"}, True,
    ),
    "a topic closed": ("closeForumTopic", {"chat_id": forum, "message_thread_id": topic}, True),
    "a topic deleted": ("deleteForumTopic", {"chat_id": forum, "message_thread_id": topic}, True),
    "a webhook": ("setWebhook", {"url": "http://127.0.0.1:9/x", "secret_token": "a-b_C"}, True),
    "no webhook": ("getWebhookInfo", {}, {"url": "", "pending_update_count": 0}),
    "a rich message in markdown": (
        "sendRichMessage",
        {"chat_id": c, "rich_message": {"markdown": "# Hi\n\n- *a*\n\n```py\nx\n```\n"}},
        {"rich_message": {"blocks": [
            {"type": "heading", "text": "Hi", "size": 1},
            {"type": "list", "items": [
                {"blocks": [{"type": "paragraph", "text": {"type": "italic", "text": "a"}}]}
            ]},
            {"type": "pre", "text": "x", "language": "py"},
        ]}},
    ),
    "a rich message in html": (
        "sendRichMessage",
        {"chat_id": c, "rich_message": {"html": "<h2>Hi</h2><p>a <b>b</b></p><hr>"}},
        {"rich_message": {"blocks": [
            {"type": "heading", "text": "Hi", "size": 2},
            {"type": "paragraph", "text": ["a ", {"type": "bold", "text": "b"}]},
            {"type": "divider"},
        ]}},
    ),
    "a rich message in blocks": (
        "sendRichMessage",
        {"chat_id": c, "rich_message": {"blocks": [{"type": "paragraph", "text": "a"}]}},
        {"rich_message": {"blocks": [{"type": "paragraph", "text": "a"}]}},
    ),
    "a rich draft": (
        "sendRichMessageDraft",
        {"chat_id": c, "draft_id": 3, "rich_message": {"markdown": "# H"}, "can_stop": True}, True,
    ),
}  # fmt: skip
