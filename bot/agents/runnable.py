"""What a turn needs of its effective agent: plain values, resolved before the turn begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bot.mcp.server_spec import ServerSpec
from bot.messages import DEFAULT_ACCOUNT, Attribution
from bot.safety.output_filter import OutputFilter
from bot.skills.spec import SkillSpec
from bot.tools.policy import Policy
from bot.tools.toolset import ToolPermissions
from bot.usage.limits import SpendLimit
from registry.limits import TurnLimits


@dataclass(frozen=True, slots=True)
class RunnableAgent:
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
    limits: TurnLimits = field(default_factory=lambda: TurnLimits())
    budgets: Mapping[str, SpendLimit] = field(default_factory=dict)
    filter: OutputFilter = field(default_factory=OutputFilter)
    link_previews: bool = False

    @property
    def attribution(self) -> Attribution:
        """Who answers, as it is stamped on what a turn leaves behind."""
        return Attribution(DEFAULT_ACCOUNT, self.agent, self.revision)

    @property
    def rights(self) -> ToolPermissions:
        """What the agent may do with tools."""
        return ToolPermissions(self.servers, self.policy, self.features, self.skills)


CurrentAgent = Callable[[str], RunnableAgent | None]
"""An agent's plan as it is now, None once it is removed."""
