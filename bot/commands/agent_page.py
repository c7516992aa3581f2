"""One agent on a page: every setting in force, and where each is from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bot.command import code, escape_markdown, first_items, paragraphs, problem_lines
from bot.commands.admin_context import AdminContext
from registry.definition import NamedServer
from registry.layers import EffectiveAgent, Sourced
from registry.snapshot import Snapshot

MOST_BINDINGS = 20
MOST_TEXT = 300


def agent_page(desk: AdminContext, agent_id: str) -> str | None:
    """The page, or None where there is no such agent."""
    snapshot = desk.catalog.snapshot()
    agent = snapshot.effective(agent_id, desk.defaults)
    if agent is None:
        return None
    head = f"**{escape_markdown(agent.name.value)}** ({code(agent.id)})"
    advice = "\n".join(f"⚠ {escape_markdown(sentence)}" for sentence in desk.advice(agent.llm))
    odd = problem_lines(snapshot.review(agent_id))
    settings = "\n".join(_settings(agent))
    return paragraphs(head, settings, _bound(snapshot, agent_id), advice, odd)


def _settings(agent: EffectiveAgent) -> Iterator[str]:
    yield _row("description", agent.description)
    yield _row("model", agent.model)
    yield _row("temperature", agent.temperature)
    yield _row("maxTokens", agent.max_tokens)
    yield _row("reasoningEffort", agent.reasoning_effort)
    if agent.fallback_model.value:
        yield _row("fallbackModel", agent.fallback_model)
    yield _row("customInstructions", agent.instructions)
    patterns = ", ".join(agent.whitelist_patterns.value)
    yield _shown("whitelistPatterns", patterns, agent.whitelist_patterns)
    policy = agent.tool_policy.value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    rules = json.dumps(policy, ensure_ascii=False) if policy else ""
    yield _shown("toolPolicy", rules, agent.tool_policy)
    servers = ", ".join(map(_server, agent.servers.value))
    yield _shown("servers", servers, agent.servers)
    yield _shown("linkPreviews", str(agent.link_previews.value).lower(), agent.link_previews)


def _row(name: str, field: Sourced[Any]) -> str:
    return _shown(name, "" if field.value is None else str(field.value), field)


def _shown(name: str, text: str, field: Sourced[Any]) -> str:
    if not text:
        return f"• {name}: –"
    cut = text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}… ({len(text)} characters)"
    return f"• {name}: {code(cut)} · {escape_markdown(field.document)}"


def _server(named: NamedServer) -> str:
    """A server's name and kind: its address and its headers are nobody's business here."""
    return f"{named.name} ({named.server.transport})"


def _bound(snapshot: Snapshot, agent_id: str) -> str:
    """Who gets this agent."""
    slots = [b.slot for b in snapshot.bindings if b.agent_id == agent_id]
    shown, more = first_items(slots, MOST_BINDINGS)
    lines = [f"• {code(slot)}" for slot in shown]
    if snapshot.default == agent_id:
        lines.append("• everybody who is bound to no other agent (the default)")
    return "Answers:\n" + "\n".join(lines) + more if lines else "It is bound to nothing."
