from __future__ import annotations

from tests.store.engines import client, engine

__all__ = ["client", "engine"]
