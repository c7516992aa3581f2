"""The table of models: which settings each one takes, its limits and its retirement date.

The table is `models.json`, one row a family. A model that is not in it belongs to another provider
(or is newer than this table); nothing is assumed about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

from pydantic import TypeAdapter

Thinking = Literal["adaptive", "budget", "disabled", "between_tools"]
Effort = Literal["low", "medium", "high", "xhigh", "max"]

EFFORTS: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The settings and limits of one family of models; limits are in tokens.

    `id` is the prefix that its wire ids share. `thinking` are the accepted kinds; with thinking
    off, an effort above `top_effort_unthinking` is refused. `temperature` is taken only with the
    API version before 2026. `binds_thinking`: a replayed thinking block is bound to its prefix.
    """

    id: str
    thinking: frozenset[Thinking]
    thinks_by_default: bool
    efforts: tuple[Effort, ...]
    temperature: bool
    max_output: int
    context: int
    binds_thinking: bool
    min_cacheable: int
    aliases: tuple[str, ...] = ()
    top_effort_unthinking: Effort | None = None
    retires: date | None = None
    successor: str | None = None


@lru_cache(maxsize=1024)
def known(model: str) -> ModelInfo | None:
    """The family of a model by its longest prefix, or by an alias; None if it is unknown."""
    sent, families = wire_id(model), table()
    fitting = [id for id in families if sent == id or sent.startswith((f"{id}-", f"{id}@"))]
    return families[max(fitting, key=len)] if fitting else None


@lru_cache(maxsize=1024)
def wire_id(model: str) -> str:
    """The id to send for a model: an alias's own id, any other name as it is."""
    return next((info.id for info in table().values() if model in info.aliases), model)


def offered_models(now: float) -> frozenset[str]:
    """The families that are not retired at a time (seconds since the epoch), by id."""
    today = datetime.fromtimestamp(now, UTC).date()
    return frozenset(i.id for i in table().values() if i.retires is None or i.retires > today)


@cache
def table() -> Mapping[str, ModelInfo]:
    """All families by id."""
    rows = (files("registry") / "models.json").read_bytes()
    return {info.id: info for info in TypeAdapter(list[ModelInfo]).validate_json(rows)}
