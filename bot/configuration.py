"""What is wrong or surprising in a configuration: what `check` prints and a start says.

Both take it from here, so both say it in the same words.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import structlog

from bot.mcp.server_spec import program_of
from bot.messages import Usage
from bot.ops.network import proxy_of
from bot.ops.redaction import credentials_in, too_short
from bot.settings import Settings
from bot.skills.python_skill import InstalledSkills
from bot.startup import model_advice
from bot.usage.pricing import Prices
from bot.variables import FILE, bot_variable, has_loose_quote, idle_lines
from registry.binding import BotIdentity
from registry.definition import LlmConfiguration, McpServer, idle_pattern, servers_of
from registry.errors import Level, Problem, worst_first
from registry.fields import fields_of, model_at, nearest
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, reference_names
from registry.snapshot import PLAIN, Document, Snapshot
from registry.sources.specialization_file import file_problems
from registry.urls import is_internal

log = structlog.get_logger("switchboard")
_HOST = re.compile(r"(?i)[a-z0-9_]([a-z0-9._-]*[a-z0-9])?\.?\Z|[0-9a-f:]+\Z")
_HASH_OR_ID = re.compile(r"[0-9a-f]{64}\Z|\d+\Z")
_NUMBERED = re.compile(r"(?i)(agents?|api_?keys?|bindings?)_+(\d+)_++(\w+)\Z")
_SINGLE_AGENT = ("MCPSERVERS__0__ENDPOINT", "WHITELISTPATTERNS__0")
_FAMILIES = ("AGENTS", "API_KEY", "BINDINGS", "BOT")
_WELL_NUMBERED = re.compile(r"(?i)(agents|api_keys|bindings)__\d+__\w+\Z")
_VARIED = 8
"""Different characters that a key of the HTTP API should have, at least."""
_PLACEHOLDER = re.compile(r"(?i)\byour[-_]")
_BOT_PATH = re.compile(r"/bot(\d+:[^/]*)?/?\Z")
_NOT_READ = ("agents.yaml", "agents.yml", "agents.jsonc", "agents.json.txt", "agent.json")
_BOT_API = "api.telegram.org"
_NOT_BOT_API = re.compile(r"(?:^|\.)(?:t\.me|telegram\.(?:org|me|dog))\Z")
_SHORTEST_TOKEN = 30
"""Characters behind the colon: Telegram gives 35."""
_API_PATH = re.compile(r"/v1(/messages)?/?\Z")
_WEBHOOK_PORTS = (443, 80, 88, 8443)
_OTHERS_NAMES = {
    "ANTHROPIC_API_KEY": (
        *("CLAUDE_API_KEY", "CLAUDE_KEY", "CLAUDE_TOKEN", "ANTHROPIC_KEY", "ANTHROPIC_TOKEN"),
        *("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_APIKEY", "ANTHROPIC_API_TOKEN"),
    ),
    "ANTHROPIC_BASE_URL": (
        *("ANTHROPIC_API_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_URL", "CLAUDE_BASE_URL"),
    ),
    "TELEGRAM_API_URL": ("TELEGRAM_BASE_URL", "TELEGRAM_API_BASE", "TELEGRAM_BOT_API_URL"),
    "LLM__MODEL": ("ANTHROPIC_MODEL", "CLAUDE_MODEL", "LLM_MODEL", "MODEL_NAME"),
    "ADMINS": ("ADMIN_ID", "ADMIN_IDS", "ADMIN_USER_ID", "ADMIN_USER_IDS", "TELEGRAM_ADMIN_ID"),
    "PEOPLE": ("ALLOWED_USERS", "ALLOWED_USER_IDS", "TELEGRAM_ALLOWED_USERS", "ALLOWED_IDS"),
    "REDIS_URL": ("REDIS_URI", "REDIS_DSN", "REDIS_HOST", "VALKEY_URL"),
    "WEBHOOK_URL": ("TELEGRAM_WEBHOOK_URL", "WEBHOOK_HOST"),
    "HTTP_PORT": ("PORT",),
}
"""What other programs call our variables."""
_IDLE = "has no effect here"
_MEANT = {name: own for own, names in _OTHERS_NAMES.items() for name in names}
_OTHER_KEYS = re.compile(r"(OPENAI|OPENROUTER|GEMINI|GOOGLE|MISTRAL|DEEPSEEK|GROQ|XAI)_API_KEY\Z")


def log_findings(problems: Collection[Problem]) -> None:
    """Log what was found, the worst first."""
    levels = {"error": log.error, "warning": log.warning, "note": log.info}
    for problem in worst_first(problems):
        levels[problem.level]("configuration", problem=str(problem))


# --- settings ------------------------------------------------------------------------------------


def settings_findings(settings: Settings, skills: InstalledSkills) -> Iterator[Problem]:
    """What is wrong or surprising in the settings and the installed packages."""
    yield from settings_problems(settings)
    yield from _listed(settings, skills.skills)
    yield from _unpriced(settings)
    yield from _models(settings)
    yield from _addresses(settings)
    yield from _wrong_secrets(settings)
    yield from idle_variables(settings)
    if settings.specializations_file is not None:
        yield from file_problems(settings.specializations_file)
    yield from skills.problems


def settings_problems(settings: Settings) -> Iterator[Problem]:
    """What an operator should know about the settings: said by `check`, and logged at the start."""
    if not settings.bots and settings.secrets_key is None:
        message, cure = "it is not set, so no bot is hosted", "set it to a token from @BotFather"
        level: Level = "note" if settings.serves_api else "error"
        yield Problem("BOTS__0__TOKEN", message, cure, level)
    if settings.anthropic_api_key is None and settings.anthropic_base_url is None:
        message, cure = "it is not set, so no agent can answer", "set it to your key"
        yield Problem("ANTHROPIC_API_KEY", message, cure)
    store = settings.redis_url.get_secret_value() if settings.redis_url else ""
    addresses = {"REDIS_URL": store, "ANTHROPIC_BASE_URL": settings.anthropic_base_url or ""}
    short = [name for name, url in addresses.items() if any(map(too_short, credentials_in(url)))]
    listed = sorted(settings.agent_secrets)
    short += [name for name in listed if too_short(settings.environ.get(name, ""))]
    yield from (Problem(name, TOO_SHORT, TOO_SHORT_CURE, "warning") for name in short)
    key = settings.anthropic_api_key
    secrets = {name: settings.environ.get(name, "") for name in listed}
    secrets["ANTHROPIC_API_KEY"] = key.get_secret_value() if key else ""
    for name in (name for name, value in secrets.items() if has_loose_quote(value)):
        cure = "remove it, unless it is part of the secret"
        yield Problem(name, "its value has a quote at one end", cure, "warning")
    yield from _access_problems(settings)
    if len(settings.admins) > 1 and settings.review.core == "one":
        message = f"{len(settings.admins)} admins may each change what every agent says and may use"
        cure = "to have a second person approve that, set it to two"
        yield Problem("REVIEW__CORE", message, cure, "note")
    yield from _api_problems(settings)


def _api_problems(settings: Settings) -> Iterator[Problem]:
    """Keys of the HTTP API that open nothing or are easy to guess, and who can reach the port."""
    keys = settings.numbered_keys()
    for number, key in keys.items():
        if len(set(key.key.get_secret_value())) < _VARIED:
            message, cure = "is easy to guess", "set it to a random text: openssl rand -hex 32"
            yield Problem(f"API_KEYS__{number}__KEY", message, cure, "warning")
    if settings.http_api is False and keys:
        message = "it is 0, so the keys in API_KEYS open nothing"
        yield Problem("HTTP_API", message, "remove it, or the keys", "warning")
    if settings.legacy_open and settings.http_api is not False:
        message = "/chat and /events/stream are open to everybody who reaches the HTTP port"
        yield Problem("LEGACY_OPEN", message, "remove it, unless that is intended", "note")
        if not any(one.tokens or one.usd for _, one in settings.budgets):
            message = "the HTTP port is open to everybody, and no budget is set"
            cure = "limit what a day may cost: BUDGETS__ACCOUNT__TOKENS, BUDGETS__HOST__TOKENS"
            yield Problem("BUDGETS", message, cure, "warning")
    for host in sorted(one for one in settings.api_allowed_hosts if not _HOST.match(one)):
        cure = "write the bare name of a host, without scheme, port or path"
        yield Problem("API_ALLOWED_HOSTS", f"{host!r} is not a valid host", cure, "warning")


def _unread_files(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that look as if a setting is read from a file, but have no effect."""
    fields = [name.upper() for name in Settings.model_fields]
    secrets = [name for name in fields if name + FILE in fields]
    for variable in sorted(environ):
        name = variable.upper().removesuffix(FILE)
        if "__" in name or name == variable.upper() or variable.upper() in fields:
            continue
        near = nearest(name, secrets, 0.8)
        alike = [one for one in secrets if one.partition("_")[0] == name.partition("_")[0]]
        cure = f"rename it to {near or alike[0]}{FILE}" if near or alike else ""
        if name in fields:
            cure = f"set {name} itself: only secrets are read from files"
        elif own := bot_variable(variable):
            cure = f"rename it to {own}"
        if cure:
            yield Problem(variable, _IDLE, cure, "warning")


