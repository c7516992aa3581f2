"""Which results may be used again, for how long and for whom: what a document says of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from registry.fields import Frozen

LONGEST_SECONDS = 86_400.0

Scope = Literal["person", "conversation", "agent"]
"""Who shares a kept result: one person in one conversation, all of it, or all of the agent."""

_Glob = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class CacheRule(Frozen):
    """A promise that a tool only reads: its result stands for `ttl_seconds`, within its `scope`."""

    ttl_seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS, strict=False)]
    scope: Scope = "person"


class ServerCache(CacheRule):
    """The same for those tools of a server whose names match `tools` (`*` and `?`)."""

    tools: Annotated[tuple[_Glob, ...], Field(strict=False, min_length=1, max_length=256)]
