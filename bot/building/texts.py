"""What people read before they approve a change of an agent: what differs, and whom it touches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bot.command import code, counted, escape_markdown, paragraphs
from bot.commands.agent_menu import touched
from bot.commands.versions import whole_changes
from bot.safety.text_safety import reveal
from registry.binding import AgentBinding, AgentBindingType, BotIdentity
from registry.draft import Draft
from registry.draft_edits import Comparison
from registry.revisions import FieldChange
from registry.snapshot import Snapshot

MOST_CHARACTERS = 1_500
"""Of one value that the model reads."""


def draft_text(
    draft: Draft, changes: Sequence[FieldChange], snapshot: Snapshot, reason: str
) -> str:
    """What a change of a draft asks for."""
    of = "the new agent" if draft.agent not in snapshot.agents else "agent"
    head = f"Change the draft of {of} {_titled(draft)}; nobody else notices yet:"
    return paragraphs(head, whole_changes(changes), because_text(reason))


def update_text(there: Comparison, overlapping: Sequence[str], reason: str) -> str:
    """What an update of a draft asks for: what it would differ in from the agent then."""
    head = f"Put the draft of {_titled(there.draft)} on the agent as it is now; it would change:"
    body = whole_changes(there.changes) if there.changes else "Nothing: the agent says it already."
    both = f"Of {code(', '.join(overlapping))} the draft's own is kept." if overlapping else ""
    return paragraphs(head, body, both, because_text(reason))


def discard_text(there: Comparison, reason: str) -> str:
    """What dropping a draft asks for: what is lost by it."""
    head = f"Drop the draft of {_titled(there.draft)}; the agent stays as it is. This is lost:"
    body = whole_changes(there.changes) if there.changes else "Nothing: the agent says it already."
    return paragraphs(head, body, because_text(reason))


def publish_text(
    there: Comparison, snapshot: Snapshot, bots: Sequence[BotIdentity], reason: str
) -> str:
    """What a publication asks for, with whom it touches."""
    draft = there.draft
    head = f"Publish {_titled(draft)}, for everybody at once:"
    body = whole_changes(there.changes) if there.changes else "It says what the agent says already."
    named = _where(snapshot, draft.agent, bots)
    return paragraphs(head, body, touched(snapshot, draft.agent), named, because_text(reason))


def because_text(reason: str) -> str:
    """Why something is asked for, in the words of the call."""
    return f"Because: {escape_markdown(reveal(reason)[0])}" if reason else ""


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
    reason: str,
    *,
    removes: bool,
) -> str:
    """What a change of a binding asks for, with what answers there now."""
    held = snapshot.document.bindings.get(binding.slot)
    place = f"{where} ({_bound(binding, bots)})"
    why = because_text(reason)
    if removes:
        return paragraphs(
            f"Let {code(binding.agent_id)} no longer answer by its binding to {place}.", why
        )
    now = f"Now {code(held.value.agent_id)} is bound there." if held else "Nothing is bound there."
    return paragraphs(f"Let {code(binding.agent_id)} answer in {place}. {now}", why)


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


def shown_values(change: FieldChange) -> dict[str, Any]:
    """A change as the model reads it; long values are cut."""
    return {"field": change.field, "old": _cut(change.old), "new": _cut(change.new)}


def _cut(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= MOST_CHARACTERS:
        return value
    return f"{text[:MOST_CHARACTERS]}… [{len(text) - MOST_CHARACTERS} more characters]"
