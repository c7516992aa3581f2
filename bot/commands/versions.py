"""What documents were, from a chat: /versions, /diff, /restore."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.command import (
    READ_DOCUMENTS,
    WRITE_DOCUMENTS,
    CommandContext,
    CommandResult,
    Reply,
    code,
    command,
    escape_markdown,
    first_items,
    paragraphs,
    split_reason,
)
from bot.commands.host import AdminContext, ago, no_agent, sentence
from bot.safety.text_safety import deception_warning, reveal
from registry.history import Diff, unwritten
from registry.instance import is_instance_id
from registry.revisions import KINDS, FieldChange, Kind, Revision, WordChange, differences
from registry.sources.stored_values import DEFAULT_ID

MAX_VERSIONS = 15
MAX_FIELDS = 4
MAX_CHANGES = 20
MAX_TEXT = 2_000
MAX_VALUE = 300
KEPT = 40
"""Characters of unchanged text that are shown on each side of a change."""
RESTORABLE = "AGENT | INSTANCE | profile NAME | binding SLOT | default"
WHICH = "AGENT | INSTANCE | profile NAME | binding SLOT | bot ID | default"
HOW = (
    "Write {}. /agents, /instances and /profiles list them, and /agent ID says what is bound to "
    "one. "
    f"{', '.join(KINDS[:-1])} or {KINDS[-1]} before an id says what it is the id of."
)
AS_WRITTEN = frozenset({"key", "profile", "llm-config"})
"""The kinds whose ids have upper and lower case."""
_INDENT = re.compile(r"\n[ \t]+")
"""What Markdown would take for the start of code."""
SECTIONS = {
    "text": "Texts",
    "model": "Model",
    "tools": "Tools",
    "rules": "Rules",
    "limits": "Limits",
    "other": "Other",
}
BY_DANGER = ("other", "tools", "rules", "limits", "model", "text")
"""The sections of a change as they are shown to who answers for it."""


@dataclass(frozen=True, slots=True)
class DocumentName:
    """Which document a command is about, and the words that follow it."""

    kind: Kind
    id: str
    rest: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The document as Markdown."""
        if self.kind == "default":
            return "the default agent"
        is_plain = self.kind in ("agent", "instance")
        return code(self.id) if is_plain else f"{self.kind} {code(self.id)}"

    @property
    def typed(self) -> str:
        """The document as the commands take it."""
        is_plain = self.kind == "agent" and self.id not in KINDS and not self.id.isdecimal()
        is_plain = is_plain or self.kind in ("default", "instance")
        return self.id if is_plain else f"{self.kind} {self.id}"


def named_document(words: Sequence[str], here: str | None = None) -> DocumentName | None:
    """The document that the words begin with, or without a name the agent `here`; else None."""
    if not words or (here and all(map(str.isdecimal, words))):
        return DocumentName(_kind_of(here), here, tuple(words)) if here else None
    first, *rest = words
    kind = first.lower()
    if kind == "default":
        return DocumentName("default", DEFAULT_ID, tuple(rest))
    of_numbers = ("agent", "role", "bot")
    is_kind = kind in KINDS and rest and (kind in of_numbers or not rest[0].isdecimal())
    if not is_kind:
        return DocumentName(_kind_of(kind), kind, tuple(rest))
    id = rest[0] if kind in AS_WRITTEN else rest[0].lower()
    if kind == "role" and id.isdecimal():
        id = f"tg:{id}"
    return DocumentName(kind, id, tuple(rest[1:]))  # type: ignore[arg-type]


def _bot_by_name(host: AdminContext, document: DocumentName | None) -> DocumentName | None:
    """The same document; a bot that is named by its @username under its number."""
    if document is None or document.kind != "bot" or document.id.isdecimal():
        return document
    return replace(document, id=bot_number(host, document.id))


def bot_number(host: AdminContext, name: str) -> str:
    """The number of a bot of the store, by its @username; the name itself where none has it."""
    bots, wanted = host.catalog.snapshot().document.bots, name.removeprefix("@").lower()
    return next((id for id, one in bots.items() if one.value.username.lower() == wanted), name)


def _kind_of(id: str) -> Kind:
    return "instance" if is_instance_id(id) else "agent"


@command(
    "versions",
    "show earlier versions of an agent or another document",
    needs=READ_DOCUMENTS,
    usage=f"[{WHICH}]",
    concurrent=True,
)
async def versions(host: AdminContext, context: CommandContext) -> CommandResult:
    """List the revisions of a document, newest first, with who wrote each and what changed."""
    document = _bot_by_name(host, named_document(context.words, context.resolution.agent_id))
    if document is None or document.rest:
        return Reply(escape_markdown(HOW.format(f"/versions [{WHICH}]")))
    found = await host.history.revisions(host.actor(context), document.kind, document.id)
    if not found:
        return Reply(_never(host, document))
    shown, more = first_items(found, MAX_VERSIONS)
    now = host.catalog.wall()
    befores = (*found[1 : len(shown)], found[len(shown)] if len(found) > len(shown) else None)
    lines = [version_line(one, old, now) for one, old in zip(shown, befores, strict=False)]
    head = f"Versions of {document}, newest first:"
    hint = (
        "" if len(found) < 2 else escape_markdown(f"/diff {document.typed} shows the last change.")
    )
    return Reply(paragraphs("\n".join([head, *lines]) + more, hint))


