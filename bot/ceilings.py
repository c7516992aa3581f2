"""The most that anybody may use or spend on this host, as the operator sets it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

DEAREST = 100_000.0
OwnPrices = dict[str, dict[str, float]]


class Guardrails(BaseModel):
    """The most that any agent may use: `LIMITS__…`; an agent may set less, never more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    iterations: int = Field(25, ge=1, description="Model requests of one turn.")
    toolcalls: int = Field(10, ge=1, description="Tool calls of one turn.")
    turnseconds: float = Field(600.0, gt=0, description="Seconds that one turn may work.")
    tokensperrequest: int = Field(8000, ge=1, description="Output tokens of one model request.")
    requestsperminute: int = Field(
        60, ge=1, description="Model requests a minute of one person in a conversation."
    )
    resultcharacters: int = Field(
        100_000,
        ge=1000,
        description="Characters of one tool result that the model reads at once; it may read on.",
    )
    piihandling: Literal["off", "warn", "redact", "block"] = Field(
        "off", description="Personal data in what goes out; an agent may be stricter."
    )
    blockedtopics: str | None = Field(
        None, description="Topics of which no agent may talk, separated by commas."
    )

    @property
    def topics(self) -> tuple[str, ...]:
        """The blocked topics one by one."""
        given = (self.blockedtopics or "").split(",")
        return tuple(topic.strip() for topic in given if topic.strip())


class Budget(BaseModel):
    """The most that one of a kind may spend: `BUDGETS__<kind>__…`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int | None = Field(None, ge=1, le=10**15, description="In tokens of all kinds.")
    usd: float | None = Field(
        None,
        gt=0,
        le=10**9,
        allow_inf_nan=False,
        description="In dollars; needs a price for each model, see `PRICES`.",
    )


class Budgets(BaseModel):
    """The most that may be spent: of one turn, else in a day (UTC); an agent may set less."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    turn: Budget = Field(default_factory=lambda: Budget(), description="One answer.")
    person: Budget = Field(default_factory=lambda: Budget(), description="One person, everywhere.")
    chat: Budget = Field(default_factory=lambda: Budget(), description="One chat.")
    agent: Budget = Field(default_factory=lambda: Budget(), description="One agent.")
    account: Budget = Field(default_factory=lambda: Budget(), description="One account.")
    host: Budget = Field(default_factory=lambda: Budget(), description="All together.")


class Price(BaseModel):
    """What a model costs, in dollars for a million tokens; the cache costs as much as `input`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    input: float = Field(ge=0, le=DEAREST, allow_inf_nan=False)
    output: float = Field(ge=0, le=DEAREST, allow_inf_nan=False)
    cache_read: float = Field(0, ge=0, le=DEAREST, allow_inf_nan=False)
    cache_write: float = Field(0, ge=0, le=DEAREST, allow_inf_nan=False)


def checked(prices: Mapping[str, Mapping[str, float]]) -> OwnPrices:
    """Prices that can be counted with; ValueError with the place and the cure for others."""
    for model, price in prices.items():
        try:
            Price.model_validate(price)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([model, *map(str, first["loc"])])
            raise ValueError(
                f"{place}: {first['msg']}; a price has input and output, and may have cacheRead "
                "and cacheWrite, all in dollars for a million tokens"
            ) from None
    return {model: dict(price) for model, price in prices.items()}