def _access_problems(settings: Settings) -> Iterator[Problem]:
    """Admins who are not people; bots that are open to everybody, and bots that answer nobody."""
    numbers = {bot.id: number for number, bot in settings.numbered().items()}
    rules = settings.rules()
    for person in sorted(one for one in settings.admins if one <= 0):
        cure = "write numeric ids of people, which are positive"
        yield Problem("ADMINS", f"{person} is not a person's id", cure, "warning")
    for bot in (one for one in settings.bots if one.id in settings.admins):
        cure = "write your own id, which the bot answers to /id"
        yield Problem("ADMINS", f"{bot.id} is the id of a bot", cure, "warning")
    opened = [bot for bot in settings.bots if rules[bot.id].mode == "open"]
    for bot in opened:
        place = "ACCESS" if bot.access is None else f"BOTS__{numbers.get(bot.id, 0)}__ACCESS"
        message = f"bot {bot.id} is open to everybody"
        yield Problem(place, message, "set it to request, unless that is intended", "note")
    if opened and not any(one.tokens or one.usd for _, one in settings.budgets):
        message = "a bot is open to everybody, and no budget is set"
        cure = "limit what a day may cost: BUDGETS__PERSON__TOKENS, BUDGETS__HOST__TOKENS"
        yield Problem("BUDGETS", message, cure, "warning")
    for bot in settings.bots:
        rule = rules[bot.id]
        if rule.mode == "listed" and not (rule.people or rule.chats or settings.admins):
            message = f"bot {bot.id} answers nobody until an admin lets somebody in"
            cure = "set PEOPLE, CHATS or ADMINS, or claim the host with the code that it logs"
            yield Problem("ACCESS", message, cure, "note")