def _never(host: AdminContext, document: DocumentName) -> str:
    if why := unwritten(host.catalog.snapshot(), document.kind, document.id):
        return escape_markdown(sentence(why))
    if document.kind == "agent":
        return no_agent(host.catalog.snapshot(), document.id)
    if document.kind == "instance":
        return f"There never was an agent instance {document}; /instances lists them."
    if document.kind == "bot":
        return f"There never was {document}; /bots lists those that there are, by their numbers."
    if document.kind in ("profile", "llm-config"):
        lister = "/profiles" if document.kind == "profile" else "/llmconfigs"
        return f"There never was {document}; {lister} lists those that there are."
    return f"There never was {document}."


def version_line(revision: Revision, before: Revision | None, now: float) -> str:
    """A revision in a line: its number, when, who, why, and what it changed."""
    head = f"• {code(str(revision.number))} {ago(max(0.0, now - revision.at))}"
    why = because(revision.reason, revision.ticket)
    return f"{head} {author(revision.by, revision.place)}{why}: {_summary(revision, before)}"


def author(by: str, place: str = "") -> str:
    """Who made a change, in words."""
    if by == "store":
        return "set by hand in the store"
    if by == "file":
        return escape_markdown(f"from {place}" if place else "from the file or the environment")
    return "by the command line" if by == "operator" else f"by {code(by)}"


def because(reason: str, ticket: str = "") -> str:
    """Why a change was made; '' where nobody said it."""
    if ticket and ticket not in reason:
        reason = f"{reason} ({ticket})" if reason else ticket
    return escape_markdown(reveal(f" because {reason}")[0]) if reason else ""


def _summary(revision: Revision, before: Revision | None) -> str:
    """What a revision changed, in a few words."""
    if revision.text is None:
        return "deleted"
    if before is None:
        return "created" if revision.number == 1 else "what was before is no longer kept"
    if before.text is None:
        return "created again"
    changes = differences(before.value, revision.value)
    if not changes:
        return "nothing changed in what it says"
    names = [one.field or f"{_short(one.old)} → {_short(one.new)}" for one in changes]
    shown, rest = names[:MAX_FIELDS], len(names) - MAX_FIELDS
    text = ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
    return escape_markdown(reveal(text)[0])


@command(
    "diff",
    "show what changed from one version to another",
    needs=READ_DOCUMENTS,
    usage="[as for /versions] [FROM [TO]]",
    concurrent=True,
)
async def diff(host: AdminContext, context: CommandContext) -> CommandResult:
    """Show what differs between two revisions of a document, by default the last two."""
    document = _bot_by_name(host, named_document(context.words, context.resolution.agent_id))
    if document is None or len(document.rest) > 2 or not all(map(_is_number, document.rest)):
        return Reply(escape_markdown(HOW.format(f"/diff [{WHICH}] [FROM [TO]]")))
    actor, (kind, id) = host.actor(context), (document.kind, document.id)
    found = await host.history.revisions(actor, kind, id)
    if not found:
        return Reply(_never(host, document))
    newest = found[0].number
    wanted = [int(word) for word in document.rest]
    if not wanted and len(found) == 1:
        return Reply(f"There is one version of {document} so far.")
    old, new = (*wanted, newest)[:2] if wanted else (found[1].number, newest)
    between = await host.history.diff(actor, kind, id, old, new)
    # Two long texts that have little in common are compared for some tenths of a second.
    return Reply(await asyncio.to_thread(_diff_text, document, between))


def _is_number(word: str) -> bool:
    return word.isdecimal() and len(word) <= 9


def _diff_text(document: DocumentName, found: Diff) -> str:
    head = f"{document}, from version {found.old.number} to {found.new.number}:"
    if not found.changes:
        return f"{head} nothing changed."
    return paragraphs(head, changed_fields(found.changes))


def changed_fields(changes: Sequence[FieldChange]) -> str:
    """The first changed fields by section; texts word by word.

    Characters that people do not see are written out, with a warning of those that are put in.
    """
    shown, more = first_items(changes, MAX_CHANGES)
    return _by_section(shown, SECTIONS, whole=False, more=more)


def whole_changes(changes: Sequence[FieldChange]) -> str:
    """Every change to its end, the most dangerous first: what people read who answer for it.

    Of texts only what stays the same is shortened.
    """
    return _by_section(changes, BY_DANGER, whole=True)


