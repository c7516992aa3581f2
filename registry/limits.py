"""How much an agent may use, as data; what is not said is the host's limit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from registry.fields import RegistryModel
from registry.policy import Patterns

_Count = Annotated[int, Field(ge=1, le=10_000_000)]


class SafetyConfig(RegistryModel):
    """Limits of one turn, tools that ask every time, and what may not go out.

    Personal data is left alone only where an agent has no such block and the host says nothing.
    """

    max_iterations: _Count | None = None
    max_tool_calls_per_turn: _Count | None = None
    max_seconds_per_turn: Annotated[float, Field(gt=0, le=86_400)] | None = None
    require_tool_confirmation: Patterns = ()
    blocked_topics: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=3, max_length=200)], ...],
        Field(strict=False, max_length=64),
    ] = ()
    pii_handling: Literal["redact", "warn", "block"] = "redact"


class Budget(RegistryModel):
    """The most that may be spent: tokens of all kinds, and dollars."""

    tokens: Annotated[int, Field(ge=1, le=10**15)] | None = None
    usd: Annotated[float, Field(gt=0, le=10**9)] | None = None


class Budgets(RegistryModel):
    """Budgets of one turn, and of one day for each person, each chat, and the whole agent."""

    turn: Budget | None = None
    person: Budget | None = None
    chat: Budget | None = None
    agent: Budget | None = None


class CostConfig(RegistryModel):
    """Output tokens of one model request, and requests a minute of one person in a conversation."""

    max_tokens_per_request: _Count | None = None
    max_requests_per_minute: _Count | None = None
    budgets: Budgets | None = None
