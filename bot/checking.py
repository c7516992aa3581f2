"""Every mistake of a configuration in one run, each with place and cure: `switchboard check`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic import ValidationError

from bot import agents
from bot.access_report import access_problems
from bot.model.prices import Prices
from bot.ops.hardening import open_to_others
from bot.ops.proxies import proxy_of
from bot.ports import Usage
from bot.redaction import too_short
from bot.settings import ENV_FILE, Settings, environment
from bot.store.client import connect
from bot.tokens import Bot
from bot.tools.installed import installed
from bot.wrong import wrong_settings
from registry.binding import BotIdentity
from registry.check import check
from registry.document import Document
from registry.errors import Problem, RegistryError
from registry.references import TOO_SHORT, TOO_SHORT_CURE
from registry.stores.redis import RedisStore

STORE_SECONDS = 3.0
_BOT = re.compile(r"(?i)BOTS__(\d+)__(\w+)\Z")
_HOST = re.compile(r"(?i)[a-z0-9_]([a-z0-9._-]*[a-z0-9])?\.?\Z|[0-9a-f:]+\Z")
_LEVELS = ("error", "warning", "note")


def mistakes(*, env_file: bool = True) -> list[Problem]:
    """What is wrong and what is surprising, the worst first."""
    file = ENV_FILE if env_file else None
    environ = environment(file)
    bots = dict(_bots(environ))
    settings, found = _settings(file, bots)
    found += _host(settings, environ)
    found += _unreadable(file)
    handlers = asyncio.run(installed())
    found += handlers.problems
    found += _no_skills(settings, handlers.skills)
    found += check(
        settings.agents_file or agents.DEFAULT_AGENTS_FILE,
        environ,
        required=settings.agents_file is not None,
        bots=[BotIdentity(bot.hash, bot.id) for bot in settings.bots],
        hashes={number: bot.hash for number, bot in bots.items()},
        runtime=asyncio.run(_runtime(settings, found)),
        defaults=agents.defaults(settings),
        advice=agents.adviser(settings),
        handlers=handlers.skills,
        too_short=too_short,
    )
    return sorted(dict.fromkeys(found), key=lambda problem: _LEVELS.index(problem.level))


def words(problems: list[Problem]) -> str:
    """The problems for people, and how many there are."""
    errors = sum(problem.level == "error" for problem in problems)
    lines = [f"{problem.level:8}{problem}" for problem in problems]
    rest = f"{errors} to mend, {len(problems) - errors} to know"
    return "\n".join([*lines, rest if problems else "all is well"])


def as_json(problems: list[Problem]) -> dict[str, Any]:
    """The problems for machines."""
    rows = [
        {"level": p.level, "place": p.place, "message": p.message, "cure": p.cure} for p in problems
    ]
    return {"errors": sum(row["level"] == "error" for row in rows), "problems": rows}


def _settings(file: str | None, bots: Mapping[int, Bot]) -> tuple[Settings, list[Problem]]:
    """The settings, without those that are wrong, so that all others are looked at as well."""
    try:
        return Settings(_env_file=file), []
    except ValidationError as error:
        found = wrong_settings(error)
        wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
    rest: dict[str, Any] = {
        name: Settings.model_fields[name].get_default(call_default_factory=True, validated_data={})
        for name in wrong
    }
    if "bots" in wrong:
        rest["bots"] = list({bot.id: bot for bot in bots.values()}.values())
    return Settings(_env_file=file, **rest), found


def _bots(environ: Mapping[str, str]) -> Iterator[tuple[int, Bot]]:
    """The bots that are well described, by their number."""
    given: dict[int, dict[str, str]] = {}
    for variable, value in environ.items():
        if (match := _BOT.match(variable)) and value:
            given.setdefault(int(match[1]), {})[match[2].lower()] = value
    for number in sorted(given):
        with suppress(ValidationError):
            yield number, Bot.model_validate(given[number])


def _host(settings: Settings, environ: Mapping[str, str]) -> Iterator[Problem]:
    """What is legal but surprising in the settings themselves."""
    if not settings.bots:
        told, cure = "there is no bot to host", "set it to a token from @BotFather"
        yield Problem("BOTS__0__TOKEN", told, cure, "warning")
    if settings.anthropic_api_key is None and settings.anthropic_base_url is None:
        told = "it is not set, so no agent can answer"
        yield Problem("ANTHROPIC_API_KEY", told, "set it to your key", "warning")
    if not settings.admins:
        told = "it is empty: the host has no admin unless somebody claimed it"
        cure = "set it to numeric ids, or send a bot /claim and the code that `run` prints"
        yield Problem("ADMINS", told, cure, "note")
    for person in sorted(settings.admins):
        if person <= 0:
            cure = "write the numeric ids of persons, which are positive"
            yield Problem("ADMINS", f"{person} is no person's id", cure, "warning")
    yield from _secrets(settings, environ)
    for host in sorted(settings.internal_hosts):
        if not _HOST.match(host):
            cure = "write the bare name or number of a host, without scheme, port and path"
            yield Problem("INTERNAL_HOSTS", f"{host!r} is no host", cure, "warning")
    yield from access_problems(settings)
    yield from _shared_folder(settings)
    yield from _unpriced(settings)
    yield from _unproxied(settings)
    yield from _misspelt(environ)


def _secrets(settings: Settings, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Secrets that are not there, or that nobody can find in a text."""
    for name in sorted(settings.agent_secrets):
        if not environ.get(name):
            told = f"it lists {name}, which is not set"
            yield Problem("AGENT_SECRETS", told, f"set {name}, or take it out", "warning")
    for name in settings.short_secrets():
        yield Problem(name, TOO_SHORT, TOO_SHORT_CURE, "warning")


