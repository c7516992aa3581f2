"""One bot as the operator gives it: by its token, or by a file that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from bot.access import Mode
from registry.binding import token_hash


def separated(value: Any) -> Any:
    """The parts of `1,2 3`, as well as those of a JSON list."""
    if isinstance(value, str):
        return value.strip("[] ").replace(",", " ").replace('"', " ").split()
    return value


def persons(ids: frozenset[int]) -> frozenset[int]:
    """Ids of persons; raises ValueError where another's is among them."""
    if wrong := sorted(id for id in ids if id <= 0):
        raise ValueError(f"{wrong[0]} is not a person's id; put the ids of groups into CHATS")
    return ids


def groups(ids: frozenset[int]) -> frozenset[int]:
    """Ids of groups; raises ValueError where another's is among them."""
    if wrong := sorted(id for id in ids if id >= 0):
        raise ValueError(
            f"{wrong[0]} is not a group's id, which is negative; put those of persons into PEOPLE"
        )
    return ids


class Bot(BaseModel):
    """One bot: `BOTS__<n>__…`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: SecretStr = Field(description="The bot's token from @BotFather.")
    token_file: Path | None = Field(
        None, description="A file with the token, in place of `BOTS__<n>__TOKEN`."
    )
    agentid: str | None = Field(
        None, description="The agent that answers this bot: a binding in short."
    )
    access: Mode | None = Field(
        None, description="Who may talk to this bot; unset: as `ACCESS` says."
    )
    people: frozenset[int] = Field(
        frozenset(), description="Persons who may talk to this bot, beside those of `PEOPLE`."
    )
    chats: frozenset[int] = Field(
        frozenset(), description="Groups that may talk to this bot, beside those of `CHATS`."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, given: Any) -> Any:
        """The token out of its file; a mounted secret ends with a line break."""
        path = given.get("token_file") if isinstance(given, dict) else None
        if not path:
            return given
        if given.get("token"):
            raise ValueError("has a TOKEN and a TOKEN_FILE: keep one of the two")
        try:
            return given | {"token": Path(path).read_text(encoding="utf-8").strip()}
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ValueError(
                f"TOKEN_FILE {path} cannot be read: {why}; put the token there, or name another"
            ) from None

    @field_validator("people", "chats", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return separated(value)

    @field_validator("people")
    @classmethod
    def _of_persons(cls, ids: frozenset[int]) -> frozenset[int]:
        return persons(ids)

    @field_validator("chats")
    @classmethod
    def _of_groups(cls, ids: frozenset[int]) -> frozenset[int]:
        return groups(ids)

    @field_validator("token")
    @classmethod
    def _has_the_shape_of_a_token(cls, token: SecretStr) -> SecretStr:
        number, _, secret = token.get_secret_value().strip().partition(":")
        if not number.isdigit() or len(secret) < 8:
            raise ValueError(
                "is not a bot token: it should look like 123456789:AA…; "
                "copy it again from @BotFather"
            )
        return SecretStr(token.get_secret_value().strip())

    @property
    def id(self) -> int:
        """The bot's numeric id, which its token begins with."""
        return int(self.token.get_secret_value().partition(":")[0])

    @property
    def hash(self) -> str:
        """The SHA-256 of its token in hex."""
        return token_hash(self.token.get_secret_value())
