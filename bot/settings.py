"""The operator's settings, from environment variables and `.env`; this is the whole list.

The text below a setting is what docs/configuration.md and `switchboard check` say of it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bot.access.rules import Mode, Rule
from bot.ops.redaction import Secrets
from bot.store.address import check_address
from bot.usage.pricing import OwnPrices, check_prices
from bot.variables import (
    BOT_SETTING,
    ENV_FILE,
    FILE,
    environment,
    has_loose_quote,
    is_setting,
    misnamed_bots,
    secrets_from_files,
    unquoted,
    with_files,
)
from registry.agent_limits import Budget, TurnLimits
from registry.api_key import SHORTEST_KEY, ApiKey, digest
from registry.authorization import WriterPermissions
from registry.binding import token_hash
from registry.definition import Effort, LlmConfiguration
from registry.errors import InvalidValue, Problem
from registry.fields import fields_of, valid_slug
from registry.policy import REQUIRE_CONFIRMATION, patterns_of
from registry.roles import DEFAULT_ACCOUNT, RoleName, Scope
from registry.sealing import Sealer, SealingKey
from registry.urls import web_parts

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def separated(value: Any) -> Any:
    """The parts of `1,2 3`, as well as those of a JSON list."""
    if isinstance(value, str):
        return value.strip("[] ").replace(",", " ").replace('"', " ").split()
    return value


def _people(ids: frozenset[int]) -> frozenset[int]:
    if wrong := sorted(id for id in ids if id <= 0):
        raise InvalidValue(f"{wrong[0]} is not a person's id", "the ids of groups go into CHATS")
    return ids


def _groups(ids: frozenset[int]) -> frozenset[int]:
    if wrong := sorted(id for id in ids if id >= 0):
        message = f"{wrong[0]} is not a group's id, which is negative"
        raise InvalidValue(message, "the ids of people go into PEOPLE")
    return ids


def _web_address(url: str) -> str:
    web_parts(url, "write https://host or http://host:port")
    return url


def _not_from_file(value: Any) -> Any:
    if isinstance(value, InvalidValue):  # what was wrong with the file that should hold it
        raise value
    return value


def _without_quote(text: str) -> str:
    if has_loose_quote(text):
        raise InvalidValue("has a quote at one end", "remove it")
    return text


def _store_address(url: SecretStr) -> SecretStr:
    text = _without_quote(url.get_secret_value().strip())
    check_address(text)
    return SecretStr(text)


def _folder(path: Path) -> Path:
    if any(ord(character) < 32 or ord(character) == 127 for character in str(path)):
        message = f"has a line break or another control character: {str(path)!r}"
        raise InvalidValue(message, "remove it")
    return path


def _token(token: SecretStr) -> SecretStr:
    text = _without_quote(token.get_secret_value().strip())
    number, _, secret = text.partition(":")
    if number.isdigit() and (match := re.match(r"[A-Za-z0-9_-]{30,}(?=[^A-Za-z0-9_-])", secret)):
        message = f"has {len(secret) - len(match[0])} characters behind the token"
        raise InvalidValue(message, "remove them")
    if not number.isdigit() or not re.fullmatch(r"[A-Za-z0-9_-]{8,}", secret):
        raise InvalidValue(
            "is not a bot token: it should look like 123456789:AA…", "copy it again from @BotFather"
        )
    return SecretStr(text)


def _sealing_key(secret: SecretStr) -> SecretStr:
    text = _without_quote(secret.get_secret_value().strip())
    SealingKey.parse(text)
    return SecretStr(text)


def _long_secret(secret: SecretStr) -> SecretStr:
    text = _without_quote(secret.get_secret_value().strip())
    if len(text) < SHORTEST_KEY:
        message = f"has {len(text)} characters, fewer than {SHORTEST_KEY}"
        raise InvalidValue(message, "set it to a long random text: openssl rand -hex 32")
    return SecretStr(text)


def _api_key(key: SecretStr) -> SecretStr:
    text = _long_secret(key).get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidValue("has a character that no header can carry", "use letters and digits")
    return SecretStr(text)


_COMMAS = str.maketrans(",;|/", "    ")


def _ids_of(example: str, where: str) -> WrapValidator:
    """What says how to find an id, where something else was written."""

    def checked(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        message = "must be numeric ids, not names"
        cure = f"start without it and send /id {where}: it answers a number like {example}"
        if "+" in str(value):
            message = "must be numeric ids, not phone numbers"
        elif isinstance(value, str) and not value.strip("-0123456789 ,;|/"):
            message = "must be numeric ids with commas between them"
            cure = f"write {', '.join(value.translate(_COMMAS).split())}"
        with suppress(ValidationError):
            if "+" not in str(value):
                return inner(value)
        raise InvalidValue(message, cure)

    return WrapValidator(checked)


def _whole(value: Any) -> Any:
    """JSON is taken for a whole as well; other text is refused where the whole is looked at."""
    if isinstance(value, str):
        with suppress(ValueError):
            return json.loads(value)
    return value


_Names = Annotated[frozenset[str], BeforeValidator(separated)]
_Ids = Annotated[frozenset[int], BeforeValidator(separated)]
_Persons = Annotated[_Ids, _ids_of("123456789", "to the bot")]
_People = Annotated[_Persons, AfterValidator(_people)]
_Groups = Annotated[
    _Ids, _ids_of("-1001234567890", "to the bot in the group"), AfterValidator(_groups)
]
_Secret = Annotated[SecretStr, BeforeValidator(_not_from_file)]
_Url = Annotated[str, AfterValidator(_web_address)]


def _faces(names: frozenset[str]) -> frozenset[str]:
    if unknown := sorted(names - {"openai"}):
        raise InvalidValue(f"{unknown[0]!r} is no face of the HTTP API", "write openai")
    return names


def _tool_patterns(text: str) -> str:
    patterns_of(text)
    return text


class LimitSettings(TurnLimits):
    """The most that any agent may use: `LIMITS__…`; an agent may set less, never more."""

    confirm: Annotated[str, AfterValidator(_tool_patterns)] = ", ".join(REQUIRE_CONFIRMATION)
    """Tools that ask a person each time, even if an agent or skill allows them; `none`: no tool."""

    turns: int | None = Field(None, ge=1)
    """How many turns of all bots run at once; the others wait. Unset: no limit. Also
    `MAX_CONCURRENT_AGENTS`."""
    piihandling: Literal["off", "warn", "redact", "block"] = "off"
    """Personal data in outgoing messages: off, warn, redact or block. An agent may be stricter."""
    blockedtopics: str | None = None
    """Topics that no agent may talk about, besides crimes and harm to people, separated by commas;
    the model is told so, and an answer that contains their words is not sent."""

    @property
    def confirmed(self) -> tuple[str, ...]:
        """The patterns of the tools that always ask."""
        return patterns_of(self.confirm)

    @property
    def topics(self) -> tuple[str, ...]:
        """The blocked topics one by one."""
        given = (self.blockedtopics or "").split(",")
        return tuple(topic.strip() for topic in given if topic.strip())


class BudgetSetting(Budget, strict=False):
    """The most that one of a kind may spend: `BUDGETS__<kind>__…`."""


_NO_BUDGET = BudgetSetting()


class BudgetSettings(BaseModel, extra="forbid", frozen=True):
    """The most that may be spent: of one turn, else in a day (UTC); an agent may set less."""

    turn: BudgetSetting = _NO_BUDGET
    """One answer."""
    person: BudgetSetting = _NO_BUDGET
    """One person, everywhere."""
    chat: BudgetSetting = _NO_BUDGET
    """One chat."""
    agent: BudgetSetting = _NO_BUDGET
    """One agent."""
    account: BudgetSetting = _NO_BUDGET
    """One account."""
    host: BudgetSetting = _NO_BUDGET
    """All together."""


class Bot(BaseModel, extra="forbid", frozen=True):
    """One bot: `BOTS__<n>__…`."""

    token: Annotated[_Secret, AfterValidator(_token)]
    """The bot's token from @BotFather."""
    token_file: Path | None = None
    """A file with the token, instead of `BOTS__<n>__TOKEN`."""
    agentid: str | None = None
    """The agent that answers for this bot; shorthand for a binding."""
    access: Mode | None = None
    """Who may talk to this bot; unset: the value of `ACCESS`."""
    people: _People = frozenset()
    """People who may talk to this bot, in addition to `PEOPLE`."""
    chats: _Groups = frozenset()
    """Groups that may talk to this bot, in addition to `CHATS`."""
    account: Annotated[str, AfterValidator(valid_slug)] = DEFAULT_ACCOUNT
    """The account that the bot belongs to: what it spends counts there, and of instances only those
    of this account answer in it."""

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, given: Any) -> Any:
        return with_files(given, cls.model_fields)

    @property
    def id(self) -> int:
        """The bot's numeric id, which its token begins with."""
        return int(self.token.get_secret_value().partition(":")[0])

    @property
    def hash(self) -> str:
        """The SHA-256 of its token in hex."""
        return token_hash(self.token.get_secret_value())


