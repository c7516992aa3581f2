"""The operator's settings, from environment variables and `.env`; this is the whole list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_MODEL = "claude-sonnet-5-5"
DEFAULT_MAX_TOKENS = 8000


class Bot(BaseModel):
    """One bot: `BOTS__<n>__…`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token: SecretStr = Field(description="The bot's token from @BotFather.")

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


class Llm(BaseModel):
    """The default LlmConfiguration: `LLM__…`; an agent's overrides are merged field by field."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(DEFAULT_MODEL, description="Model of agents that name none.")
    temperature: float | None = Field(
        None, ge=0, le=2, description="Sent only to models that take it; else dropped."
    )
    maxtokens: int = Field(
        DEFAULT_MAX_TOKENS, ge=1, description="Most tokens of one model answer, thinking included."
    )
    reasoningeffort: str | None = Field(
        None, description="none, low, medium, high, xhigh or max; clamped to the model."
    )


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    bots: list[Bot] = Field(
        default_factory=list,
        description="The bots to host; none is legal. `BOTS__0__TOKEN`, `BOTS__1__TOKEN` …",
    )
    agents_file: Path | None = Field(
        None, description="Agents and bindings; `agents.json` in the working directory, if there."
    )
    redis_url: SecretStr | None = Field(
        None, description="A Redis or Valkey of your own; unset: the bundled server in `DATA_DIR`."
    )
    data_dir: Path = Field(Path("data"), description="Where this host keeps its state.")
    data_fsync: Literal["everysec", "always"] = Field(
        "everysec",
        description="Of the bundled server: a power cut may lose a second (everysec) or nothing "
        "(always). A killed process loses nothing either way.",
    )
    telegram_api_url: str = Field(
        "https://api.telegram.org", description="The Bot API server: Telegram's, or your own."
    )
    anthropic_api_key: SecretStr | None = Field(None, description="The key of the Messages API.")
    anthropic_base_url: str | None = Field(
        None, description="Another server that serves the Messages API; only `POST /v1/messages`."
    )
    llm: Llm = Field(default_factory=lambda: Llm(), description="Default model settings.")
    admins: Annotated[frozenset[int], NoDecode] = Field(
        frozenset(), description="Numeric Telegram ids of the admins, separated by commas."
    )
    replica_name: str | None = Field(
        None, description="This replica's name in logs and health; unset: the host's name."
    )
    http_host: str = Field("127.0.0.1", description="Where health is served.")
    http_port: int = Field(8080, ge=0, le=65535, description="`/health`; 0 takes a free port.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least level that is logged."
    )
    log_format: Literal["console", "json"] = Field("console", description="For people or machines.")
    lease_seconds: float = Field(
        10.0, gt=0.2, description="How long a silent replica keeps its bots."
    )
    poll_seconds: int = Field(
        50, ge=0, le=50, description="How long one getUpdates waits; Telegram's cap is 50."
    )

    @field_validator("bots", mode="before")
    @classmethod
    def _numbered(cls, value: Any) -> Any:
        """`BOTS__0__…` arrives as a mapping with digits for keys."""
        if isinstance(value, dict) and all(key.isdigit() for key in value):
            return [value[key] for key in sorted(value, key=int)]
        return value

    @field_validator("bots")
    @classmethod
    def _each_bot_once(cls, bots: list[Bot]) -> list[Bot]:
        ids = [bot.id for bot in bots]
        twice = sorted({id for id in ids if ids.count(id) > 1})
        if twice:
            raise ValueError(f"bot {twice[0]} is there twice; give each bot one BOTS__<n>__TOKEN")
        return bots

    @field_validator("admins", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        """`1,2 3` as well as a JSON list."""
        if isinstance(value, str):
            return [word for word in value.strip("[] ").replace(",", " ").split() if word]
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    def secrets(self) -> list[str]:
        """All secret values, for the redaction of logs."""
        found = [self.redis_url, self.anthropic_api_key, *(bot.token for bot in self.bots)]
        return [secret.get_secret_value() for secret in found if secret]