def _listed(settings: Settings, skills: Collection[str]) -> Iterator[Problem]:
    """Names that settings list but that do not exist."""
    if not settings.admins:
        message = "it is empty: the host has no admin unless somebody claimed it"
        cure = "set it to numeric ids, or send a bot /claim and the code that `run` prints"
        yield Problem("ADMINS", message, cure, "note")
    for name in sorted(one for one in settings.agent_secrets if not settings.environ.get(one)):
        message = f"it lists {name}, which is not set"
        yield Problem("AGENT_SECRETS", message, f"set {name}, or remove it", "warning")
    for name in sorted(settings.agent_skills - set(skills)):
        message = f"it lists {name}, which no installed package has"
        cure = "install its package, or remove it; `switchboard skill list` shows what is installed"
        yield Problem("AGENT_SKILLS", message, cure, "warning")
    for host in sorted(one for one in settings.internal_hosts if not _HOST.match(one)):
        cure = "write the bare name or address of a host, without scheme, port or path"
        yield Problem("INTERNAL_HOSTS", f"{host!r} is not a valid host", cure, "warning")
    if settings.proxy_judges and not any(map(proxy_of, ("https://a.example", "http://a.example"))):
        cure = "set HTTPS_PROXY to the proxy's address, or remove it"
        yield Problem("PROXY_JUDGES", "it is set, but no proxy is named", cure, "warning")


