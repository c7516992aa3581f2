"""What the start makes of the settings: sources of agents, notices, variables to forget."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import structlog

from bot.access.rules import new_code, normalize_code
from bot.access.store import AccessStore
from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
from bot.model.parameters import DEFAULT_URL, advice
from bot.ops.redaction import credentials_in, too_short
from bot.safety.output_filter import OutputFilter, by_words
from bot.settings import Settings
from bot.skills.python_skill import InstalledSkills
from bot.telegram.markdown import renderer
from bot.usage.budgets import spend_limits
from bot.variables import FILE, has_loose_quote
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.errors import Problem
from registry.fields import nearest
from registry.secrets import TOO_SHORT, TOO_SHORT_CURE, reference_names
from registry.snapshot import Snapshot
from registry.sources.environment import read_environment, read_legacy
from registry.sources.file import FileSource

log = structlog.get_logger("switchboard")
_OWN = ("AGENTS__", "ANTHROPIC_", "BOTS__", "MCPSERVERS__", "REDIS_URL", "VALKEY_PASSWORD")
_COMMON = re.compile(
    r"(?i)(PATH|HOME|USER|LOGNAME|SHELL|TERM|LANG|LC_[A-Z]+|TZ|TMPDIR|PWD|[A-Z]+_PROXY"
    r"|SSL_CERT_(FILE|DIR)|PYTHON[A-Z]+)\Z"
)
_NAMED_IN_TEXT = re.compile(
    r"""(?i)\b(?:token|key)_?env["']?\s*:\s*["']?([A-Za-z_][A-Za-z0-9_]*)"""
)
_NAMED_IN_VARIABLE = re.compile(r"(?i)__(TOKEN|KEY)_?ENV\Z")


def agents_source(settings: Settings) -> FileSource:
    """The agents of the file and the environment."""
    hashes = {number: bot.hash for number, bot in settings.numbered().items()}
    return FileSource(
        settings.agents_path,
        read_environment(settings.environ, hashes),
        read_legacy(settings.environ, bool(settings.bots)),
        required=settings.agents_file is not None,
    )


def agent_resolver(
    settings: Settings, catalog: Catalog, installed: InstalledSkills
) -> AgentResolver:
    """What resolves who answers, under the limits of these settings."""
    limits = settings.limits
    output = OutputFilter(
        by_words(limits.topics), limits.piihandling, settings.secrets, renderer.render_cached
    )
    rules = HostRules(
        llm=settings.llm.as_configuration(),
        limits=limits,
        budgets=spend_limits(settings.budgets),
        filter=output,
        approval_minutes=settings.approval_minutes,
        internal_hosts=settings.guest_permissions().internal_hosts,
        proxied=settings.proxy_judges,
        confirm=limits.confirmed,
    )
    references = SecretReferences(settings.environ, settings.agent_secrets, settings.secrets)
    return AgentResolver(catalog, rules, references, installed.skills)


def settings_problems(settings: Settings) -> Iterator[Problem]:
    """What an operator should know about the settings: said by `check`, and logged at the start."""
    if not settings.bots:
        message, cure = "it is not set, so no bot is hosted", "set it to a token from @BotFather"
        yield Problem("BOTS__0__TOKEN", message, cure, "warning")
    if settings.anthropic_api_key is None and settings.anthropic_base_url is None:
        message, cure = "it is not set, so no agent can answer", "set it to your key"
        yield Problem("ANTHROPIC_API_KEY", message, cure, "warning")
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
        cure = "remove it, unless it is a part of the secret"
        yield Problem(name, "its value has a quote at one end", cure, "warning")
    yield from _unread_files(settings.environ)
    yield from _access_problems(settings)


def _unread_files(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that look as if a setting could be read from a file, and are not read."""
    fields = [name.upper() for name in Settings.model_fields]
    secrets = [name for name in fields if name + FILE in fields]
    for variable in sorted(environ):
        name = variable.upper().removesuffix(FILE)
        if "__" in name or name == variable.upper() or variable.upper() in fields:
            continue
        near = nearest(name, secrets, 0.8)
        alike = [one for one in secrets if one.partition("_")[0] == name.partition("_")[0]]
        cure = f"did you mean {near or alike[0]}{FILE}?" if near or alike else ""
        if name in fields:
            cure = f"set {name} itself: only secrets are read from files"
        elif name.startswith(("BOT_", "TELEGRAM_")) and name.endswith("TOKEN"):
            cure = f"did you mean BOTS__0__TOKEN{FILE}?"
        if cure:
            yield Problem(variable, "this variable is not read", cure, "warning")


def _access_problems(settings: Settings) -> Iterator[Problem]:
    """Admins who are no persons; bots that are open to everybody, and bots that answer nobody."""
    numbers = {bot.id: number for number, bot in settings.numbered().items()}
    rules = settings.rules()
    for person in sorted(one for one in settings.admins if one <= 0):
        cure = "write numeric ids of people, which are positive"
        yield Problem("ADMINS", f"{person} is not a person's id", cure, "warning")
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


def announce(settings: Settings, snapshot: Snapshot, skills: InstalledSkills, url: str) -> None:
    """Log that the host has started, and what an operator should know of its configuration."""
    agents = len(snapshot.agents)
    log.info("started", bots=len(settings.bots), agents=agents, health=f"{url}/health")
    for problem in settings_problems(settings):
        log.warning("settings", problem=str(problem))
    if not agents:
        log.warning(
            "no agents", cure="describe one in agents.json; until then the bots answer nobody"
        )
    for problem in skills.problems:
        log.error("skills", problem=str(problem))
    for problem in [*snapshot.problems, *snapshot.unhandled(skills.skills)]:
        if problem.level != "error":  # errors are logged as `agents.bad`
            log.warning("agents", problem=str(problem))


async def offer_claim(settings: Settings, grants: AccessStore) -> None:
    """Print a code that makes the first admin, where there is none; no earlier one is valid."""
    if grants.access.admins or not settings.bots:
        await grants.offer_claim("")
        return
    code = new_code()
    await grants.offer_claim(normalize_code(code))
    cure = f"send /claim {code} to one of your bots in a private chat"
    log.warning("no admin", code=code, cure=cure)
    # Also where the log is for machines, or quieter than a warning: the operator may be watching.
    sys.stderr.write(
        "\nThis host has no admin yet. To become its admin, send this to one of your bots\n"
        f"in a private chat (it works once, until the next start):\n\n    /claim {code}\n\n"
    )
    sys.stderr.flush()


def model_advice(settings: Settings) -> Callable[[LlmConfiguration], list[str]]:
    """What says in sentences which model settings will not be sent, or not as they are."""
    return partial(advice, base_url=settings.anthropic_base_url or DEFAULT_URL)


def own_variables(settings: Settings, document: str = "") -> set[str]:
    """The variables that only this host needs, which it takes out of its environment.

    They are those that it reads by itself, and those that an agent of the environment or of the
    agents file (its text is `document`) names; what every program looks at is left.
    """
    environ = settings.environ
    found = {name for name in environ if name.upper().startswith(_OWN)}
    for text in (document, *environ.values()):
        if "${" in text:
            found.update(reference_names(text))
    found.update(_NAMED_IN_TEXT.findall(document))
    found.update(value for name, value in environ.items() if _NAMED_IN_VARIABLE.search(name))
    found |= settings.agent_secrets | {name + FILE for name in settings.agent_secrets}
    return {name for name in found if not _COMMON.match(name)}
