"""The operator's settings, from environment variables and `.env`; this is the whole list."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bot.access.rules import Mode, Rule
from bot.ops.redaction import Secrets, credentials_in, too_short
from registry import secrets
from registry.binding import token_hash
from registry.limits import Budget, TurnLimits
from registry.models import EFFORTS

DEAREST = 100_000.0
OwnPrices = dict[str, dict[str, float]]


class LimitSettings(TurnLimits):
    """The most that any agent may use: `LIMITS__…`; an agent may set less, never more."""

    piihandling: Literal["off", "warn", "redact", "block"] = Field(
        "off", description="Personal data in what goes out; an agent may be stricter."
    )
    blockedtopics: str | None = Field(
        None, description="Topics of which no agent may talk, separated by commas."
    )

    @property
    def topics(self) -> tuple[str, ...]:
        """The blocked topics one by one."""
        given = (self.blockedtopics or "").split(",")
        return tuple(topic.strip() for topic in given if topic.strip())


class BudgetSetting(Budget):
    """The most that one of a kind may spend: `BUDGETS__<kind>__…`."""

    model_config = ConfigDict(strict=False)


class BudgetSettings(BaseModel):
    """The most that may be spent: of one turn, else in a day (UTC); an agent may set less."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    turn: BudgetSetting = Field(default_factory=lambda: BudgetSetting(), description="One answer.")
    person: BudgetSetting = Field(
        default_factory=lambda: BudgetSetting(), description="One person, everywhere."
    )
    chat: BudgetSetting = Field(default_factory=lambda: BudgetSetting(), description="One chat.")
    agent: BudgetSetting = Field(default_factory=lambda: BudgetSetting(), description="One agent.")
    account: BudgetSetting = Field(
        default_factory=lambda: BudgetSetting(), description="One account."
    )
    host: BudgetSetting = Field(
        default_factory=lambda: BudgetSetting(), description="All together."
    )


class Price(BaseModel):
    """What a model costs, in dollars for a million tokens; the cache costs as much as `input`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    input: float = Field(ge=0, le=DEAREST, allow_inf_nan=False)
    output: float = Field(ge=0, le=DEAREST, allow_inf_nan=False)
    cache_read: float = Field(0, ge=0, le=DEAREST, allow_inf_nan=False)
    cache_write: float = Field(0, ge=0, le=DEAREST, allow_inf_nan=False)


def check_prices(prices: Mapping[str, Mapping[str, float]]) -> OwnPrices:
    """Prices that can be counted with; ValueError with the place and the cure for others."""
    for model, price in prices.items():
        try:
            Price.model_validate(price)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([model, *map(str, first["loc"])])
            raise ValueError(
                f"{place}: {first['msg']}; a price has input and output, and may have cacheRead "
                "and cacheWrite, all in dollars for a million tokens"
            ) from None
    return {model: dict(price) for model, price in prices.items()}


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


def web_address(url: str) -> str:
    """The address of a web server; ValueError with the cure for what is none."""
    if not _is_address(url, "http", "https"):
        raise ValueError("is no web address; write https://host or http://host:port")
    return url


def store_address(url: str) -> str:
    """The address of a Redis or Valkey; ValueError with the cure for what is none."""
    if not _is_address(url, "redis", "rediss") and not url.startswith("unix://"):
        raise ValueError(
            "is no address of a store; write redis://:password@host:6379/0, "
            "rediss://… for TLS, or unix:///path/to/socket"
        )
    return url


def _is_address(url: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # looked at only when it is asked for
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.hostname)


DEFAULT_MODEL = "claude-sonnet-5-5"
DEFAULT_MAX_TOKENS = 8000
ENV_FILE = ".env"
_OWN = ("AGENTS__", "ANTHROPIC_", "BOTS__", "MCPSERVERS__", "REDIS_URL", "VALKEY_PASSWORD")
_COMMON = re.compile(
    r"(?i)(PATH|HOME|USER|LOGNAME|SHELL|TERM|LANG|LC_[A-Z]+|TZ|TMPDIR|PWD|[A-Z]+_PROXY"
    r"|SSL_CERT_(FILE|DIR)|PYTHON[A-Z]+)\Z"
)
_NAMED = re.compile(r'"(?:token|key)Env"\s*:\s*"([A-Za-z_][A-Za-z0-9_]*)"')
_NAMES = re.compile(r"(?i)__(TOKEN|KEY)ENV\Z")
_BOT_NUMBER = re.compile(r"(?i)BOTS__(\d+)__")

AGENT_VARIABLES: Mapping[str, str] = {
    "AGENTS__<n>__ID": "An agent from the environment, or the id of the one in the file to change.",
    "AGENTS__<n>__NAME": "Its name.",
    "AGENTS__<n>__DESCRIPTION": "What it is for.",
    "AGENTS__<n>__CUSTOMINSTRUCTIONS": "Its own text in the system prompt.",
    "AGENTS__<n>__MCPSERVERENDPOINTS__0": "Addresses of its MCP servers.",
    "AGENTS__<n>__MCPSERVERS__0": "Names of the servers below `MCPSERVERS__…` or in the file.",
    "AGENTS__<n>__WHITELISTPATTERNS__0": "What it may call unasked: `mcp:<server>:<tool>`.",
    "AGENTS__<n>__LLMOVERRIDES__MODEL": "Its model; so also `TEMPERATURE`, `MAXTOKENS` and "
    "`REASONINGEFFORT`.",
    "AGENTS__<n>__LINKPREVIEWS": "true: Telegram may fetch the first link of its answers.",
    "BINDINGS__<n>__AGENTID": "A binding: the agent that answers.",
    "BINDINGS__<n>__TYPE": "TelegramBot, ChatId or UserId.",
    "BINDINGS__<n>__BINDINGKEY": "The bot's hash, id or @username; or a chat's or person's id.",
    "BINDINGS__<n>__BOT": "For ChatId and UserId: only in this bot.",
    "DEFAULTAGENTID": "The agent that answers where no binding fits.",
    "MCPSERVERS__TIME__COMMAND": "A server for all agents; TIME is its name. So also `ARGS__0`, "
    "`ENV__…`, `CWD`, `URL`, `HEADERS__…`, `TYPE`.",
    "NAME": "Single-agent mode, where no agents are configured: the name of the one agent.",
    "MCPSERVERS__<n>__ENDPOINT": "Single-agent mode: addresses of its MCP servers.",
    "WHITELISTPATTERNS__0": "Single-agent mode: what it may call unasked.",
}
"""Variables that the registry reads, with the file's own strictness; docs/agents.md tells more."""


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
        None, description="none, minimal, low, medium, high, xhigh or max; clamped to the model."
    )
    fallbackmodel: str | None = Field(
        None, description="Answers where an agent's model stays busy or breaks off; unset: none."
    )

    @field_validator("reasoningeffort")
    @classmethod
    def _an_effort(cls, effort: str | None) -> str | None:
        if effort is not None and effort.lower() not in ("none", "minimal", *EFFORTS):
            raise ValueError("is no effort; write none, minimal, low, medium, high, xhigh or max")
        return effort