def _unpriced(settings: Settings) -> Iterator[Problem]:
    """A budget in dollars, and a model without a known price."""
    dollars = [f"BUDGETS__{kind.upper()}__USD" for kind, one in settings.budgets if one.usd]
    prices = Prices(settings.prices, listed=settings.anthropic_base_url is None)
    models = {settings.llm.model, settings.llm.fallbackmodel or settings.llm.model}
    for model in sorted(models) if dollars else ():
        if prices.price(model, Usage(input=1)).micros is None:
            message = f"the price of {model} is not known, so the model is not used"
            cure = "set its price in PRICES, or give the budget in tokens"
            yield Problem(dollars[0], message, cure, "warning")


def _models(settings: Settings) -> Iterator[Problem]:
    """What is odd in the model settings of agents that say nothing."""
    llm = settings.llm.as_configuration()
    for field, sentence in _model_sentences(llm, settings):
        message, _, cure = sentence.partition("; ")
        yield Problem(f"LLM__{field.upper()}", message, cure or _MODEL_CURE, "warning")


_MODEL_CURE = "change the model or the setting"


def _model_sentences(llm: LlmConfiguration, settings: Settings) -> Iterator[tuple[str, str]]:
    """What is odd in model settings, with the name of the field that says the model."""
    advise = model_advice(settings)
    yield from (("model", sentence) for sentence in advise(llm))
    if llm.fallback_model:
        fallback = advise(LlmConfiguration(model=llm.fallback_model))
        yield from (("fallbackModel", sentence) for sentence in fallback)


def _addresses(settings: Settings) -> Iterator[Problem]:
    """Addresses that will not be found as they are written."""
    if (model := settings.anthropic_base_url) and _API_PATH.search(model):
        cure = f"write {_API_PATH.sub('', model)}"
        yield Problem("ANTHROPIC_BASE_URL", "the host adds /v1/messages itself", cure, "warning")
    yield from _telegram_address(settings.telegram_api_url)
    for kind, proxy in getproxies_environment().items():
        if kind != "no" and not _is_address(proxy if "://" in proxy else f"http://{proxy}"):
            message, cure = "is not the address of a proxy", "write http://host:port"
            yield Problem(f"{kind.upper()}_PROXY", message, cure)
    webhook = urlsplit(settings.webhook_url or "")
    if settings.telegram_api_url != "https://api.telegram.org" or not webhook.netloc:
        return
    if webhook.scheme != "https":
        message, cure = "Telegram sends updates only over TLS", "write https://"
        yield Problem("WEBHOOK_URL", message, cure, "warning")
    if webhook.port not in (None, *_WEBHOOK_PORTS):
        message = f"Telegram sends no updates to port {webhook.port}"
        yield Problem("WEBHOOK_URL", message, "use 443, 80, 88 or 8443", "warning")
    if is_internal(webhook.hostname or "") or not re.search(r"[.:]", webhook.hostname or ""):
        message = f"Telegram cannot reach {webhook.hostname}, which is only inside your network"
        cure = "write the public address of this host, or remove it: updates are then polled"
        yield Problem("WEBHOOK_URL", message, cure, "warning")


def _telegram_address(url: str) -> Iterator[Problem]:
    """What is wrong with the address of the Bot API."""
    host, right = urlsplit(url).hostname or "", f"write https://{_BOT_API}"
    found = ("", "")
    if _BOT_PATH.search(url):
        found = "the host adds /bot and the token itself", f"write {_BOT_PATH.sub('', url)}"
    elif host == _BOT_API and not url.startswith("https:"):
        found = "would send tokens without TLS", right
    elif host != _BOT_API and (_NOT_BOT_API.search(host) or nearest(host, [_BOT_API], 0.9)):
        found = f"{host} is not the Bot API", f"{right}, or leave it out"
    if any(found):
        yield Problem("TELEGRAM_API_URL", *found)


