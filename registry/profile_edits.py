"""Profiles and model configurations as people and programs change them: the same for every face."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry import errors
from registry.catalog import Catalog, Written
from registry.errors import DocumentErrors
from registry.profile_rules import NOUNS
from registry.revisions import Kind
from registry.roles import NO_REASON, Actor, Why
from registry.snapshot import PACKAGED
from registry.sources.handwritten import parse_pasted_llm_config, parse_pasted_profile
from registry.validation import DocumentReader, RawValue

if TYPE_CHECKING:  # most hosts have no profiles
    from registry.profile import NamedLlmConfig, Profile

_QUICK = 16_000  # characters of a text that are read on the loop


def parse_profile(
    catalog: Catalog, value: Mapping[str, Any], name: str, place: str = "body"
) -> Profile:
    """The profile of this name in a JSON value, which may leave its name out.

    Raises DocumentErrors with every mistake.
    """
    reader = DocumentReader(catalog.writer)
    entry = reader.profile(RawValue.of_place(_named(value, name, place), place, place))
    if entry is None:
        raise DocumentErrors(reader.problems)
    return entry.value


def parse_llm_config(
    catalog: Catalog, value: Mapping[str, Any], name: str, place: str = "body"
) -> NamedLlmConfig:
    """The model configuration of this name in a JSON value, as above."""
    reader = DocumentReader(catalog.writer)
    entry = reader.llm_config(RawValue.of_place(_named(value, name, place), place, place))
    if entry is None:
        raise DocumentErrors(reader.problems)
    return entry.value


def _named(value: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    """A value with its name; raises DocumentErrors where it says another one."""
    own = {key: item for key, item in value.items() if str(key).lower() == "name"}
    for key, given in own.items():
        if given not in (None, name):
            message, cure = f"'{key}' is not '{name}'", f"leave it out, or write {name}"
            raise DocumentErrors([errors.Problem(place, message, cure, path="name")])
    rest = {key: item for key, item in value.items() if key not in own}
    return {"name": name, **rest}


async def parse_pasted(
    catalog: Catalog, kind: Kind, text: str, file: str = ""
) -> Profile | NamedLlmConfig:
    """What somebody pasted or sent as a file, in YAML or JSON; raises DocumentErrors."""
    read = parse_pasted_profile if kind == "profile" else parse_pasted_llm_config
    if len(text) <= _QUICK:
        return read(text, file, catalog.writer)
    return await asyncio.to_thread(read, text, file, catalog.writer)


async def put(
    catalog: Catalog,
    actor: Actor,
    value: Profile | NamedLlmConfig,
    *,
    key: str,
    expected: str | None = None,
    why: Why = NO_REASON,
) -> Written:
    """Store a profile or a configuration, over the expected hash if there is one.

    Raises what `Catalog.put_document` raises; DocumentErrors also where it refers to a model
    configuration that is not there.
    """
    kind, text = kind_of(value), value.to_text()
    return await catalog.put_document(
        actor, kind, value.name, text, key=key, expected=expected, why=why
    )


async def delete(
    catalog: Catalog,
    actor: Actor,
    kind: Kind,
    name: str,
    *,
    key: str,
    expected: str | None = None,
    why: Why = NO_REASON,
) -> bool:
    """Remove a profile or a configuration from the store; False where there was none.

    Raises InUse where something refers to it, and Packaged for one that only the package has.
    """
    done = await catalog.put_document(
        actor, kind, name, None, key=key, expected=expected, why=why, action="delete"
    )
    if done.changed:
        return True
    if await catalog.was_made(key):
        return True
    snapshot = catalog.snapshot()
    found = snapshot.profile(name) if kind == "profile" else snapshot.llm_config(name)
    if found is not None and found.document == PACKAGED:
        raise errors.Packaged(f"{NOUNS[kind]} '{name}'")
    return False


def kind_of(value: Profile | NamedLlmConfig) -> Kind:
    """The kind of document that a value is."""
    return "profile" if hasattr(value, "flow_decider") else "llm-config"
