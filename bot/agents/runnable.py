"""One agent as a turn runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from bot.messages import Attribution
from bot.safety.output_filter import OutputFilter
from bot.tools.toolset import ToolPermissions
from bot.usage.limits import SpendLimit
from registry.limits import TurnLimits
from registry.snapshot import EffectiveAgent


@dataclass(frozen=True, slots=True)
class RunnableAgent:
    """The effective agent, with what this host made of it.

    `tools` has servers and skills with their secrets filled in. `limits` and `budgets` (by kind of
    scope: turn, person, chat, agent, account, host) are the lower ones of host and agent, `filter`
    is the stricter one. `approval_seconds` is how long a request for approval stays open.
    """

    effective: EffectiveAgent = field(repr=False)
    attribution: Attribution
    tools: ToolPermissions = field(repr=False)
    limits: TurnLimits
    budgets: Mapping[str, SpendLimit]
    approval_seconds: float
    filter: OutputFilter = field(default_factory=OutputFilter)

    @property
    def id(self) -> str:
        """The agent's id, which also names its transcripts."""
        return self.attribution.agent

    @property
    def name(self) -> str:
        """The agent's name, as people see it."""
        return self.effective.definition.name

    @property
    def model(self) -> str:
        """The model that is asked first; '' where neither agent nor host names one."""
        return self.effective.llm.model or ""

    @property
    def max_tokens(self) -> int:
        """Output tokens of one request, not more than the limits allow."""
        return min(self.effective.llm.max_tokens or 0, self.limits.tokens)

    @property
    def approvers(self) -> tuple[int | str, ...] | None:
        """Who may approve a call: "asker", "admins" (of the chat), "hostAdmins", numeric ids.

        None where the agent does not say.
        """
        return self.effective.tool_policy.approvers

    def in_place_of(self, removed: str) -> RunnableAgent:
        """An agent without tools, to end a turn that an agent began which was `removed`."""
        attribution = replace(self.attribution, agent=removed, revision="")
        return replace(self, attribution=attribution, tools=ToolPermissions())


CurrentAgent = Callable[[str], RunnableAgent | None]
"""An agent by its id as it is now, None once it is removed."""