def _is_address(proxy: str) -> bool:
    """Whether an address names a host that can be a proxy: one with a dot or a port."""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(_HOST.match(host)) and bool(port or "." in host or ":" in host)


def _wrong_secrets(settings: Settings) -> Iterator[Problem]:
    """Tokens and keys that are those of an example, or of somebody else's service."""
    is_telegram = urlsplit(settings.telegram_api_url).hostname == _BOT_API
    for number, bot in settings.numbered().items():
        token = bot.token.get_secret_value()
        place, length = f"BOTS__{number}__TOKEN", len(token.partition(":")[2])
        if _PLACEHOLDER.search(token):
            message = "is the token of the example"
            yield Problem(place, message, "set it to a token from @BotFather")
        elif is_telegram and length < _SHORTEST_TOKEN:
            message = f"looks cut off: {length} characters follow its colon, not 35"
            yield Problem(place, message, "copy it again from @BotFather", "warning")
    key = settings.anthropic_api_key.get_secret_value() if settings.anthropic_api_key else ""
    for shape, is_of_anthropic, message, cure in _WRONG_KEYS:
        if shape.search(key) and not (is_of_anthropic and settings.anthropic_base_url):
            yield Problem("ANTHROPIC_API_KEY", message, cure)
            break


_KEY_CURE = "set it to a key from the Claude Console: sk-ant-api…"
_WRONG_KEYS = [
    (re.compile(shape), is_of_anthropic, message, cure)
    for shape, is_of_anthropic, message, cure in (
        (
            r"(?i)\byour[-_]|…|\.\.\.|x{6}",
            False,
            "is the key of the example",
            "set it to your key",
        ),
        (r"(?i)^bearer\s", False, "begins with Bearer", "write the key alone"),
        (r"[^!-~]", False, "has a character that no key has", "copy the key again"),
        (r"^\d+:", False, "looks like the token of a bot", _KEY_CURE),
        (
            r"^sk-ant-oat",
            True,
            "is the token of a subscription, which the API does not take",
            _KEY_CURE,
        ),
        (r"^sk-ant-admin", True, "is an admin key, which the API does not take", _KEY_CURE),
        (
            r"^(?:(?:sk|pk|rk)-(?!ant-)|AIza|AKIA|[a-z]{2,4}_|xai-|pplx-)",
            True,
            "is the key of another provider",
            _KEY_CURE,
        ),
    )
]
"""Keys that cannot be right, by how they begin; whether only Anthropic would refuse it; why."""


def idle_variables(settings: Settings) -> Iterator[Problem]:
    """Variables that look like ours and set nothing, and lines of `.env` that cannot be read."""
    yield from idle_lines(settings.env_file)
    files = [*_unread_files(settings.environ)]
    told = {problem.place for problem in files}
    yield from files
    yield from (problem for problem in _misnamed(settings) if problem.place not in told)
    for variable in sorted(settings.environ):
        if (match := _NUMBERED.match(variable)) and not _WELL_NUMBERED.match(variable):
            root = match[1].upper().removesuffix("S").replace("IK", "I_K") + "S"
            cure = f"rename it to {root}__{match[2]}__{match[3].upper()}"
            yield Problem(variable, _IDLE, cure, level="warning")


def _misnamed(settings: Settings) -> Iterator[Problem]:
    """Variables that have another program's name for what is not set here."""
    has_model = settings.anthropic_api_key or settings.anthropic_base_url
    given = {name.upper() for name, value in settings.environ.items() if value}
    given |= {name.removesuffix(FILE) for name in given if name.endswith(FILE)}
    for variable, value in sorted(settings.environ.items()):
        own = _MEANT.get(variable.upper()) or _bot_meant(settings, variable, value)
        if own and own not in given and variable not in settings.agent_secrets:
            yield Problem(variable, _IDLE, f"rename it to {own}", "warning")
        elif not has_model and _OTHER_KEYS.match(variable.upper()):
            cure = (
                "set ANTHROPIC_BASE_URL to a server with the Messages API that takes this key, "
                "and ANTHROPIC_API_KEY to the key"
            )
            yield Problem(variable, _IDLE, cure, "warning")


