"""Artifacts in the store: files that tools made in a turn over HTTP, for a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bot.store import keys
from bot.store.client import StoreClient

KEPT_MS = 24 * 3600 * 1000
MOST_BYTES = 5 * 1024 * 1024
"""Of one artifact."""
MOST_TURN_BYTES = 20 * 1024 * 1024
"""Of all artifacts of a turn together."""
MOST_OF_TURN = 50


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A file as it is stored; `id` begins with its turn."""

    id: str
    name: str
    mime_type: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class ArtifactStore:
    """The artifacts of all lines."""

    client: StoreClient

    async def keep(self, line: str, artifacts: Sequence[StoredArtifact]) -> None:
        """Store artifacts of a line, once the store answers."""
        for one in artifacts:
            name = keys.artifact(line, one.id)
            args = [KEPT_MS, one.name.encode(), one.mime_type, one.raw]
            await self.client.run_idempotent("keep_artifact", [name], args)

    async def find(self, line: str, id: str) -> StoredArtifact | None:
        """An artifact; None where it is not kept any more. Raises StoreUnavailable."""
        words = ("HMGET", keys.artifact(line, id), "name", "type", "raw")
        name, kind, raw = await self.client.command(*words)
        if raw is None:
            return None
        return StoredArtifact(id, name.decode(), kind.decode(), raw)
