"""Instances of agents in a folder, one file each, live within a second; and their templates."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import ClassVar

from registry.authorization import OPERATOR
from registry.errors import DocumentErrors, NotThere, Problem
from registry.fields import SLUG_RULE, is_slug, valid_slug
from registry.instance import AgentInstance, instance_id
from registry.roles import DEFAULT_ACCOUNT
from registry.secrets import shown
from registry.snapshot import PACKAGED, Document, Entry, revision_of
from registry.sources.file import read_regular, unreadable
from registry.sources.folder import (
    LONGEST,
    FollowedFolder,
    Look,
    SeenFile,
    object_in,
    problems_of,
)
from registry.validation import DocumentReader

CONFIG = "config.yaml"
"""The file of an instance, in a folder of its name, in one of its account."""
_DATA = Path(__file__).parents[1] / "data"
PACKAGED_CONFIGS = _DATA / "agent_configs"
PACKAGED_TEMPLATES = _DATA / "agent_templates"
_EXAMPLE = "agent_type: simple_chat"
_EMPTY = Document()


@dataclass(eq=False)
class InstanceFiles(FollowedFolder[AgentInstance]):
    """The instances in `<folder>/<account>/<name>/config.yaml`, and those that are packaged.

    `templates` is a folder whose templates win over the packaged ones of the same name.
    """

    templates: Path | None = None
    packaged: Document = field(default=_EMPTY, init=False)

    what: ClassVar[str] = "instances"

    def owner(self, id: str) -> str | None:
        """The file that sets an instance, whether or not it can be used; None where none does."""
        return str(self.folder / id / CONFIG) if id in self._seen.files else None

    async def reload(self) -> None:
        """Read everything again, now."""
        if self.packaged is _EMPTY:
            self.packaged = await asyncio.to_thread(_packaged)
        await super().reload()

    async def template_names(self) -> list[str]:
        """The names of the templates, in order."""
        return sorted(await asyncio.to_thread(_templates, self.templates))

    async def read_templates(self) -> dict[str, AgentInstance]:
        """The templates that can be used, by their names, in order; each as an instance of it."""
        return await asyncio.to_thread(_read_templates, self.templates)

    async def from_template(self, template: str, account: str, name: str) -> AgentInstance:
        """A new instance as a template has it; raises NotThere or DocumentErrors."""
        return await asyncio.to_thread(_from_template, self.templates, template, account, name)

    # --- in a thread -----------------------------------------------------------------------------

    def _listed(
        self, known: Mapping[str, SeenFile[AgentInstance]], problems: list[Problem]
    ) -> Iterator[tuple[str, bool]]:
        """The ids of the instances that have a folder."""
        for account in [*_folders(self.folder, problems)]:
            try:
                names = [*_folders(f"{self.folder}/{account}", problems)]
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(unreadable(self.folder / account, error))
                own = instance_id(account, "")
                yield from ((id, False) for id in known if id.startswith(own))
                continue
            yield from ((instance_id(account, name), True) for name in names)

    def path_of(self, name: str) -> str:
        """The file of the instance with this id."""
        return f"{self.folder}/{name}/{CONFIG}"

    def _read(
        self, raw: bytes, place: str, name: str
    ) -> tuple[Entry[AgentInstance], Sequence[Problem]]:
        return _read(raw, place, name), ()

    def _absent(self, name: str) -> Iterator[Problem]:
        message, cure = f"it has no {CONFIG}", "create it, or remove the folder"
        yield Problem(f"{self.folder}/{name}", message, cure, level="warning")

    def _document(self, look: Look[AgentInstance]) -> Document:
        entries = {id: file.entry for id, file in look.files.items() if file.entry}
        return Document(instances=entries, problems=problems_of(look))


def _folders(folder: str | Path, problems: list[Problem]) -> Iterator[str]:
    """The folders in a folder that have the name of an account or an instance, in order."""
    with os.scandir(folder) as found:
        entries = sorted((one for one in found if one.name[:1] != "."), key=attrgetter("name"))
    names = []
    for one in entries:
        try:
            names += [one.name] if one.is_dir() else []
        except OSError as error:  # a link that leads to itself
            problems.append(unreadable(Path(one.path), error))
    for name in names:
        if is_slug(name):
            yield name
        else:
            message = f"the folder {shown(name)} has no valid name ({SLUG_RULE})"
            problems.append(Problem(str(folder), message, "rename it, or move it elsewhere"))


def _read(raw: bytes, place: str, id: str) -> Entry[AgentInstance]:
    """The instance in a file, which must be named as its folders are; raises DocumentErrors."""
    part = object_in(raw, place, _EXAMPLE)
    reader = DocumentReader(OPERATOR)
    entry = reader.instance(part)
    account, _, name = id.partition("/")
    for field_name, folder in (("account", account), ("instance_name", name)):
        value = part.value.get(field_name)
        if isinstance(value, str) and value != folder:
            message = f"'{field_name}' is {shown(value)}, but the folder is '{folder}'"
            cure = f"write {field_name}: {folder}, or rename the folder"
            place = part.at((field_name,))
            reader.problems.append(Problem(place, message, cure, path=field_name))
    if entry is None or any(one.level == "error" for one in reader.problems):
        raise DocumentErrors(reader.problems)
    return replace(entry, revision=revision_of(entry.value.to_text()))


def _packaged() -> Document:
    """The instances that come with the package."""
    found: dict[str, Entry[AgentInstance]] = {}
    for path in sorted(PACKAGED_CONFIGS.glob(f"*/*/{CONFIG}")):
        id = instance_id(path.parts[-3], path.parts[-2])
        entry = _read(path.read_bytes(), PACKAGED, id)
        found[id] = replace(entry, document=PACKAGED, place=PACKAGED, origins={})
    return Document(instances=found)


def _templates(folder: Path | None) -> dict[str, Path]:
    """The files of the templates by their names."""
    found: dict[str, Path] = {}
    for place in (PACKAGED_TEMPLATES, folder):
        if place is not None and place.is_dir():
            found |= {path.stem: path for path in place.glob("*.yaml") if is_slug(path.stem)}
    return found


def _from_template(folder: Path | None, template: str, account: str, name: str) -> AgentInstance:
    known = _templates(folder)
    if template not in known:
        there = ", ".join(sorted(known)) or "none"
        raise NotThere(f"there is no template {shown(template)}; there are: {there}")
    names = {"account": valid_slug(account), "instance_name": valid_slug(name)}
    path = known[template]
    try:
        part = object_in(read_regular(path, LONGEST + 1), str(path), _EXAMPLE)
    except OSError as error:
        raise DocumentErrors([unreadable(path, error)]) from None
    reader = DocumentReader(OPERATOR)
    entry = reader.instance(replace(part, value={**part.value, **names}))
    if entry is None:
        raise DocumentErrors(reader.problems)
    return entry.value


def _read_templates(folder: Path | None) -> dict[str, AgentInstance]:
    found: dict[str, AgentInstance] = {}
    for name in sorted(_templates(folder)):
        with suppress(DocumentErrors, NotThere):  # it is told to those who use it
            found[name] = _from_template(folder, name, DEFAULT_ACCOUNT, name)
    return found