def _bot_meant(settings: Settings, variable: str, value: str) -> str:
    """The variable of a bot that is meant by another one, where none is hosted or it looks so."""
    name = variable.upper()
    is_of_bot = name.startswith("BOT")
    if not value or name.lower() in Settings.model_fields or (settings.bots and not is_of_bot):
        return ""
    return "" if name.startswith("BOTS__") else bot_variable(variable, value)


# --- agents --------------------------------------------------------------------------------------


def agent_findings(
    settings: Settings, snapshot: Snapshot, bots: Collection[BotIdentity], handlers: Collection[str]
) -> Iterator[Problem]:
    """What is wrong or surprising in agents and bindings, for these bots.

    `handlers` are the internal skills that there are. A binding by @username is looked at once all
    bots have said theirs.
    """
    yield from snapshot.conflicts(bots)
    yield from _unknown_bots(snapshot.document, bots)
    yield from unknown_names(snapshot.document, bots)
    yield from _unanswered(snapshot, settings) if bots else ()
    yield from snapshot.unhandled(handlers)
    yield from _references(snapshot.document, settings.environ)
    for one in _all_servers(snapshot.document):
        yield from program_problems(*one)
    yield from _unread(snapshot, settings)
    yield from _surprises(snapshot, settings)
    yield from _idle_confirm(snapshot, settings)
    yield from _lost_keys(snapshot, settings)
    yield from _unread_file(settings)


