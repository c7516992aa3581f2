"""From the registry to a plan: who answers an address, with every value resolved."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import structlog

from bot.dispatch.line import Line
from bot.events import Address, Person
from bot.tools.mcp.servers import ServerSpec
from bot.turn.plan import Plan
from registry.binding import BotIdentity, Resolution
from registry.catalog import Catalog
from registry.definition import LlmConfiguration
from registry.errors import ReferenceMissing
from registry.layers import EffectiveAgent
from registry.references import expand
from registry.servers import NamedServer

log = structlog.get_logger("plans")


class CatalogPlans:
    """Plans from the catalog's snapshot; made once for each agent and snapshot.

    `environ` is what `${NAME}` references are expanded from; documents that no operator wrote may
    use only the names in `secrets`.
    """

    def __init__(
        self,
        catalog: Catalog,
        defaults: LlmConfiguration,
        environ: Mapping[str, str],
        secrets: Collection[str] = (),
    ) -> None:
        self._catalog = catalog
        self._defaults = defaults
        self._environ = environ
        self._secrets = secrets
        self._made: dict[str, Plan | None] = {}
        self._number = -1

    def resolution(self, line: Line, address: Address, person: Person) -> Resolution:
        """Which agent answers, by which rule, and why."""
        bot = BotIdentity(line.token_hash, line.bot, line.username)
        return self._catalog.snapshot().resolve(bot, address.chat, person.id)

    def plan(self, line: Line, address: Address, person: Person) -> Plan | None:
        """The plan of the agent that answers, or None where none does."""
        agent = self.resolution(line, address, person).agent_id
        return None if agent is None else self._of(agent)

    def _of(self, agent: str) -> Plan | None:
        snapshot = self._catalog.snapshot()
        if snapshot.number != self._number:
            self._made.clear()
            self._number = snapshot.number
        if agent not in self._made:
            found = snapshot.effective(agent, self._defaults)
            self._made[agent] = self._make(found) if found else None
        return self._made[agent]

    def _make(self, agent: EffectiveAgent) -> Plan:
        return Plan(
            agent=agent.id,
            name=agent.name.value,
            revision=agent.revision,
            model=agent.model.value or "",
            max_tokens=agent.max_tokens.value or 0,
            temperature=agent.temperature.value,
            reasoning_effort=agent.reasoning_effort.value,
            instructions=agent.instructions.value,
            whitelist=agent.whitelist_patterns.value,
            servers=tuple(spec for spec in map(self._spec, agent.servers.value) if spec),
        )

    def _spec(self, named: NamedServer) -> ServerSpec | None:
        """The server with its references expanded, or None where one of them is missing."""
        server, allowed = named.server, None if named.operator else self._secrets

        def filled(value: str) -> str:
            return expand(value, self._environ, allowed)

        try:
            return ServerSpec(
                name=named.name,
                command=server.command,
                args=server.args,
                env={name: filled(value) for name, value in server.env.items()},
                cwd=server.cwd,
                url=filled(server.url) if server.url else None,
                headers={name: filled(value) for name, value in server.headers.items()},
                repeatable=server.repeatable,
                trust_annotations=server.trust_annotations,
            )
        except ReferenceMissing as error:
            log.error("server.left_out", server=named.name, why=str(error))
            return None