class OwnKey(BaseModel, extra="forbid", frozen=True):
    """One key of the HTTP API: `API_KEYS__<n>__…`."""

    key: Annotated[_Secret, AfterValidator(_api_key)]
    """A key of the HTTP API: any text of 32 characters or more."""
    key_file: Path | None = None
    """A file with the key, instead of `API_KEYS__<n>__KEY`."""
    account: str = DEFAULT_ACCOUNT
    """The account that the key belongs to."""
    role: RoleName = "instance_manager"
    """What the key may do: spokestack_engineer, instance_admin, instance_manager, account_manager
    or client_contact."""
    scope: Scope | None = None
    """How far the role reaches: host, account or client. Unset: the account, or the client if one
    is set; the host for a spokestack_engineer of the account `default`."""
    user: str | None = None
    """The person that the key stands for; unset: each request may name one in `user_id`."""
    client: str | None = None
    """The only client of the account that the key reaches; unset: all of them."""
    agent: str | None = None
    """The only agent that the key reaches; unset: all of them."""

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, given: Any) -> Any:
        return with_files(given, cls.model_fields)

    @model_validator(mode="after")
    def _fits(self) -> OwnKey:
        self.document(0)
        return self

    def document(self, number: int) -> ApiKey:
        """The key as the registry has keys; its id is `env<number>`."""
        scope: Scope = self.scope or ("client" if self.client else "account")
        is_operator = self.role == "spokestack_engineer" and self.account == DEFAULT_ACCOUNT
        if self.scope is None and self.client is None and is_operator:
            scope = "host"
        return ApiKey(
            id=f"env{number}",
            hash=digest(self.key.get_secret_value()),
            account=self.account,
            role=self.role,
            scope=scope,
            user=self.user,
            client=self.client,
            agent=self.agent,
            created_by="environment",
            lends="host",
        )