def _by_section(
    changes: Sequence[FieldChange], sections: Iterable[str], *, whole: bool, more: str = ""
) -> str:
    deceptions = dict[str, None]()
    found = [
        replace(one, old=revealed(one.old, {}), new=revealed(one.new, deceptions))
        for one in changes
    ]
    parts = []
    for section in sections:
        lines = [_changed(change, whole=whole) for change in found if change.section == section]
        if lines:
            parts.append("\n".join([f"**{SECTIONS[section]}**", *lines]))
    return paragraphs(paragraphs(*parts) + more, deception_warning([*deceptions]))


def revealed(value: Any, deceptions: dict[str, None]) -> Any:
    """A JSON value with deceptive characters written out; what they are goes to `deceptions`."""
    if isinstance(value, str):
        text, found = reveal(value)
        deceptions.update(dict.fromkeys(found))
        return text
    if isinstance(value, Mapping):
        return {
            revealed(str(name), deceptions): revealed(one, deceptions)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [revealed(one, deceptions) for one in value]
    return value


def _changed(change: FieldChange, *, whole: bool = False) -> str:
    """A changed field; texts word by word."""
    name = f"{code(change.field)}: " if change.field else ""
    if words := change.words:
        return f"• {name}{_text_change(words, whole=whole)}"
    if change.old is None:
        return f"• {name}{marked('+', _short(change.new, whole=whole))}"
    if change.new is None:
        return f"• {name}{marked('-', _short(change.old, whole=whole))}"
    old, new = (code(_short(one, whole=whole)) for one in (change.old, change.new))
    return f"• {name}{old} → {new}"


def _short(value: Any, *, whole: bool = False) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if whole or len(text) <= MAX_VALUE:
        return text
    return f"{text[:MAX_VALUE]}… ({len(text)} characters)"


def _text_change(words: Sequence[WordChange], *, whole: bool = False) -> str:
    """A text with what was ~~taken out~~ and **put in**; long unchanged stretches are shortened."""
    result, last, shown = "", ("=", " "), 0
    for number, (kind, run) in enumerate(words):
        if shown > MAX_TEXT and not whole:
            return f"{result} …"
        text = _INDENT.sub("\n", run)
        if kind == "=":
            text = _shortened(text, first=number == 0, last=number == len(words) - 1)
            piece = escape_markdown(text)
        else:
            is_short = whole or len(text) <= MAX_TEXT
            text = _visible(text if is_short else f"{text[:MAX_TEXT]}…")
            piece = marked(kind, text)
        if _needs_blank(last, (kind, text[0])):
            piece = f" {piece}"
        result, last, shown = result + piece, (kind, text[-1]), shown + len(text)
    return result


def _needs_blank(before: tuple[str, str], after: tuple[str, str]) -> bool:
    """Whether Markdown reads the marks at a joint only with a blank there.

    Each side is its kind and the character at the joint: beside anything but a blank, marks are
    read around letters and digits alone.
    """
    if before[1].isspace() or after[1].isspace():
        return False
    inside = [char for kind, char in (before, after) if kind != "="]
    return len(inside) == 2 or not all(map(str.isalnum, inside))


def _shortened(text: str, *, first: bool, last: bool) -> str:
    """An unchanged stretch without what lies far from the changes beside it."""
    if len(text) <= 2 * KEPT:
        return text
    head, tail = "" if first else f"{text[:KEPT]} ", "" if last else f" {text[-KEPT:]}"
    return f"{head}…{tail}"


def marked(kind: str, text: str) -> str:
    """A text as taken out (-) or put in (+), as Markdown: each line by itself, blanks outside."""
    mark = "~~" if kind == "-" else "**"
    return "\n".join(_marked_line(mark, line) for line in text.split("\n"))


def _marked_line(mark: str, line: str) -> str:
    core = line.strip()
    if not core:
        return line
    before, _, after = line.partition(core)
    return f"{before}{mark}{escape_markdown(core)}{mark}{after}"


def _visible(text: str) -> str:
    """A change of blanks alone, shown by signs."""
    return text if text.strip() else text.replace(" ", "␣").replace("\n", "⏎")


@command(
    "restore",
    "make an old version the newest one again",
    needs=WRITE_DOCUMENTS,
    usage=f"{RESTORABLE} N [because …]",
)
async def restore(host: AdminContext, context: CommandContext) -> CommandResult:
    """Make an old revision of a document the newest one."""
    text, why = split_reason(context.arguments)
    document = named_document(text.split())
    if document is None or len(document.rest) != 1 or not _is_number(document.rest[0]):
        return Reply(escape_markdown(HOW.format(f"/restore {RESTORABLE} N")))
    number = int(document.rest[0])
    made = await host.history.restore(
        host.actor(context), document.kind, document.id, number, key=context.key, why=why
    )
    done = f"Restored version {number} of {document}, as version {made}."
    return Reply(f"{done} {escape_markdown(f'/diff {document.typed}')} shows what changed.")
