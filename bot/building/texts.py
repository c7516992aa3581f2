"""What people read before they approve a change of an agent: what differs, and whom it touches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.command import code, counted, escape_markdown, paragraphs
from bot.commands.agent_menu import touched
from bot.commands.versions import author, changed_fields
from bot.safety.text_safety import deception_warning, reveal
from registry.binding import AgentBinding, AgentBindingType, BotIdentity
from registry.draft import Draft
from registry.draft_edits import Comparison
from registry.revisions import FieldChange
from registry.snapshot import Snapshot

MOST_CHARACTERS = 1_500
"""Of one value that the model reads."""


def draft_text(draft: Draft, changes: Sequence[FieldChange], snapshot: Snapshot) -> str:
    """What a change of a draft asks for."""
    of = "the new agent" if draft.agent not in snapshot.agents else "agent"
    head = f"Change the draft of {of} {_titled(draft)}; nobody else notices yet:"
    return paragraphs(head, _changes(changes))


def publish_text(
    there: Comparison, snapshot: Snapshot, bots: Sequence[BotIdentity], reason: str
) -> str:
    """What a publication asks for, with whom it touches."""
    draft = there.draft
    head = f"Publish {_titled(draft)}, for everybody at once:"
    body = _changes(there.changes) if there.changes else "It says what the agent says already."
    warning = ""
    if there.is_overtaken:
        who = author(there.by) if there.by else "by somebody"
        warning = f"⚠ The agent was changed {who} since this draft was made."
    named = _where(snapshot, draft.agent, bots)
    why = f"Because: {escape_markdown(reveal(reason)[0])}" if reason else ""
    return paragraphs(head, body, warning, touched(snapshot, draft.agent), named, why)


def _where(snapshot: Snapshot, agent: str, bots: Sequence[BotIdentity]) -> str:
    """The first places where an agent answers."""
    found = [one for one in snapshot.bindings if one.agent_id == agent]
    lines = [f"• {_bound(one, bots)}" for one in found[:MOST_PLACES]]
    more = f"\n… and {counted(len(found) - MOST_PLACES, 'more place')}"
    return "\n".join(lines) + (more if len(found) > MOST_PLACES else "")


MOST_PLACES = 5


def binding_text(
    binding: AgentBinding,
    snapshot: Snapshot,
    bots: Sequence[BotIdentity],
    where: str,
    *,
    removes: bool,
) -> str:
    """What a change of a binding asks for, with what answers there now."""
    held = snapshot.document.bindings.get(binding.slot)
    place = f"{where} ({_bound(binding, bots)})"
    if removes:
        return f"Let {code(binding.agent_id)} no longer answer by its binding to {place}."
    now = f"Now {code(held.value.agent_id)} is bound there." if held else "Nothing is bound there."
    return f"Let {code(binding.agent_id)} answer in {place}. {now}"


def place_of(given: Mapping[str, Any]) -> str:
    """Where a binding is, in the words of the call."""
    where, id = str(given.get("where", "")), given.get("id")
    return f"{where} {id}" if where in ("chat", "person") else where


def _bound(one: AgentBinding, bots: Sequence[BotIdentity]) -> str:
    names = {key: f"@{bot.username}" for bot in bots if bot.username for key in bot.keys}
    if one.type is AgentBindingType.TelegramBot:
        return f"every chat of {escape_markdown(names.get(one.binding_key, 'a bot'))}"
    kind = "chat" if one.type is AgentBindingType.ChatId else "person"
    bot = escape_markdown(names.get(one.bot, "one bot")) if one.bot else "every bot"
    return f"{kind} {code(one.binding_key)} in {bot}"


def _titled(draft: Draft) -> str:
    name, _ = reveal(draft.definition.name, name=True)
    return f"**{escape_markdown(name)}** ({code(draft.agent)})"


def _changes(changes: Sequence[FieldChange]) -> str:
    """The changes as Markdown, with hidden characters written out and a warning about them."""
    deceptions = dict[str, None]()
    shown = [
        replace(one, old=_revealed(one.old, {}), new=_revealed(one.new, deceptions))
        for one in changes
    ]
    warning = deception_warning([*deceptions]) if deceptions else ""
    return paragraphs(changed_fields(shown), warning)


def _revealed(value: Any, deceptions: dict[str, None]) -> Any:
    """A JSON value with deceptive characters written out; what they are goes to `deceptions`."""
    if isinstance(value, str):
        text, found = reveal(value)
        deceptions.update(dict.fromkeys(found))
        return text
    if isinstance(value, Mapping):
        return {str(name): _revealed(one, deceptions) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_revealed(one, deceptions) for one in value]
    return value


def shown_values(change: FieldChange) -> dict[str, Any]:
    """A change as the model reads it; long values are cut."""
    return {"field": change.field, "old": _cut(change.old), "new": _cut(change.new)}


def _cut(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_CHARACTERS:
        return value
    return f"{text[:MOST_CHARACTERS]}… [{len(text) - MOST_CHARACTERS} more characters]"