def _lost_keys(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """Keys of the HTTP API that reach only an agent or an instance that does not exist."""
    for number, key in settings.numbered_keys().items():
        if key.agent is not None and not snapshot.has_named(key.account, key.agent):
            message = f"account {key.account} has no agent or instance '{key.agent}'"
            cure = "create it, or name another"
            yield Problem(f"API_KEYS__{number}__AGENT", message, cure, "warning")


def _idle_confirm(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """Patterns of LIMITS__CONFIRM that name no server or skill of any agent."""
    agents = [entry.value for entry in snapshot.agents.values()]
    servers = {one.name: None for own in agents for one in servers_of(own, snapshot.servers)}
    servers |= dict.fromkeys(snapshot.servers)
    skills = dict.fromkeys(skill.name for own in agents for skill in own.skills)
    for pattern in settings.limits.confirmed:
        if found := idle_pattern(pattern, servers, skills, exact=False):
            what, cure = found
            message = f"'{pattern}' matches no {what} of any agent"
            yield Problem("LIMITS__CONFIRM", message, cure, "warning")


def _unread_file(settings: Settings) -> Iterator[Problem]:
    """Files that look like the agents file, and that nobody reads."""
    here = Path().iterdir() if settings.agents_file is None else ()
    there = {path.name.lower(): path.name for path in here}
    for low in _NOT_READ:
        if (name := there.get(low)) and Path(name).is_file():
            cure = "rename it to agents.json" if "json" in low else f"set AGENTS_FILE={name}"
            yield Problem(name, "is not read", f"{cure}, or remove the file", "warning")
    name = there.get("agents.json", "")
    if name and not Path("agents.json").exists():
        yield Problem(name, "is not read", "rename it to agents.json", "warning")


def _unknown_bots(document: Document, bots: Collection[BotIdentity]) -> Iterator[Problem]:
    """Bindings by a hash or an id that no configured bot has."""
    known = {*document.bots, *(key for bot in bots for key in bot.keys)}
    for key, place in _bound_bots(document):
        if _HASH_OR_ID.match(key) and key not in known:
            message = f"no configured bot has the hash or id {key[:12]}…"
            cure = "correct the key (switchboard token-hash), or set the token as BOTS__<n>__TOKEN"
            yield Problem(place, message, cure, level="warning")


def unknown_names(document: Document, bots: Collection[BotIdentity]) -> Iterator[Problem]:
    """Bindings by an @username that no bot has, once all bots have said theirs."""
    if bots and all(bot.username for bot in bots):
        known = {key for bot in bots for key in bot.keys}
        known |= {f"@{one.value.username.lower()}" for one in document.bots.values()}
        for key, place in _bound_bots(document):
            if key.startswith("@") and key not in known:
                cure = "correct the name, or add that bot: /addbot, or BOTS__<n>__TOKEN"
                yield Problem(place, f"no hosted bot is {key}", cure, level="warning")


def _bound_bots(document: Document) -> Iterator[tuple[str, str]]:
    """The bots that bindings name, each with the place of the binding."""
    for entry in document.bindings.values():
        one, field = entry.value, "bindingKey" if entry.value.is_of_bot else "bot"
        if key := one.binding_key if one.is_of_bot else one.bot:
            yield key, entry.origins.get(field, entry.place)


def _unanswered(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """Bots that no agent answers, or a plain one, as far as it can be known from here."""
    place, document = str(settings.agents_path), snapshot.document
    if all(entry.document == PLAIN for entry in snapshot.agents.values()):
        if all(problem.level != "error" for problem in document.problems):
            message = "no agent is configured, so each bot gets a plain agent with the bot's name"
            yield Problem(place, message, "describe one, or set NAME to name it", level="note")
    elif snapshot.has_only_agent and (sole := snapshot.document.default_agent_id):
        message = f"{sole.value} is the only agent and nothing is bound, so it answers every bot"
        cure = 'set "defaultAgentId", or bind it, to choose where it answers'
        yield Problem(sole.place, message, cure, level="note")
    elif not snapshot.default and not any(snapshot.bindings):
        message = "no agent is bound and none is the default, so the bots answer nobody"
        yield Problem(place, message, 'set "defaultAgentId", or bind one', level="note")


def _references(document: Document, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that documents refer to and are not set, or too short to be found in texts."""
    referred: list[str] = []
    for name, server, place in _all_servers(document):
        texts = [server.url or "", *server.env.values(), *server.headers.values()]
        if server.auth is not None:
            texts += [server.auth.client_id, server.auth.client_secret]
        references = dict.fromkeys(name for text in texts for name in reference_names(text))
        referred += references
        for reference in references:
            if not environ.get(reference):
                message = f"server '{name}' refers to ${{{reference}}}, which is not set"
                cure = f"set {reference}"
                if environ.get(reference + FILE):
                    cure += (
                        f", or list it in AGENT_SECRETS: {reference}{FILE} is not read otherwise"
                    )
                yield Problem(place, message, cure, level="warning")
    for name, skill, place in _skill_variables(document):
        referred.append(name)
        if not environ.get(name):
            message = f"skill '{skill}' refers to {name}, which is not set"
            yield Problem(place, message, f"set {name}", level="warning")
    for name in dict.fromkeys(referred):
        if too_short(environ.get(name, "")):
            yield Problem(name, TOO_SHORT, TOO_SHORT_CURE, level="warning")


def _skill_variables(document: Document) -> Iterator[tuple[str, str, str]]:
    """The variables of skills that call webhooks, each with its skill and its place."""
    for entry in document.agents.values():
        place = entry.origins.get("skills", entry.place)
        for skill in entry.value.skills:
            if skill.enabled and skill.webhook_auth:
                yield skill.webhook_auth.variable, skill.name, place


def _all_servers(document: Document) -> Iterator[tuple[str, McpServer, str]]:
    """Every server, shared ones and agents' own, with its name and its place."""
    for name, shared in document.mcp_servers.items():
        yield name, shared.value, shared.place
    for entry in document.agents.values():
        place = entry.origins.get("mcpServers", entry.place)
        if isinstance(entry.value.mcp_servers, Mapping):
            yield from ((name, one, place) for name, one in entry.value.mcp_servers.items())


def program_problems(name: str, server: McpServer, place: str) -> Iterator[Problem]:
    """Why the program or the working folder of a server cannot be used on this machine."""
    if server.command is None:
        return
    try:
        found = program_of(server, server.env.get("PATH") or os.environ.get("PATH"))
    except FileNotFoundError as error:
        message, _, cure = str(error).partition("; ")
        if len(words := server.command.split()) > 1 and "no program" in message:
            cure = f'leave {words[0]!r} there, and put the rest into "args": [ … ]'
        yield Problem(place, f"server '{name}': {message}", cure, "warning")
        return
    program = Path(server.cwd or ".", found)
    if program.is_dir():
        message = f"server '{name}': {found!r} is a folder"
        yield Problem(place, message, "give the path of the program", "warning")
    elif not os.access(program, os.X_OK):
        message = f"server '{name}': {found!r} is not executable"
        cure = f"run `chmod +x {shlex.quote(str(program))}`"
        yield Problem(place, message, cure, "warning")


def _unread(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """Variables that look like ours and are not read."""
    environ, known = settings.environ, [name.upper() for name in Settings.model_fields]
    entries = (one for one in snapshot.agents.values() if one.operator and one.document != PLAIN)
    has_agents = next((one.document for one in entries if one.place != "NAME"), "")
    told = {problem.place for problem in _unread_files(environ)}
    for variable in sorted(environ.keys() - told):
        head = variable.upper().partition("__")[0]
        message, cure = _IDLE, ""
        if has_agents and variable.upper().startswith(_SINGLE_AGENT):
            message = "it belongs to single-agent mode, which is off while agents are configured"
            cure = "remove it, or move it to an agent"
        elif head not in known and not head.startswith(_FAMILIES):
            near = None if variable.upper() in _MEANT else _nearest_setting(variable)
            cure = f"did you mean {near}?" if near else ""
        if cure:
            yield Problem(variable, message, cure, level="warning")
    if has_agents and environ.get("NAME", "").strip():
        where = "the environment" if has_agents == "environment" else has_agents
        message = f"{_IDLE}, because {where} has agents"
        yield Problem("NAME", message, "remove it, or give an agent this name", level="note")


def _nearest_setting(variable: str) -> str | None:
    """The setting whose name reads like that of a variable, as a whole or by its beginning."""
    if near := nearest(variable, _setting_names(), 0.9):
        return near
    head, parts, rest = variable.upper().partition("__")
    near = nearest(head, [name.upper() for name in Settings.model_fields], 0.9)
    return f"{near}{parts}{rest}" if near else None


@cache
def _setting_names(path: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every setting that has a fixed name, those below a place."""
    if (model := model_at(path, Settings)) is None:
        return ("__".join(path).upper(),)
    steps = [(*path, name) for name in fields_of(model) if (*path, name) != ("bots",)]
    return tuple(name for step in steps for name in _setting_names(step))


def _surprises(snapshot: Snapshot, settings: Settings) -> Iterator[Problem]:
    """What is odd in single agents: idle patterns, and settings that their model will drop."""
    defaults = settings.llm.as_configuration()
    said, told = set(_model_sentences(defaults, settings)), set[tuple[str, str]]()
    for agent, entry in snapshot.agents.items():
        yield from snapshot.surprises(agent)
        if entry.value.llm_overrides is None and entry.value.profile is None:
            continue  # what is said of the host's own settings is enough
        if (effective := snapshot.effective(agent, defaults)) is None:
            continue
        for field, sentence in _model_sentences(effective.llm, settings):
            if (field, sentence) not in said:
                at, (message, _, cure) = entry.origins, sentence.partition("; ")
                place = at.get(f"llmOverrides.{field}") or at.get("llmOverrides", entry.place)
                if effective.profile is not None and effective.layers.get(field) == "L1":
                    place = effective.origins[field]
                told.add((place, sentence))
                message = f"agent '{agent}': {message}"
                yield Problem(place, message, cure or _MODEL_CURE, level="warning")
    for name, config in snapshot.document.llm_configs.items():
        own = config.value.settings.model_dump(exclude_none=True)
        for field, sentence in _model_sentences(defaults.model_copy(update=own), settings):
            spelled = "fallback_model" if field == "fallbackModel" else field
            place = config.origins.get(spelled, config.place)
            if (field, sentence) not in said and (place, sentence) not in told:
                message, _, cure = sentence.partition("; ")
                message = f"model configuration '{name}': {message}"
                yield Problem(place, message, cure or _MODEL_CURE, level="warning")
