"""One bot as the operator gives it: by its token, or by a file that holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from registry.binding import token_hash


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