class Llm(BaseModel, extra="forbid", frozen=True):
    """The default LlmConfiguration: `LLM__…`; an agent's overrides are merged field by field."""

    model: str = "claude-sonnet-5-5"
    """The model for agents that set none."""
    temperature: float | None = Field(None, ge=0, le=2)
    """Sent only to models that accept it."""
    maxtokens: int = Field(8000, ge=1)
    """Maximum tokens of one model answer, thinking included."""
    reasoningeffort: Effort | None = None
    """none, minimal, low, medium, high, xhigh or max; clamped to the model."""
    fallbackmodel: str | None = None
    """The model that answers when an agent's own stays busy or breaks off; unset: none."""

    def as_configuration(self) -> LlmConfiguration:
        """The model settings of agents that say nothing; set are those that the operator set."""
        whole = dict(LlmConfiguration.model_validate(self.model_dump()))
        given = {name for name in whole if name.replace("_", "") in self.model_fields_set}
        return LlmConfiguration.model_construct(given, **whole)


class ModelSettings(BaseModel, extra="forbid", frozen=True):
    """Which models may be chosen: `MODELS__…`."""

    allowed: _Names = frozenset()
    """Models that presets, and agents and instances from the store, may use, separated by commas;
    besides those that `LLM__MODEL`, the agents file, the environment and files of instances name.
    Unset: the models of the host's own table that are not retired, and agents from the store may
    use any."""


class ReviewSettings(BaseModel, extra="forbid", frozen=True):
    """Which changes take a second person: `REVIEW__…`."""

    core: Literal["one", "two"] = "one"
    """`two`: a new prompt or tool of an agent is in force only after a second person, who is named
    for `qa` or `security` (`/roles grant`), has approved it."""


