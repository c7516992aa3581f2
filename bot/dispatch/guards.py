"""What an agent may not let out: the host's rule, the agent's own, and values nobody may read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bot.tools.mcp.servers import ServerSpec
from bot.tools.skill import SkillSpec
from bot.turn.filters import Filter, stricter
from registry.guardrails import SafetyConfig
from registry.pasted import secret_value


def filter_of(
    host: Filter,
    safety: SafetyConfig | None,
    servers: Iterable[ServerSpec],
    skills: Iterable[SkillSpec],
) -> Filter:
    """The filter of one agent; it may be stricter than the host, never looser."""
    own = safety.blocked_topics if safety else ()
    return Filter(
        topics=tuple(dict.fromkeys((*host.topics, *own))),
        personal=stricter(host.personal, safety.pii_handling if safety else "off"),
        secrets=tuple(dict.fromkeys((*host.secrets, *_secrets(servers, skills)))),
    )


def _secrets(servers: Iterable[ServerSpec], skills: Iterable[SkillSpec]) -> Iterator[str]:
    """Values that servers and skills of the agent are given, and that look like secrets."""
    for server in servers:
        yield from _in(server.env)
        yield from _in(server.headers)
        if server.auth is not None:
            yield server.auth.client_secret
    for skill in skills:
        yield from _in(skill.headers)


def _in(pairs: Mapping[str, str]) -> Iterator[str]:
    for name, value in pairs.items():
        if secret_value(name, value):
            yield value.split()[-1] if value.strip() else ""
