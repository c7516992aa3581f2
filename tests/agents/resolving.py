"""An agent as a host would run it, from the text of its agents file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from bot.agents.resolver import AgentResolver, HostRules, SecretReferences
from bot.skills.api import InternalSkill
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.sources.file import FileSource
from registry.sources.instance_files import InstanceFiles

HOST = HostRules(LlmConfiguration(model="host-model", max_tokens=1000))


@contextlib.asynccontextmanager
async def resolving(
    folder: Path,
    agents: Mapping[str, Any],
    rules: HostRules = HOST,
    environ: Mapping[str, str] | None = None,
    handlers: Mapping[str, InternalSkill] | None = None,
    instances: Mapping[str, Mapping[str, Any]] | None = None,
) -> AsyncIterator[AgentResolver]:
    """A resolver over an agents file in this folder, and files of instances."""
    path = folder / "agents.json"
    path.write_text(json.dumps(agents))
    for id, fields in (instances or {}).items():
        account, name = id.split("/")
        config = folder / "configs" / id / "config.yaml"
        config.parent.mkdir(parents=True)
        own = {"agent_type": "echo", "account": account, "instance_name": name, **fields}
        config.write_text(json.dumps(own))
    files = InstanceFiles(folder / "configs")
    catalog = Catalog(FileSource(path, look_seconds=0.01), None, files)
    await catalog.open()
    try:
        references = SecretReferences(environ or {}, (), rules.filter.secrets)
        yield AgentResolver(catalog, rules, references, handlers or {})
    finally:
        await catalog.close()