_OTHER_NAMES = {
    "api_host": "http_host",
    "api_port": "http_port",
    "max_concurrent_agents": "limits__turns",
}
"""Names of document 5 that are read where ours are not set."""
_KEY_NUMBER = re.compile(r"(?i)API_KEYS__(\d+)__")


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
    _file: str | None = PrivateAttr(None)
    _unusable: list[Problem] = PrivateAttr(default_factory=list)

    def __init__(self, **values: Any) -> None:
        file = values.get("_env_file", ENV_FILE)
        environ = environment(file)
        super().__init__(**values)
        unread = secrets_from_files(environ, self.agent_secrets)
        self._unusable = [*misnamed_bots(environ), *unread]
        self._environ, self._file = environ, file

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment over `.env`, each of its values without quotes around it."""
        assert isinstance(env_settings, EnvSettingsSource)
        plain = {name: unquoted(value or "") for name, value in env_settings.env_vars.items()}
        env_settings.env_vars = {name: value for name, value in plain.items() if value}
        for source in (env_settings, dotenv_settings):
            assert isinstance(source, EnvSettingsSource)
            given = {name: value for name, value in source.env_vars.items() if is_setting(name)}
            known = ((own, given.get(other)) for other, own in _OTHER_NAMES.items())
            source.env_vars = {**{own: value for own, value in known if value}, **given}
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @model_validator(mode="before")
    @classmethod
    def _with_files(cls, given: Any) -> Any:
        return with_files(given, cls.model_fields)

    bots: list[Bot] = Field(default_factory=list)
    """The bots to host; there may be none. `BOTS__0__TOKEN`, `BOTS__1__TOKEN` …"""
    agents_file: Path | None = None
    """Agents and bindings: JSON, or YAML where the name ends in `.yaml` or `.yml`. Unset:
    `agents.json` in the working directory, if it exists."""
    agent_configs_dir: Annotated[Path, AfterValidator(_folder)] | None = None
    """The folder of agent instances, `<account>/<instance>/config.yaml`. Unset:
    `config/agent_configs` in the working directory, if it exists."""
    agent_templates_dir: Annotated[Path, AfterValidator(_folder)] | None = None
    """The folder of templates for agent instances. Unset: `config/agent_templates` in the working
    directory, if it exists."""
    agent_profiles_dir: Annotated[Path, AfterValidator(_folder)] | None = None
    """The folder of profiles of agents, `profiles/*.yaml`, and of the model configurations that
    they share, `llm_configs/*.yaml`. Unset: `agent_profiles` beside the agents file, if it
    exists."""
    specializations_file: Annotated[Path, AfterValidator(_folder)] | None = None
    """What agents are told for the vertical, region and language of a task, as YAML; its entries
    take the place of the packaged ones of the same name. Live within a second."""
    redis_url: Annotated[_Secret, AfterValidator(_store_address)] | None = None
    """A Redis or Valkey of your own; unset: the bundled server in `DATA_DIR`."""
    redis_url_file: Path | None = None
    """A file with the address of the store, instead of `REDIS_URL`."""
    secrets_key: Annotated[_Secret, AfterValidator(_sealing_key)] | None = None
    """The key that seals what is secret in the store, such as the tokens of bots that are added at
    run time: 32 bytes in base64, from `switchboard secrets new-key`. Unset: no bot can be added."""
    secrets_key_file: Path | None = None
    """A file with that key, instead of `SECRETS_KEY`."""
    secrets_key_old: Annotated[_Secret, AfterValidator(_sealing_key)] | None = None
    """The key before it, while `switchboard secrets rotate` has not yet run."""
    secrets_key_old_file: Path | None = None
    """A file with the key before it, instead of `SECRETS_KEY_OLD`."""
    data_dir: Annotated[Path, AfterValidator(_folder)] = Path("data")
    """Where this host keeps its state."""
    data_fsync: Literal["everysec", "always"] = "everysec"
    """For the bundled server: a power cut may lose a second (everysec) or nothing (always). A
    killed process loses nothing either way."""
    telegram_api_url: _Url = "https://api.telegram.org"
    """The Bot API server: Telegram's, or your own."""
    anthropic_api_key: _Secret | None = None
    """The key of the Messages API; another server may need none."""
    anthropic_api_key_file: Path | None = None
    """A file with the key, instead of `ANTHROPIC_API_KEY`."""
    anthropic_base_url: _Url | None = None
    """Another server with the Messages API; only `POST /v1/messages` is needed."""
    llm: Annotated[Llm, BeforeValidator(_whole)] = Llm()
    """Default model settings."""
    admins: _Persons = frozenset()
    """Numeric Telegram ids of the admins, separated by commas; `/id` shows people their own id."""
    access: Mode = "request"
    """Who may talk to the bots. `open`: everybody. `request`: admins, people they let in, `PEOPLE`
    and `CHATS`; admins are asked about strangers. `listed`: the same, but admins are not asked."""
    people: _People = frozenset()
    """Numeric ids of people who may talk in private, separated by commas; `/id` shows people their
    own id."""
    chats: _Groups = frozenset()
    """Ids of groups whose members may all talk there, separated by commas; they are negative, and
    `/id` shows them."""
    agent_secrets: _Names = frozenset()
    """Names of variables that agents from Redis or a chat may refer to in headers and `auth`,
    separated by commas. `<NAME>_FILE` names a file with the value, instead of `<NAME>`."""
    agent_skills: _Names = frozenset()
    """Internal skills that agents from Redis or a chat may use."""
    internal_hosts: _Names = frozenset()
    """Internal hosts that agents from Redis or a chat may reach, separated by commas; agents from
    the file and the environment need no permission."""
    proxy_judges: bool = False
    """True: the proxy in `HTTPS_PROXY` refuses internal hosts itself, so requests of agents from
    Redis or a chat go through it as well, instead of directly."""
    prices: Annotated[OwnPrices, BeforeValidator(_whole), AfterValidator(check_prices)] = Field(
        default_factory=dict
    )
    """Your own prices, in dollars per million tokens, as JSON: `{"<model>": {"input": 3,
    "output": 15, "cacheRead": 0.3, "cacheWrite": 3.75}}`."""
    limits: Annotated[LimitSettings, BeforeValidator(_whole)] = LimitSettings()
    """What one turn may use at most."""
    budgets: Annotated[BudgetSettings, BeforeValidator(_whole)] = BudgetSettings()
    """What may be spent at most."""
    models: Annotated[ModelSettings, BeforeValidator(_whole)] = ModelSettings()
    """Which models may be chosen."""
    review: Annotated[ReviewSettings, BeforeValidator(_whole)] = ReviewSettings()
    """Which changes a second person has to approve."""
    approval_minutes: float = Field(60.0, gt=0)
    """How long an approval question stays open, unless the agent says otherwise."""
    replica_name: str | None = None
    """This replica's name in logs and health; unset: the host's name."""
    http_host: str = "127.0.0.1"
    """The address on which `/health`, webhooks and the HTTP API are served. Also `API_HOST`."""
    http_port: int = Field(8080, ge=0, le=65535)
    """The port of `/health`, webhooks and the HTTP API; 0 takes a free one. Also `API_PORT`."""
    http_connections: int = Field(512, ge=1)
    """How many connections the port holds at once; beyond that, idle ones are closed."""
    http_api: bool | None = None
    """Whether the HTTP API is served. 1: even without a key, so that its documentation can be
    read at `/docs`. 0: never. Unset: as soon as there is a key."""
    api_keys: list[OwnKey] = Field(default_factory=list)
    """Keys of the HTTP API, besides those that `switchboard keys create` makes."""
    api_allowed_hosts: _Names = frozenset()
    """Names under which the HTTP API may be called, besides those of this machine, `HTTP_HOST`,
    `PUBLIC_URL` and `WEBHOOK_URL`: that of your proxy, for example. Separated by commas."""
    public_url: _Url | None = None
    """The address at which people open the chat page, such as that of your proxy; links of `/page`
    begin with it. Unset: the host of `WEBHOOK_URL`, or this machine's own address."""
    http_faces: Annotated[_Names, AfterValidator(_faces)] = frozenset()
    """Forms of other APIs in which the HTTP API answers as well, separated by commas. `openai`:
    `/v1/models` and `/v1/chat/completions`, for programs that were made for OpenAI's API."""
    task_webhook_secret: Annotated[_Secret, AfterValidator(_long_secret)] | None = None
    """From this text of 32 characters or more the secrets are derived that sign the webhooks of
    tasks, one for each account. Unset: tasks with a webhook are refused."""
    task_webhook_secret_file: Path | None = None
    """A file with that text, instead of `TASK_WEBHOOK_SECRET`."""
    legacy_routes: Literal["serve", "308", "301", "gone"] = "serve"
    """What `/chat` and `/events/stream` do: answer, redirect to the routes of
    `default/simple-chat`, or say that they are gone."""
    legacy_open: bool = False
    """True: everybody may use `/chat` and `/events/stream`, without a key."""
    api_requests: int = Field(600, ge=1)
    """How many requests a minute one key of the HTTP API may make."""
    api_failures: int = Field(60, ge=1)
    """How many requests per minute without a valid key one client address may make."""
    log_level: Annotated[LogLevel, BeforeValidator(str.upper)] = "INFO"
    """The lowest level that is logged."""
    log_format: Literal["console", "json"] = "console"
    """`console` for people, `json` for machines."""
    lease_seconds: float = Field(10.0, gt=0.2)
    """How long a silent replica keeps its bots."""
    poll_seconds: int = Field(50, ge=0, le=50)
    """How long one getUpdates waits; Telegram's cap is 50."""
    webhook_url: _Url | None = None
    """Public address of this host, or of the proxy in front of its replicas. If set, Telegram
    pushes updates there; unset: they are polled."""
    sweep_seconds: float = Field(1.0, gt=0)
    """How often replicas look for free lines, and for entries that others added to their lines."""
    stalled_seconds: float | None = Field(None, gt=0)
    """A getUpdates that takes longer is abandoned, and polling starts again; unset:
    `POLL_SECONDS` plus 40."""
    drain_seconds: float = Field(20.0, ge=0)
    """On SIGTERM, how long running turns may take to finish."""
    turns_at_once: int = Field(200, ge=1)
    """How many conversations of one bot are answered at the same time."""
    allow_volatile_redis: bool = False
    """Accept a Redis that may lose data that it acknowledged."""
    allow_open_redis: bool = False
    """Accept a Redis on another machine without a password."""

    @field_validator("bots", "api_keys", mode="before")
    @classmethod
    def _numbered(cls, value: Any) -> Any:
        """`BOTS__0__…` arrives as a mapping with digits for keys."""
        value = _whole(value)
        if isinstance(value, dict) and all(key.isdigit() for key in value):
            return [value[key] for key in sorted(value, key=int)]
        return value

    @field_validator("bots")
    @classmethod
    def _each_bot_once(cls, bots: list[Bot]) -> list[Bot]:
        ids = [bot.id for bot in bots]
        if twice := sorted({id for id in ids if ids.count(id) > 1}):
            message = f"bot {twice[0]} is configured twice"
            raise InvalidValue(message, "give each bot one BOTS__<n>__TOKEN")
        return bots

    @field_validator("api_keys")
    @classmethod
    def _each_key_once(cls, given: list[OwnKey]) -> list[OwnKey]:
        if len({one.key.get_secret_value() for one in given}) < len(given):
            message = "two of them are the same key"
            raise InvalidValue(message, "give each API_KEYS__<n>__KEY a key of its own")
        return given

    @property
    def agents_path(self) -> Path:
        """The agents file, whether or not it is there."""
        return self.agents_file or Path("agents.json")

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that these settings were read from: `.env` under the environment."""
        return self._environ

    @property
    def env_file(self) -> str | None:
        """The file that these settings were read from, whether or not it is there; or none."""
        return self._file

    @property
    def unusable_files(self) -> list[Problem]:
        """Files of `AGENT_SECRETS` and variables of bots with which the host cannot start."""
        return self._unusable

    def numbered(self) -> dict[int, Bot]:
        """The bots by the number in their `BOTS__<n>__…`."""
        given = (name for name, value in self._environ.items() if value)
        found = {int(match[1]) for name in given if (match := BOT_SETTING.match(name))}
        return dict(zip(sorted(found), self.bots, strict=False))

    def numbered_keys(self) -> dict[int, OwnKey]:
        """The keys of the HTTP API by the number in their `API_KEYS__<n>__…`."""
        found = {int(m[1]) for name in self._environ if (m := _KEY_NUMBER.match(name))}
        numbers = sorted(found) if len(found) == len(self.api_keys) else range(len(self.api_keys))
        return dict(zip(numbers, self.api_keys, strict=True))

    @property
    def own_keys(self) -> tuple[ApiKey, ...]:
        """These keys as the registry has keys."""
        return tuple(key.document(number) for number, key in self.numbered_keys().items())

    @property
    def serves_api(self) -> bool:
        """Whether these settings alone open the HTTP API."""
        opened = bool(self.api_keys) or self.legacy_open
        return self.http_api is True or (self.http_api is None and opened)

    @property
    def page_url(self) -> str:
        """The address of the chat page for people, without a slash at its end; '' if not set."""
        if self.public_url:
            return self.public_url.rstrip("/")
        parts = urlsplit(self.webhook_url or "")
        return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""

    def token_variable(self, bot: int) -> str:
        """The variable that has the token of a bot, or names the file with it."""
        found = ((n, one) for n, one in self.numbered().items() if one.id == bot)
        number, one = next(found, (0, None))
        suffix = FILE if one and one.token_file else ""
        return f"BOTS__{number}__TOKEN{suffix}"

    @property
    def _sealing_keys(self) -> list[SecretStr]:
        return [one for one in (self.secrets_key, self.secrets_key_old) if one is not None]

    @property
    def own_bots(self) -> dict[int, str]:
        """The account of each bot of the environment, by the bot's id."""
        return {bot.id: bot.account for bot in self.bots}

    @property
    def bot_variables(self) -> dict[int, str]:
        """The variable that has the token of each bot, by the bot's id."""
        return {bot.id: self.token_variable(bot.id) for bot in self.bots}

    def token_of(self, bot: int) -> str | None:
        """The token of a bot of the environment."""
        found = (one.token.get_secret_value() for one in self.bots if one.id == bot)
        return next(found, None)

    def sealer(self) -> Sealer | None:
        """What seals the secrets of the store; None without a key."""
        if self.secrets_key is None:
            return None
        old = self.secrets_key_old
        return Sealer(
            SealingKey.parse(self.secrets_key.get_secret_value()),
            SealingKey.parse(old.get_secret_value()) if old else None,
        )

    @property
    def default_rule(self) -> Rule:
        """Who may talk to a bot of which the settings say nothing."""
        return Rule(self.access, self.people, self.chats)

    def rules(self) -> dict[int, Rule]:
        """Who may talk to each bot, by the bot's id."""
        return {
            bot.id: Rule(
                bot.access or self.access, self.people | bot.people, self.chats | bot.chats
            )
            for bot in self.bots
        }

    def guest_permissions(self) -> WriterPermissions:
        """What agents from the store or a chat may contain."""
        hosts = frozenset(host.lower() for host in self.internal_hosts)
        named = (self.llm.model, self.llm.fallbackmodel)
        return WriterPermissions(
            False,
            self.agent_secrets,
            hosts,
            self.agent_skills,
            self.models.allowed,
            frozenset(filter(None, named)),
        )

    @cached_property
    def secrets(self) -> Secrets:
        """The values that nobody may read; more are added while the host runs."""
        key, store, master = self.anthropic_api_key, self.redis_url, self.task_webhook_secret
        known = Secrets(bot.token.get_secret_value() for bot in self.bots)
        known.add(key.get_secret_value() if key else "")
        known.add(master.get_secret_value() if master else "")
        known.add(*(one.get_secret_value() for one in self._sealing_keys))
        known.add(*(own.key.get_secret_value() for own in self.api_keys))
        known.add(*(self._environ.get(name, "") for name in self.agent_secrets))
        known.add_credentials_in(store.get_secret_value() if store else "")
        addresses = (self.anthropic_base_url, self.telegram_api_url, self.webhook_url)
        known.add_credentials_in(*filter(None, addresses), *getproxies_environment().values())
        return known


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """What each setting of a model of this file means, as it says below the setting."""
    # Read when somebody asks: pydantic's own `use_attribute_docstrings` delays each start by 70 ms.
    found = {name: field.description or "" for name, field in fields_of(model).items()}
    for setting, below in pairwise(ast.walk(ast.parse(inspect.getsource(model)))):
        match setting, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = " ".join(text.split())
    return found
