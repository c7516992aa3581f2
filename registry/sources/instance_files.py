"""Instances of agents in a folder, one file each, live within a second; and their templates."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import structlog

from registry.authorization import OPERATOR
from registry.errors import DocumentErrors, NotThere, Problem
from registry.fields import SLUG_RULE, is_slug, valid_slug
from registry.instance import AgentInstance, instance_id
from registry.roles import DEFAULT_ACCOUNT
from registry.secrets import shown
from registry.snapshot import PACKAGED, Document, Entry, revision_of
from registry.sources.file import (
    GRAIN_SECONDS,
    LOOK_SECONDS,
    Signature,
    decoded,
    read_regular,
    signature_of,
    unreadable,
)
from registry.sources.json_yaml import read_value
from registry.validation import DocumentReader, RawValue

_log = structlog.get_logger("registry")
CONFIG = "config.yaml"
"""The file of an instance, in a folder of its name, in one of its account."""
_DATA = Path(__file__).parents[1] / "data"
PACKAGED_CONFIGS = _DATA / "agent_configs"
PACKAGED_TEMPLATES = _DATA / "agent_templates"
LONGEST = 256 * 1024
"""Bytes of a file."""
_COST_SHARE = 50
"""A look may take this part of the time; with more files there are fewer looks."""
_LONGEST_PAUSE = 0.5
"""Between two looks, so that a change is in force within a second."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was seen: its last good value, and what is wrong with it now.

    `raw` are the bytes that were read last, None where it could not be read. `is_settled` is False
    where another write may leave the signature as it is. One that `is_doubtful` may be half
    written.
    """

    signature: Signature | None = None
    is_settled: bool = True
    raw: bytes | None = None
    entry: Entry[AgentInstance] | None = None
    problems: tuple[Problem, ...] = ()
    is_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look found: files by the id of their instance, and what is wrong with folders."""

    files: Mapping[str, _File] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    is_there: bool = False


_NOTHING = _Look()
_EMPTY = Document()