def _shared_folder(settings: Settings) -> Iterator[Problem]:
    """A data directory in which others could put something; the host refuses it."""
    with suppress(OSError):
        if found := open_to_others(settings.data_dir):
            yield Problem("DATA_DIR", *found)


def _unproxied(settings: Settings) -> Iterator[Problem]:
    """A proxy that judges, where there is none."""
    named = proxy_of("https://a.example") or proxy_of("http://a.example")
    if settings.proxy_judges and not named:
        cure = "set HTTPS_PROXY to the proxy's address, or take it out"
        yield Problem("PROXY_JUDGES", "it is set, and no proxy is named", cure, "warning")


def _no_skills(settings: Settings, there: Collection[str]) -> Iterator[Problem]:
    """Names of skills that no installed package has."""
    for name in sorted(settings.agent_skills - set(there)):
        told = f"it lists {name}, which no installed package has"
        cure = "install its package, or take it out; `switchboard skill list` shows what there is"
        yield Problem("AGENT_SKILLS", told, cure, "warning")


def _unreadable(file: str | None) -> Iterator[Problem]:
    """Lines of the file that say nothing, so that they are passed over."""
    if file is None or not Path(file).is_file():
        return
    with Path(file).open(encoding="utf-8", errors="replace") as lines:
        for line in parse_stream(lines):
            if line.error or (line.key and line.value is None):
                cure = "write NAME=value, or put a # in front"
                place = f"{file}:{line.original.line}"
                yield Problem(place, "this line sets nothing", cure, "warning")


def _unpriced(settings: Settings) -> Iterator[Problem]:
    """A budget in dollars, and a model of which nobody knows what it costs."""
    dollars = [f"BUDGETS__{kind.upper()}__USD" for kind, one in settings.budgets if one.usd]
    prices = Prices(settings.prices, listed=settings.anthropic_base_url is None)
    models = {settings.llm.model, settings.llm.fallbackmodel or settings.llm.model}
    for model in sorted(models) if dollars else ():
        if prices.price(model, Usage(input=1)).micros is None:
            told = f"nobody knows what {model} costs, so it is not asked"
            cure = "set its price in PRICES, or give the budget in tokens"
            yield Problem(dollars[0], told, cure, "warning")


def _misspelt(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that are nearly ours."""
    known = [name.upper() for name in Settings.model_fields]
    for variable in sorted(environ):
        head = variable.upper().partition("__")[0]
        near = get_close_matches(head, known, 1, cutoff=0.9) if head not in known else []
        if near and not head.startswith(("AGENTS", "BINDINGS", "BOT")):
            cure = f"is {near[0]} meant?"
            yield Problem(variable, "this variable is not read", cure, "warning")


async def _runtime(settings: Settings, found: list[Problem]) -> Document | None:
    """What a store of the operator's own holds; the bundled one runs only beside its host."""
    if settings.redis_url is None:
        return None
    client = connect(settings.redis_url.get_secret_value(), connections=2)
    store = RedisStore(client, agents.authority(settings))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            return await store.list()
    except (RegistryError, OSError, ValueError) as error:
        told = f"the store did not answer ({type(error).__name__}): its agents are not looked at"
        found.append(Problem("REDIS_URL", told, "start it, or correct REDIS_URL", "warning"))
        return None
    finally:
        await client.aclose()
