"""What the start derives from the settings: sources of agents, notices, variables to forget."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import structlog

from bot.access.rules import new_code, normalize_code
from bot.access.store import AccessStore
from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
from bot.model.parameters import DEFAULT_URL, advice
from bot.safety.output_filter import OutputFilter, by_words
from bot.settings import Settings
from bot.skills.python_skill import InstalledSkills
from bot.telegram.markdown import renderer
from bot.usage.budgets import spend_limits
from bot.variables import FILE
from registry.catalog import Catalog
from registry.definition import AgentDefinition, LlmConfiguration
from registry.secrets import reference_names
from registry.snapshot import Snapshot
from registry.sources.environment import read_environment, read_legacy
from registry.sources.file import FileSource
from registry.sources.instance_files import InstanceFiles
from registry.sources.profile_files import ProfileFiles

log = structlog.get_logger("switchboard")
_OWN = (
    "AGENTS__",
    "ANTHROPIC_",
    "API_KEYS__",
    "BOTS__",
    "MCPSERVERS__",
    "REDIS_URL",
    "SECRETS_KEY",
    "VALKEY_PASSWORD",
)
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


def instance_files(settings: Settings) -> InstanceFiles:
    """The folder of agent instances, and their templates."""
    return InstanceFiles(
        settings.agent_configs_dir or Path("config/agent_configs"),
        settings.agent_templates_dir or Path("config/agent_templates"),
        required=settings.agent_configs_dir is not None,
    )


def profile_files(settings: Settings) -> ProfileFiles:
    """The folder of profiles and of model configurations."""
    return ProfileFiles(
        settings.agent_profiles_dir or settings.agents_path.parent / "agent_profiles",
        required=settings.agent_profiles_dir is not None,
    )


def described(settings: Settings) -> Catalog:
    """What the operator's files and variables describe, without a store."""
    files, profiles = instance_files(settings), profile_files(settings)
    return Catalog(agents_source(settings), instances=files, profiles=profiles)


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


def announce(settings: Settings, snapshot: Snapshot, url: str) -> None:
    """Log that the host has started, and the warnings and notes on its agents' documents."""
    agents, bots = len(snapshot.agents), len(settings.bots) + len(snapshot.document.bots)
    log.info("started", bots=bots, agents=agents, health=f"{url}/health")
    for problem in snapshot.problems:
        if problem.level != "error":  # errors are logged as `agents.bad`
            say = log.warning if problem.level == "warning" else log.info
            say("agents", problem=str(problem))


async def offer_claim(grants: AccessStore, *, has_bots: bool) -> None:
    """Print a code that makes the first admin, where there is none; no earlier one is valid."""
    if grants.access.admins or not has_bots:
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
    """Says in sentences which model settings will not be sent, or not as they are."""
    return partial(advice, base_url=settings.anthropic_base_url or DEFAULT_URL)


def models_used(snapshot: Snapshot, defaults: LlmConfiguration) -> dict[str, str]:
    """The models that agents are answered with, and in words where each of them is set."""
    found: dict[str, str] = {}
    for entry in snapshot.agents.values():
        own = entry.value.llm_overrides or LlmConfiguration()
        agent = f"llmOverrides of agent {entry.value.id} ({entry.place})"
        shared, place = shared_settings(snapshot, entry.value)
        for model, below, default, variable in (
            (own.model, shared.model, defaults.model, "LLM__MODEL"),
            (
                own.fallback_model,
                shared.fallback_model,
                defaults.fallback_model,
                "LLM__FALLBACKMODEL",
            ),
        ):
            where = agent if model else place if below else variable
            if used := model or below or default:
                found.setdefault(used, where)
    for id, instance in snapshot.document.instances.items():
        if model := instance.value.settings.model:
            found.setdefault(model, f"llm of instance {id} ({instance.place})")
    for model, place in shared_models(snapshot):
        found.setdefault(model, place)
    return found


def shared_models(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """The models of all model configurations, used or not, and where each is written."""
    for name, entry in snapshot.document.llm_configs.items():
        for field in ("model", "fallback_model"):
            if model := getattr(entry.value, field):
                place = entry.origins.get(field, entry.place)
                yield model, f"{field} of model configuration {name} ({place})"


def shared_settings(snapshot: Snapshot, agent: AgentDefinition) -> tuple[LlmConfiguration, str]:
    """The model settings to which the profile of an agent refers, and where they are written."""
    named = snapshot.profile_in_force(agent.profile) if agent.profile else None
    settings = named.settings if named else None
    if named is None or settings is None:
        return LlmConfiguration(), ""
    return settings, f"llm_config_ref of profile {named.profile.name} ({named.settings_place})"


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