class Settings(BaseSettings):
    """Everything an operator can set."""

    model_config = SettingsConfigDict(
        env_nested_delimiter="__",
        env_file=ENV_FILE,
        env_ignore_empty=True,
        enable_decoding=False,
        extra="ignore",
        frozen=True,
    )

    _environ: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self._environ = environment(values.get("_env_file", ENV_FILE))

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
        frozenset(),
        description="Numeric Telegram ids of the admins, separated by commas; `/id` tells anybody "
        "theirs.",
    )
    access: Mode = Field(
        "request",
        description="Who may talk to the bots: `open` to everybody; `request`: admins, whom they "
        "let in, `PEOPLE` and `CHATS`, and admins are asked for strangers; `listed`: the same "
        "without asking.",
    )
    people: Annotated[frozenset[int], NoDecode] = Field(
        frozenset(),
        description="Numeric ids of persons who may talk in private, separated by commas; `/id` "
        "tells anybody theirs.",
    )
    chats: Annotated[frozenset[int], NoDecode] = Field(
        frozenset(),
        description="Ids of groups whose members may all talk there, separated by commas; they "
        "are negative, and `/id` tells them.",
    )
    agent_secrets: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(),
        description="Names of variables that agents from Redis or a chat may refer to as "
        "`${NAME}`, in headers; separated by commas.",
    )
    agent_skills: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(), description="Internal skills that agents from Redis or a chat may use."
    )
    internal_hosts: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(),
        description="Internal hosts that agents from Redis or a chat may reach, separated by "
        "commas; those of the file and the environment need no leave.",
    )
    proxy_judges: bool = Field(
        False,
        description="Where `HTTPS_PROXY` names a proxy: it refuses internal hosts by itself, so "
        "what agents from Redis or a chat name goes through it as well, instead of straight out.",
    )
    prices: OwnPrices = Field(
        default_factory=dict,
        description='Prices of your own, in dollars for a million tokens, as JSON: `{"<model>": '
        '{"input": 3, "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75}}`.',
    )
    limits: LimitSettings = Field(
        default_factory=lambda: LimitSettings(), description="What one turn may use at most."
    )
    budgets: BudgetSettings = Field(
        default_factory=lambda: BudgetSettings(), description="What may be spent at most."
    )
    approval_minutes: float = Field(
        60.0,
        gt=0,
        description="How long a question to people stays open, where the agent does not say.",
    )
    replica_name: str | None = Field(
        None, description="This replica's name in logs and health; unset: the host's name."
    )
    http_host: str = Field("127.0.0.1", description="Where health is served.")
    http_port: int = Field(8080, ge=0, le=65535, description="`/health`; 0 takes a free port.")
    http_connections: int = Field(
        512,
        ge=1,
        description="How many connections the port holds at once; with more, idle ones give way.",
    )
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
    webhook_url: str | None = Field(
        None,
        description="Public address of this host, or of what stands before its replicas; set: "
        "Telegram pushes updates there, unset: they are polled.",
    )
    sweep_seconds: float = Field(
        1.0,
        gt=0,
        description="How often replicas look for free lines and for what others put into theirs.",
    )
    deaf_seconds: float | None = Field(
        None,
        gt=0,
        description="A getUpdates without an end for so long is given up and its poller rebuilt; "
        "unset: POLL_SECONDS and 40 more.",
    )
    drain_seconds: float = Field(
        20.0, ge=0, description="On SIGTERM, how long running turns may take to come to their end."
    )
    turns_at_once: int = Field(
        200, ge=1, description="Of each bot, how many conversations are answered side by side."
    )
    allow_volatile_redis: bool = Field(
        False, description="Run on a Redis that may lose what it acknowledged."
    )
    allow_open_redis: bool = Field(
        False, description="Run on a Redis of another machine without a password."
    )

    @field_validator("bots", "llm", "prices", "limits", "budgets", mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """JSON is taken for a whole as well; other text is refused where the whole is looked at."""
        if isinstance(value, str):
            with suppress(ValueError):
                return json.loads(value)
        return value

    @field_validator("redis_url")
    @classmethod
    def _of_a_store(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            store_address(url.get_secret_value())
        return url

    @field_validator("telegram_api_url", "anthropic_base_url", "webhook_url")
    @classmethod
    def _of_the_web(cls, url: str | None) -> str | None:
        return url if url is None else web_address(url)

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

    @field_validator(
        "admins", "people", "chats", "agent_secrets", "agent_skills", "internal_hosts",
        mode="before",
    )  # fmt: skip
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

    @field_validator("prices")
    @classmethod
    def _countable(cls, prices: OwnPrices) -> OwnPrices:
        return check_prices(prices)

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that these settings were read from: `.env` under the environment."""
        return self._environ

    def hashes(self) -> dict[int, str]:
        """Token hashes of the bots by the number in their `BOTS__<n>__…`."""
        return {number: bot.hash for number, bot in self.numbered().items()}

    def numbered(self) -> dict[int, Bot]:
        """The bots by the number in their `BOTS__<n>__…`."""
        found = {int(m[1]) for name in self._environ if (m := _BOT_NUMBER.match(name))}
        return dict(zip(sorted(found), self.bots, strict=False))

    def rules(self) -> dict[int, Rule]:
        """Who may talk to each bot, by the bot's id."""
        return {
            bot.id: Rule(
                bot.access or self.access, self.people | bot.people, self.chats | bot.chats
            )
            for bot in self.bots
        }

    @cached_property
    def secrets(self) -> Secrets:
        """All that nobody may read: what is set here, and what is learnt while the host runs."""
        key, store = self.anthropic_api_key, self.redis_url
        known = Secrets(bot.token.get_secret_value() for bot in self.bots)
        known.add(key.get_secret_value() if key else "")
        known.add(*(self._environ.get(name, "") for name in self.agent_secrets))
        known.add_credentials_in(store.get_secret_value() if store else "")
        addresses = (self.anthropic_base_url, self.telegram_api_url, self.webhook_url)
        known.add_credentials_in(*filter(None, addresses), *getproxies_environment().values())
        return known

    def short_secrets(self) -> list[str]:
        """The names of variables whose secret is too short to be found in a text."""
        store = self.redis_url.get_secret_value() if self.redis_url else ""
        inside = {"REDIS_URL": store, "ANTHROPIC_BASE_URL": self.anthropic_base_url or ""}
        found = [name for name, url in inside.items() if any(map(too_short, credentials_in(url)))]
        named = {name: self._environ.get(name, "") for name in sorted(self.agent_secrets)}
        return found + [name for name, value in named.items() if too_short(value)]

    def own_variables(self, document: str = "") -> set[str]:
        """Variables that nobody but this host needs, once these settings are read: its secrets.

        They are those that it reads by itself, and those that an agent of the environment or of
        the file (its text is `document`) names, but for what every program looks at.
        """
        found = {name for name in self._environ if name.upper().startswith(_OWN)}
        for text in (document, *self._environ.values()):
            if "${" in text:
                found.update(secrets.reference_names(text))
        found.update(_NAMED.findall(document))
        found.update(value for name, value in self._environ.items() if _NAMES.search(name))
        return {name for name in found | self.agent_secrets if not _COMMON.match(name)}


def environment(env_file: str | Path | None = ENV_FILE) -> dict[str, str]:
    """`.env` under the environment, each value as it is written."""
    # Uninterpolated: a ${NAME} in a header stays a reference, and no secret becomes plain text.
    below = dotenv_values(env_file, interpolate=False) if env_file else {}
    return {name: value for name, value in below.items() if value is not None} | dict(os.environ)
