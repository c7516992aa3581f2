"""How much may be used: the host's limits, and what an agent's document lowers them to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from registry.fields import Few, RegistryModel
from registry.policy import Patterns

_Count = Annotated[int, Field(ge=1, le=10_000_000)]


class SafetyConfig(RegistryModel):
    """Limits of one turn, tools that always ask, and what must not go out.

    Personal data is left alone only if an agent has no such block and the host sets nothing.
    """

    max_iterations: _Count | None = None
    max_tool_calls_per_turn: _Count | None = None
    max_seconds_per_turn: Annotated[float, Field(gt=0, le=86_400)] | None = None
    require_tool_confirmation: Patterns = ()
    blocked_topics: Few[Annotated[str, StringConstraints(min_length=3, max_length=200)]] = ()
    pii_handling: Literal["redact", "warn", "block"] = "redact"


class Budget(RegistryModel):
    """The most that may be spent; None is no limit."""

    tokens: int | None = Field(None, ge=1, le=10**15, description="Tokens of all kinds together.")
    usd: float | None = Field(
        None, gt=0, le=10**9, description="Dollars; needs a price for each model, see `PRICES`."
    )


class Budgets(RegistryModel):
    """Budgets of one turn, and of one day (UTC) for each person, each chat, and the whole agent."""

    turn: Budget | None = None
    person: Budget | None = None
    chat: Budget | None = None
    agent: Budget | None = None


class CostConfig(RegistryModel):
    """Output tokens of one model request, and requests a minute.

    Requests are those of one person in a conversation, and those of the whole agent.
    """

    max_tokens_per_request: _Count | None = None
    max_requests_per_minute: _Count | None = None
    max_agent_requests_per_minute: _Count | None = None
    budgets: Budgets | None = None


class TurnLimits(BaseModel):
    """What one turn may use (spec 5, 9.24): the host's `LIMITS__…`, or an agent's below them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: ClassVar[int] = 4
    """How often one model request is tried."""
    history_turns: ClassVar[int] = 48
    history_chars: ClassVar[int] = 240_000
    """How much of earlier turns the model reads again; trimmed by a quarter at a time."""

    requests: int = Field(25, ge=1, alias="iterations", description="Model requests of one turn.")
    calls: int = Field(10, ge=1, alias="toolcalls", description="Tool calls of one turn.")
    seconds: float = Field(
        600.0, gt=0, alias="turnseconds", description="Seconds that one turn may work."
    )
    tool_seconds: float = Field(
        30.0,
        gt=0,
        alias="toolseconds",
        description="Seconds that one tool call may take, unless its server or skill sets a limit.",
    )
    tokens: int = Field(
        8000, ge=1, alias="tokensperrequest", description="Output tokens of one model request."
    )
    per_minute: int = Field(
        60,
        ge=1,
        alias="requestsperminute",
        description="Model requests per minute of one person in a conversation.",
    )
    agent_per_minute: int | None = Field(
        None,
        ge=1,
        alias="agentrequestsperminute",
        description="Model requests per minute of one agent, for all people together.",
    )
    account_per_minute: int | None = Field(
        None,
        ge=1,
        alias="accountrequestsperminute",
        description="Model requests per minute of all agents of an account together.",
    )
    result_chars: int = Field(
        100_000,
        ge=1000,
        alias="resultcharacters",
        description="Characters of one tool result that the model reads at once; it may read on.",
    )

    def lowered(self, safety: SafetyConfig | None, cost: CostConfig) -> TurnLimits:
        """These limits, or an agent's own wherever those are lower."""
        safety = safety or SafetyConfig()
        own = {
            "requests": safety.max_iterations,
            "calls": safety.max_tool_calls_per_turn,
            "seconds": safety.max_seconds_per_turn,
            "tokens": cost.max_tokens_per_request,
            "per_minute": cost.max_requests_per_minute,
            "agent_per_minute": cost.max_agent_requests_per_minute,
        }
        lower = {name: min(getattr(self, name) or most, most) for name, most in own.items() if most}
        return self.model_copy(update=lower)
