"""`switchboard export | import`: all documents of the registry in one JSON file, and back.

The format is `{"format": "switchboard export", "version": 1, "documents": {kind: [entry, …]}}`. An
entry has an `id` and the document's `value`; or its `text`, where somebody SET it in Redis in
another spelling than ours, so that it comes back with the same hash. `from` is the place of a
document of the agents file or the environment. API keys are left out: with their hashes in the
store of another host the old keys would open that one as well.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bot.cli.documents import STDIN, documents, read_text
from bot.cli.registry import ACTOR, Registry, Said, table, why_of
from bot.errors import ConfigError
from registry.authorization import secrets_written
from registry.errors import DocumentErrors, Problem, RegistryError, ReviewNeeded, RevisionConflict
from registry.history import text_of
from registry.revisions import KINDS, Kind, differences, json_of
from registry.roles import Why
from registry.snapshot import Entry, revision_of
from registry.sources import stored_values as stored

FORMAT = "switchboard export"
VERSION = 1
LEFT_OUT: frozenset[Kind] = frozenset({"key", "proposal", "bot", "draft"})
"""Kinds that never leave their host."""
MOVED: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind not in LEFT_OUT)
_WORDS = {"create": "created", "change": "changed", "delete": "deleted"}


# --- export --------------------------------------------------------------------------------------


async def export(registry: Registry, given: Namespace) -> Said:
    """Write all documents in force to a file, or to stdout."""
    found: dict[Kind, list[dict[str, Any]]] = {kind: [] for kind in MOVED}
    notes = [f"left out: {one}" for one in _unreadable(registry)]
    for kind in MOVED:
        for id, entry in sorted(documents(registry, kind).items()):
            if wrong := _secrets(entry):
                notes.append(f"left out: {wrong}")
                continue
            found[kind].append(await _exported(registry, kind, id, entry))
    body = {"format": FORMAT, "version": VERSION, "documents": found}
    text = json.dumps(body, indent=2, ensure_ascii=False)
    if given.file in (None, STDIN):
        return Said(text.splitlines(), body, notes=notes)
    write_private(Path(given.file), text + "\n")
    counts = {kind: len(entries) for kind, entries in found.items()}
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    data = {"file": given.file, "documents": counts, "left_out": notes}
    return Said([f"exported to {given.file}: {said or 'nothing'}"], data, notes=notes)


def _unreadable(registry: Registry) -> list[Problem]:
    """What the store holds and nobody can use."""
    problems = registry.catalog.store.document.problems if registry.catalog.store else ()
    return [one for one in problems if one.level == "error"]


def _secrets(entry: Entry[Any]) -> str:
    """What keeps a document from leaving its host; '' for nothing."""
    agent = entry.value
    if not entry.operator or isinstance(agent, str) or not hasattr(agent, "mcp_servers"):
        return ""
    found = [f"{issue.message}; {issue.cure}" for issue in secrets_written(agent)]
    return f"agent {agent.id} ({entry.place}): {'; '.join(found)}" if found else ""


async def _exported(registry: Registry, kind: Kind, id: str, entry: Entry[Any]) -> dict[str, Any]:
    text = None
    if not entry.operator:
        text = await registry.catalog.writable.text(stored.key_of(kind, id))
    own = text_of(entry.value) if text is None else text
    value = json_of(own)
    is_ours = _ours(value) == own
    where = {"from": entry.place} if entry.operator else {}
    return {"id": id, **({"value": value} if is_ours else {"text": own}), **where}


def _ours(value: Any) -> str:
    """The text of a JSON value as a host writes it."""
    return json.dumps(value, ensure_ascii=False)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{path}: it cannot be written: {error.strerror}") from None


# --- import --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """A document of an export; `place` is where it came from, where that was no store."""

    kind: Kind
    id: str
    text: str
    place: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What an import does with one document; `there` is what is there, `expected` its hash."""

    act: Literal["create", "change", "delete", "skip", "keep"]
    kind: Kind
    id: str
    text: str | None = None
    expected: str | None = None
    detail: str = ""
    there: str | None = None

    @property
    def data(self) -> dict[str, Any]:
        """The step as JSON shows it."""
        detail = {"detail": self.detail} if self.detail else {}
        return {"act": self.act, "kind": self.kind, "id": self.id, **detail}


