"""Profiles and model configurations in a folder, live within a second, and those of the package."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from registry.authorization import OPERATOR
from registry.errors import DocumentErrors, Problem, one_line
from registry.profile_rules import NOUNS
from registry.revisions import Kind
from registry.snapshot import PACKAGED, Document, Entry, Profiles, revision_of
from registry.sources.file import unreadable
from registry.sources.folder import FollowedFolder, Look, SeenFile, object_in, problems_of
from registry.validation import DocumentReader

PACKAGED_PROFILES = Path(__file__).parents[1] / "data" / "agent_profiles"
FOLDERS: Mapping[str, Kind] = {"llm_configs": "llm-config", "profiles": "profile"}
"""The folders in a folder of profiles, each with what its files are."""
ENDINGS = (".yaml", ".yml", ".json")
MOST_FILES = 1_000
"""Files in one of the folders; those after them, by name, are left out."""


@dataclass(eq=False)
class ProfileFiles(FollowedFolder[Any]):
    """The profiles in `<folder>/profiles/*.yaml`, and model configurations in `llm_configs`.

    A file is named as one likes: the name in it counts. Of two with one name the one that is in
    force stays, and at a start the first by the name of its file; the other is refused. What a
    profile refers to is looked at by those who use the document.
    """

    _held: dict[tuple[Kind, str], str] = field(default_factory=dict, init=False)
    """The files in force, by what they are and the name in them."""
    _never_good: dict[str, tuple[Kind, str]] | None = field(default=None, init=False)
    """The files that could not be used at the start and cannot now, with what they are to be."""

    what: ClassVar[str] = "profiles"

    async def reload(self) -> None:
        """Read everything again, now."""
        await super().reload()
        if self._never_good is None:  # there was no file at the start
            self._never_good = {}

    def owner(self, kind: Kind, name: str) -> str | None:
        """The file that sets a profile or a configuration; None where none does."""
        own = self.document.own_profiles
        held = (own.profiles if kind == "profile" else own.llm_configs).get(name)
        never = (self._never_good or {}).items()
        broken = (self.path_of(file) for file, named in never if named == (kind, name))
        return held.document if held else next(broken, None)

    def path_of(self, name: str) -> str:
        """The file of this name, in its folder of this one."""
        return f"{self.folder}/{name}"

    # --- in a thread -----------------------------------------------------------------------------

    def _listed(
        self, known: Mapping[str, SeenFile[Any]], problems: list[Problem]
    ) -> Iterator[tuple[str, bool]]:
        os.stat(self.folder)  # noqa: PTH116 - raises where it is not there
        with suppress(OSError):  # it may be closed to lists, and its folders open
            problems += _misplaced(self.folder)
        for folder in FOLDERS:
            try:
                names = _files(f"{self.folder}/{folder}", problems)
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(unreadable(self.folder / folder, error))
                yield from ((one, False) for one in known if one.startswith(f"{folder}/"))
                continue
            yield from ((f"{folder}/{name}", True) for name in names)

    def _absent(self, name: str) -> Iterator[Problem]:
        path = self.path_of(name)
        if os.path.islink(path):  # noqa: PTH114 - else it was just removed
            message = "it is a link to a file that does not exist"
            yield Problem(path, message, "create that file, or remove the link")

    def _read(self, raw: bytes, place: str, name: str) -> tuple[Entry[Any], Sequence[Problem]]:
        return _read(raw, place, FOLDERS[name.partition("/")[0]])

    def _document(self, look: Look[Any]) -> Document:
        problems = [*problems_of(look)]
        own: dict[Kind, dict[str, Entry[Any]]] = {kind: {} for kind in FOLDERS.values()}
        held: dict[tuple[Kind, str], str] = {}
        for (kind, name), files in _by_name(look).items():
            before = self._held.get((kind, name), "")
            file = held[kind, name] = before if before in files else min(files)
            first = own[kind][name] = files.pop(file)
            for _, entry in sorted(files.items()):
                message = f"{NOUNS[kind]} '{name}' is already defined at {first.place}"
                place = entry.origins.get("name", entry.place)
                problems.append(Problem(place, message, "remove or rename one of the two"))
        self._held = held
        unusable = self._unusable(look) - held.keys()
        profiles = Profiles(own["profile"], own["llm-config"], unusable)
        return Document(own_profiles=profiles, problems=tuple(problems))

    def _unusable(self, look: Look[Any]) -> frozenset[tuple[Kind, str]]:
        """What files are to be that were never good, since the start."""
        before = self._never_good
        self._never_good = {
            file: named
            for file, seen in look.files.items()
            if seen.entry is None and (before is None or file in before)
            if (named := before[file] if before else _named(file, seen.raw))
        }
        return frozenset(self._never_good.values())


def _named(file: str, raw: bytes | None) -> tuple[Kind, str] | None:
    """What a file that cannot be used is to be, as far as its text says so."""
    found = _NAME.search(raw or b"")
    return (FOLDERS[file.partition("/")[0]], found[1].decode()) if found else None


_NAME = re.compile(rb"""^[\s{,]*["']?name["']?\s*:\s*["']?([A-Za-z0-9_.-]{1,64})""", re.MULTILINE)


def _by_name(look: Look[Any]) -> dict[tuple[Kind, str], dict[str, Entry[Any]]]:
    """The good files of a look by their own names, by what they are and the name in them."""
    found: dict[tuple[Kind, str], dict[str, Entry[Any]]] = {}
    for file, seen in sorted(look.files.items()):
        if seen.entry is not None:
            kind, name = FOLDERS[file.partition("/")[0]], seen.entry.value.name
            found.setdefault((kind, name), {})[file] = seen.entry
    return found


def _misplaced(folder: Path) -> Iterator[Problem]:
    """That files lie in the folder itself, where none is read."""
    with os.scandir(folder) as found:
        names = sorted(one.name for one in found if one.name.endswith(ENDINGS))
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        message = f"{one_line(names[0])}{more}: nothing is read here"
        cure = f"put profiles into {folder}/profiles, model configurations into llm_configs"
        yield Problem(str(folder), message, cure, level="warning")


def _files(folder: str, problems: list[Problem]) -> list[str]:
    """The names of the files in a folder that may be read, in order."""
    with os.scandir(folder) as found:
        names = sorted(one.name for one in found if one.name[:1] != ".")
    unlike = [one for one in names if not one.endswith(ENDINGS)]
    for name in unlike if len(names) <= MOST_FILES else ():
        message, cure = f"its name does not end in {', '.join(ENDINGS)}", "rename it, or remove it"
        problems.append(Problem(f"{folder}/{name}", message, cure, level="warning"))
    wanted = [one for one in names if one.endswith(ENDINGS)]
    if len(wanted) > MOST_FILES:
        message = f"it has more than {MOST_FILES} files, and the others are left out"
        problems.append(Problem(folder, message, "remove some"))
    return wanted[:MOST_FILES]


def _read(raw: bytes, place: str, kind: Kind) -> tuple[Entry[Any], Sequence[Problem]]:
    """The profile or the configuration in a file, and warnings; raises DocumentErrors."""
    part = object_in(raw, place, "name: Principal", yaml=not place.endswith(".json"))
    reader = DocumentReader(OPERATOR)
    entry: Entry[Any] | None
    entry = reader.profile(part) if kind == "profile" else reader.llm_config(part)
    if entry is None:
        raise DocumentErrors(reader.problems)
    return replace(entry, revision=revision_of(entry.value.to_text())), reader.problems


@cache
def packaged_profiles() -> Profiles:
    """What comes with the package, read when it is first needed."""
    found: dict[Kind, dict[str, Entry[Any]]] = {kind: {} for kind in FOLDERS.values()}
    for folder, kind in FOLDERS.items():
        for path in sorted((PACKAGED_PROFILES / folder).glob("*.yaml")):
            entry, _ = _read(path.read_bytes(), PACKAGED, kind)
            found[kind][entry.value.name] = replace(
                entry, document=PACKAGED, place=PACKAGED, origins={}
            )
    return Profiles(found["profile"], found["llm-config"])
