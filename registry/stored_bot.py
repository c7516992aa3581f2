"""Bots that were added at run time, as documents: whose they are, and their sealed token."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from registry.errors import InvalidValue
from registry.fields import RegistryModel, must, valid_slug
from registry.roles import DEFAULT_ACCOUNT, Target
from registry.sealing import is_sealed, key_id_of

BotStatus = Literal["running", "paused"]
_ID = re.compile(r"[1-9][0-9]{0,15}")
NAME_LIMIT = 64
_KEPT = re.compile(r"\[sealed with key [0-9a-f]{12}\]")


def bot_name(text: str) -> str:
    """A bot's name as Telegram takes it: one line of 1 to 64 characters."""
    name = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    if not 0 < len(name) <= NAME_LIMIT:
        raise InvalidValue("is not a bot's name", f"write 1 to {NAME_LIMIT} characters")
    return name


class StoredBot(RegistryModel):
    """One bot of the store; `token` is sealed for it alone, `added` is in seconds.

    `manager` is the id of the bot that created it for us, where one did.
    """

    id: Annotated[
        str,
        AfterValidator(must(_ID.fullmatch, "{} is not a bot's numeric id", "see `bots list`")),
    ]
    username: Annotated[str, Field(max_length=64)] = ""
    name: Annotated[str, Field(max_length=NAME_LIMIT)] = ""
    account: Annotated[str, AfterValidator(valid_slug)] = DEFAULT_ACCOUNT
    state: BotStatus = "running"
    token: Annotated[
        str,
        AfterValidator(must(is_sealed, "its token is not sealed", "add the bot again")),
    ]
    added_by: Annotated[str, Field(max_length=300)] = ""
    added: float = 0.0
    manager: int | None = None

    @property
    def number(self) -> int:
        """The id as a number."""
        return int(self.id)

    @property
    def called(self) -> str:
        """The bot in a sentence: its @username, else its id."""
        return f"@{self.username}" if self.username else f"bot {self.id}"

    @property
    def purpose(self) -> str:
        """What its token is sealed for."""
        return purpose_of(self.id)

    @property
    def target(self) -> Target:
        """Who decides on it: its account."""
        return Target("instance", self.account)

    def to_text(self) -> str:
        """The document as it is stored."""
        body = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return json.dumps(body, ensure_ascii=False)


def purpose_of(bot: str | int) -> str:
    """What the token of a bot is sealed for."""
    return f"bot:{bot}"


def without_token(value: Any) -> Any:
    """A bot's document as audit and history keep it: of its token, with which key it is sealed."""
    if not isinstance(value, dict) or "token" not in value:
        return value
    if _KEPT.fullmatch(str(value["token"])):
        return value
    key = key_id_of(str(value["token"]))
    return {**value, "token": f"[sealed with key {key}]" if key else "[removed]"}


def kept_text(text: str) -> str:
    """The text of a bot's document, without its token."""
    try:
        value = json.loads(text)
    except ValueError:
        return '"[not a bot]"'
    return json.dumps(without_token(value), ensure_ascii=False)
