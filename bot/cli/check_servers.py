"""`switchboard check --servers`: asks the MCP servers of the operator, and tells what is wrong.

Without that option a check starts nothing and asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from bot.mcp.pool import Pool
from bot.mcp.server import McpServer
from bot.mcp.server_spec import ServerSpec
from bot.ops.logging import configure
from bot.ops.tasks import SystemClock
from bot.settings import Settings
from bot.skills.python_skill import InstalledSkills
from bot.startup import agent_resolver, agents_source
from registry.catalog import Catalog
from registry.errors import Problem

SERVERS_SECONDS = 30.0
"""How long all servers together may take to start and to list their tools."""
_DOWN_CURE = "correct its definition, or see to the server"
_NOTE_CURE = "change it in the server, where an agent needs it"


async def ask_servers(settings: Settings, installed: InstalledSkills) -> list[Problem]:
    """What keeps servers of the file and the environment from being used, wholly or in part."""
    configure("CRITICAL", settings.log_format, settings.secrets)  # the problems say it all
    catalog = Catalog(agents_source(settings))
    await catalog.reload()
    places: dict[ServerSpec, str] = {}
    resolver, agents = agent_resolver(settings, catalog, installed), catalog.snapshot().agents
    for agent, entry in agents.items():
        if (made := resolver.current(agent)) is not None:
            place = entry.origins.get("mcpServers", entry.place)
            places |= {spec: place for spec in made.tools.servers if spec not in places}
    pool = Pool(SystemClock())
    try:
        await pool.ensure(places)
        await pool.ready(places, SERVERS_SECONDS)
        return [
            problem
            for spec, place in places.items()
            for server in pool.known([spec])
            for problem in _problems(spec.name, server, place)
        ]
    finally:
        await pool.close()


def _problems(name: str, server: McpServer, place: str) -> Iterator[Problem]:
    if server.connection is None:
        why = server.reason if server.settled.is_set() else f"no answer in {SERVERS_SECONDS:.0f} s"
        yield Problem(place, f"server '{name}' cannot be used: {why}", _DOWN_CURE, "warning")
    for note in server.notes:
        yield Problem(place, f"server '{name}': {note}", _NOTE_CURE, "warning")
