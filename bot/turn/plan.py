"""What a turn needs of its effective agent: plain values, resolved before the turn begins."""

from __future__ import annotations

from dataclasses import dataclass

from bot.tools.mcp.servers import ServerSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """One agent, ready to run. `revision` changes whenever the agent does."""

    agent: str
    name: str
    revision: str
    model: str
    max_tokens: int
    temperature: float | None = None
    reasoning_effort: str | None = None
    instructions: str | None = None
    whitelist: tuple[str, ...] = ()
    servers: tuple[ServerSpec, ...] = ()