async def import_(registry: Registry, given: Namespace) -> Said:
    """Show what an export would change here, and change it."""
    text, called = read_text(given.file)
    items, kinds = _items(text, called)
    wanted = (item for item in items if not (given.stored_only and item.place))
    steps = [await _step(registry, item) for item in wanted]
    steps += _pruned(registry, items, kinds) if given.prune else []
    if wrong := await _problems(registry, steps, called):
        raise ConfigError("\n".join([*map(str, wrong), "nothing was imported"]))
    changes = [step for step in steps if step.act in _WORDS]
    data: dict[str, Any] = {"steps": [one.data for one in steps if one.act != "keep"]}
    data |= {"unchanged": sum(one.act == "keep" for one in steps), "imported": False}
    plan = [*_plan(steps)]
    if given.dry_run or not changes:
        return Said(plan, data)
    if not given.yes:
        _ask(plan, is_free=given.file != STDIN)
        plan = []
    why = why_of(given) or Why(f"import of {Path(called).name}")
    waiting = await _apply(registry, changes, why)
    made = _counted([step for step in changes if step not in waiting], _WORDS)
    names = [step.id for step in waiting]
    notes = [f"waiting for a second person: {', '.join(names)}"] if names else []
    data |= {"imported": True, "waiting": names}
    return Said([*plan, f"imported: {made or 'nothing yet'}"], data, int(bool(names)), notes)


def _items(text: str, called: str) -> tuple[list[Item], list[Kind]]:
    """The documents of an export, and the kinds that it tells of; raises ConfigError."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{called}: it is not JSON: {error}") from None
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise ConfigError(f"{called}: it is no export; make one with `switchboard export`")
    if body.get("version") != VERSION:
        version = f"it has version {body.get('version')!r}, and this switchboard reads {VERSION}"
        raise ConfigError(f"{called}: {version}; update the older of the two hosts")
    groups = body.get("documents")
    if not isinstance(groups, dict):
        raise ConfigError(f"{called}: 'documents' is missing, or not an object")
    found, wrong = dict[tuple[str, str], Item](), list[str]()
    for place, item in _entries(groups):
        if isinstance(item, str):
            wrong.append(f"{called}: {place}: {item}")
        elif (item.kind, item.id) in found:
            wrong.append(f"{called}: {place}: '{item.id}' is there twice; remove one of the two")
        else:
            found[item.kind, item.id] = item
    if wrong:
        raise ConfigError("\n".join([*wrong, "nothing was imported"]))
    order = sorted(found.values(), key=lambda item: MOVED.index(item.kind))
    return order, [kind for kind in MOVED if kind in groups]


def _entries(groups: Mapping[str, Any]) -> Iterator[tuple[str, Item | str]]:
    """Each entry of an export with its place, or what is wrong with it."""
    for kind, entries in groups.items():
        if kind not in MOVED:
            yield f"documents.{kind}", "documents of this kind cannot be imported"
        elif not isinstance(entries, list):
            yield f"documents.{kind}", "it is not a list"
        else:
            for index, entry in enumerate(entries):
                yield f"documents.{kind}[{index}]", _item(kind, entry)


def _item(kind: Kind, entry: Any) -> Item | str:
    """One entry of an export, or what is wrong with it."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), str):
        return "it has no 'id'"
    if unknown := sorted(entry.keys() - {"id", "value", "text", "from"}):
        return f"unknown field {unknown[0]!r}; known: id, value, text, from"
    if ("value" in entry) is ("text" in entry):
        return "it needs a 'value' or a 'text', and not both"
    text = entry.get("text", "")
    if not isinstance(text, str):
        return "its 'text' is not a string"
    own = text if "text" in entry else _ours(entry["value"])
    return Item(kind, entry["id"], own, str(entry.get("from", "")))


