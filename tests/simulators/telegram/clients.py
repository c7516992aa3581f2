"""Two independent clients of the Bot API behind one face: what a case needs, and no more.

A case names a method as the Bot API spells it and gives plain JSON as parameters, and a
file as an Upload. Each library gets its own types, and what it understood comes back as plain JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import telegram
from telegram import error as ptb_errors

from tests.lazily import Lazily

if TYPE_CHECKING:
    import aiogram
    from aiogram import exceptions as aiogram_errors
    from aiogram import methods, types
else:
    aiogram, aiogram_errors = Lazily("aiogram"), Lazily("aiogram.exceptions")
    methods, types = Lazily("aiogram.methods"), Lazily("aiogram.types")

_AIOGRAM = {
    "TelegramBadRequest": 400,
    "TelegramUnauthorizedError": 401,
    "TelegramForbiddenError": 403,
    "TelegramNotFound": 404,
    "TelegramConflictError": 409,
    "TelegramEntityTooLarge": 413,
    "TelegramMigrateToChat": 400,
    "TelegramRetryAfter": 429,
    "TelegramServerError": 500,
}
_PTB = {
    ptb_errors.BadRequest: 400,
    ptb_errors.InvalidToken: 401,
    ptb_errors.Forbidden: 403,
    ptb_errors.Conflict: 409,
    ptb_errors.ChatMigrated: 400,
    ptb_errors.RetryAfter: 429,
}
_HEAD = re.compile(
    r"^(?:Telegram server says - )?(?:(?:Bad Request|Forbidden|Conflict): )?", re.IGNORECASE
)


@dataclass(frozen=True)
class Upload:
    """A file that goes up with a call."""

    name: str
    data: bytes


class Refused(Exception):
    """A refusal as the library told it: a status, and words without their heading."""

    def __init__(self, status: int | None, words: str, **more: Any) -> None:
        super().__init__(words)
        self.status = status
        self.words = _HEAD.sub("", words)
        self.more = more


class Client(Protocol):
    """One bot in one library."""

    async def call(self, method: str, /, **params: Any) -> Any:
        """The result as plain JSON; raises Refused."""
        ...

    async def download(self, file_id: str) -> bytes:
        """A file by getFile and its path."""
        ...


class Gram:
    """aiogram."""

    def __init__(self, bot: aiogram.Bot) -> None:
        self._bot = bot

    async def call(self, method: str, /, **params: Any) -> Any:
        kind = getattr(methods, method[0].upper() + method[1:])
        given = {name: self._given(value) for name, value in params.items()}
        try:
            return _plain(await self._bot(kind(**given)))
        except aiogram_errors.ClientDecodeError as error:
            raise Refused(None, error.message) from error
        except aiogram_errors.TelegramAPIError as error:
            more = {
                name: getattr(error, name)
                for name in ("retry_after", "migrate_to_chat_id")
                if hasattr(error, name)
            }
            raise Refused(_AIOGRAM.get(type(error).__name__), error.message, **more) from error

    def _given(self, value: Any) -> Any:
        if isinstance(value, Upload):
            return types.BufferedInputFile(value.data, value.name)
        if isinstance(value, list):
            return [self._given(one) for one in value]
        if isinstance(value, dict):
            return {name: self._given(one) for name, one in value.items()}
        return value

    async def download(self, file_id: str) -> bytes:
        found = await self._bot.download(file_id)
        assert found is not None
        return found.read()


_PTB_TYPES: dict[str, Any] = {
    "entities": telegram.MessageEntity,
    "caption_entities": telegram.MessageEntity,
    "commands": telegram.BotCommand,
    "scope": telegram.BotCommandScope,
    "reaction": telegram.ReactionType,
    "reply_parameters": telegram.ReplyParameters,
}
_PTB_MEDIA: dict[str, Any] = {
    "photo": telegram.InputMediaPhoto,
    "video": telegram.InputMediaVideo,
    "audio": telegram.InputMediaAudio,
    "document": telegram.InputMediaDocument,
    "animation": telegram.InputMediaAnimation,
}
_PTB_MARKUP: dict[str, Any] = {
    "inline_keyboard": telegram.InlineKeyboardMarkup,
    "keyboard": telegram.ReplyKeyboardMarkup,
}


class Ptb:
    """python-telegram-bot; a method newer than the library goes by its own way for such ones."""

    def __init__(self, bot: telegram.Bot) -> None:
        self._bot = bot

    async def call(self, method: str, /, **params: Any) -> Any:
        name = re.sub(r"([A-Z])", lambda m: f"_{m[1].lower()}", method)
        try:
            if not hasattr(self._bot, name):
                return _plain(await self._bot.do_api_request(method, api_kwargs=params))
            given = {key: self._given(key, value) for key, value in params.items()}
            return _plain(await getattr(self._bot, name)(**given))
        except ptb_errors.RetryAfter as error:
            raise Refused(429, error.message, retry_after=error._retry_after.seconds) from error
        except ptb_errors.ChatMigrated as error:
            words = error.message
            raise Refused(400, words, migrate_to_chat_id=error.new_chat_id) from error
        except ptb_errors.TelegramError as error:
            raise Refused(_PTB.get(type(error)), error.message) from error

    def _given(self, name: str, value: Any) -> Any:
        if isinstance(value, Upload):
            return telegram.InputFile(value.data, filename=value.name)
        if name == "media":
            return [self._media(one) for one in value]
        if name == "reply_markup":
            kind = next((k for field, k in _PTB_MARKUP.items() if field in value), None)
            return kind.de_json(value, self._bot) if kind else value
        kind = _PTB_TYPES.get(name)
        if kind is None:
            return value
        if isinstance(value, list):
            return [kind.de_json(one, self._bot) for one in value]
        return kind.de_json(value, self._bot)

    def _media(self, item: dict[str, Any]) -> Any:
        given = {name: one for name, one in item.items() if name != "type"}
        if isinstance(given["media"], Upload):
            given |= {"media": given["media"].data, "filename": given["media"].name}
        return _PTB_MEDIA[item["type"]](**given)

    async def download(self, file_id: str) -> bytes:
        return bytes(await (await self._bot.get_file(file_id)).download_as_bytearray())


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, types.TelegramObject):
        return value.model_dump(exclude_none=True, by_alias=True, mode="json")
    if isinstance(value, telegram.TelegramObject):
        return value.to_dict()
    return value