@dataclass(eq=False, slots=True)
class InstanceFiles:
    """The instances in `<folder>/<account>/<name>/config.yaml`, and those that are packaged.

    A file that cannot be used changes nothing but `document.problems`: its last good version and
    all other files stay in force. Where the `folder` is `required` its absence is a problem.
    `templates` is a folder whose templates win over the packaged ones of the same name.
    """

    folder: Path
    templates: Path | None = None
    required: bool = field(default=False, kw_only=True)
    look_seconds: float = field(default=LOOK_SECONDS, kw_only=True)
    document: Document = field(default_factory=Document, init=False)
    packaged: Document = field(default=_EMPTY, init=False)
    _seen: _Look = field(default=_NOTHING, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _changed: Callable[[], None] = field(default=lambda: None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)

    def owner(self, id: str) -> str | None:
        """The file that sets an instance, whether or not it can be used; None where none does."""
        return str(self._path(id)) if id in self._seen.files else None

    async def open(self, changed: Callable[[], None] = lambda: None) -> None:
        """Read everything; then follow it until `close`, and call `changed` after each change."""
        await self.reload()
        self._changed = changed
        self._task = asyncio.create_task(self._follow(), name="registry instances")

    async def close(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def reload(self) -> None:
        """Read everything again, now."""
        if self.packaged is _EMPTY:
            self.packaged = await asyncio.to_thread(_packaged)
        await self._look(all_anew=True)

    async def template_names(self) -> list[str]:
        """The names of the templates, in order."""
        return sorted(await asyncio.to_thread(_templates, self.templates))

    async def read_templates(self) -> dict[str, AgentInstance]:
        """The templates that can be used, by their names, in order; each as an instance of it."""
        return await asyncio.to_thread(_read_templates, self.templates)

    async def from_template(self, template: str, account: str, name: str) -> AgentInstance:
        """A new instance as a template has it; raises NotThere or DocumentErrors."""
        return await asyncio.to_thread(_from_template, self.templates, template, account, name)

    async def _follow(self) -> None:
        pause = self.look_seconds
        while True:
            await asyncio.sleep(max(pause, self.look_seconds))
            began = time.perf_counter()
            try:
                await self._look()
            except Exception:  # noqa: BLE001 - following must continue after any error
                _log.exception("instances.failed")
            cost = (time.perf_counter() - began) * _COST_SHARE
            pause = min(cost, _LONGEST_PAUSE) if self._seen.is_there else _LONGEST_PAUSE

    async def _look(self, *, all_anew: bool = False) -> None:
        """Take what is there now; `all_anew` reads every file, and tells what is wrong at once."""
        async with self._lock:
            before = self._seen
            look = await asyncio.to_thread(self._looked, before, all_anew=all_anew)
            self._seen = look
            if look is before or _shown(look) == _shown(before):
                return
            found = tuple(problem for file in look.files.values() for problem in file.problems)
            entries = {id: file.entry for id, file in look.files.items() if file.entry}
            self.document = Document(instances=entries, problems=(*look.problems, *found))
            told = _problems(before)
            new = [str(one) for one in self.document.errors if one not in told]
            if new and self._task is not None:
                _log.warning("instances.refused", problems=new)
        self._changed()

    def _path(self, id: str) -> Path:
        return self.folder / id / CONFIG

    # --- in a thread -----------------------------------------------------------------------------

    def _looked(self, before: _Look, *, all_anew: bool) -> _Look:
        """What is there now; only files that have changed are read."""
        problems: list[Problem] = []
        try:
            accounts = list(_folders(self.folder, problems))
        except FileNotFoundError:
            if not before.files and not self.required:
                return _NOTHING
            so = "; the last good instances stay in use" if before.files else ""
            cure = "put it back" if before.files else "create it, or fix the path"
            gone = Problem(str(self.folder), f"the folder is missing{so}", cure)
            return replace(before, problems=(gone,), is_there=False)
        except OSError as error:
            return replace(before, problems=(unreadable(self.folder, error),))
        files, known = dict[str, _File](), before.files
        for account in accounts:
            files |= self._in_account(account, known, problems, all_anew=all_anew)
        is_same = len(files) == len(known) and all(known.get(id) is files[id] for id in files)
        if is_same and before.is_there and tuple(problems) == before.problems:
            return before
        return _Look(files, tuple(problems), is_there=True)

    def _in_account(
        self,
        account: str,
        known: Mapping[str, _File],
        problems: list[Problem],
        *,
        all_anew: bool,
    ) -> dict[str, _File]:
        """The files of an account by the ids of their instances."""
        root, files = str(self.folder), dict[str, _File]()
        try:
            for name in _folders(f"{root}/{account}", problems):
                id = instance_id(account, name)
                seen = known.get(id)
                try:
                    signature = signature_of(f"{root}/{id}/{CONFIG}")
                except OSError as error:
                    problems.append(unreadable(self._path(id), error))
                    files |= {id: seen} if seen else {}
                    continue
                if signature is None:
                    message, cure = f"it has no {CONFIG}", "create it, or remove the folder"
                    problems.append(Problem(f"{root}/{id}", message, cure, level="warning"))
                elif seen and seen.is_settled and seen.signature == signature and not all_anew:
                    files[id] = seen
                else:
                    files[id] = self._file(id, seen, signature, all_anew=all_anew)
        except FileNotFoundError:
            return {}
        except OSError as error:
            problems.append(unreadable(self.folder / account, error))
            own = instance_id(account, "")
            return {id: one for id, one in known.items() if id.startswith(own)}
        return files

    def _file(
        self, id: str, before: _File | None, signature: Signature, *, all_anew: bool
    ) -> _File:
        """A file that has changed, or may have, as it is now."""
        path = self._path(id)
        try:
            raw = read_regular(path, LONGEST + 1)
        except OSError as error:
            wrong = (unreadable(path, error),)
            return replace(before or _File(), is_settled=False, raw=None, problems=wrong)
        is_settled = abs(time.time() - signature[0] / 1e9) > GRAIN_SECONDS
        if before and before.raw == raw and not before.is_doubtful:
            return replace(before, signature=signature, is_settled=is_settled)
        try:
            entry = _read(raw, str(path), id)
        except DocumentErrors as wrong:
            kept, told = (before.entry, before.problems) if before else (None, ())
            if not all_anew and (before is None or before.raw != raw):
                # It may be half written: it is told where the next look sees the same.
                return _File(signature, False, raw, kept, told, is_doubtful=True)
            so = tuple(_still_in_force(one) if kept else one for one in wrong.problems)
            return _File(signature, is_settled, raw, kept, so)
        return _File(signature, is_settled, raw, entry)


def _shown(look: _Look) -> tuple[object, ...]:
    """What of a look the document is made of."""
    values = {id: (one.entry, one.problems) for id, one in look.files.items()}
    return values, look.problems


def _problems(look: _Look) -> set[Problem]:
    return {*look.problems, *(one for file in look.files.values() for one in file.problems)}


def _still_in_force(problem: Problem) -> Problem:
    message = f"{problem.message} (the last good version stays in force)"
    return replace(problem, message=message)


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


def _raw_value(raw: bytes, place: str) -> RawValue:
    """The object in a file; raises DocumentErrors."""
    part = read_value(decoded(raw, place, LONGEST), place, yaml=True)
    if not isinstance(part.value, dict):
        cure = "write name: value lines, such as agent_type: simple_chat"
        raise DocumentErrors([Problem(part.place, "it must be an object", cure)])
    return part


def _read(raw: bytes, place: str, id: str) -> Entry[AgentInstance]:
    """The instance in a file, which must be named as its folders are; raises DocumentErrors."""
    part = _raw_value(raw, place)
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
        part = _raw_value(read_regular(path, LONGEST + 1), str(path))
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