async def _step(registry: Registry, item: Item) -> Step:
    """What is to be done with a document, by what is there."""
    where = stored.key_of(item.kind, item.id)
    if (owner := registry.catalog.owner(where)) is not None:
        return Step("skip", item.kind, item.id, detail=f"{owner} sets it")
    there = await registry.catalog.writable.text(where)
    if there is None:
        return Step("create", item.kind, item.id, item.text, detail=item.place)
    if there == item.text:
        return Step("keep", item.kind, item.id)
    fields = [one.field for one in differences(json_of(there), json_of(item.text))]
    detail = ", ".join(filter(None, fields)) or ("" if fields else "only its spelling")
    return Step("change", item.kind, item.id, item.text, revision_of(there), detail, there)


def _pruned(registry: Registry, items: Sequence[Item], kinds: Sequence[Kind]) -> list[Step]:
    """The documents of the store that the export does not have, of the kinds that it tells of."""
    kept = {(item.kind, item.id) for item in items}
    return [
        Step("delete", kind, id, None, entry.revision)
        for kind in reversed(kinds)
        for id, entry in documents(registry, kind).items()
        if not entry.operator and (kind, id) not in kept
    ]


async def _problems(registry: Registry, steps: Sequence[Step], called: str) -> list[Problem]:
    """All that keeps the new documents from being stored."""
    found: list[Problem] = []
    coming = {(step.kind, step.id) for step in steps if step.text is not None}
    for step in steps:
        if step.text is None:
            continue
        try:
            await registry.catalog.check_change(ACTOR, step.kind, step.id, (step.there, step.text))
            await registry.catalog.check_references(step.kind, step.id, step.text, coming)
        except DocumentErrors as errors:
            place = f"{called}: {step.kind} {step.id}"
            found += (Problem(place, one.message, one.cure) for one in errors.problems)
    return found


def _plan(steps: Sequence[Step]) -> Iterator[str]:
    rows = [[one.act, one.kind, one.id, one.detail] for one in steps if one.act != "keep"]
    yield from table(rows)
    words = {"create": "to create", "change": "to change", "delete": "to delete"}
    words |= {"skip": "skipped", "keep": "unchanged"}
    yield _counted(steps, words) or "the export is empty"


def _counted(steps: Sequence[Step], words: Mapping[str, str]) -> str:
    counts = {act: sum(one.act == act for one in steps) for act in words}
    return ", ".join(f"{count} {words[act]}" for act, count in counts.items() if count)


def _ask(plan: Sequence[str], *, is_free: bool) -> None:
    """Show the plan and ask; raises ConfigError unless the answer is yes."""
    print(*plan, sep="\n", file=sys.stderr)
    if not is_free or not sys.stdin.isatty():
        raise ConfigError("nothing was imported; add --yes to import this")
    print("Import this? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was imported")


async def _apply(registry: Registry, steps: Sequence[Step], why: Why) -> list[Step]:
    """Write the documents, each over what was there; returns those that wait for a review."""
    waiting: list[Step] = []
    for done, step in enumerate(steps):
        key = registry.key("import", step.kind, step.id)
        try:
            await registry.catalog.write_document(
                ACTOR,
                step.kind,
                step.id,
                step.text,
                key=key,
                expected=step.expected,
                why=why,
                action="import",
            )
        except ReviewNeeded:
            waiting.append(step)
        except RegistryError as error:
            reason = str(error)
            if isinstance(error, RevisionConflict):
                reason = "somebody changed it meanwhile"
            so = f"{done} of {len(steps)} changes were made; run the import again for the rest"
            raise ConfigError(f"{step.kind} {step.id}: {reason}; {so}") from None
    return waiting
