"""`switchboard schema`: the JSON schemas of files, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from registry.profile import NamedLlmConfig, Profile

_MODELS: Mapping[str, type[BaseModel]] = {"profile": Profile, "llm-config": NamedLlmConfig}


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON schema of the files of a kind."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {**dialect, **_MODELS[kind].model_json_schema()}
