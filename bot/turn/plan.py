"""What a turn needs of its effective agent: plain values, resolved before the turn begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.tools.mcp.servers import ServerSpec
from bot.tools.policy import Policy
from bot.tools.skill import SkillSpec
from bot.tools.toolbox import Rights
from bot.turn.budget import Limits
from bot.turn.filters import Filter
from bot.turn.scopes import Most


@dataclass(frozen=True, slots=True)
class Plan:
    """One agent, ready to run. `revision` changes whenever the agent does.

    `approvers` says who may allow a call: "asker", "admins" (of the chat), "hostAdmins" and numeric
    ids; None where the agent does not say. `approval_seconds` is how long a question stays open.
    `budgets` are the most that may be spent, by kind of scope: turn, person, chat, agent, account,
    host. `filter` is what may not go out; `link_previews` lets Telegram fetch what the agent links
    to.
    """

    agent: str
    name: str
    revision: str
    model: str
    max_tokens: int
    temperature: float | None = None
    reasoning_effort: str | None = None
    fallback: str | None = None
    instructions: str | None = None
    policy: Policy = field(default_factory=Policy)
    features: frozenset[str] = frozenset()
    approvers: tuple[int | str, ...] | None = None
    approval_seconds: float = 3600.0
    servers: tuple[ServerSpec, ...] = ()
    skills: tuple[SkillSpec, ...] = ()
    limits: Limits = field(default_factory=Limits)
    budgets: Mapping[str, Most] = field(default_factory=dict)
    filter: Filter = field(default_factory=Filter)
    link_previews: bool = False

    @property
    def rights(self) -> Rights:
        """What the agent may do with tools."""
        return Rights(self.servers, self.policy, self.features, self.skills)


Live = Callable[[str], Plan | None]
"""An agent's plan as it is now, None once it is removed."""
