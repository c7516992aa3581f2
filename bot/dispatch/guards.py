"""What an agent may not let out: the host's rule, and the agent's own."""

from __future__ import annotations

from dataclasses import replace

from bot.turn.filters import Filter, stricter
from registry.guardrails import SafetyConfig


def filter_of(host: Filter, safety: SafetyConfig | None) -> Filter:
    """The filter of one agent; it may be stricter than the host, never looser.

    Secrets are the same for all agents: none may let out what another one was given.
    """
    own = safety.blocked_topics if safety else ()
    return replace(
        host,
        topics=tuple(dict.fromkeys((*host.topics, *own))),
        personal=stricter(host.personal, safety.pii_handling if safety else "off"),
    )
